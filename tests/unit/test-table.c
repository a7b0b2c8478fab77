/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compiled table: each dimension by itself, lifetimes, and a comparison
 * with a deliberately naive scan on random rule sets and flows.
 *
 * The random part prints its seed; set TABLE_TEST_SEED to run it again, and
 * TABLE_TEST_SETS to run more or fewer rule sets.
 */
#include <stdlib.h>
#include <string.h>

#include "table/table.h"

static const RuleNet net = {
    .vnet4 = { { AF_INET, { 10, 0, 2, 0 } }, 24 },
    .vnet6 = { { AF_INET6, { 0xfe, 0xc0 } }, 64 },
    .host4 = { AF_INET, { 10, 0, 2, 2 } },
    .host6 = { AF_INET6, { 0xfe, 0xc0, [15] = 2 } },
    .dns4 = { AF_INET, { 10, 0, 2, 3 } },
    .dns6 = { AF_INET6, { 0xfe, 0xc0, [15] = 3 } },
};

/* --- Values ------------------------------------------------------------ */

static IpAddr addr(const char *text)
{
    IpAddr value = { 0 };

    g_assert_true(ipaddr_parse(text, &value));
    return value;
}

static IpPrefix prefix(const char *text, unsigned len)
{
    return (IpPrefix){ addr(text), len };
}

static FlowKey flow(FlowProto proto, const char *dst, unsigned port)
{
    FlowKey key = { .proto = proto, .dst = addr(dst), .dst_port = port };

    key.src = addr(key.dst.family == AF_INET ? "10.0.2.15" : "fec0::15");
    return key;
}

/* any:*-drop */
static Rule *any_rule(void)
{
    Rule *rule = rule_new();

    rule->protocols = RULE_ANY_PROTO;
    rule->families = RULE_BOTH_FAMILIES;
    rule->ports = (PortRange){ 0, UINT16_MAX };
    rule->target.kind = TARGET_DROP;
    return rule;
}

static uint8_t family_bit(int family)
{
    return family == AF_INET ? RULE_V4 : RULE_V6;
}

static Rule *dst_rule(const char *text, unsigned len)
{
    Rule *rule = any_rule();

    rule->dst_kind = RULE_DST_PREFIX;
    rule->dst = prefix(text, len);
    rule->families = family_bit(rule->dst.addr.family);
    return rule;
}

static Rule *port_rule(unsigned lo, unsigned hi)
{
    Rule *rule = any_rule();

    rule->ports = (PortRange){ lo, hi };
    return rule;
}

/* --- One table, looked up by hand ---------------------------------------- */

typedef struct Set {
    GPtrArray *entries;
    Table *table;
} Set;

static void set_init(Set *set)
{
    set->entries =
        g_ptr_array_new_with_free_func((GDestroyNotify)table_entry_unref);
    set->table = NULL;
}

/* Rule ids count from 1. */
static void set_add(Set *set, Rule *rule)
{
    g_ptr_array_add(set->entries,
                    table_entry_new(set->entries->len + 1, rule, NULL));
}

static void set_compile(Set *set)
{
    set->table = table_new(set->entries, &net);
}

static void set_done(Set *set)
{
    table_unref(set->table);
    g_ptr_array_unref(set->entries);
}

/* The id of the match, or 0; table_explain() must agree with it. */
static int set_lookup(const Set *set, const FlowKey *key)
{
    const TableEntry *match = table_lookup(set->table, key);

    for (guint i = 0; i < set->entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(set->entries, i);
        g_autofree char *why = table_explain(entry, &net, key);

        if (entry == match) {
            g_assert_null(why);
            return entry->id;
        }
        g_assert_nonnull(why);
    }
    g_assert_null(match);
    return 0;
}

static int set_find(const Set *set, FlowProto proto, const char *dst,
                    unsigned port)
{
    FlowKey key = flow(proto, dst, port);

    return set_lookup(set, &key);
}

/* A set of one rule. */
static void set_init_one(Set *set, Rule *rule)
{
    set_init(set);
    set_add(set, rule);
    set_compile(set);
}

