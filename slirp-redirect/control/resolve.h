/* SPDX-License-Identifier: BSD-3-Clause */
/* Target names and interfaces to socket addresses, once, when rules load. */
#ifndef SLIRP_REDIRECT_CONTROL_RESOLVE_H
#define SLIRP_REDIRECT_CONTROL_RESOLVE_H

#include "rules/rule.h"

/*
 * The addresses of a rule's target in the order to try them: struct
 * sockaddr_storage values with port 0; empty if the target has none. Blocks on
 * the host's resolver for a name. NULL after adding an error to diags.
 */
GArray *resolve_target(const Rule *rule, RuleDiags *diags);

#endif
