/* SPDX-License-Identifier: BSD-3-Clause */
/* Log messages as test results, and captures written when a test fails. */
#include "internal.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static Net *current;

void log_set_net(Net *net)
{
    current = net;
}

static bool take_expected(Net *net, const char *message)
{
    for (guint i = 0; i < net->expected_logs->len; i++) {
        if (g_pattern_match_simple(net->expected_logs->pdata[i], message)) {
            g_ptr_array_remove_index(net->expected_logs, i);
            return true;
        }
    }
    for (guint i = 0; i < net->allowed_logs->len; i++) {
        if (g_pattern_match_simple(net->allowed_logs->pdata[i], message)) {
            return true;
        }
    }
    return false;
}

static void handler(const char *domain, GLogLevelFlags level,
                    const char *message, gpointer opaque)
{
    bool bad = level &
               (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING);

    if (bad && current && !(level & G_LOG_FLAG_FATAL)) {
        if (take_expected(current, message)) {
            return;
        }
        g_string_append_printf(current->bad_logs, "unexpected message: %s\n",
                               message);
    }
    g_log_default_handler(domain, level, message, opaque);
}

/* g_assert() and friends end in abort(): write the captures on the way. */
static void on_abort(int signal_number)
{
    (void)signal_number;
    if (current) {
        captures_write(current);
    }
}

void log_install(void)
{
    struct sigaction action = { .sa_handler = on_abort,
                                .sa_flags = (int)SA_RESETHAND };

    /* g_test_init() made warnings fatal; here net_free() judges them. */
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    g_log_set_default_handler(handler, NULL);
    sigaction(SIGABRT, &action, NULL);
}

char *log_missing(Net *net)
{
    GString *text = g_string_new(net->bad_logs->str);

    for (guint i = 0; i < net->expected_logs->len; i++) {
        g_string_append_printf(text, "expected message did not come: %s\n",
                               (char *)net->expected_logs->pdata[i]);
    }
    return g_string_free(text, text->len == 0);
}

static void capture_write(Guest *guest, const char *dir, int number)
{
    const char *test = g_test_get_path();
    g_autofree char *base =
        g_strdup_printf("%s-%d.pcap", *test ? test + 1 : "test", number);
    g_autofree char *path = NULL;
    FILE *file;

    g_strdelimit(base, "/", '-');
    path = g_build_filename(dir, base, NULL);
    file = fopen(path, "wb");
    if (!file) {
        return;
    }
    pcap_begin(file);
    for (GList *l = guest->frames->head; l; l = l->next) {
        Frame *f = l->data;

        pcap_write(file, f->time_ms * 1000000, f->data, f->len);
    }
    fclose(file);
    fprintf(stderr, "# capture written to %s\n", path);
}

static void print_last_frames(Guest *guest)
{
    GList *l = g_list_nth_prev(guest->frames->tail, 14);

    for (l = l ? l : guest->frames->head; l; l = l->next) {
        g_autofree char *text = frame_describe(l->data);

        fprintf(stderr, "#   %s\n", text);
    }
}

void captures_write(Net *net)
{
    const char *dir = g_getenv("PACKET_TEST_CAPTURES");

    current = NULL; /* once */
    for (guint i = 0; i < net->guests->len; i++) {
        fprintf(stderr, "# last frames of guest %u:\n", i);
        print_last_frames(net->guests->pdata[i]);
        if (dir) {
            capture_write(net->guests->pdata[i], dir, (int)i);
        }
    }
}
