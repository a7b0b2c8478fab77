/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes the flow log. */
#include "control/flowlog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "control/endpoint.h"
#include "control/json.h"

static const struct {
    double rate, burst;
} limits[] = {
    [FLOWLOG_FLOWS] = { FLOWLOG_FLOWS_RATE, FLOWLOG_FLOWS_BURST },
    [FLOWLOG_REFUSALS] = { FLOWLOG_REFUSALS_RATE, FLOWLOG_REFUSALS_BURST },
};
G_STATIC_ASSERT(G_N_ELEMENTS(limits) == FLOWLOG_N_CLASSES);

/* ---- the file ---- */

static int open_log(const Place *place)
{
    int flags = O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd =
        openat(place->dir_fd, place->name, O_WRONLY | O_CREAT | flags, 0600);
    struct stat st;

    /* A FIFO that we read ourselves is there without a reader, too, and never
     * ends the process with SIGPIPE; full, it loses lines. */
    if (fd < 0 ? errno == ENXIO : fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)) {
        if (fd >= 0) {
            close(fd);
        }
        fd = openat(place->dir_fd, place->name, O_RDWR | flags);
    }
    return fd;
}

bool flowlog_reopen(FlowLog *log, char **error)
{
    int fd = open_log(&log->place);

    if (fd < 0) {
        *error = g_strdup_printf("cannot open %s: %s", log->place.path,
                                 g_strerror(errno));
        return false;
    }
    if (log->fd >= 0) {
        close(log->fd);
    }
    log->fd = fd;
    log->torn = false;
    return true;
}

FlowLog *flowlog_new(const char *path, unsigned instance, char **error)
{
    FlowLog *log = g_new0(FlowLog, 1);

    log->fd = -1;
    log->instance = instance;
    log->place.dir_fd = -1;
    for (int i = 0; i < FLOWLOG_N_CLASSES; i++) {
        log->tokens[i] = limits[i].burst;
        log->filled_us[i] = g_get_monotonic_time();
    }
    if (!place_open(&log->place, path, error) || !flowlog_reopen(log, error)) {
        place_close(&log->place);
        g_free(log);
        return NULL;
    }
    return log;
}

static void put(FlowLog *log, GString *line)
{
    ssize_t n;

    g_string_append(line, "}\n");
    if (log->torn) {
        g_string_prepend_c(line, '\n');
    }
    n = write(log->fd, line->str, line->len);
    if (n == (ssize_t)line->len) {
        log->written++;
        log->torn = false;
    } else {
        log->lost++;
        log->torn |= n > 0;
    }
}

/* ---- rates ---- */

static bool may_write(FlowLog *log, FlowLogClass class)
{
    gint64 now = g_get_monotonic_time();
    double tokens = log->tokens[class] + (double)(now - log->filled_us[class]) *
                                             limits[class].rate /
                                             G_USEC_PER_SEC;

    log->filled_us[class] = now;
    log->tokens[class] = MIN(tokens, limits[class].burst);
    if (log->tokens[class] < 1) {
        log->pending[class]++;
        log->suppressed++;
        return false;
    }
    log->tokens[class] -= 1;
    return true;
}

/* ---- lines ---- */

static char *time_text(void)
{
    gint64 now = g_get_real_time();
    time_t seconds = now / G_USEC_PER_SEC;
    struct tm tm;
    char text[32];

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    return g_strdup_printf("%s.%06dZ", text, (int)(now % G_USEC_PER_SEC));
}

static GString *line_new(const FlowLog *log, const char *event)
{
    GString *line = g_string_new("{");

    json_take(line, "time", time_text());
    json_number(line, "pid", getpid());
    json_number(line, "instance", log->instance);
    json_string(line, "event", event);
    return line;
}

static void put_suppressed(FlowLog *log)
{
    GString *line;

    if (log->pending[FLOWLOG_FLOWS] + log->pending[FLOWLOG_REFUSALS] == 0) {
        return;
    }
    line = line_new(log, "suppressed");
    json_number(line, "flow_lines", log->pending[FLOWLOG_FLOWS]);
    json_number(line, "refusal_lines", log->pending[FLOWLOG_REFUSALS]);
    memset(log->pending, 0, sizeof(log->pending));
    put(log, line);
    g_string_free(line, TRUE);
}

static const char *verdict_name(TargetKind kind)
{
    switch (kind) {
    case TARGET_PASS:
        return "pass";
    case TARGET_REJECT:
        return "reject";
    case TARGET_DROP:
        return "drop";
    default:
        return "redirect";
    }
}

static void add_event(GString *line, const FlowLogEvent *event)
{
    const Rule *rule = event->entry->rule;

    if (event->flow != 0) {
        json_number(line, "flow", event->flow);
    }
    json_string(line, "proto", event->proto);
    json_take(line, "guest", endpoint_print(event->guest));
    json_take(line, "destination", endpoint_print(event->asked));
    json_number(line, "rule", event->entry->id);
    json_string(line, "name", rule->name);
    json_string(line, "verdict", verdict_name(rule->target.kind));
    if (event->target != NULL && event->target->ss_family != 0) {
        json_take(line, "target", endpoint_print(event->target));
    }
    if (event->ended) {
        json_number(line, "bytes_out", event->bytes_out);
        json_number(line, "bytes_in", event->bytes_in);
        json_number(line, "duration_ms", event->duration_us / 1000);
    }
    if (event->error != NULL) {
        json_string(line, "error", event->error);
    }
}

void flowlog_write(FlowLog *log, FlowLogClass class, const FlowLogEvent *event)
{
    GString *line;

    if (!may_write(log, class)) {
        return;
    }
    put_suppressed(log);
    line = line_new(log, event->event);
    add_event(line, event);
    put(log, line);
    g_string_free(line, TRUE);
}

void flowlog_reload(FlowLog *log, const char *error)
{
    GString *line = line_new(log, "reload");

    json_bool(line, "ok", error == NULL);
    if (error != NULL) {
        json_string(line, "error", error);
    }
    put(log, line);
    g_string_free(line, TRUE);
}

void flowlog_free(FlowLog *log)
{
    if (log != NULL) {
        put_suppressed(log);
        if (log->fd >= 0) {
            close(log->fd);
        }
        place_close(&log->place);
        g_free(log);
    }
}