static void test_empty(void)
{
    Set set;

    set_init(&set);
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 80), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_ICMP, "2001:db8::1", 0), ==, 0);
    set_done(&set);
}

static void test_first_match(void)
{
    Set set;

    set_init(&set);
    set_add(&set, port_rule(80, 90));
    set_add(&set, dst_rule("192.0.2.0", 24));
    set_add(&set, port_rule(85, 100));
    set_add(&set, dst_rule("192.0.0.0", 16));
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 85), ==, 1);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 95), ==, 2);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.3.1", 95), ==, 3);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.3.1", 101), ==, 4);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.1.3.1", 101), ==, 0);
    set_done(&set);
}

static void test_protocol(void)
{
    Rule *tcp = any_rule(), *udp = any_rule();
    Set set;

    tcp->protocols = RULE_TCP;
    udp->protocols = RULE_UDP;
    set_init(&set);
    set_add(&set, tcp);
    set_add(&set, udp);
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 80), ==, 1);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "192.0.2.1", 80), ==, 2);
    g_assert_cmpint(set_find(&set, FLOW_ICMP, "192.0.2.1", 0), ==, 0);
    set_done(&set);
}

/* Only verdicts of any:* concern echo requests. */
static void test_icmp(void)
{
    Rule *redirect = any_rule(), *pass = dst_rule("192.0.2.0", 24);
    Rule *reject = dst_rule("198.51.100.0", 24);
    Set set;

    redirect->target.kind = TARGET_ADDRESS;
    redirect->target.addr = addr("127.0.0.1");
    pass->target.kind = TARGET_PASS;
    reject->target.kind = TARGET_REJECT;
    set_init(&set);
    set_add(&set, redirect);
    set_add(&set, port_rule(1, UINT16_MAX));
    set_add(&set, pass);
    set_add(&set, reject);
    set_add(&set, any_rule());
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_ICMP, "192.0.2.1", 0), ==, 3);
    g_assert_cmpint(set_find(&set, FLOW_ICMP, "198.51.100.1", 0), ==, 4);
    g_assert_cmpint(set_find(&set, FLOW_ICMP, "203.0.113.1", 0), ==, 5);
    g_assert_cmpint(set_find(&set, FLOW_ICMP, "2001:db8::1", 0), ==, 5);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 0), ==, 1);
    set_done(&set);
}

static void test_family(void)
{
    Rule *v4 = any_rule(), *v6 = any_rule();
    FlowKey torn = flow(FLOW_TCP, "192.0.2.1", 80);
    Set set;

    v4->families = RULE_V4;
    v6->families = RULE_V6;
    set_init(&set);
    set_add(&set, v4);
    set_add(&set, v6);
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 80), ==, 1);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "2001:db8::1", 80), ==, 2);

    /* Keys that no flow has match nothing and harm nothing. */
    torn.src.family = AF_INET6;
    g_assert_null(table_lookup(set.table, &torn));
    torn.dst.family = torn.src.family = 0;
    g_assert_null(table_lookup(set.table, &torn));
    torn = flow(FLOW_N_PROTOS, "192.0.2.1", 80);
    g_assert_null(table_lookup(set.table, &torn));
    set_done(&set);
}

static void test_dst(void)
{
    Set set;

    set_init(&set);
    set_add(&set, dst_rule("192.0.2.7", 32));
    set_add(&set, dst_rule("192.0.2.0", 25));
    set_add(&set, dst_rule("2001:db8::", 33));
    set_add(&set, dst_rule("255.255.255.0", 24));
    set_add(&set, dst_rule("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128));
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.7", 1), ==, 1);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.6", 1), ==, 2);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.8", 1), ==, 2);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.127", 1), ==, 2);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.128", 1), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.1.255", 1), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "2001:db8:7fff::1", 1), ==, 3);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "2001:db8:8000::", 1), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "255.255.255.255", 1), ==, 4);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "0.0.0.0", 1), ==, 0);
    g_assert_cmpint(
        set_find(&set, FLOW_TCP, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 1),
        ==, 5);
    set_done(&set);
}

