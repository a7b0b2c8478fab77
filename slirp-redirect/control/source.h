/* SPDX-License-Identifier: BSD-3-Clause */
/* Where rules come from outside the API: the environment and rule files. */
#ifndef SLIRP_REDIRECT_CONTROL_SOURCE_H
#define SLIRP_REDIRECT_CONTROL_SOURCE_H

#include "rules/rule.h"

#define SOURCE_ENV_RULES "SLIRP_REDIRECT"
#define SOURCE_ENV_FILE "SLIRP_REDIRECT_FILE"
/* An entry of dnssearch= that starts so carries a rule. */
#define SOURCE_CARRIER_PREFIX "redirect="

/* The largest rule file that is read, in bytes. */
enum { SOURCE_FILE_MAX = 64 * 1024 * 1024 };

/*
 * Appends the rules of SLIRP_REDIRECT, then those of the file named by
 * SLIRP_REDIRECT_FILE, to rules (Rule *, owned). Faults go to diags. The
 * variables are ignored in a set-user-ID process (secure_getenv).
 */
void source_load_environment(GPtrArray *rules, RuleDiags *diags);
/* Appends the rules of SLIRP_REDIRECT alone. */
void source_load_variable(GPtrArray *rules, RuleDiags *diags);
/* The value of an environment variable, or NULL: unset, empty or ignored. */
const char *source_variable(const char *name);
/* Appends the rules of one file. */
void source_load_file(const char *path, GPtrArray *rules, RuleDiags *diags);
/* The same from a descriptor, which is closed; -1 is a fault with errno. */
void source_load_fd(int fd, const char *path, GPtrArray *rules,
                    RuleDiags *diags);

#endif
