/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the word a person probably meant, by a small edit distance. */
#include "suggest.h"

#include <string.h>

enum { WORD_MAX = 24 };

/*
 * Optimal string alignment: insertions, deletions, substitutions and swaps of
 * neighbours each cost 1; letter case costs nothing.
 */
static unsigned edit_distance(Span typed, const char *word)
{
    unsigned d[WORD_MAX + 1][WORD_MAX + 1];
    size_t n = strlen(word);

    for (size_t i = 0; i <= typed.len; i++) {
        d[i][0] = (unsigned)i;
        for (size_t j = 1; j <= n; j++) {
            if (i == 0) {
                d[0][j] = (unsigned)j;
                continue;
            }
            char a = g_ascii_tolower(typed.at[i - 1]), b = word[j - 1];

            d[i][j] = MIN(MIN(d[i - 1][j], d[i][j - 1]) + 1,
                          d[i - 1][j - 1] + (a != b));
            if (i > 1 && j > 1 && a == word[j - 2] &&
                g_ascii_tolower(typed.at[i - 2]) == b) {
                d[i][j] = MIN(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[typed.len][n];
}

static unsigned distance_of(Span typed, const char *word)
{
    if (typed.len == 0 || typed.len > WORD_MAX || strlen(word) > WORD_MAX) {
        return G_MAXUINT;
    }
    return edit_distance(typed, word);
}

const char *suggest_nearer(Span typed, const char *best, const char *word)
{
    /* One slip in a short word, two in a longer one: more is guessing. */
    unsigned limit = strlen(word) < 6 ? 1 : 2;
    unsigned distance = distance_of(typed, word);

    if (distance > limit || (best && distance >= distance_of(typed, best))) {
        return best;
    }
    return word;
}
