/* SPDX-License-Identifier: BSD-3-Clause */
/* Compiling rules into the index: ports. index.h explains it. */
#include <string.h>

#include "table/index-build.h"

/* Up to here, sorting by insertion beats marking bits. */
enum { FEW_POINTS = 48 };

void port_builder_init(PortBuilder *builder, const IndexBox *boxes)
{
    builder->boxes = boxes;
    builder->ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));
    builder->points = array_u32();
    builder->cell_rule = array_u32();
    builder->cell_next = array_u32();
}

GArray *port_builder_done(PortBuilder *builder)
{
    g_array_unref(builder->points);
    g_array_unref(builder->cell_rule);
    g_array_unref(builder->cell_next);
    return builder->ports;
}

/* Sorts by insertion and drops doubles; returns how many are left. */
static uint32_t sort_few(uint32_t *points, uint32_t n)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t point = points[i], at = kept;

        while (at > 0 && points[at - 1] > point) {
            at--;
        }
        if (at > 0 && points[at - 1] == point) {
            continue;
        }
        memmove(&points[at + 1], &points[at], (kept - at) * sizeof(*points));
        points[at] = point;
        kept++;
    }
    return kept;
}

/* The same with a bit for every port. */
static uint32_t sort_many(uint32_t *points, uint32_t n)
{
    uint64_t marks[(UINT16_MAX + 1) / 64] = { 0 };
    uint32_t kept = 0;

    for (uint32_t i = 0; i < n; i++) {
        marks[points[i] / 64] |= UINT64_C(1) << points[i] % 64;
    }
    for (uint32_t word = 0; word < G_N_ELEMENTS(marks); word++) {
        for (uint64_t left = marks[word]; left; left &= left - 1) {
            points[kept++] = word * 64 + __builtin_ctzll(left);
        }
    }
    return kept;
}

/* Every port at which the set of covering ranges may change. */
static void collect_points(PortBuilder *builder, BoxList list)
{
    GArray *points = builder->points;
    uint32_t point = 0, kept;

    g_array_set_size(points, 0);
    g_array_append_val(points, point);
    for (uint32_t i = 0; i < list.n; i++) {
        const IndexBox *box = &builder->boxes[list.at[i]];

        point = box->port_lo;
        g_array_append_val(points, point);
        point = box->port_hi + 1u;
        if (point <= UINT16_MAX) {
            g_array_append_val(points, point);
        }
    }
    kept = points->len <= FEW_POINTS ? sort_few(u32s(points), points->len)
                                     : sort_many(u32s(points), points->len);
    g_array_set_size(points, kept);
}

static uint32_t find_point(PortBuilder *builder, uint32_t port)
{
    const uint32_t *points = u32s(builder->points);
    uint32_t base = 0, n = builder->points->len;

    while (n > 1) {
        uint32_t half = n / 2;

        base += points[base + half] <= port ? half : 0;
        n -= half;
    }
    return base;
}

/* The first bare cell from cell on; halves the path it walks. */
static uint32_t find_bare(uint32_t *next, uint32_t cell)
{
    while (next[cell] != cell) {
        next[cell] = next[next[cell]];
        cell = next[cell];
    }
    return cell;
}

/*
 * Paints every range, lowest rule first, on the cells that are still bare.
 * Painted cells are skipped by the links of a disjoint-set forest, so that
 * no cell is looked at more than a few times however the ranges overlap.
 */
static void paint_cells(PortBuilder *builder, BoxList list)
{
    uint32_t n = builder->points->len;
    const uint32_t *points = u32s(builder->points);
    uint32_t *rule, *next;

    g_array_set_size(builder->cell_rule, n);
    g_array_set_size(builder->cell_next, n + 1);
    rule = u32s(builder->cell_rule);
    next = u32s(builder->cell_next);
    for (uint32_t i = 0; i < n; i++) {
        rule[i] = INDEX_NONE;
        next[i] = i;
    }
    next[n] = n;
    for (uint32_t i = 0; i < list.n; i++) {
        const IndexBox *box = &builder->boxes[list.at[i]];
        uint32_t cell = find_bare(next, find_point(builder, box->port_lo));

        while (cell < n && points[cell] <= box->port_hi) {
            rule[cell] = box->rule;
            next[cell] = cell + 1;
            cell = find_bare(next, cell + 1);
        }
    }
}

/* Cells of one rule that touch become one; returns how many are left. */
static uint32_t join_cells(PortBuilder *builder)
{
    uint32_t *points = u32s(builder->points);
    uint32_t *rule = u32s(builder->cell_rule);
    uint32_t kept = 1;

    for (uint32_t i = 1; i < builder->points->len; i++) {
        if (rule[i] != rule[kept - 1]) {
            points[kept] = points[i];
            rule[kept++] = rule[i];
        }
    }
    g_array_set_size(builder->points, kept);
    return kept;
}

static void write_directory(PortBuilder *builder, uint16_t *to)
{
    for (uint32_t high = 0; high < INDEX_PORT_DIRECTORY_LEN; high++) {
        to[high] = find_point(builder, high << 8);
    }
}

IndexSpan port_builder_add(PortBuilder *builder, BoxList list)
{
    IndexSpan span = { .start = builder->ports->len };
    uint32_t directory_len;
    uint16_t *to;

    collect_points(builder, list);
    paint_cells(builder, list);
    span.n = join_cells(builder);
    directory_len = index_directory_len(span.n);
    g_array_set_size(builder->ports, span.start + directory_len + 3 * span.n);
    to = &g_array_index(builder->ports, uint16_t, span.start);
    if (directory_len) {
        write_directory(builder, to);
        to += directory_len;
    }
    for (uint32_t i = 0; i < span.n; i++) {
        uint32_t rule = u32s(builder->cell_rule)[i];

        to[i] = u32s(builder->points)[i];
        to[span.n + 2 * i] = rule & 0xffff;
        to[span.n + 2 * i + 1] = rule >> 16;
    }
    return span;
}
