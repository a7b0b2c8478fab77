/* SPDX-License-Identifier: BSD-3-Clause */
/* The table: entries, and one index for each protocol and address family. */
#include "table/index.h"
#include "table/match.h"
#include "table/table.h"

enum { TABLE_V4, TABLE_V6, TABLE_N_FAMILIES };

struct Table {
    unsigned refs;
    GPtrArray *entries; /* TableEntry *; rule numbers are positions here */
    IpAddr broadcast4;
    bool udp_as_tcp; /* no rule tells them apart: FLOW_TCP's index serves */
    Index index[FLOW_N_PROTOS][TABLE_N_FAMILIES];
};

static const uint8_t family_bits[TABLE_N_FAMILIES] = {
    [TABLE_V4] = RULE_V4,
    [TABLE_V6] = RULE_V6,
};

/* The family's slot, or -1 if addr is no address. */
static int family_slot(const IpAddr *addr)
{
    switch (addr->family) {
    case AF_INET:
        return TABLE_V4;
    case AF_INET6:
        return TABLE_V6;
    default:
        return -1;
    }
}

/* Appends the rule's boxes of one family. */
static void add_boxes(GArray *boxes, const Rule *rule, uint32_t number,
                      const RuleNet *net, uint8_t family_bit)
{
    IndexBox box = { .rule = number,
                     .port_lo = rule->ports.lo,
                     .port_hi = rule->ports.hi,
                     .any_dst = rule->dst_kind == RULE_DST_ANY };
    g_autoptr(GArray) prefixes = NULL;

    if (rule->src.addr.family) {
        if (match_family(&rule->src.addr) != family_bit) {
            return;
        }
        box.prefix[INDEX_SRC] = index_prefix(&rule->src);
    }
    if (box.any_dst) {
        g_array_append_val(boxes, box);
        return;
    }
    prefixes = rule_dst_prefixes(rule, net);
    for (guint i = 0; i < prefixes->len; i++) {
        const IpPrefix *prefix = &g_array_index(prefixes, IpPrefix, i);

        if (match_family(&prefix->addr) == family_bit) {
            box.prefix[INDEX_DST] = index_prefix(prefix);
            g_array_append_val(boxes, box);
        }
    }
}

static void compile(Table *table, const RuleNet *net, FlowProto proto,
                    int family)
{
    GArray *boxes = g_array_new(FALSE, FALSE, sizeof(IndexBox));

    for (guint i = 0; i < table->entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(table->entries, i);
        const Rule *rule = entry->rule;

        if (match_protocol(rule, proto) &&
            rule->families & family_bits[family]) {
            add_boxes(boxes, rule, i, net, family_bits[family]);
        }
    }
    index_init(&table->index[proto][family], boxes, family == TABLE_V6);
    g_array_unref(boxes);
}

/* True if TCP and UDP see the same rules, as in a list of addresses. */
static bool same_for_udp(const GPtrArray *entries)
{
    for (guint i = 0; i < entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(entries, i);

        if (entry->rule->protocols != RULE_ANY_PROTO) {
            return false;
        }
    }
    return true;
}

static void compile_all(Table *table, const RuleNet *net)
{
    table->udp_as_tcp = same_for_udp(table->entries);
    for (int family = 0; family < TABLE_N_FAMILIES; family++) {
        compile(table, net, FLOW_TCP, family);
        if (!table->udp_as_tcp) {
            compile(table, net, FLOW_UDP, family);
        }
        compile(table, net, FLOW_ICMP, family);
    }
}

static void entry_unref(void *entry)
{
    table_entry_unref(entry);
}

Table *table_new(const GPtrArray *entries, const RuleNet *net)
{
    Table *table = g_new0(Table, 1);

    table->refs = 1;
    table->entries = g_ptr_array_new_with_free_func(entry_unref);
    table->broadcast4 = match_broadcast(&net->vnet4);
    for (guint i = 0; i < entries->len; i++) {
        TableEntry *entry = g_ptr_array_index(entries, i);

        if (rule_applies_to(entry->rule, net)) {
            g_ptr_array_add(table->entries, table_entry_ref(entry));
        }
    }
    compile_all(table, net);
    return table;
}

Table *table_ref(Table *table)
{
    table->refs++;
    return table;
}

void table_unref(Table *table)
{
    if (!table || --table->refs > 0) {
        return;
    }
    for (int proto = 0; proto < FLOW_N_PROTOS; proto++) {
        for (int family = 0; family < TABLE_N_FAMILIES; family++) {
            index_done(&table->index[proto][family]);
        }
    }
    g_ptr_array_unref(table->entries);
    g_free(table);
}

static const Index *index_for(const Table *table, FlowProto proto, int family)
{
    if (proto == FLOW_UDP && table->udp_as_tcp) {
        proto = FLOW_TCP;
    }
    return &table->index[proto][family];
}

TableEntry *table_lookup(const Table *table, const FlowKey *key)
{
    int family = family_slot(&key->dst);
    IndexKey point;
    uint32_t number;

    /* Nothing that a guest sends may end the process: no assertion. */
    if (family < 0 || key->src.family != key->dst.family ||
        (unsigned)key->proto >= FLOW_N_PROTOS || table->entries->len == 0) {
        return NULL;
    }
    point.addr[INDEX_DST] = index_addr(&key->dst);
    point.addr[INDEX_SRC] = index_addr(&key->src);
    point.port = key->dst_port;
    point.any_dst = match_any_covers(&key->dst, &table->broadcast4);
    number = index_lookup(index_for(table, key->proto, family), &point);
    return number == INDEX_NONE ? NULL
                                : g_ptr_array_index(table->entries, number);
}

size_t table_memory(const Table *table)
{
    size_t size = sizeof(*table) + table->entries->len * sizeof(TableEntry *);

    for (int proto = 0; proto < FLOW_N_PROTOS; proto++) {
        for (int family = 0; family < TABLE_N_FAMILIES; family++) {
            size += index_memory(&table->index[proto][family]);
        }
    }
    return size;
}
