/* SPDX-License-Identifier: BSD-3-Clause */
/* Random rules, and the properties of the parser and printer. */
#include "random-rule.h"

#include <string.h>

static bool coin(GRand *rand)
{
    return g_rand_boolean(rand);
}

static unsigned below(GRand *rand, unsigned n)
{
    return (unsigned)g_rand_int_range(rand, 0, (gint32)n);
}

static IpPrefix random_prefix(GRand *rand, int family)
{
    IpPrefix prefix = { .addr.family = (uint8_t)family };
    unsigned bits = ipaddr_bits(&prefix.addr);

    for (unsigned i = 0; i < bits / 8; i++) {
        prefix.addr.bytes[i] = coin(rand) ? (uint8_t)g_rand_int(rand) : 0;
    }
    prefix.len = (uint8_t)(coin(rand) ? bits : below(rand, bits + 1));
    return ipprefix_masked(&prefix);
}

static char *random_bytes(GRand *rand, unsigned max, const char *start)
{
    GString *out = g_string_new(start);
    unsigned n = below(rand, max - (unsigned)out->len + 1);

    for (unsigned i = 0; i < n; i++) {
        g_string_append_c(out, (char)(1 + below(rand, 255)));
    }
    return g_string_free(out, FALSE);
}

static char *random_word(GRand *rand, unsigned max, const char *start,
                         const char *set)
{
    GString *out = g_string_new(start);
    unsigned n = below(rand, max - (unsigned)out->len + 1);

    for (unsigned i = 0; i < n; i++) {
        g_string_append_c(out, set[below(rand, (unsigned)strlen(set))]);
    }
    return g_string_free(out, FALSE);
}

static PortRange random_ports(GRand *rand)
{
    unsigned lo = 1 + below(rand, 65535);

    switch (below(rand, 3)) {
    case 0:
        return (PortRange){ 0, 65535 };
    case 1:
        return (PortRange){ (uint16_t)lo, (uint16_t)lo };
    default:
        return (PortRange){ (uint16_t)lo,
                            (uint16_t)(lo + below(rand, 65536 - lo)) };
    }
}

static void random_match(GRand *rand, Rule *rule)
{
    static const int families[] = { AF_INET, AF_INET6 };
    unsigned half = below(rand, 2);

    rule->protocols = (uint8_t)(1 + below(rand, 3));
    rule->families = (uint8_t)(1 + below(rand, 3));
    rule->dst_kind = (RuleDstKind)below(rand, RULE_DST_META + 1);
    rule->ports = random_ports(rand);
    if (rule->dst_kind == RULE_DST_PREFIX) {
        rule->dst = random_prefix(rand, families[half]);
        rule->families = (uint8_t)(half == 0 ? RULE_V4 : RULE_V6);
    }
    if (below(rand, 4) == 0) {
        rule->src = random_prefix(rand, families[half]);
        rule->families = (uint8_t)(half == 0 ? RULE_V4 : RULE_V6);
    }
}

static PortMap random_port_map(GRand *rand, const PortRange *asked)
{
    unsigned lo = MAX(asked->lo, 1), span = asked->hi - lo;

    if (span == 0 || coin(rand)) {
        return (PortMap){ PORT_FIXED, (uint16_t)(1 + below(rand, 65535)) };
    }
    return (PortMap){ PORT_SHIFT, (uint16_t)(1 + below(rand, 65535 - span)) };
}

static void random_addr(GRand *rand, Target *target, bool tcp)
{
    static const uint8_t zeros[16];

    target->kind = TARGET_ADDRESS;
    do {
        target->addr =
            random_prefix(rand, coin(rand) ? AF_INET : AF_INET6).addr;
    } while (memcmp(target->addr.bytes, zeros, sizeof(zeros)) == 0 ||
             (tcp && ipaddr_is_multicast(&target->addr)));
    if (below(rand, 8) == 0) {
        target->addr = (IpAddr){ AF_INET6, { 0xfe, 0x80, [15] = 1 } };
    }
    if (target->addr.family == AF_INET6 && target->addr.bytes[0] == 0xfe &&
        (target->addr.bytes[1] & 0xc0) == 0x80) {
        target->zone = random_word(rand, 15, "e", "abz019_.-");
    }
}

static void random_endpoint(GRand *rand, Rule *rule)
{
    Target *target = &rule->target;

    switch (below(rand, 3)) {
    case 0:
        random_addr(rand, target, rule->protocols & RULE_TCP);
        break;
    case 1:
        target->kind = TARGET_NAME;
        target->host = random_word(rand, 62, "x.y", "abz019");
        break;
    default:
        target->kind = TARGET_UNIX;
        target->path = random_bytes(rand, 107, "/");
        return;
    }
    target->ports = random_port_map(rand, &rule->ports);
}

