/* SPDX-License-Identifier: BSD-3-Clause */
/* The hash table of flows, against an array on random operations. */
#include <glib.h>

#include "engine/flowtable.h"

enum { FLOWS = 2000, STEPS = 200000 };

typedef struct Flow {
    FlowNode node; /* first, so that a node is a flow */
    unsigned key;
    unsigned added; /* when; 0 = it is not in the table */
} Flow;

/* Few values: many keys share one. */
static uint64_t hash_of(unsigned key)
{
    return key % 97;
}

static Flow *find(const FlowTable *table, unsigned key)
{
    FlowNode *node = flowtable_first(table, hash_of(key));

    while (node != NULL && ((Flow *)node)->key != key) {
        node = flowtable_next(node);
    }
    return (Flow *)node;
}

static Flow *find_naively(Flow *flows, unsigned key)
{
    Flow *found = NULL;

    for (unsigned i = 0; i < FLOWS; i++) {
        if (flows[i].added && flows[i].key == key &&
            (found == NULL || flows[i].added > found->added)) {
            found = &flows[i];
        }
    }
    return found;
}

static void test_random(void)
{
    g_autofree Flow *flows = g_new0(Flow, FLOWS);
    unsigned count = 0;
    FlowTable table;

    flowtable_init(&table);
    for (unsigned step = 1; step <= STEPS; step++) {
        Flow *flow = &flows[g_test_rand_int_range(0, FLOWS)];

        if (flow->added) {
            flowtable_remove(&table, &flow->node);
            flow->added = 0;
            count--;
        } else {
            flow->key = (unsigned)g_test_rand_int_range(0, FLOWS / 2);
            flow->added = step;
            flowtable_add(&table, &flow->node, hash_of(flow->key));
            count++;
        }
        g_assert_cmpuint(table.count, ==, count);
        if (step % 16 == 0) {
            unsigned key = (unsigned)g_test_rand_int_range(0, FLOWS / 2);

            g_assert_true(find(&table, key) == find_naively(flows, key));
        }
    }
    flowtable_done(&table);
}

static void test_removed_twice(void)
{
    Flow flow = { .key = 1 };
    FlowTable table;

    flowtable_init(&table);
    flowtable_remove(&table, &flow.node);
    flowtable_add(&table, &flow.node, 1);
    flowtable_remove(&table, &flow.node);
    flowtable_remove(&table, &flow.node);
    g_assert_cmpuint(table.count, ==, 0);
    g_assert_null(flowtable_first(&table, 1));
    flowtable_done(&table);
}

/* A table that was large once gives its memory back. */
static void test_shrinks(void)
{
    g_autofree Flow *flows = g_new0(Flow, FLOWS);
    FlowTable table;

    flowtable_init(&table);
    for (unsigned i = 0; i < FLOWS; i++) {
        flowtable_add(&table, &flows[i].node, i);
    }
    g_assert_cmpuint(table.mask, >=, FLOWS / 2);
    for (unsigned i = 0; i < FLOWS; i++) {
        flowtable_remove(&table, &flows[i].node);
    }
    g_assert_cmpuint(table.mask, <, 64);
    flowtable_done(&table);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/flowtable/random", test_random);
    g_test_add_func("/flowtable/removed-twice", test_removed_twice);
    g_test_add_func("/flowtable/shrinks", test_shrinks);
    return g_test_run();
}
