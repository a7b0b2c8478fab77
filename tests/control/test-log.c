/* SPDX-License-Identifier: BSD-3-Clause */
/* The flow log: what it tells, how much, and that it never blocks. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client.h"
#include "control/flowlog.h"

static char *log_path(Net *net)
{
    char *path = g_build_filename(net_tmpdir(net), "log", NULL);

    net_setenv(net, "SLIRP_REDIRECT_LOG", path);
    return path;
}

/* The lines as JSON objects; each must be one. */
static GPtrArray *lines_of(const char *path)
{
    g_autofree char *text = NULL;
    GPtrArray *lines =
        g_ptr_array_new_with_free_func((GDestroyNotify)json_node_unref);

    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) split = g_strsplit(text, "\n", -1);
    for (char **line = split; line[0] != NULL && line[1] != NULL; line++) {
        g_autoptr(GError) error = NULL;
        JsonNode *node = json_from_string(*line, &error);

        g_assert_no_error(error);
        g_ptr_array_add(lines, node);
    }
    return lines;
}

static const char *str(const GPtrArray *lines, guint i, const char *name)
{
    JsonObject *o;

    g_assert_cmpuint(i, <, lines->len);
    o = json_node_get_object(lines->pdata[i]);
    return json_object_has_member(o, name)
               ? json_object_get_string_member(o, name)
               : "absent";
}

static gint64 num(const GPtrArray *lines, guint i, const char *name)
{
    JsonObject *o = json_node_get_object(lines->pdata[i]);

    g_assert_true(json_object_has_member(o, name));
    return json_object_get_int_member(o, name);
}

#define assert_line(lines, i, event, destination, verdict)                     \
    do {                                                                       \
        g_assert_cmpstr(str(lines, i, "event"), ==, event);                    \
        g_assert_cmpstr(str(lines, i, "destination"), ==, destination);        \
        g_assert_cmpstr(str(lines, i, "verdict"), ==, verdict);                \
    } while (0)

