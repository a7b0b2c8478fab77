/* SPDX-License-Identifier: BSD-3-Clause */
/* Pairs of endpoints as the guest sees them, and a bounded memory of them. */
#include "attach/tuples.h"

#include <string.h>

#include "engine/siphash.h"

typedef struct TupleNote {
    FlowTuple tuple;
    int mark;
    uint32_t seen;
    GList link;
} TupleNote;

FlowTuple tuple_of(const struct sockaddr_storage *lhost,
                   const struct sockaddr_storage *fhost)
{
    FlowTuple tuple;

    memset(&tuple, 0, sizeof(tuple));
    tuple.src =
        ipaddr_from_sockaddr((const struct sockaddr *)lhost, &tuple.src_port);
    tuple.dst =
        ipaddr_from_sockaddr((const struct sockaddr *)fhost, &tuple.dst_port);
    return tuple;
}

guint tuple_hash(gconstpointer tuple)
{
    return siphash(siphash_process_key(), tuple, sizeof(FlowTuple));
}

gboolean tuple_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(FlowTuple)) == 0;
}

void tuple_set_init(TupleSet *set)
{
    set->by_tuple =
        g_hash_table_new_full(tuple_hash, tuple_equal, NULL, g_free);
    g_queue_init(&set->by_age);
}

void tuple_set_done(TupleSet *set)
{
    /* The links of by_age are part of the notes, which go here. */
    g_hash_table_unref(set->by_tuple);
}

bool tuple_set_has(const TupleSet *set, const FlowTuple *tuple, int mark,
                   uint32_t now, uint32_t age_ms)
{
    const TupleNote *note = g_hash_table_lookup(set->by_tuple, tuple);

    return note != NULL && note->mark == mark && now - note->seen <= age_ms;
}

static void forget_oldest(TupleSet *set)
{
    TupleNote *note = set->by_age.head->data;

    g_queue_unlink(&set->by_age, &note->link);
    g_hash_table_remove(set->by_tuple, &note->tuple);
}

static TupleNote *note_new(TupleSet *set, const FlowTuple *tuple)
{
    TupleNote *note = g_new0(TupleNote, 1);

    if (set->by_age.length >= TUPLE_SET_MAX) {
        forget_oldest(set);
    }
    note->tuple = *tuple;
    note->link.data = note;
    g_hash_table_insert(set->by_tuple, &note->tuple, note);
    return note;
}

void tuple_set_note(TupleSet *set, const FlowTuple *tuple, int mark,
                    uint32_t now)
{
    TupleNote *note = g_hash_table_lookup(set->by_tuple, tuple);

    if (note == NULL) {
        note = note_new(set, tuple);
    } else {
        g_queue_unlink(&set->by_age, &note->link);
    }
    note->mark = mark;
    note->seen = now;
    g_queue_push_tail_link(&set->by_age, &note->link);
}