static void test_keywords(void)
{
    static const RuleDstKind kinds[] = { RULE_DST_HOST, RULE_DST_DNS,
                                         RULE_DST_META, RULE_DST_LINKLOCAL,
                                         RULE_DST_PRIVATE };
    Set set;

    set_init(&set);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        Rule *rule = any_rule();

        rule->dst_kind = kinds[i];
        set_add(&set, rule);
    }
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "10.0.2.2", 53), ==, 1);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "fec0::2", 53), ==, 1);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "10.0.2.3", 53), ==, 2);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "fec0::3", 53), ==, 2);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "169.254.169.254", 80), ==, 3);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "fd00:ec2::254", 80), ==, 3);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "169.254.169.253", 80), ==, 4);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "febf::1", 80), ==, 4);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "192.168.1.1", 80), ==, 5);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "10.0.3.0", 80), ==, 5);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "fd00::1", 80), ==, 5);
    g_assert_cmpint(set_find(&set, FLOW_UDP, "10.0.2.4", 80), ==, 0);
    set_done(&set);
}

/* "*" leaves these out; a prefix, however short, does not. */
static void test_multicast(void)
{
    static const char *const spared[] = { "224.0.0.1", "239.255.255.255",
                                          "255.255.255.255", "10.0.2.255",
                                          "ff02::1" };
    static const char *const covered[] = { "223.255.255.255", "240.0.0.0",
                                           "255.255.255.254", "10.0.2.254",
                                           "10.0.3.255",      "feff::1" };
    Set any, prefixes;

    set_init_one(&any, any_rule());
    set_init(&prefixes);
    set_add(&prefixes, port_rule(1, 1));
    set_add(&prefixes, dst_rule("0.0.0.0", 0));
    set_add(&prefixes, dst_rule("::", 0));
    set_compile(&prefixes);
    for (size_t i = 0; i < G_N_ELEMENTS(spared); i++) {
        g_assert_cmpint(set_find(&any, FLOW_UDP, spared[i], 1), ==, 0);
        g_assert_cmpint(set_find(&prefixes, FLOW_UDP, spared[i], 1), >, 1);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(covered); i++) {
        g_assert_cmpint(set_find(&any, FLOW_UDP, covered[i], 1), ==, 1);
        g_assert_cmpint(set_find(&prefixes, FLOW_UDP, covered[i], 1), ==, 1);
    }
    set_done(&any);
    set_done(&prefixes);
}

static void test_ports(void)
{
    Set set;

    set_init(&set);
    set_add(&set, port_rule(UINT16_MAX, UINT16_MAX));
    set_add(&set, port_rule(80, 80));
    set_add(&set, port_rule(70, 90));
    set_add(&set, port_rule(80, 100));
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 0), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 69), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 70), ==, 3);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 79), ==, 3);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 80), ==, 2);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 81), ==, 3);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 91), ==, 4);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 101), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 65534), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 65535), ==, 1);
    set_done(&set);
}

/* Every port against rules for every 20th port and one range over some. */
static void test_many_ports(void)
{
    FlowKey key = flow(FLOW_TCP, "192.0.2.1", 0);
    Set set;

    set_init(&set);
    for (unsigned port = 0; port <= UINT16_MAX; port += 20) {
        set_add(&set, port_rule(port, port));
    }
    set_add(&set, port_rule(30001, 40000));
    set_compile(&set);
    for (unsigned port = 0; port <= UINT16_MAX; port++) {
        bool in_range = 30001 <= port && port <= 40000;
        int expected = port % 20 == 0 ? (int)port / 20 + 1
                       : in_range     ? (int)set.entries->len
                                      : 0;
        const TableEntry *match;

        key.dst_port = port;
        match = table_lookup(set.table, &key);
        g_assert_cmpint(match ? match->id : 0, ==, expected);
    }
    set_done(&set);
}

