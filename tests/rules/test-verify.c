/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The verifier against a naive oracle on random sets, words of a variable,
 * port maps, keyword prefixes, and the time that large sets take.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rules/rule.h"

static guint32 seed;

static RuleNet default_net(void)
{
    RuleNet net = { .vnet4 = { { AF_INET, { 10, 0, 2, 0 } }, 24 } };

    net.host4 = (IpAddr){ AF_INET, { 10, 0, 2, 2 } };
    net.dns4 = (IpAddr){ AF_INET, { 10, 0, 2, 3 } };
    return net;
}

/* Small worlds, so that rules often cover each other: destinations and
 * sources in 10.0.2.0/29, ports 1..8. */
static char *small_rule(GRand *rand)
{
    static const char *const protos[] = { "tcp", "udp", "any", "tcp4", "any4" };
    static const char *const dsts[] = {
        "",          "host:",        "dns:",      "10.0.2.0/29:",
        "10.0.2.2:", "10.0.2.0/30:", "10.0.2.3:", "0.0.0.0/0:"
    };
    static const char *const srcs[] = { "", "@10.0.2.0/30", "@10.0.2.1",
                                        "@10.0.2.0/31" };
    int lo = g_rand_int_range(rand, 1, 9), hi = g_rand_int_range(rand, lo, 9);

    return g_strdup_printf("%s:%s%d..%d%s-:1",
                           protos[g_rand_int_range(rand, 0, 5)],
                           dsts[g_rand_int_range(rand, 0, 8)], lo, hi,
                           srcs[g_rand_int_range(rand, 0, 4)]);
}

static bool dst_holds(const Rule *rule, const RuleNet *net, const IpAddr *addr)
{
    g_autoptr(GArray) list = rule_dst_prefixes(rule, net);

    for (unsigned i = 0; i < list->len; i++) {
        if (ipprefix_contains(&g_array_index(list, IpPrefix, i), addr)) {
            return rule->dst_kind != RULE_DST_ANY || !ipaddr_is_multicast(addr);
        }
    }
    return false;
}

/* Tries every flow of the small world, and one outside it. */
static bool oracle_covers(const Rule *a, const Rule *b, const RuleNet *net)
{
    for (unsigned d = 0; d < 10; d++) {
        IpAddr dst = { AF_INET, { 10, 0, 2, (uint8_t)d } };

        if (d == 8) {
            dst.bytes[0] = 93;
        } else if (d == 9) {
            dst.bytes[0] = 224;
        }
        if (dst_holds(b, net, &dst) && !dst_holds(a, net, &dst)) {
            return false;
        }
    }
    for (unsigned s = 0; s < 9; s++) {
        IpAddr src = { AF_INET,
                       { 10, 0, (uint8_t)(s < 8 ? 2 : 9), (uint8_t)s } };

        if ((b->src.addr.family == 0 || ipprefix_contains(&b->src, &src)) &&
            !(a->src.addr.family == 0 || ipprefix_contains(&a->src, &src))) {
            return false;
        }
    }
    return (a->protocols & b->protocols) == b->protocols &&
           a->ports.lo <= b->ports.lo && a->ports.hi >= b->ports.hi;
}

static unsigned oracle(const GPtrArray *rules, const RuleNet *net)
{
    unsigned covered = 0;

    for (unsigned i = 0; i < rules->len; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (oracle_covers(rules->pdata[j], rules->pdata[i], net)) {
                covered++;
                break;
            }
        }
    }
    return covered;
}

static unsigned count_covered(const GPtrArray *rules, const RuleNet *net)
{
    g_autoptr(RuleDiags) diags = rule_diags_new();

    rules_verify(rules, net, NULL, 0, diags);
    g_assert_cmpuint(diags->errors, ==, 0);
    return diags->list->len;
}

