/* SPDX-License-Identifier: BSD-3-Clause */
/* Searching the index; index.h explains it. */
#include "table/index.h"

static uint64_t load_be64(const uint8_t *bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

IndexAddr index_addr(const IpAddr *addr)
{
    /* The unused bytes of an IPv4 address are zero. */
    return (IndexAddr){ load_be64(addr->bytes), load_be64(addr->bytes + 8) };
}

IndexPrefix index_prefix(const IpPrefix *prefix)
{
    return (IndexPrefix){ index_addr(&prefix->addr), prefix->len };
}

/*
 * The searches below look for the last bound that is not above the key. The
 * first bound never is. They halve without branches on the data, which are
 * unpredictable by nature.
 */
static size_t search_hi(const uint64_t *hi, size_t n, uint64_t key)
{
    const uint64_t *base = hi;

    while (n > 1) {
        size_t half = n / 2;

        base += base[half] <= key ? half : 0;
        n -= half;
    }
    return base - hi;
}

static size_t search_hi_lo(const uint64_t *hi, const uint64_t *lo, size_t n,
                           const IndexAddr *key)
{
    size_t base = 0;

    while (n > 1) {
        size_t half = n / 2;
        size_t at = base + half;
        bool below =
            (hi[at] < key->hi) | ((hi[at] == key->hi) & (lo[at] <= key->lo));

        base += below ? half : 0;
        n -= half;
    }
    return base;
}

static uint32_t search_prefixes(const Index *index, IndexSpan span,
                                const IndexAddr *key)
{
    const uint64_t *hi = index->bound_hi + span.start;
    size_t at;

    if (index->bound_lo) {
        at = search_hi_lo(hi, index->bound_lo + span.start, span.n, key);
    } else {
        at = search_hi(hi, span.n, key->hi);
    }
    return index->bound_node[span.start + at];
}

static uint32_t search_ports(const Index *index, IndexSpan span, uint16_t port)
{
    const uint16_t *base = index->port + span.start;
    size_t n = span.n;

    while (n > 1) {
        size_t half = n / 2;

        base += base[half] <= port ? half : 0;
        n -= half;
    }
    return index->port_rule[base - index->port];
}

/* The lowest match in the span if it is below best, or best. */
static uint32_t search_span(const Index *index, IndexSpan span,
                            const IndexKey *key, uint32_t best)
{
    uint32_t at;

    if (span.dim == INDEX_PORT) {
        return MIN(best, search_ports(index, span, key->port));
    }
    at = search_prefixes(index, span, &key->addr[span.dim]);
    while (at != INDEX_NONE && index->nodes[at].chain_min < best) {
        best = search_span(index, index->nodes[at].rules, key, best);
        at = index->nodes[at].up;
    }
    return best;
}

uint32_t index_lookup(const Index *index, const IndexKey *key)
{
    uint32_t best = INDEX_NONE;

    if (key->any_dst && index->any.n) {
        best = search_span(index, index->any, key, best);
    }
    if (index->dst.n) {
        best = search_span(index, index->dst, key, best);
    }
    return best;
}

void index_done(Index *index)
{
    g_free(index->bound_hi);
    g_free(index->bound_lo);
    g_free(index->bound_node);
    g_free(index->nodes);
    g_free(index->port);
    g_free(index->port_rule);
    *index = (Index){ 0 };
}

size_t index_memory(const Index *index)
{
    size_t bound = sizeof(*index->bound_hi) + sizeof(*index->bound_node) +
                   (index->bound_lo ? sizeof(*index->bound_lo) : 0);

    return index->n_bounds * bound + index->n_nodes * sizeof(*index->nodes) +
           index->n_ports * (sizeof(*index->port) + sizeof(*index->port_rule));
}
