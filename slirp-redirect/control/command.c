/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands of the control protocol. */
#include <string.h>

#include "control/control.h"
#include "control/endpoint.h"

enum { WORDS_MAX = 8 };

typedef struct Request {
    const ControlHost *host;
    void *opaque;
    const OutputOps *output;
    const char *words[WORDS_MAX + 1]; /* after the command; NULL ends them */
    unsigned n_words;
    const GString *payload;
    GString *reply;
    bool quit;
} Request;

typedef struct Command {
    const char *name;
    void (*handler)(Request *request);
    unsigned min_words, max_words;
    bool payload;
    const char *usage;
} Command;

static const OutputOps *const outputs[] = {
    &output_text,
    &output_json,
    &output_openmetrics,
};

/* ---- replies ---- */

static void fail(Request *request, ReplyCode code, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

static void fail(Request *request, ReplyCode code, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    reply_error(request->reply, code, message);
}

/* A reply that is a message for a person in every format. */
static void answer(Request *request, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static void answer(Request *request, const char *format, ...)
{
    g_autoptr(GString) body = g_string_new(NULL);
    va_list args;

    va_start(args, format);
    g_string_append_vprintf(body, format, args);
    va_end(args);
    reply_ok(request->reply, body);
}

/* Ends a change: code, and what is to be said about it. */
static void finish(Request *request, ReplyCode code, char *message)
{
    if (code != REPLY_OK) {
        fail(request, code, "%s", message != NULL ? message : "failed");
    } else if (message != NULL) {
        answer(request, "%s\n", message);
    } else {
        answer(request, "%s", "");
    }
    g_free(message);
}

static void no_form(Request *request)
{
    fail(request, REPLY_SYNTAX, "this has no %s form", request->output->name);
}

/* ---- what there is ---- */

static const GPtrArray *entries_of(Request *request)
{
    return request->host->entries(request->opaque);
}

static void do_list(Request *request)
{
    g_autoptr(GString) body = g_string_new(NULL);

    request->output->rules(body, entries_of(request));
    reply_ok(request->reply, body);
}

static void do_flows(Request *request)
{
    g_autoptr(GString) body = g_string_new(NULL);
    g_autoptr(GArray) flows = NULL;

    if (request->output->flows == NULL) {
        no_form(request);
        return;
    }
    flows = request->host->flows(request->opaque);
    request->output->flows(body, flows);
    reply_ok(request->reply, body);
}

static void do_stats(Request *request)
{
    g_autoptr(GString) body = g_string_new(NULL);
    ControlStats stats;

    request->host->stats(request->opaque, &stats);
    request->output->stats(body, &stats, entries_of(request));
    reply_ok(request->reply, body);
}

static void step_clear(void *step)
{
    g_free(((ControlStep *)step)->why_not);
}

/* The rules up to the one that decides, and why those before it do not. */
static GArray *steps_of(Request *request, const RuleNet *net,
                        const FlowKey *key)
{
    const TableEntry *decides = request->host->lookup(request->opaque, key);
    const GPtrArray *entries = entries_of(request);
    GArray *steps = g_array_new(FALSE, FALSE, sizeof(ControlStep));

    g_array_set_clear_func(steps, step_clear);
    for (unsigned i = 0; i < entries->len; i++) {
        ControlStep step = { g_ptr_array_index(entries, i), NULL };

        if (step.entry != decides) {
            step.why_not = table_explain(step.entry, net, key);
            step.why_not = step.why_not != NULL
                               ? step.why_not
                               : g_strdup("it does not apply to this flow");
        }
        g_array_append_val(steps, step);
        if (step.entry == decides) {
            break;
        }
    }
    return steps;
}

static void do_explain(Request *request)
{
    g_autoptr(GString) body = g_string_new(NULL);
    g_autoptr(GArray) steps = NULL;
    g_autofree char *error = NULL;
    ControlStats stats;
    FlowKey key;

    if (request->output->explain == NULL) {
        no_form(request);
        return;
    }
    request->host->stats(request->opaque, &stats);
    if (!endpoint_parse_flow(request->words, stats.net, &key, &error)) {
        fail(request, REPLY_SYNTAX, "%s", error);
        return;
    }
    steps = steps_of(request, stats.net, &key);
    request->output->explain(body, &key, steps);
    reply_ok(request->reply, body);
}

static void do_version(Request *request)
{
    g_autoptr(GString) body = g_string_new(NULL);

    if (request->output->version == NULL) {
        no_form(request);
        return;
    }
    request->output->version(body, CONTROL_VERSION);
    reply_ok(request->reply, body);
}

/* ---- changes ---- */

bool control_is_rule(const TableEntry *entry, const char *word)
{
    guint64 id;

    if (g_ascii_string_to_unsigned(word, 10, 1, G_MAXINT, &id, NULL)) {
        return entry->id == (int)id;
    }
    return g_strcmp0(entry->rule->name, word) == 0;
}

/* The position of a rule of the table, or -1 after an error. */
static int find(Request *request, const char *word)
{
    const GPtrArray *entries = entries_of(request);

    for (unsigned i = 0; i < entries->len; i++) {
        if (control_is_rule(g_ptr_array_index(entries, i), word)) {
            return i;
        }
    }
    fail(request, REPLY_MISSING, "no rule has the ID or name '%s'", word);
    return -1;
}

static void do_add(Request *request)
{
    g_autofree char *message = NULL;
    int place = -1, id = 0;
    ReplyCode code;

    if (request->n_words > 1) {
        if (request->n_words != 3 || strcmp(request->words[1], "before") != 0) {
            fail(request, REPLY_SYNTAX, "write: add RULE [before ID|NAME]");
            return;
        }
        place = find(request, request->words[2]);
        if (place < 0) {
            return;
        }
    }
    code = request->host->add(request->opaque, request->words[0], place, &id,
                              &message);
    if (code != REPLY_OK) {
        finish(request, code, g_steal_pointer(&message));
    } else if (message != NULL) {
        answer(request, "%d\n%s\n", id, message);
    } else {
        answer(request, "%d\n", id);
    }
}

static void do_del(Request *request)
{
    int place = find(request, request->words[0]);
    const TableEntry *entry;
    ReplyCode code;

    if (place < 0) {
        return;
    }
    entry = g_ptr_array_index(entries_of(request), place);
    code = request->host->remove(request->opaque, entry->id);
    finish(request, code,
           code == REPLY_CLOSED
               ? g_strdup("everything is rejected because the configured "
                          "rules are broken; replace the table")
               : NULL);
}

static void do_replace(Request *request)
{
    char *message = NULL;
    ReplyCode code =
        request->host->replace(request->opaque, request->payload, &message);

    finish(request, code, message);
}

static void do_reload(Request *request)
{
    char *message = NULL;
    ReplyCode code = request->host->reload(request->opaque, &message);

    finish(request, code, message);
}

static void do_flush(Request *request)
{
    const char *rule = request->words[0];
    unsigned n = request->host->flush(request->opaque, rule);

    if (n == 0 && rule != NULL && find(request, rule) < 0) {
        return;
    }
    answer(request, "%u\n", n);
}

static void do_reopen_log(Request *request)
{
    char *message = NULL;
    ReplyCode code = request->host->reopen_log(request->opaque, &message);

    finish(request, code, message);
}

/* ---- the table of commands ---- */

static void do_quit(Request *request)
{
    request->quit = true;
    answer(request, "%s", "");
}

static void do_help(Request *request);

static const Command commands[] = {
    { "list", do_list, 0, 0, false, "list [FORMAT]" },
    { "add", do_add, 1, 3, false, "add RULE [before ID|NAME]" },
    { "del", do_del, 1, 1, false, "del ID|NAME" },
    { "replace", do_replace, 0, 0, true, "replace <<END, rules, END" },
    { "reload", do_reload, 0, 0, false, "reload" },
    { "flows", do_flows, 0, 0, false, "flows [FORMAT]" },
    { "flush", do_flush, 0, 1, false, "flush [ID|NAME]" },
    { "explain", do_explain, 2, 4, false,
      "explain PROTO ADDR:PORT [from ADDR] [FORMAT]" },
    { "stats", do_stats, 0, 0, false, "stats [FORMAT]" },
    { "reopen-log", do_reopen_log, 0, 0, false, "reopen-log" },
    { "version", do_version, 0, 0, false, "version [FORMAT]" },
    { "help", do_help, 0, 0, false, "help" },
    { "quit", do_quit, 0, 0, false, "quit" },
};

static void do_help(Request *request)
{
    g_autoptr(GString) body = g_string_new(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_string_append_printf(body, "%s\n", commands[i].usage);
    }
    g_string_append(body, "FORMAT: --text, --json or --openmetrics\n");
    reply_ok(request->reply, body);
}

/* Takes "--json" and the like. */
static bool take_format(Request *request, const char *word)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(outputs); i++) {
        if (strcmp(word + 2, outputs[i]->name) == 0) {
            request->output = outputs[i];
            return true;
        }
    }
    fail(request, REPLY_SYNTAX,
         "unknown format; there are --text, --json and --openmetrics");
    return false;
}

