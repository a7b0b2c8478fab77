/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool of equal buffers. */
#include "engine/buffers.h"

#include <glib.h>

/* Sizes are rounded up to this, so that nearly equal ones share buffers. */
#define STEP ((size_t)64 * 1024)

static size_t rounded(size_t size)
{
    return (size + STEP - 1) / STEP * STEP;
}

void buffers_done(Buffers *pool)
{
    while (pool->count > 0) {
        g_free(pool->kept[--pool->count]);
    }
}

static void change_size(Buffers *pool, size_t size)
{
    buffers_done(pool);
    pool->size = size;
}

void *buffers_get(Buffers *pool, size_t size)
{
    size = rounded(size);
    if (pool->size == size && pool->count > 0) {
        return pool->kept[--pool->count];
    }
    return g_malloc(size);
}

void buffers_put(Buffers *pool, void *buffer, size_t size)
{
    size = rounded(size);
    if (pool->size != size) {
        change_size(pool, size);
    }
    if (buffer != NULL && pool->count < BUFFERS_KEPT) {
        pool->kept[pool->count++] = buffer;
    } else {
        g_free(buffer);
    }
}
