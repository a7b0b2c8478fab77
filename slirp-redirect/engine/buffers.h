/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large buffers that are wanted for a short time: a few stay at hand instead
 * of going back to the system each time.
 */
#ifndef SLIRP_REDIRECT_ENGINE_BUFFERS_H
#define SLIRP_REDIRECT_ENGINE_BUFFERS_H

#include <stddef.h>

enum { BUFFERS_KEPT = 16 };

typedef struct Buffers {
    size_t size; /* of those at hand, which all have the same */
    unsigned count;
    void *kept[BUFFERS_KEPT];
} Buffers;

/* All zero is a pool without buffers. */
void buffers_done(Buffers *pool);
/* A buffer of at least size bytes; its content is not defined. */
void *buffers_get(Buffers *pool, size_t size);
/* Takes back what buffers_get() gave for the same size, or NULL. */
void buffers_put(Buffers *pool, void *buffer, size_t size);

#endif
