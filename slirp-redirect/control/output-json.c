/* SPDX-License-Identifier: BSD-3-Clause */
/* Answers as one JSON object each, on one line. */
#include <unistd.h>

#include "control/control.h"
#include "control/endpoint.h"
#include "control/json.h"

static void add_counters(GString *out, const TableCounters *c)
{
    json_number(out, "flows", c->flows);
    json_number(out, "refused", c->refused);
    json_number(out, "failed", c->failed);
    json_number(out, "bytes_out", c->bytes_out);
    json_number(out, "bytes_in", c->bytes_in);
    json_number(out, "last_hit_us", c->last_hit_us);
}

static void rules(GString *out, const GPtrArray *entries)
{
    json_begin(out, NULL, '{');
    json_begin(out, "rules", '[');
    for (unsigned i = 0; i < entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(entries, i);

        json_begin(out, NULL, '{');
        json_number(out, "id", entry->id);
        json_string(out, "name", entry->rule->name);
        json_take(out, "rule", rule_print_masked(entry->rule));
        add_counters(out, &entry->counters);
        json_end(out, '}');
    }
    json_end(out, ']');
    json_end(out, '}');
    g_string_append_c(out, '\n');
}

static void flows(GString *out, const GArray *list)
{
    json_begin(out, NULL, '{');
    json_begin(out, "flows", '[');
    for (unsigned i = 0; i < list->len; i++) {
        const ControlFlow *flow = &g_array_index(list, ControlFlow, i);

        json_begin(out, NULL, '{');
        json_number(out, "flow", flow->id);
        json_number(out, "rule", flow->entry->id);
        json_string(out, "name", flow->entry->rule->name);
        json_bool(out, "rule_in_table", flow->in_table);
        json_string(out, "proto", flow->proto);
        json_string(out, "state", flow->state);
        json_number(out, "age_ms", flow->age_ms);
        json_number(out, "bytes_out", flow->bytes_out);
        json_number(out, "bytes_in", flow->bytes_in);
        json_take(out, "guest", endpoint_print(flow->guest));
        json_take(out, "destination", endpoint_print(flow->asked));
        json_take(out, "target", endpoint_print(flow->target));
        json_end(out, '}');
    }
    json_end(out, ']');
    json_end(out, '}');
    g_string_append_c(out, '\n');
}

static void prefix(GString *out, const char *name, const IpPrefix *net)
{
    char buf[IPPREFIX_STRLEN + 2];

    json_string(out, name,
                net->addr.family != 0 ? ipprefix_print(net, buf) : NULL);
}

static void add_log(GString *out, const FlowLog *log)
{
    json_begin(out, "log", '{');
    json_string(out, "path", log->place.path);
    json_number(out, "lines", log->written);
    json_number(out, "suppressed", log->suppressed);
    json_number(out, "lost", log->lost);
    json_end(out, '}');
}

static void stats(GString *out, const ControlStats *s,
                  const GPtrArray *entries G_GNUC_UNUSED)
{
    json_begin(out, NULL, '{');
    json_number(out, "pid", getpid());
    json_number(out, "instance", s->instance);
    prefix(out, "network", &s->net->vnet4);
    prefix(out, "network6", &s->net->vnet6);
    json_number(out, "uptime_ms", s->uptime_ms);
    json_number(out, "tables", s->generation);
    json_number(out, "rules", s->rules);
    json_number(out, "tcp_flows", s->tcp_flows);
    json_number(out, "udp_flows", s->udp_flows);
    json_number(out, "connecting", s->connecting);
    json_number(out, "clients", s->clients);
    json_number(out, "reloads", s->reload->good);
    json_number(out, "reloads_refused", s->reload->bad);
    json_string(out, "reload_error", s->reload->error);
    json_string(out, "closed", s->closed);
    if (s->log != NULL) {
        add_log(out, s->log);
    }
    json_end(out, '}');
    g_string_append_c(out, '\n');
}

static void add_key(GString *out, const FlowKey *key)
{
    char buf[IPADDR_STRLEN];

    json_string(out, "proto", control_proto(key->proto));
    json_string(out, "source", ipaddr_print(&key->src, buf));
    json_string(out, "destination", ipaddr_print(&key->dst, buf));
    if (key->proto != FLOW_ICMP) {
        json_number(out, "port", key->dst_port);
    }
}

static void explain(GString *out, const FlowKey *key, const GArray *steps)
{
    json_begin(out, NULL, '{');
    add_key(out, key);
    json_begin(out, "steps", '[');
    for (unsigned i = 0; i < steps->len; i++) {
        const ControlStep *step = &g_array_index(steps, ControlStep, i);

        json_begin(out, NULL, '{');
        json_number(out, "id", step->entry->id);
        json_take(out, "rule", rule_print_masked(step->entry->rule));
        json_bool(out, "decides", step->why_not == NULL);
        json_string(out, "why_not", step->why_not);
        json_end(out, '}');
    }
    json_end(out, ']');
    json_end(out, '}');
    g_string_append_c(out, '\n');
}

static void version(GString *out, const char *library)
{
    json_begin(out, NULL, '{');
    json_number(out, "protocol", REPLY_PROTOCOL);
    json_string(out, "library", library);
    json_number(out, "pid", getpid());
    json_end(out, '}');
    g_string_append_c(out, '\n');
}

const OutputOps output_json = {
    .name = "json",
    .rules = rules,
    .flows = flows,
    .stats = stats,
    .explain = explain,
    .version = version,
};
