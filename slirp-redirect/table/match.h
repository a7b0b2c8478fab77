/* SPDX-License-Identifier: BSD-3-Clause */
/* What a rule can match at all: shared by the compiler and table_explain(). */
#ifndef SLIRP_REDIRECT_TABLE_MATCH_H
#define SLIRP_REDIRECT_TABLE_MATCH_H

#include "table/table.h"

/* The directed broadcast address of the network; family 0 = it has none. */
IpAddr match_broadcast(const IpPrefix *vnet4);
/* True if "*" covers the address: neither multicast nor broadcast. */
bool match_any_covers(const IpAddr *dst, const IpAddr *broadcast);
/* True if a flow of this protocol looks at the rule. */
bool match_protocol(const Rule *rule, FlowProto proto);
/* The RuleFamily bit of an address; 0 for "none". */
uint8_t match_family(const IpAddr *addr);

#endif
