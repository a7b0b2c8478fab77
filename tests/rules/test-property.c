/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Properties of the rule language on random data. RULES_SEED repeats a run,
 * RULES_COUNT makes it longer.
 */
#include <stdlib.h>
#include <string.h>

#include "random-rule.h"

static unsigned count = 200000;
static guint32 seed;

static void test_inverse(void)
{
    GRand *rand = g_rand_new_with_seed(seed);
    RulePos pos = { "random", 0, 1 };

    for (unsigned i = 0; i < count; i++) {
        g_autoptr(Rule) rule = random_rule(rand);
        g_autofree char *text = rule_print(rule), *text2 = NULL;
        g_autoptr(RuleDiags) diags = rule_diags_new();
        g_autoptr(Rule) parsed = rule_parse(text, &pos, diags);
        g_autoptr(Rule) copy = rule_copy(rule);

        if (!parsed) {
            g_autofree char *findings = rule_diags_print(diags);

            g_error("not parsed: %s", findings);
        }
        text2 = rule_print(parsed);
        g_assert_cmpstr(text, ==, text2);
        g_assert_true(rule_equal(rule, parsed));
        g_assert_true(rule_equal(rule, copy));
    }
    g_rand_free(rand);
}

/* Replaces, removes, repeats or inserts a piece here and there. */
static void mutate(GRand *rand, GString *text)
{
    static const char *const pieces[] = {
        "-",     ":",       "[",      "]",           "@",        "+",
        "%",     "..",      "*",      ",",           " ",        "0",
        "65536", "//",      "unix:",  "://",         "tcp",      "\x01",
        "\xff",  "%00",     "host",   "#",           "::",       "=",
        "1.2.3", "fe80::1", "+name=", "http://u:p@", "\xc3\xa9",
    };
    gssize at = g_rand_int_range(rand, 0, (gint32)text->len + 1);

    switch (g_rand_int_range(rand, 0, 4)) {
    case 0:
        g_string_truncate(text, (gsize)at);
        break;
    case 1:
        g_string_erase(text, at, MIN(1, (gssize)text->len - at));
        break;
    case 2:
        g_string_insert_c(text, at, (char)g_rand_int_range(rand, 1, 256));
        break;
    default:
        g_string_insert(
            text, at, pieces[g_rand_int_range(rand, 0, G_N_ELEMENTS(pieces))]);
    }
}

static void test_mutations(void)
{
    GRand *rand = g_rand_new_with_seed(seed + 1);

    for (unsigned i = 0; i < count; i++) {
        g_autoptr(Rule) rule = random_rule(rand);
        g_autofree char *canonical = rule_print(rule);
        GString *text = g_string_new(canonical);

        for (int n = g_rand_int_range(rand, 1, 4); n > 0; n--) {
            mutate(rand, text);
        }
        check_text(text->str);
        g_string_free(text, TRUE);
    }
    g_rand_free(rand);
}

static void test_files(void)
{
    static const char *const sections[] = { "[*]\n", "[10.0.2.0/24]\n",
                                            "[fec0::/64]\r\n", "[x\n",
                                            "# x\n" };
    GRand *rand = g_rand_new_with_seed(seed + 2);

    for (unsigned i = 0; i < count / 100; i++) {
        GString *text = g_string_new("");

        for (int n = g_rand_int_range(rand, 0, 12); n > 0; n--) {
            g_autoptr(Rule) rule = random_rule(rand);
            g_autofree char *line = rule_print(rule);

            if (g_rand_boolean(rand)) {
                g_string_append(text, sections[g_rand_int_range(rand, 0, 5)]);
            }
            g_string_append_printf(text, "%s\n", line);
        }
        mutate(rand, text);
        check_lines(text->str, (gssize)text->len);
        g_string_free(text, TRUE);
    }
    g_rand_free(rand);
}

static void test_bytes(void)
{
    static const char nul[] = "tcp:80-:80\0"
                              "80\ntcp:81-:81\n";
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) rules =
        rules_parse_lines(nul, sizeof(nul) - 1, "nul", diags);
    g_autofree char *longest = g_strnfill(4097, '8');

    g_assert_cmpuint(diags->errors, ==, 1);
    g_assert_cmpuint(rules->len, ==, 1);
    check_text(longest);
    longest[4096] = '\0';
    check_text(longest);
    check_text("");
}

/* No fault of a rule with a password may show it. */
static void test_secret(void)
{
    GRand *rand = g_rand_new_with_seed(seed + 3);
    RulePos pos = { "secret", 0, 1 };

    for (unsigned i = 0; i < count / 10; i++) {
        GString *text = g_string_new("tcp:443-http://user:QQQQ@proxy:3128");
        gsize secret = (gsize)(strstr(text->str, "QQQQ") - text->str);
        g_autoptr(RuleDiags) diags = rule_diags_new();
        g_autofree char *findings = NULL;
        Rule *rule;

        /* Behind the "@" anything may be wrong. */
        g_string_insert_c(
            text,
            g_rand_int_range(rand, (gint32)secret + 5, (gint32)text->len + 1),
            (char)g_rand_int_range(rand, 1, 256));
        rule = rule_parse(text->str, &pos, diags);
        findings = rule_diags_print(diags);
        g_assert_null(strstr(findings, "QQQQ"));
        if (rule) {
            g_autofree char *masked = rule_print_masked(rule);

            g_assert_null(strstr(masked, "QQQQ"));
        }
        rule_free(rule);
        g_string_free(text, TRUE);
    }
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    const char *env = g_getenv("RULES_SEED");

    g_test_init(&argc, &argv, NULL);
    seed = env ? (guint32)strtoul(env, NULL, 0) : g_random_int();
    if (g_getenv("RULES_COUNT")) {
        count = (unsigned)strtoul(g_getenv("RULES_COUNT"), NULL, 0);
    }
    g_test_message("RULES_SEED=%u", seed);
    g_test_add_func("/rules/property/inverse", test_inverse);
    g_test_add_func("/rules/property/mutations", test_mutations);
    g_test_add_func("/rules/property/files", test_files);
    g_test_add_func("/rules/property/bytes", test_bytes);
    g_test_add_func("/rules/property/secret", test_secret);
    return g_test_run();
}
