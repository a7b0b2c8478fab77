/* SPDX-License-Identifier: BSD-3-Clause */
/* What the flow log tells of flows and verdicts. */
#include "attach/control.h"

static FlowLog *log_of(const RedirectInstance *instance,
                       const TableEntry *entry)
{
    return entry->rule->log && instance->control != NULL
               ? instance->control->log
               : NULL;
}

static FlowLogEvent event_of(const struct RedirectFlow *flow,
                             const struct socket *so, const char *name)
{
    return (FlowLogEvent){
        .event = name,
        .flow = flow->id,
        .proto = so->so_type == IPPROTO_UDP ? "udp" : "tcp",
        .guest = &so->lhost.ss,
        .asked = &so->fhost.ss,
        .target = &flow->target,
        .entry = flow->entry,
    };
}

void redirect_log_open(struct RedirectFlow *flow, const struct socket *so)
{
    FlowLog *log = log_of(flow->instance, flow->entry);

    flow->open = true;
    if (log != NULL) {
        FlowLogEvent event = event_of(flow, so, "open");

        flowlog_write(log, FLOWLOG_FLOWS, &event);
    }
}

void redirect_log_end(struct RedirectFlow *flow, const struct socket *so)
{
    FlowLog *log = log_of(flow->instance, flow->entry);

    if (log != NULL) {
        FlowLogEvent event = event_of(flow, so, flow->open ? "close" : "fail");

        event.ended = true;
        event.bytes_out = flow->bytes_out;
        event.bytes_in = flow->bytes_in;
        event.duration_us = g_get_monotonic_time() - flow->start_us;
        event.error = flow->error;
        if (!flow->open && flow->error == NULL) {
            event.error = "ended while connecting";
        }
        flowlog_write(log, FLOWLOG_FLOWS, &event);
    }
}

void redirect_log_verdict(RedirectInstance *instance, const TableEntry *entry,
                          FlowProto proto, const struct sockaddr_storage *lhost,
                          const struct sockaddr_storage *fhost)
{
    FlowLog *log = log_of(instance, entry);
    bool pass = entry->rule->target.kind == TARGET_PASS;

    if (log != NULL) {
        FlowLogEvent event = {
            .event = pass ? "pass" : "refuse",
            .proto = control_proto(proto),
            .guest = lhost,
            .asked = fhost,
            .entry = entry,
        };

        flowlog_write(log, FLOWLOG_REFUSALS, &event);
    }
}
