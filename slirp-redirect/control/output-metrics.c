/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters in the OpenMetrics text format, version 1.0.0. */
#include <stddef.h>

#include "control/control.h"

typedef struct RuleMetric {
    const char *name, *help;
    size_t offset; /* of a uint64_t in TableCounters */
} RuleMetric;

static const RuleMetric rule_metrics[] = {
    { "flows", "Flows that a rule decided.", offsetof(TableCounters, flows) },
    { "refused", "Flows that a reject or drop rule refused.",
      offsetof(TableCounters, refused) },
    { "failed", "Flows whose target could not be reached.",
      offsetof(TableCounters, failed) },
    { "bytes_out", "Payload bytes from the guest to targets.",
      offsetof(TableCounters, bytes_out) },
    { "bytes_in", "Payload bytes from targets to the guest.",
      offsetof(TableCounters, bytes_in) },
};

static void append_label(GString *out, const char *name, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);

    g_string_append_printf(out, "%s=\"", name);
    for (const char *c = valid; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            g_string_append_c(out, '\\');
        }
        g_string_append_c(out, *c);
    }
    g_string_append_c(out, '"');
}

static void append_sample(GString *out, const RuleMetric *metric,
                          const TableEntry *entry)
{
    const char *counters = (const char *)&entry->counters;
    uint64_t value =
        *(const uint64_t *)(const void *)(counters + metric->offset);
    g_autofree char *rule = rule_print_masked(entry->rule);

    g_string_append_printf(out, "slirp_redirect_rule_%s_total{id=\"%d\",",
                           metric->name, entry->id);
    if (entry->rule->name != NULL) {
        append_label(out, "name", entry->rule->name);
        g_string_append_c(out, ',');
    }
    append_label(out, "rule", rule);
    g_string_append_printf(out, "} %" G_GUINT64_FORMAT "\n", value);
}

static void head(GString *out, const char *name, const char *type,
                 const char *help)
{
    g_string_append_printf(out,
                           "# TYPE slirp_redirect_%s %s\n"
                           "# HELP slirp_redirect_%s %s\n",
                           name, type, name, help);
}

static void append_rules(GString *out, const GPtrArray *entries)
{
    for (unsigned m = 0; m < G_N_ELEMENTS(rule_metrics); m++) {
        g_autofree char *name =
            g_strconcat("rule_", rule_metrics[m].name, NULL);

        head(out, name, "counter", rule_metrics[m].help);
        for (unsigned i = 0; i < entries->len; i++) {
            append_sample(out, &rule_metrics[m], g_ptr_array_index(entries, i));
        }
    }
}

static void rules(GString *out, const GPtrArray *entries)
{
    append_rules(out, entries);
    g_string_append(out, "# EOF\n");
}

static void gauge(GString *out, const char *name, const char *help,
                  guint64 value)
{
    head(out, name, "gauge", help);
    g_string_append_printf(out, "slirp_redirect_%s %" G_GUINT64_FORMAT "\n",
                           name, value);
}

static void counter(GString *out, const char *name, const char *help,
                    guint64 value)
{
    head(out, name, "counter", help);
    g_string_append_printf(
        out, "slirp_redirect_%s_total %" G_GUINT64_FORMAT "\n", name, value);
}

static void flow_gauges(GString *out, const ControlStats *s)
{
    head(out, "flows", "gauge", "Redirected flows at this moment.");
    g_string_append_printf(out,
                           "slirp_redirect_flows{proto=\"tcp\"} %u\n"
                           "slirp_redirect_flows{proto=\"udp\"} %u\n",
                           s->tcp_flows, s->udp_flows);
}

static void stats(GString *out, const ControlStats *s, const GPtrArray *entries)
{
    gauge(out, "rules", "Rules in the table.", s->rules);
    flow_gauges(out, s);
    gauge(out, "connecting", "TCP flows that are connecting to their target.",
          s->connecting);
    gauge(out, "closed", "1 if everything is rejected.", s->closed != NULL);
    counter(out, "tables", "Tables installed.", s->generation);
    counter(out, "reloads", "Rule files read again.", s->reload->good);
    counter(out, "reloads_refused", "Rule files found broken.", s->reload->bad);
    if (s->log != NULL) {
        counter(out, "log_lines", "Lines of the flow log.", s->log->written);
        counter(out, "log_suppressed", "Lines left out to limit the rate.",
                s->log->suppressed);
        counter(out, "log_lost", "Lines that could not be written.",
                s->log->lost);
    }
    append_rules(out, entries);
    g_string_append(out, "# EOF\n");
}

const OutputOps output_openmetrics = {
    .name = "openmetrics",
    .rules = rules,
    .stats = stats,
};
