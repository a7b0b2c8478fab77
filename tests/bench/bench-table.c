/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How long a rule file takes to load (parse, verify and compile) and the table
 * to search, and how much room the table needs. Run by hand: bench-table
 * [RULES...]. Each line is one shape of rule set; "nested" and those after it
 * are made to hurt.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "table/table.h"

enum { N_KEYS = 1 << 17, SEED = 20240229 };

typedef struct Shape {
    const char *name;
    void (*rule)(GRand *rand, Rule *rule, unsigned i);
    /* Changes a key that lies on a random rule; may be NULL. */
    void (*key)(GRand *rand, FlowKey *key);
} Shape;

static const RuleNet net = {
    .vnet4 = { { AF_INET, { 10, 0, 2, 0 } }, 24 },
    .vnet6 = { { AF_INET6, { 0xfe, 0xc0 } }, 64 },
    .host4 = { AF_INET, { 10, 0, 2, 2 } },
    .dns4 = { AF_INET, { 10, 0, 2, 3 } },
};

static IpPrefix random_prefix(GRand *rand, int family, unsigned len)
{
    IpPrefix prefix = { .addr.family = family, .len = len };

    for (unsigned bit = 0; bit < len; bit++) {
        prefix.addr.bytes[bit / 8] |=
            g_rand_boolean(rand) ? 0x80 >> bit % 8 : 0;
    }
    return prefix;
}

/* The first len bits of an address that every nested rule shares. */
static IpPrefix nested_prefix(int family, unsigned len)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(SEED);

    return random_prefix(rand, family, len);
}

static void set_dst(Rule *rule, IpPrefix prefix)
{
    rule->dst_kind = RULE_DST_PREFIX;
    rule->dst = prefix;
    rule->families = prefix.addr.family == AF_INET ? RULE_V4 : RULE_V6;
}

static void set_src(Rule *rule, IpPrefix prefix)
{
    rule->src = prefix;
    rule->families = prefix.addr.family == AF_INET ? RULE_V4 : RULE_V6;
}

static void set_port(Rule *rule, unsigned port)
{
    rule->ports = (PortRange){ port, port };
}

static void random_range(GRand *rand, Rule *rule)
{
    unsigned a = g_rand_int_range(rand, 1, 65536);
    unsigned b = g_rand_int_range(rand, 1, 65536);

    rule->ports = (PortRange){ MIN(a, b), MAX(a, b) };
}

static void v4_rule(GRand *rand, Rule *rule, unsigned i)
{
    (void)i;
    set_dst(rule, random_prefix(rand, AF_INET, g_rand_int_range(rand, 16, 33)));
    set_port(rule, g_rand_int_range(rand, 1, 65536));
}

static void v6_rule(GRand *rand, Rule *rule, unsigned i)
{
    (void)i;
    set_dst(rule,
            random_prefix(rand, AF_INET6, g_rand_int_range(rand, 32, 129)));
    set_port(rule, g_rand_int_range(rand, 1, 65536));
}

static void mixed_rule(GRand *rand, Rule *rule, unsigned i)
{
    unsigned kind = g_rand_int_range(rand, 0, 10);

    rule->protocols = g_rand_int_range(rand, 1, 4);
    if (kind < 5) {
        v4_rule(rand, rule, i);
    } else if (kind < 8) {
        v6_rule(rand, rule, i);
    } else if (kind < 9) {
        set_port(rule, g_rand_int_range(rand, 1, 65536));
    }
    if (kind % 4 == 0) {
        unsigned port = g_rand_int_range(rand, 1, 65000);

        rule->ports = (PortRange){ port, port + g_rand_int_range(rand, 1, 99) };
    }
    if (kind == 9) {
        set_src(rule, random_prefix(rand, AF_INET, 32));
        set_port(rule, g_rand_int_range(rand, 1, 65536));
    }
}

static void ports_rule(GRand *rand, Rule *rule, unsigned i)
{
    (void)rand;
    set_port(rule, i % 65535 + 1);
}

static void ranges_rule(GRand *rand, Rule *rule, unsigned i)
{
    (void)i;
    random_range(rand, rule);
}

static void sources_rule(GRand *rand, Rule *rule, unsigned i)
{
    v4_rule(rand, rule, i);
    rule->dst_kind = RULE_DST_ANY;
    set_src(rule, random_prefix(rand, AF_INET, g_rand_int_range(rand, 16, 33)));
}

