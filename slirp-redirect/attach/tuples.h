/* SPDX-License-Identifier: BSD-3-Clause */
/* Pairs of endpoints as the guest sees them, and a bounded memory of them. */
#ifndef SLIRP_REDIRECT_ATTACH_TUPLES_H
#define SLIRP_REDIRECT_ATTACH_TUPLES_H

#include <glib.h>

#include "rules/addr.h"

/* A flow as the guest sees it; compared byte for byte, padding is zero. */
typedef struct FlowTuple {
    IpAddr src, dst;
    uint16_t src_port, dst_port; /* host order */
} FlowTuple;

/* lhost: the guest's end. Both are of an IP family. */
FlowTuple tuple_of(const struct sockaddr_storage *lhost,
                   const struct sockaddr_storage *fhost);
/* For hash tables whose keys are FlowTuple *; keyed, as guests choose them. */
guint tuple_hash(gconstpointer tuple);
gboolean tuple_equal(gconstpointer a, gconstpointer b);

/*
 * The tuples seen last, each with a mark of the caller's. A full set forgets
 * the one that was seen least recently, so that no guest makes it grow.
 */
typedef struct TupleSet {
    GHashTable *by_tuple; /* FlowTuple * -> TupleNote *, which holds the key */
    GQueue by_age;        /* TupleNote, the oldest first */
} TupleSet;

enum { TUPLE_SET_MAX = 4096 };

void tuple_set_init(TupleSet *set);
void tuple_set_done(TupleSet *set);
/* Was the tuple seen with this mark, at most age_ms before now (ms, may wrap)?
 * Changes nothing. */
bool tuple_set_has(const TupleSet *set, const FlowTuple *tuple, int mark,
                   uint32_t now, uint32_t age_ms);
/* Notes that the tuple was seen now. */
void tuple_set_note(TupleSet *set, const FlowTuple *tuple, int mark,
                    uint32_t now);

#endif
