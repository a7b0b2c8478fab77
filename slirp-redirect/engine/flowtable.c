/* SPDX-License-Identifier: BSD-3-Clause */
/* A chained hash table with its nodes inside of the entries. */
#include "engine/flowtable.h"

#include <glib.h>

enum { BUCKETS_MIN = 16 };

void flowtable_init(FlowTable *table)
{
    table->buckets = g_new0(FlowNode *, BUCKETS_MIN);
    table->mask = BUCKETS_MIN - 1;
    table->count = 0;
}

void flowtable_done(FlowTable *table)
{
    for (size_t i = 0; i <= table->mask; i++) {
        for (FlowNode *n = table->buckets[i]; n != NULL; n = n->next) {
            n->back = NULL;
        }
    }
    g_clear_pointer(&table->buckets, g_free);
}

/* Puts the node at the head of a chain. */
static void link_node(FlowNode **head, FlowNode *node)
{
    node->next = *head;
    node->back = head;
    if (node->next != NULL) {
        node->next->back = &node->next;
    }
    *head = node;
}

/* Moves a chain over, the last node first, so that equal ones keep their
 * order. */
static void move_chain(FlowTable *to, FlowNode *chain)
{
    FlowNode *reversed = NULL;

    while (chain != NULL) {
        FlowNode *next = chain->next;

        chain->next = reversed;
        reversed = chain;
        chain = next;
    }
    while (reversed != NULL) {
        FlowNode *next = reversed->next;

        link_node(&to->buckets[reversed->hash & to->mask], reversed);
        reversed = next;
    }
}

static void resize(FlowTable *table, size_t buckets)
{
    FlowTable bigger = { g_new0(FlowNode *, buckets), buckets - 1,
                         table->count };

    for (size_t i = 0; i <= table->mask; i++) {
        move_chain(&bigger, table->buckets[i]);
    }
    g_free(table->buckets);
    *table = bigger;
}

void flowtable_add(FlowTable *table, FlowNode *node, uint64_t hash)
{
    g_assert(node->back == NULL);
    if (table->count > table->mask) {
        resize(table, 2 * (table->mask + 1));
    }
    node->hash = hash;
    link_node(&table->buckets[hash & table->mask], node);
    table->count++;
}

void flowtable_remove(FlowTable *table, FlowNode *node)
{
    if (node->back == NULL) {
        return;
    }
    *node->back = node->next;
    if (node->next != NULL) {
        node->next->back = node->back;
    }
    node->back = NULL;
    table->count--;
    /* Far below half, so that a table at the edge is not resized each time. */
    if (table->mask / 2 >= BUCKETS_MIN && table->count < table->mask / 8) {
        resize(table, (table->mask + 1) / 2);
    }
}

static FlowNode *skip(FlowNode *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash) {
        node = node->next;
    }
    return node;
}

FlowNode *flowtable_first(const FlowTable *table, uint64_t hash)
{
    return skip(table->buckets[hash & table->mask], hash);
}

FlowNode *flowtable_next(const FlowNode *node)
{
    return skip(node->next, node->hash);
}
