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
 * each interval belongs to one node: its longest prefix. One search finds the
 * node; links lead up to the enclosing prefixes, 33 or 129 nodes at most. Each
 * node holds the rules of its prefix by port and, if they differ, by source.
 * Above the bounds stands every INDEX_FANOUTth of them, and so on up, so that
 * a search stays within few cache lines.
 *
 * Ports come last: overlapping ranges are flattened to disjoint intervals that
 * name the lowest rule covering them, so one binary search answers.
 *
 * Three things keep long chains of nested prefixes cheap. A node absorbs the
 * rules of its parent, and then links past it, when these are at most a few
 * times its own: memory grows by a constant factor and a chain of equals is
 * shorter by a like factor. Each node knows the lowest rule number on its way
 * up, so the walk ends when nothing better can come. And the ports of a
 * destination node are flattened for all sources together, which tells at once
 * if a look at its sources can pay.
 *
 * Destination "*" is no prefix, as it spares multicast and broadcast. Such
 * rules stand apart, and the caller leaves them out for these addresses.
 *
 * With n rules, and d and s nodes visited in the chains of destinations and
 * sources (1 or 2 on real rule sets, at most 129 each, 33 for IPv4):
 *   lookup  O(log n + d (log n + s log n)), no allocation, no recursion
 *           deeper than the dimensions;
 *   build   O(n log n), recursion likewise; nested prefixes are on an
 *           explicit stack of fixed size;
 *   memory  O(n): absorbing multiplies the bare rules by 9 times 3 at most.
 * The factor d s needs a rule set made for it, and only who writes the rules
 * can make it: the guest chooses keys, not rules.
 * Not done: incremental change. A table is compiled anew and swapped.
 */
#ifndef SLIRP_REDIRECT_TABLE_INDEX_H
#define SLIRP_REDIRECT_TABLE_INDEX_H

#include <glib.h>

#include "rules/addr.h"

enum { INDEX_FANOUT = 16 };

/* Port spans of this many bounds have a directory by the port's high byte. */
enum { INDEX_PORT_DIRECTORY_MIN = 512, INDEX_PORT_DIRECTORY_LEN = 256 + 1 };

/* No rule; above every rule number, so that the lower of two is the match. */
#define INDEX_NONE UINT32_MAX

typedef enum IndexDim { INDEX_DST, INDEX_SRC, INDEX_N_PREFIX_DIMS } IndexDim;

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

/* A run of bounds; n = 0: no rules. The first bound is the lowest value that
 * the dimension has. */
typedef struct IndexSpan {
    uint32_t start;
    uint32_t n;
} IndexSpan;

typedef struct IndexRules {
    IndexSpan ports;   /* the lowest rule by port, whatever its source */
    IndexSpan sources; /* n = 0: all rules take any source */
} IndexRules;

typedef struct IndexNode {
    uint32_t up;        /* next node to look at, or INDEX_NONE */
    uint32_t chain_min; /* lowest rule number here and up */
    IndexRules rules;
} IndexNode;

/* Flat arrays that all spans share; offsets, no pointers. */
typedef struct Index {
    /* Prefix bounds, of either family. After the bounds of a span come the
     * samples of each level of its search tree, the widest level first. */
    uint32_t *bound4;
    IndexAddr *bound6;
    uint32_t *bound_node; /* unused for samples */
    IndexNode *nodes;
    /* Port bounds: a span is n ports, then n rule numbers, low half first.
     * A long one starts with its directory: for each high byte, and for the
     * end, the last bound that is not above its first port. */
    uint16_t *ports;
    size_t n_bounds, n_nodes, n_ports;
    IndexRules any; /* rules for destination "*" */
    IndexSpan dst;  /* all others */
} Index;

static inline uint32_t index_directory_len(uint32_t n)
{
    return n >= INDEX_PORT_DIRECTORY_MIN ? INDEX_PORT_DIRECTORY_LEN : 0;
}

/* How many samples stand above a level of n bounds or samples. */
static inline uint32_t index_samples(uint32_t n)
{
    return n > INDEX_FANOUT ? (n + INDEX_FANOUT - 1) / INDEX_FANOUT : 0;
}

IndexAddr index_addr(const IpAddr *addr);
IndexPrefix index_prefix(const IpPrefix *prefix);

/* boxes: IndexBox values in rule order; keeps nothing of them. */
void index_init(Index *index, const GArray *boxes, bool ipv6);
void index_done(Index *index);
/* The lowest rule number that matches, or INDEX_NONE. */
uint32_t index_lookup(const Index *index, const IndexKey *key);
size_t index_memory(const Index *index);

#endif