static void test_source(void)
{
    FlowKey key = flow(FLOW_TCP, "192.0.2.1", 80);
    Rule *one = any_rule(), *block = any_rule(), *six = any_rule();
    Set set;

    one->src = prefix("10.0.2.15", 32);
    one->families = RULE_V4;
    block->src = prefix("10.0.2.0", 28);
    block->families = RULE_V4;
    six->src = prefix("fec0::", 64);
    six->families = RULE_V6;
    set_init(&set);
    set_add(&set, one);
    set_add(&set, block);
    set_add(&set, six);
    set_compile(&set);
    g_assert_cmpint(set_lookup(&set, &key), ==, 1);
    key.src = addr("10.0.2.14");
    g_assert_cmpint(set_lookup(&set, &key), ==, 2);
    key.src = addr("10.0.2.16");
    g_assert_cmpint(set_lookup(&set, &key), ==, 0);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "2001:db8::1", 80), ==, 3);
    set_done(&set);
}

static void test_section(void)
{
    Rule *own = any_rule(), *other = any_rule();
    Set set;

    own->section = net.vnet4;
    other->section = prefix("10.9.0.0", 24);
    set_init(&set);
    set_add(&set, other);
    set_add(&set, own);
    set_compile(&set);
    g_assert_cmpint(set_find(&set, FLOW_TCP, "192.0.2.1", 80), ==, 2);
    set_done(&set);
}

static void test_lifetime(void)
{
    TableEntry *entry;
    Table *table;
    Set set;

    set_init_one(&set, any_rule());
    table = table_ref(set.table);
    set_done(&set);

    /* The table keeps the entry, then the flow does. */
    entry = table_lookup(table,
                         &(FlowKey){ .dst = addr("::1"), .src = addr("::1") });
    g_assert_nonnull(entry);
    table_entry_ref(entry)->counters.flows++;
    g_assert_cmpuint(entry->refs, ==, 2);
    table_unref(table);
    g_assert_cmpuint(entry->refs, ==, 1);
    g_assert_cmpuint(entry->counters.flows, ==, 1);
    g_assert_cmpuint(entry->addrs->len, ==, 0);
    g_assert_cmpint(entry->rule->target.kind, ==, TARGET_DROP);
    table_entry_unref(entry);
    table_entry_unref(NULL);
    table_unref(NULL);
}

/* Counters survive a new table over the same entries. */
static void test_recompile(void)
{
    Set set;
    Table *next;
    FlowKey key = flow(FLOW_TCP, "192.0.2.1", 80);

    set_init_one(&set, any_rule());
    table_lookup(set.table, &key)->counters.bytes_in = 7;
    next = table_new(set.entries, &net);
    table_unref(set.table);
    set.table = next;
    g_assert_cmpuint(table_lookup(next, &key)->counters.bytes_in, ==, 7);
    set_done(&set);
}

static void test_memory(void)
{
    Set none, many;

    set_init(&none);
    set_compile(&none);
    set_init(&many);
    for (unsigned i = 1; i <= 1000; i++) {
        Rule *rule = dst_rule("192.0.2.0", 24);

        rule->dst.addr.bytes[1] = i % 256;
        rule->ports = (PortRange){ i, i };
        set_add(&many, rule);
    }
    set_compile(&many);
    g_assert_cmpuint(table_memory(none.table), >, 0);
    g_assert_cmpuint(table_memory(none.table), <, 4096);
    g_assert_cmpuint(table_memory(many.table), >, 1000 * sizeof(void *));
    g_assert_cmpuint(table_memory(many.table), <, 1000 * 200);
    set_done(&none);
    set_done(&many);
}

/* --- Reasons ------------------------------------------------------------- */

static void assert_reason(Rule *rule, const FlowKey *key, const char *expected)
{
    TableEntry *entry = table_entry_new(1, rule, NULL);
    g_autofree char *why = table_explain(entry, &net, key);

    g_assert_cmpstr(why, ==, expected);
    table_entry_unref(entry);
}

