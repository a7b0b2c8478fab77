/* SPDX-License-Identifier: BSD-3-Clause */
/* `slirp-redirect watch`: rules and flows of an instance, with their rates. */
#include <json-glib/json-glib.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"
#include "remote.h"

#define CLEAR_SCREEN "\033[H\033[J"

enum { INTERVAL_MAX_S = 3600 };

typedef struct Watch {
    const char *socket;
    unsigned interval_s, count; /* count 0 = until it is stopped */
    Remote remote;
    GHashTable *bytes; /* "r3", "f17" -> Bytes * of the last turn */
    gint64 last_us;
    GString *screen; /* lines to be shown */
    /* Of the terminal; both without bound if the output is none. */
    unsigned rows, columns;
} Watch;

typedef struct Bytes {
    gint64 out, in;
} Bytes;

static bool set_socket(void *state, const char *value,
                       GError **error G_GNUC_UNUSED)
{
    ((Watch *)state)->socket = value;
    return true;
}

static bool set_number(unsigned *number, const char *value, GError **error)
{
    guint64 n;

    if (!g_ascii_string_to_unsigned(value, 10, 1, INTERVAL_MAX_S, &n, NULL)) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "'%s' is no number from 1 to %d", value, INTERVAL_MAX_S);
        return false;
    }
    *number = n;
    return true;
}

static bool set_interval(void *state, const char *value, GError **error)
{
    return set_number(&((Watch *)state)->interval_s, value, error);
}

static bool set_count(void *state, const char *value, GError **error)
{
    return set_number(&((Watch *)state)->count, value, error);
}

static const CliOption watch_options[] = {
    { "--socket", true, set_socket },
    { "--interval", true, set_interval },
    { "--count", true, set_count },
    { "--help", false, NULL },
    { NULL, false, NULL },
};

static JsonObject *ask(Watch *w, JsonParser *parser, const char *line,
                       GError **error)
{
    RemoteReply reply;
    JsonNode *root = NULL;

    if (remote_ask(&w->remote, line, &reply, error) && reply.ok &&
        json_parser_load_from_data(parser, reply.body->str, reply.body->len,
                                   error))
        root = json_parser_get_root(parser);
    remote_reply_clear(&reply);
    if (root && JSON_NODE_HOLDS_OBJECT(root))
        return json_node_get_object(root);
    if (!*error)
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "unexpected reply");
    return NULL;
}

/* 12345678 -> "11.8M" */
static void print_size(GString *out, double n)
{
    static const char units[] = " KMGTPE";
    unsigned u = 0;

    for (; n >= 1024 && units[u + 1]; u++)
        n /= 1024;
    g_string_append_printf(out, u ? " %6.1f%c" : " %6.0f%c", n, units[u]);
}

/* Bytes a second since the last turn, and what there is now for the next. */
static void print_rates(Watch *w, GHashTable *now, char *key, JsonObject *o,
                        double seconds)
{
    Bytes *b = g_new(Bytes, 1);
    const Bytes *old = g_hash_table_lookup(w->bytes, key);

    b->out = json_object_get_int_member(o, "bytes_out");
    b->in = json_object_get_int_member(o, "bytes_in");
    print_size(w->screen, b->out);
    print_size(w->screen, b->in);
    print_size(w->screen,
               old && seconds > 0 ? (b->out - old->out) / seconds : 0);
    print_size(w->screen, old && seconds > 0 ? (b->in - old->in) / seconds : 0);
    g_hash_table_insert(now, key, b);
}

static guint print_more(Watch *w, guint n, guint shown)
{
    if (n > shown)
        g_string_append_printf(w->screen, "... and %u more\n", n - shown);
    return shown + (n > shown);
}

/* At most half of the screen; returns the number of lines below the title. */
static guint print_rules(Watch *w, JsonObject *root, GHashTable *now,
                         double seconds)
{
    JsonArray *rules = json_object_get_array_member(root, "rules");
    guint n = json_array_get_length(rules), shown = MIN(n, w->rows / 2);

    g_string_append_printf(w->screen, "%6s %8s %8s %7s %7s %7s %7s\n", "RULE",
                           "FLOWS", "FAILED", "OUT", "IN", "OUT/s", "IN/s");
    for (guint i = 0; i < shown; i++) {
        JsonObject *o = json_array_get_object_element(rules, i);
        gint64 id = json_object_get_int_member(o, "id");
        g_string_append_printf(w->screen,
                               "%6" G_GINT64_FORMAT " %8" G_GINT64_FORMAT
                               " %8" G_GINT64_FORMAT,
                               id, json_object_get_int_member(o, "flows"),
                               json_object_get_int_member(o, "failed"));
        print_rates(w, now, g_strdup_printf("r%" G_GINT64_FORMAT, id), o,
                    seconds);
        g_string_append_printf(w->screen, "  %s\n",
                               json_object_get_string_member(o, "rule"));
    }
    return print_more(w, n, shown);
}

