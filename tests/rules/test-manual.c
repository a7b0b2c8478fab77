/* SPDX-License-Identifier: BSD-3-Clause */
/* Parses the rules shown in the manual page. */
#include <string.h>

#include "rules/rule.h"

static const char *manual;

/* The display lines between the two marks, as a rule file. */
static char *extract(const char *text)
{
    GString *out = g_string_new("");
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    bool inside = false;

    for (unsigned i = 0; lines[i]; i++) {
        if (strstr(lines[i], ".\\\" BEGIN RULES")) {
            inside = true;
            /* Each display is a file of its own. */
            g_string_append(out, "[*]\n");
        } else if (strstr(lines[i], ".\\\" END RULES")) {
            inside = false;
        } else if (inside && lines[i][0] != '.') {
            g_auto(GStrv) parts = g_strsplit(lines[i], "\\-", -1);
            g_autofree char *line = g_strjoinv("-", parts);

            g_string_append_printf(out, "%s\n", line);
        }
    }
    return g_string_free(out, FALSE);
}

static void test_manual(void)
{
    g_autofree char *text = NULL, *rules_text = NULL, *findings = NULL;
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) rules = NULL;

    g_assert_true(g_file_get_contents(manual, &text, NULL, NULL));
    rules_text = extract(text);
    rules = rules_parse_lines(rules_text, -1, "manual", diags);
    findings = rule_diags_print(diags);
    g_assert_cmpstr(findings, ==, "");
    g_assert_cmpuint(rules->len, >=, 20);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    manual = argv[1];
    g_test_add_func("/rules/manual", test_manual);
    return g_test_run();
}
