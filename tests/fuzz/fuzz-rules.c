/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any text, as one rule, as words and as a file: a rule that prints and parses
 * as itself, or errors that point inside the text.
 */
#include <stddef.h>
#include <stdint.h>

#include "../rules/random-rule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) words = rules_parse_words(text, "fuzz", diags);

    check_text(text);
    check_lines((const char *)data, (gssize)size);
    rules_verify(words, NULL, NULL, 0, diags);
    return 0;
}
