/* SPDX-License-Identifier: BSD-3-Clause */
/* `slirp-redirect explain`: which rule decides a flow, and why. */
#include <stdio.h>

#include "cli.h"
#include "control/control.h"
#include "control/endpoint.h"
#include "table/table.h"

typedef struct Explain {
    RuleNet net;
    GPtrArray *rules;
    RuleDiags *diags;
    FlowKey key;
    bool offline; /* rules were given, be it none */
    bool json;
    const char *socket;
} Explain;

static bool set_rules(void *state, const char *value, GError **error)
{
    Explain *e = state;
    e->offline = true;
    return cli_add_file(e->rules, value, e->diags, error);
}

static bool set_redirect(void *state, const char *value,
                         GError **error G_GNUC_UNUSED)
{
    Explain *e = state;
    e->offline = true;
    cli_add_rule(e->rules, value, "--redirect", e->diags);
    return true;
}

static bool set_net(void *state, const char *value, GError **error)
{
    return cli_net_set4(&((Explain *)state)->net, value, error);
}

static bool set_net6(void *state, const char *value, GError **error)
{
    return cli_net_set6(&((Explain *)state)->net, value, error);
}

static bool set_socket(void *state, const char *value,
                       GError **error G_GNUC_UNUSED)
{
    ((Explain *)state)->socket = value;
    return true;
}

static bool set_json(void *state, const char *value G_GNUC_UNUSED,
                     GError **error G_GNUC_UNUSED)
{
    return ((Explain *)state)->json = true;
}

static const CliOption explain_options[] = {
    { "--socket", true, set_socket }, { "--json", false, set_json },
    { "--rules", true, set_rules },   { "--redirect", true, set_redirect },
    { "--net", true, set_net },       { "--net6", true, set_net6 },
    { "--help", false, NULL },        { NULL, false, NULL },
};

static bool parse_flow(char **words, Explain *e, GError **error)
{
    g_autofree char *message = NULL;

    if (endpoint_parse_flow((const char *const *)words, &e->net, &e->key,
                            &message))
        return true;
    g_set_error_literal(error, CLI_ERROR, CLI_ERROR_USAGE, message);
    return false;
}

static GPtrArray *entries_new(const GPtrArray *rules)
{
    GPtrArray *entries =
        g_ptr_array_new_with_free_func((GDestroyNotify)table_entry_unref);

    for (unsigned i = 0; i < rules->len; i++)
        g_ptr_array_add(
            entries, table_entry_new(i + 1, rule_copy(rules->pdata[i]), NULL));
    return entries;
}

/* Why this rule is passed over; g_free(). */
static char *reason(const TableEntry *entry, const Explain *e)
{
    if (!rule_applies_to(entry->rule, &e->net))
        return g_strdup("its section is for another network");
    char *why = table_explain(entry, &e->net, &e->key);
    return why ? why : g_strdup("it does not apply to this flow");
}

static void step_clear(void *step)
{
    g_free(((ControlStep *)step)->why_not);
}

static int explain(Explain *e)
{
    g_autoptr(GPtrArray) entries = entries_new(e->rules);
    g_autoptr(GArray) steps = g_array_new(FALSE, FALSE, sizeof(ControlStep));
    g_autoptr(GString) text = g_string_new(NULL);
    Table *table = table_new(entries, &e->net);
    const TableEntry *decides = table_lookup(table, &e->key);
    bool done = false;

    g_array_set_clear_func(steps, step_clear);
    for (unsigned i = 0; i < entries->len && !done; i++) {
        ControlStep step = { .entry = entries->pdata[i] };
        done = step.entry == decides;
        step.why_not = done ? NULL : reason(step.entry, e);
        g_array_append_val(steps, step);
    }
    (e->json ? &output_json : &output_text)->explain(text, &e->key, steps);
    fputs(text->str, stdout);
    table_unref(table);
    return decides ? CLI_OK : CLI_NO;
}

/* No rules were given: those of a running instance are meant. */
static int explain_live(char **operands, const Explain *e)
{
    return cli_ask("explain", e->socket, operands, e->json ? " --json" : "");
}

static int explain_words(char **words, Explain *e)
{
    GError *error = NULL;
    g_autofree char **operands =
        cli_options_parse(words, explain_options, CLI_ORDER_ANY, e, &error);

    if (!operands || !parse_flow(operands, e, &error))
        return cli_options_failed("explain", error);
    if (!e->offline)
        return explain_live(operands, e);
    if (!cli_verify(e->rules, &e->net, NULL, e->diags))
        return CLI_USAGE;
    return explain(e);
}

int cmd_explain(char **words)
{
    Explain e = {
        .net = cli_net_default(),
        .rules = cli_rules_new(),
        .diags = rule_diags_new(),
    };
    int status = explain_words(words, &e);

    g_ptr_array_unref(e.rules);
    rule_diags_free(e.diags);
    return status;
}