static void test_oracle(void)
{
    GRand *rand = g_rand_new_with_seed(seed);
    RuleNet net = default_net();

    for (unsigned i = 0; i < 20000; i++) {
        GString *text = g_string_new("");
        g_autoptr(RuleDiags) diags = rule_diags_new();
        g_autoptr(GPtrArray) rules = NULL;

        for (int n = g_rand_int_range(rand, 2, 16); n > 0; n--) {
            g_autofree char *rule = small_rule(rand);

            g_string_append_printf(text, "%s ", rule);
        }
        rules = rules_parse_words(text->str, "words", diags);
        g_assert_cmpuint(diags->errors, ==, 0);
        if (count_covered(rules, &net) != oracle(rules, &net)) {
            g_error("oracle disagrees on: %s", text->str);
        }
        g_string_free(text, TRUE);
    }
    g_rand_free(rand);
}

static void test_words(void)
{
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) rules =
        rules_parse_words(" tcp:80-:80\n\ttcp:x-:81 any:*-drop ", "V", diags);
    const RuleDiag *diag = diags->list->pdata[0];
    const Rule *last = rules->pdata[1];

    g_assert_cmpuint(rules->len, ==, 2);
    g_assert_cmpuint(diags->errors, ==, 1);
    g_assert_cmpuint(diag->pos.line, ==, 0);
    g_assert_cmpuint(diag->pos.column, ==, 18);
    g_assert_cmpuint(last->pos.column, ==, 24);
}

static unsigned mapped(const char *text, unsigned port)
{
    RulePos pos = { "map", 0, 1 };
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(Rule) rule = rule_parse(text, &pos, diags);

    return rule_target_port(rule, (uint16_t)port);
}

static void test_port_map(void)
{
    g_assert_cmpuint(mapped("tcp:8000..8010-:9000..", 8003), ==, 9003);
    g_assert_cmpuint(mapped("tcp:8000..8010-:9000", 8003), ==, 9000);
    g_assert_cmpuint(mapped("tcp:8000..8010-[::1]", 8003), ==, 8003);
    g_assert_cmpuint(mapped("tcp:*-:1..", 0), ==, 0);
    g_assert_cmpuint(mapped("tcp:*-:1..", 1), ==, 1);
    g_assert_cmpuint(mapped("tcp:*-:1..", 65535), ==, 65535);
    g_assert_cmpuint(mapped("tcp:1..65535-:1..", 65535), ==, 65535);
}

static void test_private(void)
{
    Rule rule = { .dst_kind = RULE_DST_PRIVATE };
    RuleNet net = default_net();
    static const struct {
        IpAddr addr;
        bool held;
    } cases[] = {
        { { AF_INET, { 10, 0, 1, 255 } }, true },
        { { AF_INET, { 10, 0, 2, 0 } }, false },
        { { AF_INET, { 10, 0, 2, 255 } }, false },
        { { AF_INET, { 10, 0, 3, 0 } }, true },
        { { AF_INET, { 172, 31, 255, 255 } }, true },
        { { AF_INET, { 172, 32, 0, 0 } }, false },
        { { AF_INET, { 100, 64, 0, 0 } }, true },
        { { AF_INET6, { 0xfd } }, true },
        { { AF_INET6, { 0xfe, 0xc0 } }, false },
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpint(dst_holds(&rule, &net, &cases[i].addr), ==,
                        cases[i].held);
    }
}

typedef void LineMaker(GString *out, GRand *rand, unsigned i);

static void line_prefixes(GString *out, GRand *rand, unsigned i)
{
    IpPrefix p = { { AF_INET, { 0 } }, (uint8_t)(8 + i % 25) };
    char buf[IPPREFIX_STRLEN + 2];

    for (unsigned b = 0; b < 4; b++) {
        p.addr.bytes[b] = (uint8_t)g_rand_int(rand);
    }
    p = ipprefix_masked(&p);
    g_string_append_printf(out, "tcp:%s:%u-192.0.2.1:8080+log\n",
                           ipprefix_print(&p, buf), 1 + i % 65535);
}

