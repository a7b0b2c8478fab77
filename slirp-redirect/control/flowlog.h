/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flow log: one JSON object a line for what +log rules decide.
 *
 * Theory of operation. A line goes out in one non-blocking write(), or is lost
 * and counted. Rates are limited by two buckets, one for flows and one for
 * refusals, so that a guest that is refused in a loop cannot hide its flows.
 * What was suppressed is told by a line of its own ahead of the next one.
 */
#ifndef SLIRP_REDIRECT_CONTROL_FLOWLOG_H
#define SLIRP_REDIRECT_CONTROL_FLOWLOG_H

#include "control/place.h"
#include "table/table.h"

typedef enum FlowLogClass {
    FLOWLOG_FLOWS,
    FLOWLOG_REFUSALS,
    FLOWLOG_N_CLASSES
} FlowLogClass;

/* Lines a second, and at once. */
enum {
    FLOWLOG_FLOWS_RATE = 2000,
    FLOWLOG_FLOWS_BURST = 4000,
    FLOWLOG_REFUSALS_RATE = 100,
    FLOWLOG_REFUSALS_BURST = 500,
};

typedef struct FlowLog {
    int fd; /* -1 while the file cannot be opened */
    Place place;
    unsigned instance;
    bool torn; /* the last line is not complete */
    double tokens[FLOWLOG_N_CLASSES];
    gint64 filled_us[FLOWLOG_N_CLASSES];
    guint64 pending[FLOWLOG_N_CLASSES]; /* suppressed, not told yet */
    guint64 written, suppressed;
    guint64 lost; /* could not be written */
} FlowLog;

/* What happened. Unused members are 0 or NULL. */
typedef struct FlowLogEvent {
    const char *event; /* "open", "close", "fail", "refuse", "pass" */
    guint64 flow;      /* 0 = none */
    const char *proto;
    const struct sockaddr_storage *guest, *asked, *target;
    const TableEntry *entry;
    bool ended; /* with the next three */
    guint64 bytes_out, bytes_in;
    gint64 duration_us;
    const char *error;
} FlowLogEvent;

/* NULL with *error (g_free()). */
FlowLog *flowlog_new(const char *path, unsigned instance, char **error);
void flowlog_free(FlowLog *log);
/* Opens the file by its name again; on failure the old one stays. */
bool flowlog_reopen(FlowLog *log, char **error);

void flowlog_write(FlowLog *log, FlowLogClass class, const FlowLogEvent *event);
/* That the rule file was read again; error NULL: it was good. */
void flowlog_reload(FlowLog *log, const char *error);

#endif
