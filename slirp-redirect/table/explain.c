/* SPDX-License-Identifier: BSD-3-Clause */
/* Why a rule does not match a flow, in words for a person. */
#include "table/match.h"
#include "table/table.h"

typedef char PrefixText[IPPREFIX_STRLEN + 2];

static const char *addr_text(const IpAddr *addr, PrefixText text)
{
    IpPrefix whole = { *addr, ipaddr_bits(addr) };

    return ipprefix_print(&whole, text);
}

static char *explain_section(const Rule *rule, const RuleNet *net)
{
    PrefixText section;

    if (rule_applies_to(rule, net)) {
        return NULL;
    }
    return g_strdup_printf("only on the network %s",
                           ipprefix_print(&rule->section, section));
}

static char *explain_protocol(const Rule *rule, const FlowKey *key)
{
    if (match_protocol(rule, key->proto)) {
        return NULL;
    }
    if (key->proto == FLOW_ICMP) {
        return g_strdup("only pass, reject and drop of any:* see ICMP echo");
    }
    return g_strdup(rule->protocols & RULE_TCP ? "tcp only" : "udp only");
}

static char *explain_family(const Rule *rule, const FlowKey *key)
{
    if (rule->families & match_family(&key->dst)) {
        return NULL;
    }
    return g_strdup(rule->families & RULE_V4 ? "IPv4 only" : "IPv6 only");
}

static bool dst_matches(const Rule *rule, const RuleNet *net,
                        const IpAddr *addr)
{
    g_autoptr(GArray) prefixes = rule_dst_prefixes(rule, net);

    for (guint i = 0; i < prefixes->len; i++) {
        if (ipprefix_contains(&g_array_index(prefixes, IpPrefix, i), addr)) {
            return true;
        }
    }
    return false;
}

static char *not_in_prefix(const char *what, const IpAddr *addr,
                           const IpPrefix *prefix)
{
    bool host = prefix->len == ipaddr_bits(&prefix->addr);
    PrefixText addr_buf, prefix_buf;

    return g_strdup_printf("%s%s is not %s%s", what, addr_text(addr, addr_buf),
                           host ? "" : "in ",
                           ipprefix_print(prefix, prefix_buf));
}

static char *explain_any(const RuleNet *net, const IpAddr *addr)
{
    IpAddr broadcast = match_broadcast(&net->vnet4);
    PrefixText text;

    if (match_any_covers(addr, &broadcast)) {
        return NULL;
    }
    return g_strdup_printf("%s is multicast or broadcast, which * leaves out",
                           addr_text(addr, text));
}

static char *explain_dst(const Rule *rule, const RuleNet *net,
                         const FlowKey *key)
{
    static const char *const keyword[] = {
        [RULE_DST_HOST] = "the virtual host address",
        [RULE_DST_DNS] = "the virtual name server address",
        [RULE_DST_PRIVATE] = "a private address outside the own network",
        [RULE_DST_LINKLOCAL] = "a link-local address",
        [RULE_DST_META] = "a cloud metadata address",
    };
    PrefixText text;

    if (rule->dst_kind == RULE_DST_ANY) {
        return explain_any(net, &key->dst);
    }
    if (dst_matches(rule, net, &key->dst)) {
        return NULL;
    }
    if (rule->dst_kind == RULE_DST_PREFIX) {
        return not_in_prefix("", &key->dst, &rule->dst);
    }
    return g_strdup_printf("%s is not %s", addr_text(&key->dst, text),
                           keyword[rule->dst_kind]);
}

static char *explain_port(const Rule *rule, const FlowKey *key)
{
    PortRange ports = rule->ports;

    if (ports.lo <= key->dst_port && key->dst_port <= ports.hi) {
        return NULL;
    }
    if (ports.lo == ports.hi) {
        return g_strdup_printf("port %u is not %u", key->dst_port, ports.lo);
    }
    return g_strdup_printf("port %u is not in %u..%u", key->dst_port, ports.lo,
                           ports.hi);
}

static char *explain_src(const Rule *rule, const FlowKey *key)
{
    if (!rule->src.addr.family || ipprefix_contains(&rule->src, &key->src)) {
        return NULL;
    }
    return not_in_prefix("source ", &key->src, &rule->src);
}

char *table_explain(const TableEntry *entry, const RuleNet *net,
                    const FlowKey *key)
{
    const Rule *rule = entry->rule;
    char *why = explain_section(rule, net);

    why = why ? why : explain_protocol(rule, key);
    why = why ? why : explain_family(rule, key);
    why = why ? why : explain_dst(rule, net, key);
    why = why ? why : explain_port(rule, key);
    why = why ? why : explain_src(rule, key);
    return why;
}
