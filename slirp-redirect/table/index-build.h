/* SPDX-License-Identifier: BSD-3-Clause */
/* What the two halves of the index compiler share. */
#ifndef SLIRP_REDIRECT_TABLE_INDEX_BUILD_H
#define SLIRP_REDIRECT_TABLE_INDEX_BUILD_H

#include "table/index.h"

/* Box numbers, ascending, and so in rule order. */
typedef struct BoxList {
    const uint32_t *at;
    uint32_t n;
} BoxList;

/* Flattens port ranges, span after span. */
typedef struct PortBuilder {
    const IndexBox *boxes;
    GArray *ports; /* uint16_t: the array of the Index, growing */
    /* Scratch: cell i is points[i] up to the next point. */
    GArray *points;    /* uint32_t, sorted, unique */
    GArray *cell_rule; /* uint32_t: the rule painted on the cell */
    GArray *cell_next; /* uint32_t: the first bare cell from here on */
} PortBuilder;

void port_builder_init(PortBuilder *builder, const IndexBox *boxes);
/* Frees the scratch; the caller gets the ports. */
GArray *port_builder_done(PortBuilder *builder);
/* A new span for these boxes, at least one. */
IndexSpan port_builder_add(PortBuilder *builder, BoxList list);

static inline GArray *array_u32(void)
{
    return g_array_new(FALSE, FALSE, sizeof(uint32_t));
}

static inline uint32_t *u32s(GArray *array)
{
    return (uint32_t *)(void *)array->data;
}

#endif
