/* SPDX-License-Identifier: BSD-3-Clause */
/* `slirp-redirect check`: rules in, the canonical table or the errors out. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

static bool set_net(void *state, const char *value, GError **error)
{
    return cli_net_set4(state, value, error);
}

static bool set_net6(void *state, const char *value, GError **error)
{
    return cli_net_set6(state, value, error);
}

static const CliOption check_options[] = {
    { "--net", true, set_net },
    { "--net6", true, set_net6 },
    { "--help", false, NULL },
    { NULL, false, NULL },
};

/* A rule may hold a slash, and a file name a colon: what exists is a file. */
static bool is_file(const char *word)
{
    if (strcmp(word, "-") == 0 || word[0] == '/' || word[0] == '.' ||
        g_file_test(word, G_FILE_TEST_EXISTS))
        return true;
    return strchr(word, '/') && !(strchr(word, ':') && strchr(word, '-'));
}

static bool add_word(GPtrArray *rules, const char *word, RuleDiags *diags)
{
    g_autoptr(GError) error = NULL;

    if (!is_file(word)) {
        cli_add_words(rules, word, "argument", diags);
        return true;
    }
    if (cli_add_file(rules, word, diags, &error))
        return true;
    cli_complain("check: %s", error->message);
    return false;
}

static int check(char **operands, const RuleNet *net)
{
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) rules = cli_rules_new();

    if (!operands[0]) {
        cli_complain("check: needs a FILE, a RULE, or - for standard input");
        return CLI_USAGE;
    }
    for (; *operands; operands++) {
        if (!add_word(rules, *operands, diags))
            return CLI_USAGE;
    }
    if (!cli_verify(rules, net, NULL, diags))
        return CLI_NO;
    g_autofree char *text = rules_print(rules);
    fputs(text, stdout);
    return CLI_OK;
}

int cmd_check(char **words)
{
    RuleNet net = cli_net_default();
    GError *error = NULL;
    g_autofree char **operands =
        cli_options_parse(words, check_options, CLI_ORDER_ANY, &net, &error);

    return operands ? check(operands, &net)
                    : cli_options_failed("check", error);
}
