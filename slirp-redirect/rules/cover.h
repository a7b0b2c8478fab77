/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds the earlier rule that leaves a later one nothing to match. */
#ifndef SLIRP_REDIRECT_RULES_COVER_H
#define SLIRP_REDIRECT_RULES_COVER_H

#include "rule.h"

typedef struct CoverIndex CoverIndex;

/* net may be NULL: then keywords whose addresses it decides stay opaque. */
CoverIndex *cover_index_new(const RuleNet *net);
void cover_index_free(CoverIndex *index);
/*
 * The first earlier rule that alone matches everything rule matches, or NULL
 * and rule is remembered as an earlier one. Rules must outlive the index.
 */
const Rule *cover_index_add(CoverIndex *index, const Rule *rule);

#endif
