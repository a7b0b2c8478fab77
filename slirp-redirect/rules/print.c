/* SPDX-License-Identifier: BSD-3-Clause */
/* Prints a rule in its canonical spelling. */
#include "parse.h"

static char *print(const Rule *rule, bool masked)
{
    GString *out = g_string_sized_new(48);

    print_match(out, rule);
    g_string_append_c(out, '-');
    print_target(out, rule, masked);
    print_options(out, rule);
    return g_string_free(out, FALSE);
}

char *rule_print(const Rule *rule)
{
    return print(rule, false);
}

char *rule_print_masked(const Rule *rule)
{
    return print(rule, true);
}
