/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Compares what the parser, printer and verifier say with golden files.
 *
 * NAME.in holds rules, one a line, each parsed alone as by redirect=. NAME.conf
 * is a rule file, parsed as a whole and verified; NAME.net.conf is verified for
 * the default virtual network and the port forwardings below. The output of
 * either stands in NAME.ok. After a wanted change of wording run
 *
 *     UPDATE_GOLDEN=1 meson test -C build --suite rules
 *
 * and read the difference before committing it.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "rules/rule.h"

static const char *golden_dir;

static RuleNet default_net(void)
{
    RuleNet net = { .vnet4 = { .len = 24 }, .vnet6 = { .len = 64 } };

    g_assert_true(ipaddr_parse("10.0.2.0", &net.vnet4.addr));
    g_assert_true(ipaddr_parse("fec0::", &net.vnet6.addr));
    g_assert_true(ipaddr_parse("10.0.2.2", &net.host4));
    g_assert_true(ipaddr_parse("fec0::2", &net.host6));
    g_assert_true(ipaddr_parse("10.0.2.3", &net.dns4));
    g_assert_true(ipaddr_parse("fec0::3", &net.dns6));
    return net;
}

static const RuleHostfwd hostfwds[] = {
    { RULE_TCP, { AF_INET, { 0 } }, 2222 },
    { RULE_TCP, { AF_INET, { 127, 0, 0, 1 } }, 5555 },
    { RULE_UDP, { AF_INET, { 192, 0, 2, 1 } }, 5353 },
    { RULE_TCP, { AF_INET6, { 0 } }, 2266 },
};

/* The canonical form must parse to an equal rule and print as itself. */
static void check_canonical(const Rule *rule, const char *text)
{
    RulePos pos = { "again", 0, 1 };
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(Rule) again = rule_parse(text, &pos, diags);
    g_autofree char *printed = again ? rule_print(again) : NULL;

    g_assert_nonnull(again);
    g_assert_true(rule_equal(rule, again));
    g_assert_cmpstr(printed, ==, text);
}

static void run_rule(GString *out, const char *line)
{
    /* Escapes as in C, so that any byte can be tested; "" is the empty rule. */
    g_autofree char *text =
        g_strcompress(g_str_equal(line, "\"\"") ? "" : line);
    RulePos pos = { "redirect=", 0, 1 };
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(Rule) rule = rule_parse(text, &pos, diags);
    g_autofree char *printed = NULL;

    if (rule) {
        printed = rule_print(rule);
        check_canonical(rule, printed);
        g_string_append_printf(out, "%s\n    => %s\n\n", line, printed);
        g_assert_cmpuint(diags->errors, ==, 0);
    } else {
        printed = rule_diags_print(diags);
        g_string_append_printf(out, "%s\n%s\n\n", line, printed);
        g_assert_cmpuint(diags->errors, >, 0);
    }
}

static char *run_rules(const char *input)
{
    GString *out = g_string_new("");
    g_auto(GStrv) lines = g_strsplit(input, "\n", -1);

    for (unsigned i = 0; lines[i]; i++) {
        if (g_str_has_prefix(lines[i], "# ")) {
            g_string_append_printf(out, "%s\n\n", lines[i]);
        } else if (lines[i][0] != '\0') {
            run_rule(out, lines[i]);
        }
    }
    return g_string_free(out, FALSE);
}

static char *run_file(const char *name, const char *input, gsize length)
{
    GString *out = g_string_new("");
    RuleNet net = default_net();
    bool with_net = g_str_has_suffix(name, ".net.conf");
    g_autoptr(RuleDiags) diags = rule_diags_new();
    GPtrArray *rules = rules_parse_lines(input, (gssize)length, name, diags);
    g_autofree char *findings = NULL, *printed = rules_print(rules);

    rules_verify(rules, with_net ? &net : NULL, with_net ? hostfwds : NULL,
                 with_net ? G_N_ELEMENTS(hostfwds) : 0, diags);
    findings = rule_diags_print(diags);
    g_string_append_printf(out, "%s\n--- %u errors; the rules:\n%s", findings,
                           diags->errors, printed);
    g_ptr_array_unref(rules);
    return g_string_free(out, FALSE);
}

static void show_difference(const char *ok_path, const char *actual)
{
    g_autofree char *path = NULL, *out = NULL;
    char *argv[] = { (char *)"diff", (char *)"-u", (char *)ok_path, NULL,
                     NULL };
    int fd = g_file_open_tmp("golden-XXXXXX", &path, NULL);

    g_assert_cmpint(fd, >=, 0);
    g_assert_true(g_close(fd, NULL));
    g_assert_true(g_file_set_contents(path, actual, -1, NULL));
    argv[3] = path;
    if (g_spawn_sync(NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out,
                     NULL, NULL, NULL)) {
        g_test_message("%s", out);
    }
    g_remove(path);
}

static void test_golden(gconstpointer data)
{
    const char *name = data;
    g_autofree char *in_path = g_build_filename(golden_dir, name, NULL);
    g_autofree char *stem =
        g_strndup(in_path, (gsize)(strrchr(in_path, '.') - in_path));
    g_autofree char *ok_path = g_strconcat(stem, ".ok", NULL);
    g_autofree char *input = NULL, *expected = NULL, *actual = NULL;
    gsize length;

    g_assert_true(g_file_get_contents(in_path, &input, &length, NULL));
    actual = g_str_has_suffix(name, ".in") ? run_rules(input)
                                           : run_file(name, input, length);
    if (g_getenv("UPDATE_GOLDEN")) {
        g_assert_true(g_file_set_contents(ok_path, actual, -1, NULL));
        return;
    }
    g_assert_true(g_file_get_contents(ok_path, &expected, NULL, NULL));
    if (!g_str_equal(actual, expected)) {
        show_difference(ok_path, actual);
        g_test_fail_printf("output differs from %s", ok_path);
    }
}

int main(int argc, char **argv)
{
    g_autoptr(GDir) dir = NULL;
    const char *name;

    g_test_init(&argc, &argv, NULL);
    golden_dir = argv[1];
    dir = g_dir_open(golden_dir, 0, NULL);
    g_assert_nonnull(dir);
    while ((name = g_dir_read_name(dir))) {
        if (g_str_has_suffix(name, ".in") || g_str_has_suffix(name, ".conf")) {
            g_autofree char *path = g_strconcat("/rules/golden/", name, NULL);

            g_test_add_data_func_full(path, g_strdup(name), test_golden,
                                      g_free);
        }
    }
    return g_test_run();
}
