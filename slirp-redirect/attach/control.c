/* SPDX-License-Identifier: BSD-3-Clause */
/* Joins the control protocol to an instance and to its poll cycle. */
#include "attach/control.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "control/source.h"
#include "control/watchfile.h"

#define ENV_CONTROL "SLIRP_REDIRECT_CONTROL"
#define ENV_LOG "SLIRP_REDIRECT_LOG"
#define ENV_RELOAD "SLIRP_REDIRECT_RELOAD"

/* A file that is written all the time is read this often, in ms. */
enum { RELOAD_PAUSE_MS = 200, NOT_POLLED = -1 };

G_STATIC_ASSERT((int)SERVER_POLL_IN == (int)SLIRP_POLL_IN);
G_STATIC_ASSERT((int)SERVER_POLL_OUT == (int)SLIRP_POLL_OUT);

/* The findings as one text, or NULL. */
static char *message_of(const RuleDiags *diags)
{
    return diags->list->len > 0 ? rule_diags_print(diags) : NULL;
}

/* ---- what there is ---- */

static const GPtrArray *host_entries(void *opaque)
{
    return ((RedirectInstance *)opaque)->entries;
}

static const char *tcp_state(const struct socket *so)
{
    if (so->so_redirect->connecting) {
        return "connecting";
    }
    if (so->so_tcpcb->t_state < TCPS_ESTABLISHED) {
        return "handshake";
    }
    return so->so_tcpcb->t_state == TCPS_ESTABLISHED ? "established"
                                                     : "closing";
}

static void add_flow(GArray *flows, const struct socket *so, bool tcp,
                     GHashTable *in_table)
{
    const struct RedirectFlow *flow = so->so_redirect;
    ControlFlow info = {
        .id = flow->id,
        .proto = tcp ? "tcp" : "udp",
        .state = tcp ? tcp_state(so) : "open",
        .entry = flow->entry,
        .in_table = g_hash_table_contains(in_table, flow->entry),
        .guest = &so->lhost.ss,
        .asked = &so->fhost.ss,
        .target = &flow->target,
        .bytes_out = flow->bytes_out,
        .bytes_in = flow->bytes_in,
        .age_ms = (g_get_monotonic_time() - flow->start_us) / 1000,
    };

    g_array_append_val(flows, info);
}

static void add_flows(GArray *flows, const struct socket *head, bool tcp,
                      GHashTable *in_table)
{
    for (const struct socket *so = head->so_next; so != head;
         so = so->so_next) {
        if (so->so_redirect != NULL) {
            add_flow(flows, so, tcp, in_table);
        }
    }
}

static GArray *host_flows(void *opaque)
{
    RedirectInstance *instance = opaque;
    GArray *flows = g_array_new(FALSE, FALSE, sizeof(ControlFlow));
    g_autoptr(GHashTable) in_table = g_hash_table_new(NULL, NULL);

    for (unsigned i = 0; i < instance->entries->len; i++) {
        g_hash_table_add(in_table, g_ptr_array_index(instance->entries, i));
    }
    add_flows(flows, &instance->slirp->tcb, true, in_table);
    add_flows(flows, &instance->slirp->udb, false, in_table);
    return flows;
}

static unsigned count_flows(const struct socket *head)
{
    unsigned n = 0;

    for (const struct socket *so = head->so_next; so != head;
         so = so->so_next) {
        n += so->so_redirect != NULL;
    }
    return n;
}

static void host_stats(void *opaque, ControlStats *stats)
{
    RedirectInstance *instance = opaque;
    RedirectControl *control = instance->control;

    *stats = (ControlStats){
        .instance = control->number,
        .net = &instance->net,
        .generation = instance->generation,
        .uptime_ms = (g_get_monotonic_time() - control->start_us) / 1000,
        .rules = instance->entries->len,
        .tcp_flows = count_flows(&instance->slirp->tcb),
        .udp_flows = count_flows(&instance->slirp->udb),
        .connecting = instance->connecting.length,
        .clients = server_clients(control->server),
        .closed = instance->closed,
        .reload = &control->reload,
        .log = control->log,
    };
}

static const TableEntry *host_lookup(void *opaque, const FlowKey *key)
{
    RedirectInstance *instance = opaque;

    return instance->table != NULL ? table_lookup(instance->table, key) : NULL;
}

/* ---- changes ---- */

