/* SPDX-License-Identifier: BSD-3-Clause */
/* One test's world: its clock, its loop, and the checks when it ends. */
#include "internal.h"

#include <glib/gstdio.h>
#include <stdarg.h>
#include <stdlib.h>

/* How long an awaited condition may take; a bound, never a wait. Tests that are
 * meant to fail may have less, by PACKET_TEST_LIMIT_S in the environment. */
enum { REAL_LIMIT_S = 20 };
enum { FAST_MS = 2 }; /* the stack owes a delayed ACK */
enum { START_S = 1000 };

/*
 * The stack keeps the time of its last poll in a global, so the clock never
 * goes back, not even from one test to the next.
 */
int64_t net_clock_ns = (int64_t)START_S * 1000000000;

void packet_test_init(int *argc, char ***argv)
{
    g_test_init(argc, argv, NULL);
    log_install();
}

gint64 net_deadline(void)
{
    const char *limit = g_getenv("PACKET_TEST_LIMIT_S");

    return g_get_monotonic_time() +
           (limit ? atoi(limit) : REAL_LIMIT_S) * G_USEC_PER_SEC;
}

Net *net_new(void)
{
    Net *net = g_new0(Net, 1);

    net->fds_before = fds_snapshot();
    getrlimit(RLIMIT_NOFILE, &net->files);
    net->guests = g_ptr_array_new();
    net->peers = g_ptr_array_new();
    net->expected_logs = g_ptr_array_new_with_free_func(g_free);
    net->allowed_logs = g_ptr_array_new_with_free_func(g_free);
    net->saved_env = g_ptr_array_new_with_free_func(g_free);
    net->bad_logs = g_string_new(NULL);
    net->pollfds = g_array_new(FALSE, TRUE, sizeof(struct pollfd));
    log_set_net(net);
    return net;
}

static void restore_env(Net *net)
{
    for (guint i = net->saved_env->len; i >= 2; i -= 2) {
        const char *name = net->saved_env->pdata[i - 2];
        const char *value = net->saved_env->pdata[i - 1];

        if (value) {
            g_setenv(name, value, TRUE);
        } else {
            g_unsetenv(name);
        }
    }
}

static void remove_tmpdir(Net *net)
{
    const char *name;
    GDir *dir;

    if (!net->tmpdir) {
        return;
    }
    dir = g_dir_open(net->tmpdir, 0, NULL);
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(net->tmpdir, name, NULL);

        g_unlink(path);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_rmdir(net->tmpdir);
}

static void check_nothing_left(Net *net)
{
    g_autofree char *fds = fds_difference(net->fds_before);
    g_autofree char *logs = log_missing(net);

    if (fds || logs) {
        net_fail(net, "%s%s", fds ? fds : "", logs ? logs : "");
    }
}

void net_free(Net *net)
{
    while (net->guests->len) {
        guest_free(net->guests->pdata[0]);
    }
    while (net->peers->len) {
        peer_free(net->peers->pdata[0]);
    }
    setrlimit(RLIMIT_NOFILE, &net->files);
    restore_env(net);
    remove_tmpdir(net);
    check_nothing_left(net);
    log_set_net(NULL);
    g_ptr_array_free(net->guests, TRUE);
    g_ptr_array_free(net->peers, TRUE);
    g_ptr_array_free(net->expected_logs, TRUE);
    g_ptr_array_free(net->allowed_logs, TRUE);
    g_ptr_array_free(net->saved_env, TRUE);
    g_string_free(net->bad_logs, TRUE);
    g_array_free(net->pollfds, TRUE);
    g_hash_table_destroy(net->fds_before);
    g_free(net->tmpdir);
    g_free(net);
}

void net_fail(Net *net, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "# %s\n", message);
    for (guint i = 0; i < net->guests->len; i++) {
        Guest *guest = net->guests->pdata[i];
        g_autofree char *info =
            guest->slirp ? slirp_connection_info(guest->slirp) : NULL;

        fprintf(stderr, "# connections:\n%s", info ? info : "");
    }
    fflush(stderr);
    abort();
}

void net_expect_log(Net *net, const char *pattern)
{
    g_ptr_array_add(net->expected_logs, g_strdup(pattern));
}

void net_allow_log(Net *net, const char *pattern)
{
    g_ptr_array_add(net->allowed_logs, g_strdup(pattern));
}

