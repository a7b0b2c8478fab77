/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket, the flow log and the reload of one instance. */
#ifndef SLIRP_REDIRECT_ATTACH_CONTROL_H
#define SLIRP_REDIRECT_ATTACH_CONTROL_H

#include "attach/instance.h"
#include "control/control.h"
#include "control/server.h"

typedef struct RedirectControl {
    unsigned number; /* of the instance in this process, from 1 */
    int64_t start_us;
    Server *server; /* NULL = none */
    FlowLog *log;   /* NULL = none */
    Place rules;    /* the rule file; dir_fd -1 = none */

    /* Automatic reload. */
    int watch_fd;    /* -1 = off */
    int watch_index; /* of this cycle, -1 = not polled */
    bool watch_registered;
    bool reload_due;
    uint32_t reload_at; /* curtime: not earlier */
    ControlReload reload;

    /* The own rules (Rule *) that a reload goes back to; NULL = those that
     * stand in the table. */
    GPtrArray *configured;
    bool own_broken; /* they had a mistake at the start: no way back */
} RedirectControl;

#endif