static void print_flows(Watch *w, JsonObject *root, GHashTable *now,
                        double seconds, guint room)
{
    JsonArray *flows = json_object_get_array_member(root, "flows");
    guint n = json_array_get_length(flows), shown = MIN(n, room);

    g_string_append_printf(w->screen, "\n%6s %5s %-11s %7s %7s %7s %7s  %s\n",
                           "FLOW", "RULE", "STATE", "OUT", "IN", "OUT/s",
                           "IN/s", "GUEST > ASKED FOR > TARGET");
    for (guint i = 0; i < shown; i++) {
        JsonObject *o = json_array_get_object_element(flows, i);
        gint64 id = json_object_get_int_member(o, "flow");
        g_string_append_printf(
            w->screen, "%6" G_GINT64_FORMAT " %5" G_GINT64_FORMAT " %-11s", id,
            json_object_get_int_member(o, "rule"),
            json_object_get_string_member(o, "state"));
        print_rates(w, now, g_strdup_printf("f%" G_GINT64_FORMAT, id), o,
                    seconds);
        g_string_append_printf(w->screen, "  %s %s > %s > %s\n",
                               json_object_get_string_member(o, "proto"),
                               json_object_get_string_member(o, "guest"),
                               json_object_get_string_member(o, "destination"),
                               json_object_get_string_member(o, "target"));
    }
    print_more(w, n, shown);
}

static void measure_screen(Watch *w)
{
    struct winsize size;

    w->rows = w->columns = G_MAXUINT;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        w->rows = size.ws_row ? size.ws_row : G_MAXUINT;
        w->columns = size.ws_col ? size.ws_col : G_MAXUINT;
    }
}

/* A line longer than the terminal would take two. */
static void show_screen(Watch *w)
{
    g_auto(GStrv) lines = g_strsplit(w->screen->str, "\n", -1);

    if (isatty(STDOUT_FILENO))
        fputs(CLEAR_SCREEN, stdout);
    for (unsigned i = 0; lines[i] && lines[i + 1]; i++) {
        g_autofree char *cut =
            g_utf8_strlen(lines[i], -1) > (glong)w->columns
                ? g_utf8_substring(lines[i], 0, (glong)w->columns)
                : g_strdup(lines[i]);
        puts(cut);
    }
    fflush(stdout);
}

/* Titles, an empty line, what is left out, and where the cursor rests. */
enum { LINES_BESIDES = 5 };

static bool turn(Watch *w, GError **error)
{
    g_autoptr(JsonParser) rules = json_parser_new();
    g_autoptr(JsonParser) flows = json_parser_new();
    JsonObject *r = ask(w, rules, "list --json", error);
    JsonObject *f = r ? ask(w, flows, "flows --json", error) : NULL;

    if (!f)
        return false;
    gint64 now_us = g_get_monotonic_time();
    double seconds = (double)(now_us - w->last_us) / G_USEC_PER_SEC;
    GHashTable *now =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    measure_screen(w);
    g_string_truncate(w->screen, 0);
    guint taken = print_rules(w, r, now, seconds) + LINES_BESIDES;
    print_flows(w, f, now, seconds, w->rows > taken ? w->rows - taken : 1);
    show_screen(w);
    g_hash_table_unref(w->bytes);
    w->bytes = now;
    w->last_us = now_us;
    return true;
}

/* Waits, and returns early when the instance is gone. */
static void wait_turn(const Watch *w)
{
    struct pollfd gone = { .fd = w->remote.fd, .events = POLLIN };

    poll(&gone, 1, (int)w->interval_s * 1000);
}

static int watch(Watch *w)
{
    GError *error = NULL;

    if (!remote_open(&w->remote, w->socket, &error))
        return cli_options_failed("watch", error);
    for (unsigned i = 1; turn(w, &error); i++) {
        if (w->count > 0 && i >= w->count)
            break;
        wait_turn(w);
    }
    remote_close(&w->remote);
    return error ? cli_options_failed("watch", error) : CLI_OK;
}

int cmd_watch(char **words)
{
    Watch w = { .interval_s = 1 };
    GError *error = NULL;
    g_autofree char **operands =
        cli_options_parse(words, watch_options, CLI_ORDER_ANY, &w, &error);

    if (!operands)
        return cli_options_failed("watch", error);
    if (operands[0]) {
        cli_complain("watch: takes no '%s'", operands[0]);
        return CLI_USAGE;
    }
    w.bytes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    w.screen = g_string_new(NULL);
    int status = watch(&w);
    g_string_free(w.screen, TRUE);
    g_hash_table_unref(w.bytes);
    return status;
}
