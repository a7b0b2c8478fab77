/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers as tables for a person. */
#include <unistd.h>

#include "control/control.h"
#include "control/endpoint.h"

static void rules(GString *out, const GPtrArray *entries)
{
    g_string_append(out, "    ID      Flows Refused  Failed     "
                         "Bytes out      Bytes in  Rule\n");
    for (unsigned i = 0; i < entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(entries, i);
        const TableCounters *c = &entry->counters;
        g_autofree char *rule = rule_print_masked(entry->rule);

        g_string_append_printf(out,
                               "%6d %10" G_GUINT64_FORMAT " %7" G_GUINT64_FORMAT
                               " %7" G_GUINT64_FORMAT " %13" G_GUINT64_FORMAT
                               " %13" G_GUINT64_FORMAT "  %s\n",
                               entry->id, c->flows, c->refused, c->failed,
                               c->bytes_out, c->bytes_in, rule);
    }
}

static void flows(GString *out, const GArray *list)
{
    g_string_append(out, "  Flow  Rule Proto State              Age s     "
                         "Bytes out      Bytes in  Guest > asked for > "
                         "target\n");
    for (unsigned i = 0; i < list->len; i++) {
        const ControlFlow *flow = &g_array_index(list, ControlFlow, i);
        g_autofree char *guest = endpoint_print(flow->guest);
        g_autofree char *asked = endpoint_print(flow->asked);
        g_autofree char *target = endpoint_print(flow->target);

        g_string_append_printf(
            out,
            "%6" G_GUINT64_FORMAT " %5d %-5s %-15s %8" G_GUINT64_FORMAT
            " %13" G_GUINT64_FORMAT " %13" G_GUINT64_FORMAT "  %s > %s > %s\n",
            flow->id, flow->entry->id, flow->proto, flow->state,
            flow->age_ms / 1000, flow->bytes_out, flow->bytes_in, guest, asked,
            target);
    }
}

static void number(GString *out, const char *name, guint64 value)
{
    g_string_append_printf(out, "%-22s %" G_GUINT64_FORMAT "\n", name, value);
}

static void text(GString *out, const char *name, const char *value)
{
    g_string_append_printf(out, "%-22s %s\n", name, value);
}

static void prefix(GString *out, const char *name, const IpPrefix *net)
{
    char buf[IPPREFIX_STRLEN + 2];

    if (net->addr.family != 0) {
        text(out, name, ipprefix_print(net, buf));
    }
}

static void stats(GString *out, const ControlStats *s,
                  const GPtrArray *entries G_GNUC_UNUSED)
{
    number(out, "pid", getpid());
    number(out, "instance", s->instance);
    prefix(out, "network", &s->net->vnet4);
    prefix(out, "network6", &s->net->vnet6);
    number(out, "uptime_ms", s->uptime_ms);
    number(out, "tables", s->generation);
    number(out, "rules", s->rules);
    number(out, "tcp_flows", s->tcp_flows);
    number(out, "udp_flows", s->udp_flows);
    number(out, "connecting", s->connecting);
    number(out, "clients", s->clients);
    number(out, "reloads", s->reload->good);
    number(out, "reloads_refused", s->reload->bad);
    if (s->log != NULL) {
        number(out, "log_lines", s->log->written);
        number(out, "log_suppressed", s->log->suppressed);
        number(out, "log_lost", s->log->lost);
    }
    if (s->reload->error != NULL) {
        text(out, "reload_error", s->reload->error);
    }
    if (s->closed != NULL) {
        text(out, "closed", s->closed);
    }
}

static void print_key(GString *out, const FlowKey *key)
{
    char src[IPADDR_STRLEN], dst[IPADDR_STRLEN];

    g_string_append_printf(out, "%s from %s to %s", control_proto(key->proto),
                           ipaddr_print(&key->src, src),
                           ipaddr_print(&key->dst, dst));
    if (key->proto != FLOW_ICMP) {
        g_string_append_printf(out, " port %u", key->dst_port);
    }
    g_string_append_c(out, '\n');
}

static void print_decision(GString *out, const Rule *rule, const FlowKey *key)
{
    g_string_append(out, "this rule decides");
    if (rule->target.kind == TARGET_PASS) {
        g_string_append(out, ": as without any rule");
    } else if (rule->target.kind == TARGET_REJECT) {
        g_string_append(out, ": refused");
    } else if (rule->target.kind == TARGET_DROP) {
        g_string_append(out, ": dropped in silence");
    } else if (rule->target.kind != TARGET_UNIX && !rule->target.proxy) {
        g_string_append_printf(out, ": to port %u of its target",
                               rule_target_port(rule, key->dst_port));
    }
    g_string_append_c(out, '\n');
}

static void explain(GString *out, const FlowKey *key, const GArray *steps)
{
    bool decided = false;

    print_key(out, key);
    for (unsigned i = 0; i < steps->len; i++) {
        const ControlStep *step = &g_array_index(steps, ControlStep, i);
        const Rule *rule = step->entry->rule;
        g_autofree char *printed = rule_print_masked(rule);

        g_string_append_printf(out, "%d. %s\n   ", step->entry->id, printed);
        if (step->why_not != NULL) {
            g_string_append_printf(out, "no: %s\n", step->why_not);
        } else {
            print_decision(out, rule, key);
            decided = true;
        }
    }
    if (!decided) {
        g_string_append(out, "no rule decides: libslirp does what it does "
                             "without rules\n");
    }
}

static void version(GString *out, const char *library)
{
    number(out, "protocol", REPLY_PROTOCOL);
    text(out, "library", library);
    number(out, "pid", getpid());
}

const OutputOps output_text = {
    .name = "text",
    .rules = rules,
    .flows = flows,
    .stats = stats,
    .explain = explain,
    .version = version,
};
