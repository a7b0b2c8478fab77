/* SPDX-License-Identifier: BSD-3-Clause */
/* Searching the index; index.h explains it. */
#include "table/index.h"

/* Levels of a search tree over 2^32 bounds. */
enum { MAX_LEVELS = 32 / 4 + 1 };

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
static size_t search4(const uint32_t *bound, size_t n, uint32_t key)
{
    size_t base = 0;

    while (n > 1) {
        size_t half = n / 2;

        base += bound[base + half] <= key ? half : 0;
        n -= half;
    }
    return base;
}

static size_t search6(const IndexAddr *bound, size_t n, const IndexAddr *key)
{
    size_t base = 0;

    while (n > 1) {
        size_t half = n / 2;
        const IndexAddr *at = &bound[base + half];
        bool below =
            (at->hi < key->hi) | ((at->hi == key->hi) & (at->lo <= key->lo));

        base += below ? half : 0;
        n -= half;
    }
    return base;
}

static size_t search_level(const Index *index, size_t start, size_t n,
                           const IndexAddr *key)
{
    return index->bound6
               ? search6(index->bound6 + start, n, key)
               : search4(index->bound4 + start, n, (uint32_t)(key->hi >> 32));
}

/* The node of the longest prefix around key, or INDEX_NONE. */
static uint32_t search_prefixes(const Index *index, IndexSpan span,
                                const IndexAddr *key)
{
    IndexSpan level[MAX_LEVELS] = { span };
    unsigned top = 0;
    size_t at;

    for (uint32_t n; (n = index_samples(level[top].n)) > 0; top++) {
        level[top + 1] = (IndexSpan){ level[top].start + level[top].n, n };
    }
    at = search_level(index, level[top].start, level[top].n, key);
    while (top-- > 0) {
        size_t first = at * INDEX_FANOUT;
        size_t n = MIN(level[top].n - first, INDEX_FANOUT);

        at = first + search_level(index, level[top].start + first, n, key);
    }
    return index->bound_node[span.start + at];
}

static uint32_t search_ports(const Index *index, IndexSpan span, uint16_t port)
{
    const uint16_t *directory = index->ports + span.start;
    const uint16_t *ports = directory + index_directory_len(span.n);
    const uint16_t *rule;
    size_t base = 0, n = span.n;

    if (ports != directory) {
        base = directory[port >> 8];
        n = directory[(port >> 8) + 1] - base + 1;
    }
    while (n > 1) {
        size_t half = n / 2;

        base += ports[base + half] <= port ? half : 0;
        n -= half;
    }
    rule = ports + span.n + 2 * base;
    return rule[0] | (uint32_t)rule[1] << 16;
}

static uint32_t search_chain(const Index *index, IndexSpan span, IndexDim dim,
                             const IndexKey *key, uint32_t best);

/* The lowest match among rules if it is below best, or best. */
static uint32_t search_rules(const Index *index, const IndexRules *rules,
                             const IndexKey *key, uint32_t best)
{
    uint32_t lowest = search_ports(index, rules->ports, key->port);

    if (lowest >= best || rules->sources.n == 0) {
        return MIN(lowest, best);
    }
    return search_chain(index, rules->sources, INDEX_SRC, key, best);
}

/* The same for every prefix around the key's address, innermost first. */
static uint32_t search_chain(const Index *index, IndexSpan span, IndexDim dim,
                             const IndexKey *key, uint32_t best)
{
    uint32_t at = search_prefixes(index, span, &key->addr[dim]);

    while (at != INDEX_NONE && index->nodes[at].chain_min < best) {
        best = search_rules(index, &index->nodes[at].rules, key, best);
        at = index->nodes[at].up;
    }
    return best;
}

uint32_t index_lookup(const Index *index, const IndexKey *key)
{
    uint32_t best = INDEX_NONE;

    if (key->any_dst && index->any.ports.n) {
        best = search_rules(index, &index->any, key, best);
    }
    if (index->dst.n) {
        best = search_chain(index, index->dst, INDEX_DST, key, best);
    }
    return best;
}

void index_done(Index *index)
{
    g_free(index->bound4);
    g_free(index->bound6);
    g_free(index->bound_node);
    g_free(index->nodes);
    g_free(index->ports);
    *index = (Index){ 0 };
}

size_t index_memory(const Index *index)
{
    size_t bound =
        sizeof(*index->bound_node) +
        (index->bound6 ? sizeof(*index->bound6) : sizeof(*index->bound4));

    return index->n_bounds * bound + index->n_nodes * sizeof(*index->nodes) +
           index->n_ports * sizeof(*index->ports);
}
