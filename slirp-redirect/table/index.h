/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The searchable form of the rules of one protocol and one address family.
 *
 * Theory of operation. A flow is a point in three dimensions: destination
 * address, source address, destination port. A rule is a box, and the answer
 * is the lowest rule number among the boxes that hold the point. The index
 * searches one dimension after the other.
 *
 * A prefix dimension is a sorted array of bounds. Prefixes nest or are
 * disjoint, so they cut the address space into at most 2n + 1 intervals, and
 * each interval belongs to one node: its longest prefix. One binary search
 * finds the node; links lead up to the enclosing prefixes, 33 or 129 nodes at
 * most. Each node holds the next dimension for the rules of its prefix.
 *
 * The port dimension is the last: overlapping ranges are flattened to disjoint
 * intervals that name the lowest rule covering them, so one binary search
 * answers.
 *
 * Two things keep long chains of nested prefixes cheap. A node absorbs the
 * rules of its parent, and then links past it, when these are at most
 * INDEX_ABSORB times its own: memory grows by a constant factor and a chain of
 * equals is shorter by a like factor. And each node knows the lowest rule
 * number on its way up, so the walk ends when nothing better can come.
 *
 * Destination "*" is no prefix, as it spares multicast and broadcast. Such
 * rules stand apart in a span that the caller leaves out for these addresses.
 * A dimension in which every rule of a node says "any" is skipped.
 *
 * With n rules, d and s nodes visited in the destination and source chains
 * (1 or 2 on real rule sets, at most 129 each; 33 each for IPv4):
 *   lookup  O(log n + d (log n + s log n)), no allocation, no recursion
 *           deeper than the three dimensions;
 *   build   O(n log n), recursion likewise, one frame for each nested prefix
 *           on an explicit stack;
 *   memory  O(n), within (1 + INDEX_ABSORB) squared of the bare rules, and
 *           40 to 120 bytes a rule in practice.
 * Not done: incremental change. A table is compiled anew and swapped.
 */
#ifndef SLIRP_REDIRECT_TABLE_INDEX_H
#define SLIRP_REDIRECT_TABLE_INDEX_H

#include <glib.h>

#include "rules/addr.h"

enum { INDEX_ABSORB = 4 };

/* No rule; above every rule number, so that the lower of two is the match. */
#define INDEX_NONE UINT32_MAX

typedef enum IndexDim {
    INDEX_DST,  /* a bound's node holds INDEX_SRC or INDEX_PORT */
    INDEX_SRC,  /* a bound's node holds INDEX_PORT */
    INDEX_PORT, /* a bound has a rule number */
    INDEX_N_PREFIX_DIMS = INDEX_PORT
} IndexDim;

/* An address in host order, left-aligned: IPv4 is the top half of hi. */
typedef struct IndexAddr {
    uint64_t hi, lo;
} IndexAddr;

typedef struct IndexPrefix {
    IndexAddr addr;
    uint8_t len;
} IndexPrefix;

/* One box. A rule with several destination prefixes is several boxes. */
typedef struct IndexBox {
    IndexPrefix prefix[INDEX_N_PREFIX_DIMS];
    uint16_t port_lo, port_hi; /* inclusive */
    bool any_dst;              /* "*"; prefix[INDEX_DST] has no meaning */
    uint32_t rule;
} IndexBox;

typedef struct IndexKey {
    IndexAddr addr[INDEX_N_PREFIX_DIMS];
    uint16_t port;
    bool any_dst; /* "*" covers the destination */
} IndexKey;

/* A sorted run of bounds: in the prefix arrays, or the port arrays. The first
 * bound is the lowest value of the dimension. */
typedef struct IndexSpan {
    uint32_t start;
    uint32_t n : 30;
    uint32_t dim : 2; /* IndexDim */
} IndexSpan;

typedef struct IndexNode {
    uint32_t up;        /* next node to look at, or INDEX_NONE */
    uint32_t chain_min; /* lowest rule number here and up */
    IndexSpan rules;
} IndexNode;

/* Flat arrays that all spans share; offsets, no pointers. */
typedef struct Index {
    uint64_t *bound_hi;
    uint64_t *bound_lo; /* NULL for IPv4, where it is always 0 */
    uint32_t *bound_node;
    IndexNode *nodes;
    uint16_t *port;
    uint32_t *port_rule;
    size_t n_bounds, n_nodes, n_ports;
    IndexSpan any; /* rules for destination "*" */
    IndexSpan dst; /* all others */
} Index;

IndexAddr index_addr(const IpAddr *addr);
IndexPrefix index_prefix(const IpPrefix *prefix);

/* boxes: IndexBox values in rule order; keeps nothing of them. */
void index_init(Index *index, const GArray *boxes, bool ipv6);
void index_done(Index *index);
/* The lowest rule number that matches, or INDEX_NONE. */
uint32_t index_lookup(const Index *index, const IndexKey *key);
size_t index_memory(const Index *index);

#endif