static ReplyCode host_add(void *opaque, const char *text, int place, int *id,
                          char **message)
{
    static const RulePos pos = { .source = "add" };
    RedirectInstance *instance = opaque;
    g_autoptr(RuleDiags) diags = rule_diags_new();
    unsigned at = place < 0 ? instance->n_own : (unsigned)place;
    Rule *rule;

    if (instance->closed != NULL) {
        *message = g_strdup("everything is rejected because the configured "
                            "rules are broken; correct the file and reload, "
                            "or replace the table");
        return REPLY_CLOSED;
    }
    rule = rule_parse(text, &pos, diags);
    *id = rule != NULL ? redirect_add(instance, rule, at, diags) : -1;
    *message = message_of(diags);
    return *id > 0 ? REPLY_OK : REPLY_RULES;
}

static ReplyCode host_remove(void *opaque, int id)
{
    RedirectInstance *instance = opaque;

    if (instance->closed != NULL) {
        return REPLY_CLOSED;
    }
    return redirect_remove(instance, id) ? REPLY_OK : REPLY_MISSING;
}

static GPtrArray *rules_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)rule_free);
}

static GPtrArray *copy_rules(const GPtrArray *rules)
{
    GPtrArray *copy = rules_new();

    for (unsigned i = 0; i < rules->len; i++) {
        g_ptr_array_add(copy, rule_copy(g_ptr_array_index(rules, i)));
    }
    return copy;
}

/* The own rules that stand in the table. */
static GPtrArray *copy_own(const RedirectInstance *instance)
{
    GPtrArray *copy = rules_new();

    for (unsigned i = 0; i < instance->n_own; i++) {
        const TableEntry *entry = g_ptr_array_index(instance->entries, i);

        g_ptr_array_add(copy, rule_copy(entry->rule));
    }
    return copy;
}

static ReplyCode host_replace(void *opaque, const GString *text, char **message)
{
    RedirectInstance *instance = opaque;
    RedirectControl *control = instance->control;
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) own = copy_own(instance);
    GPtrArray *rules =
        rules_parse_lines(text->str, text->len, "replace", diags);
    bool good = false;

    if (diags->errors > 0) {
        g_ptr_array_unref(rules);
    } else {
        good = redirect_replace(instance, rules, rules->len, diags);
    }
    if (good && control->configured == NULL) {
        control->configured = g_steal_pointer(&own);
    }
    *message = message_of(diags);
    return good ? REPLY_OK : REPLY_RULES;
}

void redirect_control_closed(RedirectInstance *instance, const GPtrArray *rules,
                             unsigned n_own, bool own_good)
{
    RedirectControl *control = instance->control;

    if (control != NULL) {
        control->own_broken = !own_good;
        control->configured = rules_new();
        for (unsigned i = 0; own_good && i < n_own; i++) {
            g_ptr_array_add(control->configured,
                            rule_copy(g_ptr_array_index(rules, i)));
        }
    }
}

/* ---- reload ---- */

