/* SPDX-License-Identifier: BSD-3-Clause */
/* Random rules in the form the parser leaves them, and the properties that
 * hold for every text; shared by the property test and the fuzzer. */
#ifndef TESTS_RULES_RANDOM_RULE_H
#define TESTS_RULES_RANDOM_RULE_H

#include "rules/rule.h"

/* A valid rule; g_abort()s nowhere, frees with rule_free(). */
Rule *random_rule(GRand *rand);
/* Parses text; aborts unless it gives a rule that prints and parses as
 * itself, or at least one error with its column inside the text. */
void check_text(const char *text);
/* The same for a whole file. */
void check_lines(const char *text, gssize length);

#endif