static void test_tcp(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = log_path(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    g_autofree char *rule = g_strdup_printf(
        "tcp:80-:%u+log+name=web tcp:81-:%u", peer_port(echo), peer_port(echo));
    g_autofree char *target = g_strdup_printf("127.0.0.1:%u", peer_port(echo));
    g_autofree char *from = NULL;
    Guest *guest;
    Conn *conn, *quiet;
    struct stat st;

    net_setenv(net, "SLIRP_REDIRECT", rule);
    guest = guest_new(net);
    conn = guest_connect(guest, "198.51.100.7", 80);
    quiet = guest_connect(guest, "198.51.100.7", 81);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
    conn_close(quiet);
    guest_expect_idle(guest);

    g_autoptr(GPtrArray) lines = lines_of(path);
    g_assert_cmpuint(lines->len, ==, 2);
    from = g_strdup_printf("10.0.2.15:%u", conn_local(conn).port);
    assert_line(lines, 0, "open", "198.51.100.7:80", "redirect");
    g_assert_cmpstr(str(lines, 0, "guest"), ==, from);
    g_assert_cmpstr(str(lines, 0, "target"), ==, target);
    g_assert_cmpstr(str(lines, 0, "name"), ==, "web");
    assert_line(lines, 1, "close", "198.51.100.7:80", "redirect");
    g_assert_cmpint(num(lines, 0, "flow"), ==, num(lines, 1, "flow"));
    g_assert_cmpint(num(lines, 1, "bytes_out"), ==, 5);
    g_assert_cmpint(num(lines, 1, "bytes_in"), ==, 5);
    g_assert_cmpint(g_stat(path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
}

/* A connection that the target breaks off ends with an error. */
static void test_reset(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = log_path(net);
    Peer *server = server_new(net), *peer;
    g_autofree char *rule =
        g_strdup_printf("tcp:80-:%u+log", peer_port(server));
    Guest *guest;
    Conn *conn;

    net_setenv(net, "SLIRP_REDIRECT", rule);
    guest = guest_new(net);
    conn = guest_link_to(guest, server, "198.51.100.7", 80, &peer);
    conn_send_text(conn, "hello");
    peer_expect_text(peer, "hello");
    peer_reset(peer);
    conn_expect_reset(conn);
    guest_expect_idle(guest);

    g_autoptr(GPtrArray) lines = lines_of(path);
    g_assert_cmpuint(lines->len, ==, 2);
    assert_line(lines, 1, "close", "198.51.100.7:80", "redirect");
    g_assert_cmpstr(str(lines, 1, "error"), ==, "Connection reset by peer");
    g_assert_cmpint(num(lines, 1, "bytes_out"), ==, 5);
}

static void test_others(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = log_path(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    g_autofree char *rules = g_strdup_printf(
        "udp:53-:%u+log tcp:80-:%u+log tcp:81-reject+log udp:54-drop+log "
        "tcp:host:*-pass+log any:203.0.113.0/24:*-drop+log",
        peer_port(echo), net_refused_port(net, AF_INET, SOCK_STREAM));
    Guest *guest;

    net_setenv(net, "SLIRP_REDIRECT", rules);
    guest = guest_new(net);
    guest_send_text(guest, 5000, "198.51.100.7", 53, "question");
    guest_expect(guest, m_udp(), m_text("question"));
    conn_expect_reset(guest_connect(guest, "198.51.100.7", 80));
    conn_expect_reset(guest_connect(guest, "198.51.100.7", 81));
    guest_send_text(guest, 5001, "198.51.100.7", 54, "x");
    conn_expect_reset(guest_connect(
        guest, "10.0.2.2", net_refused_port(net, AF_INET, SOCK_STREAM)));
    guest_ping(guest, "203.0.113.1", 1, 1, "x", 1);
    guest_expect_idle(guest);

    g_autoptr(GPtrArray) lines = lines_of(path);
    g_assert_cmpuint(lines->len, ==, 7);
    assert_line(lines, 0, "open", "198.51.100.7:53", "redirect");
    assert_line(lines, 1, "fail", "198.51.100.7:80", "redirect");
    g_assert_cmpstr(str(lines, 1, "error"), ==, "Connection refused");
    assert_line(lines, 2, "refuse", "198.51.100.7:81", "reject");
    assert_line(lines, 3, "refuse", "198.51.100.7:54", "drop");
    g_assert_cmpstr(str(lines, 4, "event"), ==, "pass");
    assert_line(lines, 5, "refuse", "203.0.113.1:0", "drop");
    g_assert_cmpstr(str(lines, 5, "proto"), ==, "icmp");
    assert_line(lines, 6, "close", "198.51.100.7:53", "redirect");
    g_assert_cmpint(num(lines, 6, "bytes_in"), ==, 8);
}

/* Who talked to what, and how much, comes out of the log alone. */
static void test_rebuild(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = log_path(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    g_autofree char *rule =
        g_strdup_printf("tcp:1..100-:%u+log", peer_port(echo));
    g_autoptr(GHashTable) sent =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Guest *guest;

    net_setenv(net, "SLIRP_REDIRECT", rule);
    guest = guest_new(net);
    for (unsigned i = 1; i <= 40; i++) {
        Conn *conn = guest_connect(guest, "198.51.100.7", i);
        g_autoptr(GByteArray) data = pattern_new(i, i * 100);

        conn_send(conn, data->data, data->len);
        conn_expect(conn, data->data, data->len);
        g_hash_table_insert(sent,
                            g_strdup_printf("10.0.2.15:%u > 198.51.100.7:%u",
                                            conn_local(conn).port, i),
                            GUINT_TO_POINTER(i * 100));
        if (i % 2) {
            conn_close(conn);
        } else {
            conn_abort(conn);
        }
    }
    guest_free(guest); /* ends whatever is left */

    g_autoptr(GPtrArray) lines = lines_of(path);
    g_assert_cmpuint(lines->len, ==, 80);
    for (unsigned i = 0; i < lines->len; i++) {
        g_autofree char *who = g_strdup_printf(
            "%s > %s", str(lines, i, "guest"), str(lines, i, "destination"));
        guint bytes = GPOINTER_TO_UINT(g_hash_table_lookup(sent, who));

        if (strcmp(str(lines, i, "event"), "close") == 0) {
            g_assert_cmpint(num(lines, i, "bytes_out"), ==, bytes);
            g_assert_cmpint(num(lines, i, "bytes_in"), ==, bytes);
            g_assert_true(g_hash_table_remove(sent, who));
        }
    }
    g_assert_cmpuint(g_hash_table_size(sent), ==, 0);
}

/* A guest that is refused in a loop neither fills the disk nor hides flows. */
static void test_rate(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = log_path(net);
    g_autofree char *control = control_path(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    g_autofree char *rules =
        g_strdup_printf("udp:9-drop+log tcp:80-:%u+log", peer_port(echo));
    unsigned refused = 0, told = 0, opened = 0;
    Guest *guest;
    gint64 suppressed;

    net_setenv(net, "SLIRP_REDIRECT", rules);
    guest = guest_new(net);
    for (unsigned i = 0; i < 20 * FLOWLOG_REFUSALS_BURST; i++) {
        guest_send_text(guest, 5000, "198.51.100.7", 9, "x");
    }
    conn_close(guest_connect(guest, "198.51.100.7", 80));
    g_autoptr(Client) client = client_new(net, control);
    g_autoptr(JsonParser) stats = client_ask_json(client, "stats --json");
    suppressed = json_object_get_int_member(
        json_object_get_object_member(
            json_node_get_object(json_parser_get_root(stats)), "log"),
        "suppressed");
    guest_free(guest);

    g_autoptr(GPtrArray) lines = lines_of(path);
    for (unsigned i = 0; i < lines->len; i++) {
        const char *event = str(lines, i, "event");

        refused += strcmp(event, "refuse") == 0;
        opened += strcmp(event, "open") == 0;
        if (strcmp(event, "suppressed") == 0) {
            told += num(lines, i, "refusal_lines");
        }
    }
    g_assert_cmpuint(opened, ==, 1);
    g_assert_cmpint(suppressed, >, 0);
    g_assert_cmpint(told, ==, suppressed);
    g_assert_cmpuint(refused + told, ==, 20 * FLOWLOG_REFUSALS_BURST);
}

static void test_reopen(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = log_path(net);
    g_autofree char *old = g_strconcat(path, ".1", NULL);
    g_autofree char *control = control_path(net);
    Guest *guest;

    net_setenv(net, "SLIRP_REDIRECT", "tcp:80-reject+log");
    guest = guest_new(net);
    g_autoptr(Client) client = client_new(net, control);
    conn_expect_reset(guest_connect(guest, "198.51.100.1", 80));
    g_assert_cmpint(g_rename(path, old), ==, 0);
    conn_expect_reset(guest_connect(guest, "198.51.100.2", 80));
    g_free(client_ask(client, "reopen-log"));
    conn_expect_reset(guest_connect(guest, "198.51.100.3", 80));

    g_autoptr(GPtrArray) before = lines_of(old);
    g_assert_cmpuint(before->len, ==, 2);
    g_autoptr(GPtrArray) after = lines_of(path);
    g_assert_cmpuint(after->len, ==, 1);
    assert_line(after, 0, "refuse", "198.51.100.3:80", "reject");
}

/* Nobody reads the FIFO: it fills, lines are lost and counted, nothing waits,
 * and no SIGPIPE comes when a reader that was there at first has gone. */
static void test_fifo(const void *with_reader)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = log_path(net);
    g_autofree char *control = control_path(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    g_autofree char *rule = g_strdup_printf("tcp:80-:%u+log", peer_port(echo));
    Guest *guest;
    int reader = -1;

    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    net_setenv(net, "SLIRP_REDIRECT", rule);
    if (with_reader != NULL) {
        reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        g_assert_cmpint(reader, >=, 0);
    }
    guest = guest_new(net);
    if (with_reader != NULL) {
        close(reader);
    }
    for (unsigned i = 0; i < 600; i++) {
        Conn *conn = guest_connect(guest, "198.51.100.7", 80);

        conn_expect_established(conn);
        conn_abort(conn);
    }
    g_autoptr(Client) client = client_new(net, control);
    g_autoptr(JsonParser) stats = client_ask_json(client, "stats --json");
    JsonObject *log = json_object_get_object_member(
        json_node_get_object(json_parser_get_root(stats)), "log");
    g_assert_cmpint(json_object_get_int_member(log, "lines"), >, 0);
    g_assert_cmpint(json_object_get_int_member(log, "lost"), >, 0);
}

static void test_bad_path(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path =
        g_build_filename(net_tmpdir(net), "missing", "log", NULL);

    net_setenv(net, "SLIRP_REDIRECT_LOG", path);
    net_expect_log(net, "*SLIRP_REDIRECT_LOG*cannot open*");
    guest_new(net);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/log/tcp", test_tcp);
    g_test_add_func("/log/reset", test_reset);
    g_test_add_func("/log/others", test_others);
    g_test_add_func("/log/rebuild", test_rebuild);
    g_test_add_func("/log/rate", test_rate);
    g_test_add_func("/log/reopen", test_reopen);
    g_test_add_data_func("/log/fifo/no-reader", NULL, test_fifo);
    g_test_add_data_func("/log/fifo/reader-gone", "reader", test_fifo);
    g_test_add_func("/log/bad-path", test_bad_path);
    return g_test_run();
}
