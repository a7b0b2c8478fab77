/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket addresses as people write them, and flows as they are asked for. */
#ifndef SLIRP_REDIRECT_CONTROL_ENDPOINT_H
#define SLIRP_REDIRECT_CONTROL_ENDPOINT_H

#include "table/table.h"

/* address:port, [address]:port, unix:path (with %XX) or "-"; g_free(). */
char *endpoint_print(const struct sockaddr_storage *ss);

/*
 * Reads "PROTO ADDR:PORT [from ADDR]", words ending with NULL; icmp has no
 * port, and the guest's first address is the default source. False with *error
 * (g_free()).
 */
bool endpoint_parse_flow(const char *const *words, const RuleNet *net,
                         FlowKey *key, char **error);

#endif
