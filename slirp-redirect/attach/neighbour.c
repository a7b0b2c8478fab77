/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP echo under the rules, and on-link addresses that rules serve. */
#include "attach/instance.h"

static IpAddr addr_of(const void *addr, int af)
{
    struct in_addr in;
    struct in6_addr in6;

    if (af == AF_INET6) {
        memcpy(&in6, addr, sizeof(in6));
        return ipaddr_from_v6(&in6);
    }
    memcpy(&in, addr, sizeof(in));
    return ipaddr_from_v4(in);
}

enum slirp_redirect_verdict slirp_redirect_echo(struct Slirp *slirp,
                                                const void *src,
                                                const void *dst, int af)
{
    RedirectInstance *instance = redirect_instance(slirp);
    FlowKey key = { .proto = FLOW_ICMP };
    struct sockaddr_storage lhost, fhost;
    TableEntry *entry;

    if (instance->table == NULL) {
        return SLIRP_REDIRECT_NONE;
    }
    key.src = addr_of(src, af);
    key.dst = addr_of(dst, af);
    entry = table_lookup(instance->table, &key);
    if (entry == NULL) {
        return SLIRP_REDIRECT_NONE;
    }
    redirect_count_flow(entry);
    ipaddr_to_sockaddr(&key.src, 0, &lhost);
    ipaddr_to_sockaddr(&key.dst, 0, &fhost);
    redirect_log_verdict(instance, entry, FLOW_ICMP, &lhost, &fhost);
    return redirect_verdict(instance, entry, &key.dst);
}

/* A rule that names part of the network serves the addresses in it; one that
 * only happens to cover the network does not take it over. */
static bool serves(const Rule *rule, const IpPrefix *vnet)
{
    return rule->dst_kind == RULE_DST_PREFIX &&
           rule->target.kind != TARGET_PASS &&
           rule->target.kind != TARGET_DROP && rule->dst.len > vnet->len &&
           ipprefix_covers(vnet, &rule->dst);
}

GArray *redirect_served(const GPtrArray *entries, const RuleNet *net)
{
    GArray *served = g_array_new(FALSE, FALSE, sizeof(IpPrefix));

    for (unsigned i = 0; i < entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(entries, i);

        if (serves(entry->rule, &net->vnet4) ||
            serves(entry->rule, &net->vnet6)) {
            g_array_append_val(served, entry->rule->dst);
        }
    }
    return served;
}

/* An address that the guest itself uses is never served. */
static bool is_guests(struct Slirp *slirp, const void *addr, int af)
{
    uint8_t mac[ETH_ALEN];
    struct in6_addr in6;
    uint32_t in;

    if (af == AF_INET6) {
        memcpy(&in6, addr, sizeof(in6));
        return ndp_table_search(slirp, in6, mac);
    }
    memcpy(&in, addr, sizeof(in));
    return arp_table_search(slirp, in, mac);
}

bool slirp_redirect_owns(struct Slirp *slirp, const void *addr, int af)
{
    const GArray *served = redirect_instance(slirp)->served;
    IpAddr ip = addr_of(addr, af);

    for (unsigned i = 0; i < served->len; i++) {
        if (ipprefix_contains(&g_array_index(served, IpPrefix, i), &ip)) {
            return !is_guests(slirp, addr, af);
        }
    }
    return false;
}