/* Sorts the words after the command into formats and others. */
static bool take_words(Request *request, char **words)
{
    for (; *words != NULL; words++) {
        if (**words == '\0') {
            continue;
        }
        if (g_str_has_prefix(*words, "--")) {
            if (!take_format(request, *words)) {
                return false;
            }
        } else if (request->n_words == WORDS_MAX) {
            fail(request, REPLY_SYNTAX, "too many words");
            return false;
        } else {
            request->words[request->n_words++] = *words;
        }
    }
    return true;
}

static void dispatch(Request *request, const Command *command, char **words)
{
    if (!take_words(request, words)) {
        return;
    }
    if (request->n_words < command->min_words ||
        request->n_words > command->max_words ||
        (request->payload != NULL) != command->payload) {
        fail(request, REPLY_SYNTAX, "write: %s", command->usage);
        return;
    }
    command->handler(request);
}

bool control_command(const ControlHost *host, void *opaque, const char *line,
                     const GString *payload, GString *reply)
{
    Request request = { .host = host,
                        .opaque = opaque,
                        .output = &output_text,
                        .payload = payload,
                        .reply = reply };
    g_auto(GStrv) words = g_strsplit_set(line, " \t", -1);
    char **word = words;

    while (*word != NULL && **word == '\0') {
        word++;
    }
    for (unsigned i = 0; *word != NULL && i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(*word, commands[i].name) == 0) {
            dispatch(&request, &commands[i], word + 1);
            return !request.quit;
        }
    }
    fail(&request, REPLY_SYNTAX, "unknown command; try help");
    return true;
}
