/* SPDX-License-Identifier: BSD-3-Clause */
/* A rule as a value: copies, comparison, and what it means on a network. */
#include "rule.h"

#include <string.h>

Rule *rule_new(void)
{
    Rule *rule = g_new0(Rule, 1);

    rule->protocols = RULE_ANY_PROTO;
    rule->families = RULE_BOTH_FAMILIES;
    rule->ports.hi = 65535;
    return rule;
}

static void target_clear(Target *target)
{
    g_free(target->zone);
    g_free(target->host);
    g_free(target->path);
    g_free(target->user);
    g_free(target->password);
}

void rule_free(Rule *rule)
{
    if (rule) {
        target_clear(&rule->target);
        g_free(rule->name);
        g_free(rule);
    }
}

Rule *rule_copy(const Rule *rule)
{
    Rule *copy = g_memdup2(rule, sizeof(*rule));
    Target *target = &copy->target;

    target->zone = g_strdup(target->zone);
    target->host = g_strdup(target->host);
    target->path = g_strdup(target->path);
    target->user = g_strdup(target->user);
    target->password = g_strdup(target->password);
    copy->name = g_strdup(copy->name);
    return copy;
}

static bool target_equal(const Target *a, const Target *b)
{
    return a->kind == b->kind && a->proxy == b->proxy &&
           ipaddr_equal(&a->addr, &b->addr) && a->ports.kind == b->ports.kind &&
           a->ports.port == b->ports.port && g_strcmp0(a->zone, b->zone) == 0 &&
           g_strcmp0(a->host, b->host) == 0 &&
           g_strcmp0(a->path, b->path) == 0 &&
           g_strcmp0(a->user, b->user) == 0 &&
           g_strcmp0(a->password, b->password) == 0;
}

static bool match_equal(const Rule *a, const Rule *b)
{
    return a->protocols == b->protocols && a->families == b->families &&
           a->dst_kind == b->dst_kind && ipprefix_equal(&a->dst, &b->dst) &&
           a->ports.lo == b->ports.lo && a->ports.hi == b->ports.hi &&
           ipprefix_equal(&a->src, &b->src) &&
           ipprefix_equal(&a->section, &b->section);
}

static unsigned timeout_of(const Rule *rule)
{
    return rule->timeout_s ? rule->timeout_s : RULE_TIMEOUT_DEFAULT_S;
}

bool rule_equal(const Rule *a, const Rule *b)
{
    return match_equal(a, b) && target_equal(&a->target, &b->target) &&
           a->proxy_header == b->proxy_header && a->log == b->log &&
           timeout_of(a) == timeout_of(b) && g_strcmp0(a->name, b->name) == 0;
}

unsigned rule_hash(const Rule *rule)
{
    const Target *target = &rule->target;
    IpPrefix to = { target->addr, (uint8_t)target->kind };
    unsigned hash = ipprefix_hash(&rule->dst);

    hash = hash * 31 + ipprefix_hash(&rule->src);
    hash = hash * 31 + (((unsigned)rule->ports.lo << 16) | rule->ports.hi);
    hash = hash * 31 + (((unsigned)rule->dst_kind << 8) | rule->protocols);
    hash = hash * 31 + ipprefix_hash(&to);
    return hash * 31 + target->ports.port;
}

bool rule_applies_to(const Rule *rule, const RuleNet *net)
{
    return rule->section.addr.family == 0 ||
           ipprefix_equal(&rule->section, &net->vnet4) ||
           ipprefix_equal(&rule->section, &net->vnet6);
}

uint16_t rule_target_port(const Rule *rule, uint16_t asked_port)
{
    const PortMap *map = &rule->target.ports;

    switch (map->kind) {
    case PORT_FIXED:
        return map->port;
    case PORT_SHIFT:
        /* "*" starts at 0 but shifts as if it started at 1, so that "1.."
         * is the identity and port 0 stays what it is. */
        return (uint16_t)(map->port + asked_port - MAX(rule->ports.lo, 1));
    default:
        return asked_port;
    }
}

/* Halves outer until nothing of hole is left in the pieces. */
static void append_without(GArray *list, const IpPrefix *outer,
                           const IpPrefix *hole)
{
    IpPrefix half = *outer;

    if (hole->addr.family != 0 && ipprefix_covers(hole, outer)) {
        return;
    }
    if (hole->addr.family == 0 || !ipprefix_covers(outer, hole)) {
        g_array_append_vals(list, outer, 1);
        return;
    }
    half.len++;
    append_without(list, &half, hole);
    half.addr.bytes[outer->len / 8] |= 0x80 >> outer->len % 8;
    append_without(list, &half, hole);
}

static void append_private(GArray *list, const RuleNet *net)
{
    static const IpPrefix blocks[] = {
        { { AF_INET, { 10 } }, 8 },
        { { AF_INET, { 172, 16 } }, 12 },
        { { AF_INET, { 192, 168 } }, 16 },
        { { AF_INET, { 100, 64 } }, 10 }, /* RFC 6598 */
        { { AF_INET6, { 0xfc } }, 7 },    /* RFC 4193 */
    };
    static const IpPrefix nothing;

    for (unsigned i = 0; i < G_N_ELEMENTS(blocks); i++) {
        const IpPrefix *own = &nothing;

        if (net) {
            own = blocks[i].addr.family == AF_INET ? &net->vnet4 : &net->vnet6;
        }
        append_without(list, &blocks[i], own);
    }
}

static void append_addr(GArray *list, const IpAddr *addr)
{
    IpPrefix prefix = { *addr, (uint8_t)ipaddr_bits(addr) };

    if (addr->family != 0) {
        g_array_append_val(list, prefix);
    }
}

static void append_any(GArray *list)
{
    static const IpPrefix any[] = { { { AF_INET, { 0 } }, 0 },
                                    { { AF_INET6, { 0 } }, 0 } };

    g_array_append_vals(list, any, G_N_ELEMENTS(any));
}

static void append_linklocal(GArray *list)
{
    static const IpPrefix blocks[] = {
        { { AF_INET, { 169, 254 } }, 16 },
        { { AF_INET6, { 0xfe, 0x80 } }, 10 },
    };

    g_array_append_vals(list, blocks, G_N_ELEMENTS(blocks));
}

static void append_meta(GArray *list)
{
    static const IpPrefix blocks[] = {
        { { AF_INET, { 169, 254, 169, 254 } }, 32 },
        { { AF_INET6,
            { 0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x54 } },
          128 },
    };

    g_array_append_vals(list, blocks, G_N_ELEMENTS(blocks));
}

GArray *rule_dst_prefixes(const Rule *rule, const RuleNet *net)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(IpPrefix));

    switch (rule->dst_kind) {
    case RULE_DST_ANY:
        append_any(list);
        break;
    case RULE_DST_PREFIX:
        g_array_append_val(list, rule->dst);
        break;
    case RULE_DST_HOST:
        if (net) {
            append_addr(list, &net->host4);
            append_addr(list, &net->host6);
        }
        break;
    case RULE_DST_DNS:
        if (net) {
            append_addr(list, &net->dns4);
            append_addr(list, &net->dns6);
        }
        break;
    case RULE_DST_PRIVATE:
        append_private(list, net);
        break;
    case RULE_DST_LINKLOCAL:
        append_linklocal(list);
        break;
    case RULE_DST_META:
        append_meta(list);
        break;
    }
    return list;
}