static void random_proxy(GRand *rand, Rule *rule)
{
    static const PortRange one = { 1, 1 };
    Target *target = &rule->target;

    target->proxy = coin(rand) ? PROXY_SOCKS5 : PROXY_HTTP;
    if (target->proxy == PROXY_HTTP) {
        rule->protocols = RULE_TCP;
    }
    /* After the protocols: they decide about multicast. */
    random_endpoint(rand, rule);
    if (target->kind != TARGET_UNIX) {
        target->ports = random_port_map(rand, &one);
    }
    if (coin(rand)) {
        target->user = random_bytes(rand, 255, "u");
        g_strdelimit(target->user, ":", '.');
        target->password = random_bytes(rand, 255, "p");
    }
}

static void random_options(GRand *rand, Rule *rule)
{
    rule->log = coin(rand);
    if (coin(rand)) {
        rule->name = random_word(rand, 63, "_", "abzABZ019_.-");
    }
    if (rule->target.kind <= TARGET_DROP) {
        return;
    }
    rule->proxy_header = (uint8_t)below(rand, 3);
    if (rule->proxy_header == 1 && (rule->protocols & RULE_UDP)) {
        rule->proxy_header = 2;
    }
    rule->timeout_s = below(rand, 3) ? 0 : below(rand, RULE_TIMEOUT_MAX_S + 1);
}

Rule *random_rule(GRand *rand)
{
    Rule *rule = rule_new();
    Target *target = &rule->target;

    random_match(rand, rule);
    switch (below(rand, 4)) {
    case 0:
        target->kind = (TargetKind)below(rand, TARGET_KEEP + 1);
        if (target->kind == TARGET_KEEP) {
            target->ports = random_port_map(rand, &rule->ports);
        }
        break;
    case 1:
        random_proxy(rand, rule);
        break;
    default:
        random_endpoint(rand, rule);
        if (target->kind == TARGET_ADDRESS && coin(rand)) {
            target->ports = (PortMap){ PORT_KEEP, 0 };
        }
    }
    random_options(rand, rule);
    return rule;
}

static void check_diag(const RuleDiag *diag, size_t length)
{
    g_autofree char *printed = rule_diag_print(diag);

    g_assert_true(g_utf8_validate(printed, -1, NULL));
    g_assert_cmpuint(diag->pos.column, >=, 1);
    g_assert_cmpuint(diag->width, >=, 1);
    g_assert_cmpuint(diag->pos.column - 1 + diag->width, <=, MAX(length, 1));
    g_assert_cmpuint(diag->mark, <=, strlen(diag->text));
}

static void check_rule(const Rule *rule)
{
    RulePos pos = { "check", 0, 1 };
    g_autofree char *text = rule_print(rule), *again_text = NULL;
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(Rule) again = NULL;

    /* Escapes make a canonical rule longer, in theory too long. */
    if (strlen(text) > 4096) {
        return;
    }
    again = rule_parse(text, &pos, diags);
    g_assert_nonnull(again);
    again_text = rule_print(again);
    g_assert_cmpstr(text, ==, again_text);
    g_assert_true(rule_equal(rule, again));
}

void check_text(const char *text)
{
    RulePos pos = { "check", 0, 1 };
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(Rule) rule = rule_parse(text, &pos, diags);

    g_assert_true((rule != NULL) == (diags->errors == 0));
    for (unsigned i = 0; i < diags->list->len; i++) {
        check_diag(g_ptr_array_index(diags->list, i), strlen(text));
    }
    if (rule) {
        check_rule(rule);
    }
}

void check_lines(const char *text, gssize length)
{
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(RuleDiags) again_diags = rule_diags_new();
    g_autoptr(GPtrArray) rules = rules_parse_lines(text, length, "f", diags);
    g_autofree char *printed = rules_print(rules), *findings = NULL;
    g_autoptr(GPtrArray) again =
        rules_parse_lines(printed, -1, "g", again_diags);

    g_assert_cmpuint(again_diags->errors, ==, 0);
    g_assert_cmpuint(again->len, ==, rules->len);
    for (unsigned i = 0; i < rules->len; i++) {
        g_assert_true(rule_equal(rules->pdata[i], again->pdata[i]));
    }
    rules_verify(rules, NULL, NULL, 0, diags);
    findings = rule_diags_print(diags);
    g_assert_true(g_utf8_validate(findings, -1, NULL));
}