static int open_rules(const Place *place)
{
    int fd = openat(place->dir_fd, place->name,
                    O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;

    /* Anything else could keep the guest waiting. */
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

static bool load_again(RedirectInstance *instance, RuleDiags *diags)
{
    RedirectControl *control = instance->control;
    GPtrArray *rules = control->configured != NULL
                           ? copy_rules(control->configured)
                           : copy_own(instance);
    unsigned n_own = rules->len;

    source_load_variable(rules, diags);
    source_load_fd(open_rules(&control->rules), control->rules.path, rules,
                   diags);
    if (diags->errors > 0) {
        g_ptr_array_unref(rules);
        return false;
    }
    if (!redirect_replace(instance, rules, n_own, diags)) {
        return false;
    }
    g_clear_pointer(&control->configured, g_ptr_array_unref);
    return true;
}

/* Keeps the outcome for the statistics, and tells the flow log. */
static void note_reload(RedirectControl *control, bool good,
                        const char *message)
{
    g_clear_pointer(&control->reload.error, g_free);
    if (good) {
        control->reload.good++;
    } else {
        control->reload.bad++;
        control->reload.error = g_strdup(message);
    }
    if (control->log != NULL) {
        flowlog_reload(control->log, control->reload.error);
    }
}

static ReplyCode host_reload(void *opaque, char **message)
{
    RedirectInstance *instance = opaque;
    RedirectControl *control = instance->control;
    g_autoptr(RuleDiags) diags = rule_diags_new();
    bool good;

    if (control->rules.dir_fd < 0) {
        *message = g_strdup("there is no rule file; " SOURCE_ENV_FILE
                            " names it when the program starts");
        return REPLY_FAILED;
    }
    if (control->own_broken) {
        *message = g_strdup("the instance's own rules had a mistake when it "
                            "started, so there is nothing to go back to; "
                            "replace the table");
        return REPLY_CLOSED;
    }
    good = load_again(instance, diags);
    *message = message_of(diags);
    note_reload(control, good, *message);
    return good ? REPLY_OK : REPLY_RULES;
}

static void reload_by_itself(RedirectInstance *instance)
{
    g_autofree char *message = NULL;
    ReplyCode code = host_reload(instance, &message);

    if (message != NULL) {
        g_warning("redirect: %s%s",
                  code == REPLY_OK ? "" : "the rules of before stay in force\n",
                  message);
    }
}

/* ---- ending flows ---- */

static bool is_meant(const struct socket *so, const char *rule)
{
    return so->so_redirect != NULL &&
           (rule == NULL || control_is_rule(so->so_redirect->entry, rule));
}

static void end_flow(struct socket *so, bool tcp)
{
    so->so_redirect->error = "flushed";
    if (tcp) {
        tcp_drop(sototcpcb(so), ECONNABORTED);
    } else {
        udp_detach(so);
    }
}

static unsigned end_flows(struct socket *head, const char *rule, bool tcp)
{
    struct socket *so = head->so_next;
    unsigned n = 0;

    while (so != head) {
        struct socket *next = so->so_next;

        if (is_meant(so, rule)) {
            end_flow(so, tcp);
            n++;
        }
        so = next;
    }
    return n;
}

static unsigned host_flush(void *opaque, const char *rule)
{
    RedirectInstance *instance = opaque;

    return end_flows(&instance->slirp->tcb, rule, true) +
           end_flows(&instance->slirp->udb, rule, false);
}

static ReplyCode host_reopen_log(void *opaque, char **message)
{
    RedirectControl *control = ((RedirectInstance *)opaque)->control;

    if (control->log == NULL) {
        *message = g_strdup("there is no flow log; " ENV_LOG
                            " names it when the program starts");
        return REPLY_FAILED;
    }
    return flowlog_reopen(control->log, message) ? REPLY_OK : REPLY_FAILED;
}

static const ControlHost host_ops = {
    .entries = host_entries,
    .flows = host_flows,
    .stats = host_stats,
    .lookup = host_lookup,
    .add = host_add,
    .remove = host_remove,
    .replace = host_replace,
    .reload = host_reload,
    .flush = host_flush,
    .reopen_log = host_reopen_log,
};

static bool on_command(void *opaque, const char *line, const GString *payload,
                       GString *reply)
{
    return control_command(&host_ops, opaque, line, payload, reply);
}

/* Applications of newer interfaces leave these callbacks out. */
static void on_watch(void *opaque, int fd)
{
    struct Slirp *slirp = ((RedirectInstance *)opaque)->slirp;

    if (slirp->cb->register_poll_fd != NULL) {
        slirp->cb->register_poll_fd(fd, slirp->opaque);
    }
}

static void on_unwatch(void *opaque, int fd)
{
    struct Slirp *slirp = ((RedirectInstance *)opaque)->slirp;

    if (slirp->cb->unregister_poll_fd != NULL) {
        slirp->cb->unregister_poll_fd(fd, slirp->opaque);
    }
}

static const ServerOps server_ops = {
    .command = on_command,
    .watch = on_watch,
    .unwatch = on_unwatch,
};

/* ---- life ---- */

/* Nothing that fails here keeps the guest from its network. */
static void warn(const char *name, char *error)
{
    g_warning("redirect: %s: %s", name, error);
    g_free(error);
}

static char *control_path(const char *value, unsigned number, char **error)
{
    g_autofree char *dir = NULL;
    g_autofree char *path = NULL;

    if (strcmp(value, PLACE_AUTO) != 0) {
        return place_expand(value, number, error);
    }
    dir = place_default_dir();
    path = place_expand(PLACE_PATTERN, number, error);
    return place_make_dir(dir, error) ? g_build_filename(dir, path, NULL)
                                      : NULL;
}

static void open_server(RedirectInstance *instance, const char *value)
{
    RedirectControl *control = instance->control;
    Listener listener;
    char *error = NULL;
    g_autofree char *path = control_path(value, control->number, &error);

    if (path != NULL && listener_open(&listener, path, &error)) {
        control->server = server_new(&listener, &server_ops, instance);
    } else {
        warn(ENV_CONTROL, error);
    }
}

static void open_log(RedirectControl *control, const char *value)
{
    char *error = NULL;
    g_autofree char *path = place_expand(value, control->number, &error);

    if (path != NULL) {
        control->log = flowlog_new(path, control->number, &error);
    }
    if (control->log == NULL) {
        warn(ENV_LOG, error);
    }
}

static void open_rule_file(RedirectControl *control, bool watch)
{
    const char *path = source_variable(SOURCE_ENV_FILE);
    char *error = NULL;

    if (path == NULL) {
        return;
    }
    if (!place_open(&control->rules, path, &error)) {
        warn(SOURCE_ENV_FILE, error);
        return;
    }
    if (watch) {
        control->watch_fd = watchfile_open(control->rules.path, &error);
        if (control->watch_fd < 0) {
            warn(ENV_RELOAD, error);
        }
    }
}

void redirect_control_init(RedirectInstance *instance)
{
    static unsigned last_number;
    const char *socket = source_variable(ENV_CONTROL);
    const char *log = source_variable(ENV_LOG);
    const char *reload = source_variable(ENV_RELOAD);
    bool watch = reload != NULL && strcmp(reload, "0") != 0;
    RedirectControl *control;

    last_number++;
    if (socket == NULL && log == NULL && !watch) {
        return;
    }
    control = instance->control = g_new0(RedirectControl, 1);
    control->number = last_number;
    control->start_us = g_get_monotonic_time();
    control->rules.dir_fd = -1;
    control->watch_fd = -1;
    control->watch_index = NOT_POLLED;
    open_rule_file(control, watch);
    if (log != NULL) {
        open_log(control, log);
    }
    if (socket != NULL) {
        open_server(instance, socket);
    }
}

void redirect_control_done(RedirectInstance *instance)
{
    RedirectControl *control = instance->control;

    if (control == NULL) {
        return;
    }
    g_clear_pointer(&control->server, server_free);
    if (control->watch_registered) {
        on_unwatch(instance, control->watch_fd);
    }
    if (control->watch_fd >= 0) {
        close(control->watch_fd);
    }
    place_close(&control->rules);
    g_clear_pointer(&control->configured, g_ptr_array_unref);
    g_free(control->reload.error);
    flowlog_free(control->log);
    g_free(control);
    instance->control = NULL;
}

/* ---- the poll cycle ---- */

static void fill_watch(RedirectInstance *instance, uint32_t *timeout,
                       SlirpAddPollCb add_poll, void *opaque)
{
    RedirectControl *control = instance->control;

    if (!control->watch_registered) {
        on_watch(instance, control->watch_fd);
        control->watch_registered = true;
    }
    control->watch_index = add_poll(control->watch_fd, SLIRP_POLL_IN, opaque);
    if (control->reload_due) {
        int32_t left = control->reload_at - curtime;

        *timeout = MIN(*timeout, (uint32_t)MAX(left, 0));
    }
}

void redirect_control_fill(RedirectInstance *instance, uint32_t *timeout,
                           SlirpAddPollCb add_poll, void *opaque)
{
    RedirectControl *control = instance->control;

    if (control->watch_fd >= 0) {
        fill_watch(instance, timeout, add_poll, opaque);
    }
    if (control->server != NULL) {
        server_fill(control->server, curtime, timeout, add_poll, opaque);
    }
}

static void poll_watch(RedirectInstance *instance, SlirpGetREventsCb ready,
                       void *opaque)
{
    RedirectControl *control = instance->control;
    int index = control->watch_index;
    bool look = ready == NULL || (index != NOT_POLLED && ready(index, opaque));

    control->watch_index = NOT_POLLED;
    if (look && watchfile_changed(control->watch_fd, control->rules.name)) {
        control->reload_due = true;
        /* Later than a pause from now is a time long gone. */
        if (control->reload_at - curtime > RELOAD_PAUSE_MS) {
            control->reload_at = curtime;
        }
    }
    if (control->reload_due && (int32_t)(curtime - control->reload_at) >= 0) {
        control->reload_due = false;
        control->reload_at = curtime + RELOAD_PAUSE_MS;
        reload_by_itself(instance);
    }
}

void redirect_control_poll(RedirectInstance *instance, int select_error,
                           SlirpGetREventsCb get_revents, void *opaque)
{
    RedirectControl *control = instance->control;
    SlirpGetREventsCb ready = select_error ? NULL : get_revents;

    if (control->watch_fd >= 0) {
        poll_watch(instance, ready, opaque);
    }
    if (control->server != NULL) {
        server_poll(control->server, curtime, ready, opaque);
    }
}