static void nested4_rule(GRand *rand, Rule *rule, unsigned i)
{
    set_dst(rule, nested_prefix(AF_INET, i % 33));
    set_port(rule, g_rand_int_range(rand, 1, 65536));
}

static void nested6_rule(GRand *rand, Rule *rule, unsigned i)
{
    set_dst(rule, nested_prefix(AF_INET6, i % 129));
    set_port(rule, g_rand_int_range(rand, 1, 65536));
}

/* Both chains at once: every one of 129 x 129 pairs. */
static void crossed_rule(GRand *rand, Rule *rule, unsigned i)
{
    nested6_rule(rand, rule, i);
    set_src(rule, nested_prefix(AF_INET6, i / 129 % 129));
}

/* As above, with sizes that defeat the absorbing of parents. */
static void jagged_rule(GRand *rand, Rule *rule, unsigned i)
{
    unsigned dst = i % 129, src = i / 129 % 129;

    nested6_rule(rand, rule, i);
    set_dst(rule, nested_prefix(AF_INET6, i % 8 ? dst & ~1u : dst));
    set_src(rule, nested_prefix(AF_INET6, i % 7 ? src & ~1u : src));
}

static void innermost_key(GRand *rand, FlowKey *key)
{
    IpPrefix all =
        nested_prefix(key->dst.family, key->dst.family == AF_INET ? 32 : 128);

    key->src = key->dst = all.addr;
    key->dst_port = g_rand_int_range(rand, 1, 65536);
}

static const Shape shapes[] = {
    { "mixed", mixed_rule, NULL },
    { "v4", v4_rule, NULL },
    { "v6", v6_rule, NULL },
    { "ports", ports_rule, NULL },
    { "ranges", ranges_rule, NULL },
    { "sources", sources_rule, NULL },
    { "nested4", nested4_rule, innermost_key },
    { "nested6", nested6_rule, innermost_key },
    { "crossed6", crossed_rule, innermost_key },
    { "jagged6", jagged_rule, innermost_key },
};

static int64_t read_clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Wall-clock time, cheap to read: for single lookups. */
static int64_t now_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

