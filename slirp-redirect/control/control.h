/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the control protocol says and does, without knowing libslirp.
 *
 * Theory of operation. control_command() takes one line of the protocol to a
 * handler by a keyword table. A handler asks the instance through ControlHost
 * and has the answer written in one of three formats (OutputOps): a table of
 * functions for each, and NULL for what a format has no form for.
 */
#ifndef SLIRP_REDIRECT_CONTROL_CONTROL_H
#define SLIRP_REDIRECT_CONTROL_CONTROL_H

#include "control/flowlog.h"
#include "control/reply.h"
#include "table/table.h"

/* One redirected flow, at this moment. */
typedef struct ControlFlow {
    uint64_t id;
    const char *proto; /* "tcp", "udp" */
    const char *state;
    const TableEntry *entry;
    bool in_table; /* the entry has not left it since */
    const struct sockaddr_storage *guest, *asked, *target;
    uint64_t bytes_out, bytes_in;
    uint64_t age_ms;
} ControlFlow;

typedef struct ControlReload {
    uint64_t good, bad;
    char *error; /* of the last one, or NULL; owned by the instance */
} ControlReload;

typedef struct ControlStats {
    unsigned instance;
    const RuleNet *net;
    uint64_t generation; /* of the table */
    uint64_t uptime_ms;
    unsigned rules, tcp_flows, udp_flows, connecting, clients;
    const char *closed; /* why everything is rejected, or NULL */
    const ControlReload *reload;
    const FlowLog *log; /* NULL = none */
} ControlStats;

/* The instance. Messages go to *message, to be freed with g_free(). */
typedef struct ControlHost {
    const GPtrArray *(*entries)(void *opaque);
    /* ControlFlow values; what they point at stays until the next call. */
    GArray *(*flows)(void *opaque);
    void (*stats)(void *opaque, ControlStats *stats);
    const TableEntry *(*lookup)(void *opaque, const FlowKey *key);
    /* place: position in entries(), or -1 for the usual one. */
    ReplyCode (*add)(void *opaque, const char *rule, int place, int *id,
                     char **message);
    ReplyCode (*remove)(void *opaque, int id);
    /* *message may hold warnings after success, too. */
    ReplyCode (*replace)(void *opaque, const GString *rules, char **message);
    ReplyCode (*reload)(void *opaque, char **message);
    /* Ends the flows of a rule, or of all (NULL); how many. The rule is an ID
     * or a name, and need not be in the table any more. */
    unsigned (*flush)(void *opaque, const char *rule);
    ReplyCode (*reopen_log)(void *opaque, char **message);
} ControlHost;

/* Does one command and appends its reply; false: close the connection. */
bool control_command(const ControlHost *host, void *opaque, const char *line,
                     const GString *payload, GString *reply);

/* True if word is the ID or the name of the entry. */
bool control_is_rule(const TableEntry *entry, const char *word);

/* ---- output ---- */

typedef struct ControlStep {
    const TableEntry *entry;
    char *why_not; /* NULL: this one decides */
} ControlStep;

typedef struct OutputOps {
    const char *name;
    void (*rules)(GString *out, const GPtrArray *entries);
    void (*flows)(GString *out, const GArray *flows); /* ControlFlow values */
    void (*stats)(GString *out, const ControlStats *stats,
                  const GPtrArray *entries);
    /* ControlStep values */
    void (*explain)(GString *out, const FlowKey *key, const GArray *steps);
    void (*version)(GString *out, const char *library);
} OutputOps;

extern const OutputOps output_text, output_json, output_openmetrics;

/* "tcp", "udp", "icmp" */
const char *control_proto(FlowProto proto);

#endif
