/* SPDX-License-Identifier: BSD-3-Clause */
/* What a rule can match at all: shared by the compiler and table_explain(). */
#include "table/match.h"

/* RFC 3021: a /31 or /32 has no broadcast address. */
enum { BROADCAST_MAX_LEN = 30 };

IpAddr match_broadcast(const IpPrefix *vnet4)
{
    IpAddr addr = { 0 };

    if (vnet4->addr.family != AF_INET || vnet4->len > BROADCAST_MAX_LEN) {
        return addr;
    }
    addr = vnet4->addr;
    for (unsigned bit = vnet4->len; bit < 32; bit++) {
        addr.bytes[bit / 8] |= 0x80 >> bit % 8;
    }
    return addr;
}

bool match_any_covers(const IpAddr *dst, const IpAddr *broadcast)
{
    if (ipaddr_is_multicast(dst)) {
        return false; /* 255.255.255.255 included */
    }
    return !broadcast->family || !ipaddr_equal(dst, broadcast);
}

/* Echo requests have no ports and cannot be redirected. */
static bool match_icmp(const Rule *rule)
{
    return rule->protocols == RULE_ANY_PROTO && rule->ports.lo == 0 &&
           rule->ports.hi == UINT16_MAX &&
           (rule->target.kind == TARGET_PASS ||
            rule->target.kind == TARGET_REJECT ||
            rule->target.kind == TARGET_DROP);
}

bool match_protocol(const Rule *rule, FlowProto proto)
{
    switch (proto) {
    case FLOW_TCP:
        return rule->protocols & RULE_TCP;
    case FLOW_UDP:
        return rule->protocols & RULE_UDP;
    case FLOW_ICMP:
        return match_icmp(rule);
    default:
        return false;
    }
}

uint8_t match_family(const IpAddr *addr)
{
    switch (addr->family) {
    case AF_INET:
        return RULE_V4;
    case AF_INET6:
        return RULE_V6;
    default:
        return 0;
    }
}