static void test_explain(void)
{
    FlowKey tcp = flow(FLOW_TCP, "10.0.0.1", 443);
    FlowKey tcp6 = flow(FLOW_TCP, "2001:db8::1", 443);
    FlowKey echo = flow(FLOW_ICMP, "10.0.0.1", 0);
    FlowKey multicast = flow(FLOW_UDP, "224.0.0.251", 5353);
    Rule *rule;

    assert_reason(any_rule(), &tcp, NULL);
    assert_reason(port_rule(80, 80), &tcp, "port 443 is not 80");
    assert_reason(port_rule(80, 90), &tcp, "port 443 is not in 80..90");
    assert_reason(dst_rule("192.168.0.0", 16), &tcp,
                  "10.0.0.1 is not in 192.168.0.0/16");
    assert_reason(dst_rule("10.0.0.2", 32), &tcp, "10.0.0.1 is not 10.0.0.2");
    assert_reason(dst_rule("2001:db8:1::", 48), &tcp6,
                  "[2001:db8::1] is not in [2001:db8:1::/48]");
    assert_reason(dst_rule("10.0.0.1", 32), &tcp6, "IPv4 only");
    assert_reason(dst_rule("2001:db8::1", 128), &tcp, "IPv6 only");
    assert_reason(any_rule(), &multicast,
                  "224.0.0.251 is multicast or broadcast, which * leaves out");
    assert_reason(port_rule(1, 2), &echo,
                  "only pass, reject and drop of any:* see ICMP echo");
    rule = any_rule();
    rule->protocols = RULE_TCP;
    assert_reason(rule, &multicast, "tcp only");
    rule = any_rule();
    rule->protocols = RULE_UDP;
    assert_reason(rule, &tcp, "udp only");
    rule = any_rule();
    rule->dst_kind = RULE_DST_DNS;
    assert_reason(rule, &tcp,
                  "10.0.0.1 is not the virtual name server address");
    rule = any_rule();
    rule->src = prefix("10.0.2.16", 32);
    assert_reason(rule, &tcp, "source 10.0.2.15 is not 10.0.2.16");
    rule = any_rule();
    rule->section = prefix("10.9.0.0", 24);
    assert_reason(rule, &tcp, "only on the network 10.9.0.0/24");
}

/* --- The oracle ---------------------------------------------------------- */

/* Written apart from the code under test, bit by bit, on purpose. */
static bool naive_contains(const IpPrefix *block, const IpAddr *address)
{
    if (block->addr.family != address->family) {
        return false;
    }
    for (unsigned bit = 0; bit < block->len; bit++) {
        uint8_t mask = 0x80 >> bit % 8;

        if ((block->addr.bytes[bit / 8] ^ address->bytes[bit / 8]) & mask) {
            return false;
        }
    }
    return true;
}

static bool naive_is_special(const IpAddr *dst)
{
    static const uint8_t all_ones[4] = { 255, 255, 255, 255 };
    static const uint8_t own[4] = { 10, 0, 2, 255 };

    if (dst->family == AF_INET6) {
        return dst->bytes[0] == 0xff;
    }
    return (dst->bytes[0] >= 224 && dst->bytes[0] <= 239) ||
           memcmp(dst->bytes, all_ones, 4) == 0 ||
           memcmp(dst->bytes, own, 4) == 0;
}

static bool naive_protocol(const Rule *rule, FlowProto proto)
{
    if (proto == FLOW_ICMP) {
        return rule->protocols == (RULE_TCP | RULE_UDP) &&
               rule->ports.lo == 0 && rule->ports.hi == 65535 &&
               rule->target.kind <= TARGET_DROP;
    }
    return rule->protocols & (proto == FLOW_TCP ? RULE_TCP : RULE_UDP);
}

static bool naive_dst(const Rule *rule, GArray *prefixes, const IpAddr *dst)
{
    if (rule->dst_kind == RULE_DST_ANY) {
        return !naive_is_special(dst);
    }
    for (guint i = 0; i < prefixes->len; i++) {
        if (naive_contains(&g_array_index(prefixes, IpPrefix, i), dst)) {
            return true;
        }
    }
    return false;
}

static bool naive_matches(const Rule *rule, GArray *prefixes,
                          const FlowKey *key)
{
    return (!rule->section.addr.family ||
            rule->section.addr.bytes[1] == net.vnet4.addr.bytes[1]) &&
           naive_protocol(rule, key->proto) &&
           rule->families & family_bit(key->dst.family) &&
           rule->ports.lo <= key->dst_port && key->dst_port <= rule->ports.hi &&
           (!rule->src.addr.family || naive_contains(&rule->src, &key->src)) &&
           naive_dst(rule, prefixes, &key->dst);
}

