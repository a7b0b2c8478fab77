/* SPDX-License-Identifier: BSD-3-Clause */
/* Table entries: one loaded rule with its resolved targets and counters. */
#include "table/table.h"

TableEntry *table_entry_new(int id, Rule *rule, GArray *addrs)
{
    TableEntry *entry = g_new0(TableEntry, 1);

    entry->refs = 1;
    entry->id = id;
    entry->rule = rule;
    entry->addrs =
        addrs ? addrs
              : g_array_new(FALSE, FALSE, sizeof(struct sockaddr_storage));
    return entry;
}

TableEntry *table_entry_ref(TableEntry *entry)
{
    entry->refs++;
    return entry;
}

void table_entry_unref(TableEntry *entry)
{
    if (!entry || --entry->refs > 0) {
        return;
    }
    rule_free(entry->rule);
    g_array_unref(entry->addrs);
    g_free(entry);
}
