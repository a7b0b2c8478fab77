/* SPDX-License-Identifier: BSD-3-Clause */
/* The pool of buffers. */
#include <glib.h>
#include <string.h>

#include "engine/buffers.h"

enum { SIZE = 128 * 1024 };

static void test_reuse(void)
{
    Buffers pool = { 0 };
    char *first = buffers_get(&pool, SIZE);

    memset(first, 1, SIZE);
    buffers_put(&pool, first, SIZE);
    /* Nearly the same size will do as well. */
    g_assert_true(buffers_get(&pool, SIZE - 1460) == first);
    buffers_put(&pool, first, SIZE - 1460);
    g_assert_cmpuint(pool.count, ==, 1);
    buffers_done(&pool);
    g_assert_cmpuint(pool.count, ==, 0);
}

/* A buffer never comes back for a larger size than it was made for. */
static void test_sizes(void)
{
    Buffers pool = { 0 };
    char *small = buffers_get(&pool, SIZE), *large;

    buffers_put(&pool, small, SIZE);
    large = buffers_get(&pool, 4 * SIZE);
    memset(large, 1, 4 * SIZE);
    buffers_put(&pool, large, 4 * SIZE);
    g_assert_cmpuint(pool.count, ==, 1);
    large = buffers_get(&pool, 4 * SIZE);
    memset(large, 1, 4 * SIZE);
    buffers_put(&pool, large, 4 * SIZE);
    buffers_put(&pool, NULL, 4 * SIZE);
    buffers_done(&pool);
}

static void test_bound(void)
{
    void *buffers[3 * BUFFERS_KEPT];
    Buffers pool = { 0 };

    for (unsigned i = 0; i < G_N_ELEMENTS(buffers); i++) {
        buffers[i] = buffers_get(&pool, SIZE);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(buffers); i++) {
        buffers_put(&pool, buffers[i], SIZE);
    }
    g_assert_cmpuint(pool.count, ==, BUFFERS_KEPT);
    buffers_done(&pool);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/buffers/reuse", test_reuse);
    g_test_add_func("/buffers/sizes", test_sizes);
    g_test_add_func("/buffers/bound", test_bound);
    return g_test_run();
}
