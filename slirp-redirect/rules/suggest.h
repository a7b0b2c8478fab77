/* SPDX-License-Identifier: BSD-3-Clause */
/* "Did you mean": the known word nearest to a misspelt one. */
#ifndef SLIRP_REDIRECT_RULES_SUGGEST_H
#define SLIRP_REDIRECT_RULES_SUGGEST_H

#include "span.h"

/* The nearer of best (NULL = none yet) and word; NULL while none is near. */
const char *suggest_nearer(Span typed, const char *best, const char *word);

#endif