/* What a random rule set is made of. */
typedef struct Recipe {
    unsigned rules;
    unsigned pool;     /* addresses that the prefixes are cut from */
    unsigned ports;    /* ports in use, from a random first one */
    unsigned sources;  /* percent of rules with a source */
    unsigned prefixes; /* percent of rules with a destination prefix */
    unsigned first_port;
    IpAddr address[64];
} Recipe;

static unsigned pick(GRand *rand, unsigned n)
{
    return g_rand_int_range(rand, 0, n);
}

static bool percent(GRand *rand, unsigned chance)
{
    return pick(rand, 100) < chance;
}

static IpAddr random_addr(GRand *rand)
{
    IpAddr value = { .family = pick(rand, 2) ? AF_INET : AF_INET6 };

    for (unsigned i = 0; i < ipaddr_bits(&value) / 8; i++) {
        /* Ends of the address space and of bytes are where things break. */
        value.bytes[i] =
            pick(rand, 3) ? pick(rand, 256) : (pick(rand, 2) ? 255 : 0);
    }
    return value;
}

static void recipe_init(Recipe *recipe, GRand *rand)
{
    static const unsigned sizes[] = { 1, 3, 10, 40, 120, 300 };
    static const unsigned ports[] = { 1, 4, 30, 1000, 65535 };

    recipe->rules = sizes[pick(rand, G_N_ELEMENTS(sizes))];
    recipe->pool = 1 + pick(rand, pick(rand, 2) ? 3 : 64);
    recipe->ports = ports[pick(rand, G_N_ELEMENTS(ports))];
    recipe->sources = pick(rand, 2) ? pick(rand, 101) : 0;
    recipe->prefixes = pick(rand, 4) ? pick(rand, 101) : 100;
    recipe->first_port = pick(rand, 65536 - recipe->ports);
    for (unsigned i = 0; i < recipe->pool; i++) {
        recipe->address[i] = random_addr(rand);
    }
    recipe->address[pick(rand, recipe->pool)] = addr("10.0.2.255");
}

static IpPrefix random_prefix(GRand *rand, const Recipe *recipe)
{
    IpPrefix block = { .addr = recipe->address[pick(rand, recipe->pool)] };
    unsigned bits = ipaddr_bits(&block.addr);

    block.len = pick(rand, 3) ? pick(rand, bits + 1) : bits;
    for (unsigned bit = block.len; bit < bits; bit++) {
        block.addr.bytes[bit / 8] &= ~(0x80 >> bit % 8);
    }
    return block;
}

static PortRange random_ports(GRand *rand, const Recipe *recipe)
{
    unsigned a = recipe->first_port + pick(rand, recipe->ports + 1);
    unsigned b = recipe->first_port + pick(rand, recipe->ports + 1);

    switch (pick(rand, 4)) {
    case 0:
        return (PortRange){ 0, UINT16_MAX };
    case 1:
        return (PortRange){ MIN(a, b), MAX(a, b) };
    default:
        return (PortRange){ a, a };
    }
}

static void random_dst(GRand *rand, const Recipe *recipe, Rule *rule)
{
    if (!percent(rand, recipe->prefixes)) {
        rule->dst_kind = RULE_DST_ANY;
    } else if (pick(rand, 8) == 0) {
        rule->dst_kind = RULE_DST_HOST + pick(rand, 5);
    } else {
        rule->dst_kind = RULE_DST_PREFIX;
        rule->dst = random_prefix(rand, recipe);
        rule->families = family_bit(rule->dst.addr.family);
    }
}

