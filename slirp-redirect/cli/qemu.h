/* SPDX-License-Identifier: BSD-3-Clause */
/* Rewrites redirect= in a QEMU command line into what every QEMU takes. */
#ifndef SLIRP_REDIRECT_CLI_QEMU_H
#define SLIRP_REDIRECT_CLI_QEMU_H

#include "cli.h"

/* A rule as written, and the interned name of the place it was written in. */
typedef struct RuleText {
    char *text;
    const char *source;
} RuleText;

/* One user network of the command line. */
typedef struct QemuNet {
    GPtrArray *rules; /* RuleText *: its own, then the launcher's */
    char *net;        /* the value of net=, or NULL */
    GArray *hostfwds; /* RuleHostfwd: its hostfwd=, for loops */
} QemuNet;

typedef struct QemuRewrite {
    const char *const *extra; /* rules for every network; NULL-terminated */
    bool native;              /* this QEMU knows redirect= */
    GPtrArray *nets;          /* QemuNet *, owned: what was found */
} QemuRewrite;

/* What redirect= becomes, the equals sign included. */
#define QEMU_CARRIER "dnssearch=redirect="

RuleText *rule_text_new(const char *text, const char *source);
void rule_text_free(RuleText *text);
QemuNet *qemu_net_new(void);
void qemu_net_free(QemuNet *net);
/* Notes a hostfwd= ("tcp:127.0.0.1:8080-:80"); one that QEMU will refuse is
 * passed over. */
void qemu_net_add_hostfwd(QemuNet *net, const char *text);

/* True if a program of this name is a QEMU system emulator. */
bool qemu_is_name(const char *program);
/* The command line to execute: new words, NULL-terminated; NULL on error. */
char **qemu_rewrite(char **argv, QemuRewrite *rewrite, GError **error);

/* The JSON form of -netdev. Same text if nothing is to change. */
char *qemu_rewrite_json(const char *option, const char *text,
                        QemuRewrite *rewrite, GError **error);
/* "-netdev id=ID: KEY", interned: where a rule was written. */
const char *qemu_source(const char *option, const char *id, const char *key);

#endif