void net_setenv(Net *net, const char *name, const char *value)
{
    g_ptr_array_add(net->saved_env, g_strdup(name));
    g_ptr_array_add(net->saved_env, g_strdup(g_getenv(name)));
    if (value) {
        g_setenv(name, value, TRUE);
    } else {
        g_unsetenv(name);
    }
}

void net_limit_files(Net *net, unsigned n)
{
    struct rlimit limit = { n, net->files.rlim_max };

    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
}

const char *net_tmpdir(Net *net)
{
    if (!net->tmpdir) {
        net->tmpdir = g_dir_make_tmp("packet-XXXXXX", NULL);
        g_assert_nonnull(net->tmpdir);
    }
    return net->tmpdir;
}

int64_t net_now_ms(const Net *net)
{
    (void)net;
    return net_clock_ns / 1000000;
}

void net_stall(Net *net, int64_t ms)
{
    (void)net;
    net_clock_ns += ms * 1000000;
}

/* The loop */

int net_add_poll(Net *net, int fd, short events)
{
    struct pollfd entry = { .fd = fd, .events = events };

    g_array_append_val(net->pollfds, entry);
    return (int)net->pollfds->len - 1;
}

short net_poll_result(Net *net, int index)
{
    return g_array_index(net->pollfds, struct pollfd, index).revents;
}

static void deliver_all(Net *net)
{
    bool more = true;

    while (more) {
        more = false;
        for (guint i = 0; i < net->guests->len; i++) {
            more |= guest_deliver(net->guests->pdata[i]);
        }
        net->activity |= more;
    }
}

static void fill_all(Net *net)
{
    g_array_set_size(net->pollfds, 0);
    for (guint i = 0; i < net->peers->len; i++) {
        peer_poll_fill(net->peers->pdata[i]);
    }
    for (guint i = 0; i < net->guests->len; i++) {
        guest_poll_fill(net->guests->pdata[i]);
    }
}

static bool wants_fast(Net *net)
{
    for (guint i = 0; i < net->guests->len; i++) {
        if (((Guest *)net->guests->pdata[i])->wanted_ms <= FAST_MS) {
            return true;
        }
    }
    return false;
}

static void dispatch_all(Net *net, bool failed)
{
    for (guint i = 0; i < net->guests->len; i++) {
        guest_poll_dispatch(net->guests->pdata[i], failed);
    }
    for (guint i = 0; i < net->peers->len; i++) {
        peer_poll_dispatch(net->peers->pdata[i]);
    }
}

static void timers_run(Net *net)
{
    for (guint i = 0; i < net->guests->len; i++) {
        guest_timers_run(net->guests->pdata[i]);
        conns_timers(net->guests->pdata[i]);
    }
}

bool net_step(Net *net, int real_timeout_ms)
{
    int ready;

    net->activity = false;
    deliver_all(net);
    fill_all(net);
    if (wants_fast(net)) {
        net_clock_ns += FAST_MS * 1000000;
        net->activity = true;
    }
    ready = poll((struct pollfd *)(void *)net->pollfds->data, net->pollfds->len,
                 net->activity ? 0 : real_timeout_ms);
    net->activity |= ready > 0;
    timers_run(net);
    dispatch_all(net, ready < 0);
    deliver_all(net);
    return net->activity;
}

/* A descriptor may stay ready for good, so that a bound is needed. */
enum { SETTLE_TURNS = 200 };

void net_settle(Net *net)
{
    for (int i = 0; i < SETTLE_TURNS && net_step(net, 0); i++) {
    }
}

bool net_run_until(Net *net, bool (*condition)(void *opaque), void *opaque)
{
    gint64 end = net_deadline();

    while (!condition(opaque)) {
        if (g_get_monotonic_time() > end) {
            return false;
        }
        net_step(net, 20);
    }
    return true;
}

/* How far the clock may jump before somebody has to act. */
static int64_t next_jump_ms(Net *net, int64_t left)
{
    for (guint i = 0; i < net->guests->len; i++) {
        Guest *guest = net->guests->pdata[i];
        int64_t timer = guest_next_timer_ms(guest) - net_now_ms(net);

        left = MIN(left, guest->wanted_ms);
        left = MIN(left, MAX(timer, 1));
    }
    return MAX(left, 1);
}

void net_advance(Net *net, int64_t ms)
{
    int64_t end = net_now_ms(net) + ms;

    net_settle(net);
    while (net_now_ms(net) < end) {
        net_clock_ns += next_jump_ms(net, end - net_now_ms(net)) * 1000000;
        net_step(net, 0);
    }
    net_settle(net);
}