static Rule *random_rule(GRand *rand, const Recipe *recipe)
{
    Rule *rule = any_rule();

    rule->protocols = 1 + pick(rand, 3);
    rule->families = 1 + pick(rand, 3);
    rule->target.kind = pick(rand, TARGET_UNIX + 1);
    rule->ports = random_ports(rand, recipe);
    random_dst(rand, recipe, rule);
    if (percent(rand, recipe->sources)) {
        rule->src = random_prefix(rand, recipe);
        rule->families &= family_bit(rule->src.addr.family);
    }
    if (pick(rand, 20) == 0) {
        rule->section = net.vnet4;
        rule->section.addr.bytes[1] = pick(rand, 2);
    }
    return rule;
}

/* A step up or down, with wrap-around, in the last bits of the address. */
static void step(IpAddr *address, int by)
{
    int carry = by;

    for (int i = ipaddr_bits(address) / 8 - 1; i >= 0 && carry; i--) {
        int value = address->bytes[i] + carry;

        address->bytes[i] = value & 255;
        carry = value < 0 ? -1 : value > 255;
    }
}

/* An address in the block, at one of its ends, or just outside. */
static IpAddr near_prefix(GRand *rand, const IpPrefix *block)
{
    unsigned how = pick(rand, 6);
    IpAddr address = block->addr;

    for (unsigned bit = block->len; bit < ipaddr_bits(&address); bit++) {
        uint8_t mask = 0x80 >> bit % 8;

        if (how == 1 || how == 2 || (how == 5 && pick(rand, 2))) {
            address.bytes[bit / 8] |= mask;
        }
    }
    step(&address, how == 2 ? 1 : how == 3 ? -1 : 0);
    return address;
}

/* One of the rule's ports, an end of the range, or just outside. */
static uint16_t near_ports(GRand *rand, PortRange ports)
{
    switch (pick(rand, 5)) {
    case 0:
        return ports.lo - 1;
    case 1:
        return ports.lo;
    case 2:
        return ports.hi;
    case 3:
        return ports.hi + 1;
    default:
        return g_rand_int_range(rand, ports.lo, ports.hi + 1);
    }
}

/* A flow on the edges of one rule, its other parts from elsewhere. */
static FlowKey random_key(GRand *rand, const Recipe *recipe,
                          const GPtrArray *entries, GArray **prefixes)
{
    guint at = pick(rand, entries->len), other = pick(rand, entries->len);
    const Rule *rule = ((TableEntry *)g_ptr_array_index(entries, at))->rule;
    const Rule *second =
        ((TableEntry *)g_ptr_array_index(entries, pick(rand, 4) ? at : other))
            ->rule;
    FlowKey key = { .proto = pick(rand, FLOW_N_PROTOS) };
    IpPrefix from = random_prefix(rand, recipe);

    if (rule->dst_kind != RULE_DST_ANY && pick(rand, 16)) {
        const GArray *list = prefixes[at];

        key.dst = near_prefix(
            rand, &g_array_index(list, IpPrefix, pick(rand, list->len)));
    } else {
        key.dst = near_prefix(rand, &from);
    }
    if (second->src.addr.family == key.dst.family) {
        from = second->src;
    }
    while (from.addr.family != key.dst.family) {
        from = (IpPrefix){ random_addr(rand), pick(rand, 33) };
    }
    key.src = near_prefix(rand, &from);
    key.dst_port = key.proto == FLOW_ICMP ? 0 : near_ports(rand, second->ports);
    return key;
}

static const TableEntry *naive_lookup(const GPtrArray *entries,
                                      GArray **prefixes, const FlowKey *key)
{
    for (guint i = 0; i < entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(entries, i);

        if (naive_matches(entry->rule, prefixes[i], key)) {
            return entry;
        }
    }
    return NULL;
}

static void check_key(const Set *set, GArray **prefixes, const FlowKey *key,
                      unsigned *matches)
{
    const TableEntry *expected = naive_lookup(set->entries, prefixes, key);
    const TableEntry *found = table_lookup(set->table, key);

    *matches += expected != NULL;
    if (found != expected) {
        char dst[IPADDR_STRLEN], src[IPADDR_STRLEN];

        g_error("%u rules, protocol %d, %s -> %s port %u: rule %d, not %d",
                set->entries->len, key->proto, ipaddr_print(&key->src, src),
                ipaddr_print(&key->dst, dst), key->dst_port,
                found ? found->id : 0, expected ? expected->id : 0);
    }
}