static void line_ports(GString *out, GRand *rand, unsigned i)
{
    (void)rand;
    g_string_append_printf(out, "tcp:%u@10.%u.%u.9-:80\n", 1 + i % 65535,
                           i / 65535, i % 256);
}

static void line_ranges(GString *out, GRand *rand, unsigned i)
{
    unsigned lo = (unsigned)g_rand_int_range(rand, 1, 60000);

    g_string_append_printf(out, "any:%u..%u@10.%u.0.0/16-:80+name=n%u\n", lo,
                           lo + (unsigned)g_rand_int_range(rand, 1, 5000),
                           i % 256, i);
}

static void line_same(GString *out, GRand *rand, unsigned i)
{
    (void)rand;
    (void)i;
    g_string_append(out, "any:*-reject\n");
}

static void line_sections(GString *out, GRand *rand, unsigned i)
{
    (void)rand;
    g_string_append_printf(out, "[10.%u.%u.0/24]\ntcp:private:%u-:80\n",
                           i / 256 % 256, i % 256, 1 + i % 60000);
}

/* Every range holds the one before it: each is a candidate for the next. */
static void line_growing(GString *out, GRand *rand, unsigned i)
{
    (void)rand;
    g_string_append_printf(out, "tcp:%u..%u-:80\n", 30000 - i % 29999,
                           30001 + i % 35000);
}

/* Processor time, in microseconds: the machine may be busy elsewhere. */
static gint64 now_us(void)
{
    struct timespec ts;

    g_assert_no_errno(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts));
    return (gint64)ts.tv_sec * G_USEC_PER_SEC + ts.tv_nsec / 1000;
}

static void measure(const char *what, LineMaker *make, unsigned n)
{
    GRand *rand = g_rand_new_with_seed(seed);
    GString *text = g_string_new("");
    RuleNet net = default_net();
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) rules = NULL;
    gint64 start, parsed, verified;

    for (unsigned i = 0; i < n; i++) {
        make(text, rand, i);
    }
    start = now_us();
    rules = rules_parse_lines(text->str, (gssize)text->len, "bench", diags);
    parsed = now_us();
    g_assert_cmpuint(diags->errors, ==, 0);
    rules_verify(rules, NULL, NULL, 0, diags);
    verified = now_us();
    rules_verify(rules, &net, NULL, 0, diags);
    g_test_message("%u %s: parse %.0f ms, verify %.0f ms, with net %.0f ms",
                   rules->len, what, (double)(parsed - start) / 1e3,
                   (double)(verified - parsed) / 1e3,
                   (double)(now_us() - verified) / 1e3);
    /* Room for sanitizers and busy machines; quadratic takes minutes. */
    g_assert_cmpint(verified - start, <, 20 * G_USEC_PER_SEC);
    g_string_free(text, TRUE);
    g_rand_free(rand);
}

static void test_speed(void)
{
    measure("prefixes", line_prefixes, 100000);
    measure("ports and sources", line_ports, 100000);
    measure("named ranges", line_ranges, 100000);
    measure("equal rules", line_same, 100000);
    measure("sections", line_sections, 100000);
    measure("growing ranges", line_growing, 100000);
}

int main(int argc, char **argv)
{
    const char *env = g_getenv("RULES_SEED");

    g_test_init(&argc, &argv, NULL);
    seed = env ? (guint32)strtoul(env, NULL, 0) : g_random_int();
    g_test_message("RULES_SEED=%u", seed);
    g_test_add_func("/rules/verify/oracle", test_oracle);
    g_test_add_func("/rules/verify/words", test_words);
    g_test_add_func("/rules/verify/port-map", test_port_map);
    g_test_add_func("/rules/verify/private", test_private);
    g_test_add_func("/rules/verify/speed", test_speed);
    return g_test_run();
}
