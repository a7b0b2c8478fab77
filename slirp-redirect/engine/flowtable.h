/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hash table of flows that costs no allocation for each of them: the node
 * is a member of what is looked up.
 *
 * The caller hashes the key, with siphash() if anybody outside can choose it,
 * and compares keys. Of nodes with equal keys the one added last is found.
 */
#ifndef SLIRP_REDIRECT_ENGINE_FLOWTABLE_H
#define SLIRP_REDIRECT_ENGINE_FLOWTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct FlowNode {
    struct FlowNode *next;
    struct FlowNode **back; /* what points here; NULL = in no table */
    uint64_t hash;
} FlowNode;

typedef struct FlowTable {
    FlowNode **buckets;
    size_t mask; /* how many of them, a power of two, less one */
    size_t count;
} FlowTable;

void flowtable_init(FlowTable *table);
/* Forgets all nodes. */
void flowtable_done(FlowTable *table);
/* Adds a node that is in no table. */
void flowtable_add(FlowTable *table, FlowNode *node, uint64_t hash);
/* A node in no table is left alone. */
void flowtable_remove(FlowTable *table, FlowNode *node);
/*
 * The first node with that hash, and the next one. They may still differ from
 * the key that is looked for.
 */
FlowNode *flowtable_first(const FlowTable *table, uint64_t hash);
FlowNode *flowtable_next(const FlowNode *node);

#endif
