/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The compiled redirect table: immutable, reference-counted, first match wins.
 *
 * Theory of operation. A TableEntry is one loaded rule: its value, the
 * addresses its target resolved to, its identity and its counters. A Table is
 * an index over an ordered list of entries for one virtual network. Tables are
 * never changed: an update compiles a new one over the surviving entries and
 * swaps a pointer, so a change is atomic and counters live on. A flow keeps a
 * reference to its entry and thus to its counters, whatever happens to the
 * table. Everything runs under the application's lock; nothing here locks.
 */
#ifndef SLIRP_REDIRECT_TABLE_TABLE_H
#define SLIRP_REDIRECT_TABLE_TABLE_H

#include "rules/rule.h"

typedef struct TableCounters {
    uint64_t flows;      /* flows that took this rule, refused ones included */
    uint64_t bytes_out;  /* payload bytes, guest to target */
    uint64_t bytes_in;   /* payload bytes, target to guest */
    uint64_t refused;    /* by a reject or drop verdict */
    uint64_t failed;     /* target could not be reached */
    int64_t last_hit_us; /* g_get_real_time() of the last match; 0 = never */
} TableCounters;

typedef struct TableEntry {
    unsigned refs;
    int id; /* > 0, never reused within an instance */
    Rule *rule;
    /* Target addresses to try in order: struct sockaddr_storage values whose
     * port the flow decides. Empty for verdicts, TARGET_KEEP, TARGET_UNIX. */
    GArray *addrs;
    TableCounters counters;
} TableEntry;

/* Takes over rule and addrs (may be NULL = empty). */
TableEntry *table_entry_new(int id, Rule *rule, GArray *addrs);
TableEntry *table_entry_ref(TableEntry *entry);
void table_entry_unref(TableEntry *entry);

typedef enum FlowProto {
    FLOW_TCP,
    FLOW_UDP,
    /* Ports are 0. Only pass, reject and drop rules of "any" with ports "*"
     * are seen by an ICMP echo. */
    FLOW_ICMP,
    FLOW_N_PROTOS
} FlowProto;

/* A new flow, as the guest wrote it; ports in host order. */
typedef struct FlowKey {
    FlowProto proto;
    IpAddr src, dst; /* of one family */
    uint16_t dst_port;
} FlowKey;

typedef struct Table Table;

/* entries: TableEntry *, in rule order; the table takes its own references.
 * Rules whose section is another network's are left out. */
Table *table_new(const GPtrArray *entries, const RuleNet *net);
Table *table_ref(Table *table);
void table_unref(Table *table);
/*
 * The first entry that matches, or NULL. "*" matches neither multicast nor
 * broadcast, the virtual network's own broadcast address included. The entry
 * belongs to the table. Counts nothing.
 */
TableEntry *table_lookup(const Table *table, const FlowKey *key);
/* Why one entry alone would not match, as a short phrase for a person
 * ("port 443 is not 80"), or NULL if it would; g_free(). */
char *table_explain(const TableEntry *entry, const RuleNet *net,
                    const FlowKey *key);
/* Heap bytes of the index, without the entries. */
size_t table_memory(const Table *table);

#endif