static void check_reason(const Set *set, GRand *rand, GArray **prefixes,
                         const FlowKey *key)
{
    guint at = pick(rand, set->entries->len);
    const TableEntry *entry = g_ptr_array_index(set->entries, at);
    g_autofree char *why = table_explain(entry, &net, key);

    g_assert_cmpint(naive_matches(entry->rule, prefixes[at], key), ==, !why);
}

/* Returns how many of the keys matched a rule. */
static unsigned check_recipe(GRand *rand, const Recipe *recipe, unsigned keys)
{
    GArray **prefixes = g_new0(GArray *, recipe->rules);
    unsigned matches = 0;
    Set set;

    set_init(&set);
    for (unsigned i = 0; i < recipe->rules; i++) {
        Rule *rule = random_rule(rand, recipe);

        prefixes[i] = rule_dst_prefixes(rule, &net);
        set_add(&set, rule);
    }
    set_compile(&set);
    for (unsigned i = 0; i < keys; i++) {
        FlowKey key = random_key(rand, recipe, set.entries, prefixes);

        check_key(&set, prefixes, &key, &matches);
        if (i % 64 == 0) {
            check_reason(&set, rand, prefixes, &key);
        }
    }
    set_done(&set);
    for (unsigned i = 0; i < recipe->rules; i++) {
        g_array_unref(prefixes[i]);
    }
    g_free(prefixes);
    return matches;
}

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = g_getenv(name);

    return text ? strtoul(text, NULL, 10) : otherwise;
}

static GRand *random_from_seed(void)
{
    unsigned seed = from_environment("TABLE_TEST_SEED", g_random_int());

    g_test_message("TABLE_TEST_SEED=%u", seed);
    return g_rand_new_with_seed(seed);
}

static void test_oracle(void)
{
    enum { KEYS = 2500 };
    g_autoptr(GRand) rand = random_from_seed();
    unsigned sets = from_environment("TABLE_TEST_SETS", 600);
    unsigned matches = 0;
    Recipe recipe;

    for (unsigned i = 0; i < sets; i++) {
        recipe_init(&recipe, rand);
        matches += check_recipe(rand, &recipe, KEYS);
    }
    g_test_message("%u lookups, %u matches", sets * KEYS, matches);
    /* Flows that mostly miss would test little. */
    g_assert_cmpuint(matches, >=, sets * KEYS / 5);
}

/* Enough rules for several levels of the search trees, few of them for "*"
 * so that the scan goes far. */
static void test_oracle_large(void)
{
    enum { KEYS = 1000, SETS = 12 };
    g_autoptr(GRand) rand = random_from_seed();
    Recipe recipe;

    for (unsigned i = 0; i < SETS; i++) {
        recipe_init(&recipe, rand);
        recipe.rules = 1000 << i % 4;
        recipe.prefixes = 99;
        recipe.ports = 65535;
        recipe.first_port = 0;
        check_recipe(rand, &recipe, KEYS);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/table/empty", test_empty);
    g_test_add_func("/table/first-match", test_first_match);
    g_test_add_func("/table/protocol", test_protocol);
    g_test_add_func("/table/icmp", test_icmp);
    g_test_add_func("/table/family", test_family);
    g_test_add_func("/table/dst", test_dst);
    g_test_add_func("/table/keywords", test_keywords);
    g_test_add_func("/table/multicast", test_multicast);
    g_test_add_func("/table/ports", test_ports);
    g_test_add_func("/table/many-ports", test_many_ports);
    g_test_add_func("/table/source", test_source);
    g_test_add_func("/table/section", test_section);
    g_test_add_func("/table/lifetime", test_lifetime);
    g_test_add_func("/table/recompile", test_recompile);
    g_test_add_func("/table/memory", test_memory);
    g_test_add_func("/table/explain", test_explain);
    g_test_add_func("/table/oracle", test_oracle);
    g_test_add_func("/table/oracle-large", test_oracle_large);
    return g_test_run();
}