/* CPU time, for longer stretches: other load on the machine counts less. */
static int64_t cpu_ns(void)
{
    return read_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static GPtrArray *make_entries(const Shape *shape, GRand *rand, unsigned n)
{
    GPtrArray *entries =
        g_ptr_array_new_full(n, (GDestroyNotify)table_entry_unref);

    for (unsigned i = 0; i < n; i++) {
        Rule *rule = rule_new();

        rule->protocols = RULE_ANY_PROTO;
        rule->families = RULE_BOTH_FAMILIES;
        rule->ports = (PortRange){ 0, UINT16_MAX };
        rule->target.kind = TARGET_REJECT;
        shape->rule(rand, rule, i);
        g_ptr_array_add(entries, table_entry_new(i + 1, rule, NULL));
    }
    return entries;
}

static void fill_host_bits(GRand *rand, IpAddr *addr, unsigned len)
{
    unsigned bits = addr->family == AF_INET ? 32 : 128;

    for (unsigned bit = len; bit < bits; bit++) {
        addr->bytes[bit / 8] |= g_rand_boolean(rand) ? 0x80 >> bit % 8 : 0;
    }
}

/* A flow that the rule matches. */
static FlowKey key_on_rule(GRand *rand, const Rule *rule)
{
    int family = rule->families & RULE_V4 ? AF_INET : AF_INET6;
    FlowKey key = { .proto = rule->protocols & RULE_TCP ? FLOW_TCP : FLOW_UDP,
                    .dst.family = family,
                    .src.family = family };

    if (rule->dst_kind == RULE_DST_PREFIX) {
        key.dst = rule->dst.addr;
    }
    if (rule->src.addr.family) {
        key.src = rule->src.addr;
    }
    fill_host_bits(rand, &key.dst, rule->dst.len);
    fill_host_bits(rand, &key.src, rule->src.len);
    key.dst_port =
        g_rand_int_range(rand, rule->ports.lo, (int)rule->ports.hi + 1);
    return key;
}

/* Half of the keys lie on a rule, half on none in particular. */
static FlowKey *make_keys(const Shape *shape, GRand *rand,
                          const GPtrArray *entries)
{
    FlowKey *keys = g_new(FlowKey, N_KEYS);

    for (unsigned i = 0; i < N_KEYS; i++) {
        guint at = g_rand_int_range(rand, 0, entries->len);
        const TableEntry *entry = g_ptr_array_index(entries, at);

        keys[i] = key_on_rule(rand, entry->rule);
        if (shape->key) {
            shape->key(rand, &keys[i]);
        } else if (i % 2) {
            keys[i].dst_port = g_rand_int_range(rand, 1, 65536);
            fill_host_bits(rand, &keys[i].dst, 8);
        }
    }
    return keys;
}

static int compare_ns(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int clock_cost_ns(void)
{
    int64_t start = now_ns(), end = start;

    for (int i = 0; i < 1000; i++) {
        end = now_ns();
    }
    return (end - start) / 1000;
}

/* Each lookup on its own, without the cost of the clock; sorted. */
static int *time_each(const Table *table, const FlowKey *keys)
{
    int clock_ns = clock_cost_ns();
    int *ns = g_new(int, N_KEYS);

    for (unsigned i = 0; i < N_KEYS; i++) {
        int64_t start = now_ns();

        table_lookup(table, &keys[i]);
        ns[i] = MAX(now_ns() - start - clock_ns, 0);
    }
    qsort(ns, N_KEYS, sizeof(*ns), compare_ns);
    return ns;
}

static double time_mean(const Table *table, const FlowKey *keys, unsigned *hits)
{
    int64_t start = cpu_ns();

    *hits = 0;
    for (unsigned i = 0; i < N_KEYS; i++) {
        *hits += table_lookup(table, &keys[i]) != NULL;
    }
    return (double)(cpu_ns() - start) / N_KEYS;
}

/* What comes before table_new() when the rules are in a file. */
static void time_reading(const GPtrArray *entries, double *parse_ms,
                         double *verify_ms)
{
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) written = g_ptr_array_new();
    g_autoptr(GPtrArray) rules = NULL;
    g_autofree char *text = NULL;
    int64_t start;

    for (unsigned i = 0; i < entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(entries, i);

        g_ptr_array_add(written, entry->rule);
    }
    text = rules_print(written);
    start = cpu_ns();
    rules = rules_parse_lines(text, -1, "bench", diags);
    *parse_ms = (cpu_ns() - start) / 1e6;
    start = cpu_ns();
    rules_verify(rules, &net, NULL, 0, diags);
    *verify_ms = (cpu_ns() - start) / 1e6;
    g_assert_cmpuint(rules->len, ==, entries->len);
}

static void run_shape(const Shape *shape, unsigned n)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(SEED);
    g_autoptr(GPtrArray) entries = make_entries(shape, rand, n);
    g_autofree FlowKey *keys = make_keys(shape, rand, entries);
    int64_t start = cpu_ns();
    Table *table = table_new(entries, &net);
    double compile_ms = (cpu_ns() - start) / 1e6, parse_ms, verify_ms;
    unsigned hits;
    double mean = time_mean(table, keys, &hits);
    g_autofree int *ns = time_each(table, keys);

    time_reading(entries, &parse_ms, &verify_ms);
    printf("%8u  %-9s %8.1f %8.1f %8.1f %8.0f %8d %8d %8.0f %6.0f%%\n", n,
           shape->name, parse_ms, verify_ms, compile_ms, mean, ns[N_KEYS / 2],
           ns[N_KEYS / 100 * 99], (double)table_memory(table) / n,
           100.0 * hits / N_KEYS);
    table_unref(table);
}

int main(int argc, char **argv)
{
    static const char *const sizes[] = { "100", "10000", "100000" };
    int n_sizes = argc > 1 ? argc - 1 : (int)G_N_ELEMENTS(sizes);

    printf("%8s  %-9s %8s %8s %8s %8s %8s %8s %8s %7s\n", "rules", "shape",
           "parse ms", "verify", "compile", "find ns", "median", "p99",
           "B/rule", "match");
    for (int i = 0; i < n_sizes; i++) {
        unsigned n = strtoul(argc > 1 ? argv[i + 1] : sizes[i], NULL, 10);

        for (size_t j = 0; n > 0 && j < G_N_ELEMENTS(shapes); j++) {
            run_shape(&shapes[j], n);
        }
    }
    return 0;
}
