/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: its file, its clients, and what they can do to it. */
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "control/server.h" /* first: the harness has a macro of that name */
#include "client.h"

/* ---- the file ---- */

static void test_file(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    mode_t old = umask(0);
    Guest *guest = guest_new(net);
    struct stat st;

    umask(old);
    g_assert_cmpint(lstat(path, &st), ==, 0);
    g_assert_true(S_ISSOCK(st.st_mode));
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpint(umask(old), ==, old);
    guest_free(guest);
    g_assert_cmpint(lstat(path, &st), <, 0);
}

/* A socket that was bound and whose process is gone. */
static void make_stale(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
    g_assert_cmpint(bind(s, (struct sockaddr *)&sun, sizeof(sun)), ==, 0);
    g_assert_cmpint(listen(s, 1), ==, 0);
    close(s);
}

static void test_stale(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);

    make_stale(path);
    guest_new(net);
    g_autoptr(Client) client = client_new(net, path);
    g_autofree char *version = client_ask(client, "version");
    g_assert_nonnull(strstr(version, "protocol"));
}

static void test_live(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    Guest *second;

    guest_new(net);
    net_expect_log(net, "*another instance uses this socket*");
    second = guest_new(net);
    guest_free(second);
    g_autoptr(Client) client = client_new(net, path);
    g_autofree char *version = client_ask(client, "version");
    g_assert_nonnull(strstr(version, "protocol"));
}

static void test_no_socket(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    g_autofree char *text = NULL;

    g_assert_true(g_file_set_contents(path, "precious", -1, NULL));
    net_expect_log(net, "*exists and is no socket*");
    guest_free(guest_new(net));
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "precious");
}

/* A socket that took the place of ours is not ours to remove. */
static void test_replaced(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    Guest *guest = guest_new(net);

    g_assert_cmpint(g_unlink(path), ==, 0);
    make_stale(path);
    guest_free(guest);
    g_assert_cmpint(access(path, F_OK), ==, 0);
}

static void test_pattern(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *pattern =
        g_build_filename(net_tmpdir(net), "%%.%p.%n", NULL);
    g_autofree char *start = g_strdup_printf("%%.%d.", (int)getpid());
    g_autoptr(GDir) dir = NULL;
    const char *name;
    unsigned n = 0;

    net_setenv(net, "SLIRP_REDIRECT_CONTROL", pattern);
    guest_new(net);
    guest_new(net);
    dir = g_dir_open(net_tmpdir(net), 0, NULL);
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_assert_true(g_str_has_prefix(name, start));
        n++;
    }
    g_assert_cmpuint(n, ==, 2);
}

static void test_bad_paths(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *missing =
        g_build_filename(net_tmpdir(net), "missing", "ctl", NULL);
    g_autofree char *longest = g_strnfill(200, 'x');
    g_autofree char *too_long =
        g_build_filename(net_tmpdir(net), longest, NULL);

    net_setenv(net, "SLIRP_REDIRECT_CONTROL", "/tmp/%q");
    net_expect_log(net, "*after % comes p*");
    guest_free(guest_new(net));
    net_setenv(net, "SLIRP_REDIRECT_CONTROL", missing);
    net_expect_log(net, "*cannot open the directory*");
    guest_free(guest_new(net));
    net_setenv(net, "SLIRP_REDIRECT_CONTROL", too_long);
    net_expect_log(net, "*longer than a socket's path can be*");
    guest_free(guest_new(net));
}

/* ---- lines ---- */

static void test_partial_lines(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    static const char text[] = "replace <<E\r\ntcp:80-:81\nE\r\nlist --json\n";

    guest_new(net);
    g_autoptr(Client) client = client_new(net, path);
    for (const char *c = text; *c != '\0'; c++) {
        client_send(client, c, 1);
        net_step(net, 0);
    }
    g_autofree char *body = NULL, *list = NULL;
    g_autofree char *first = client_reply(client, &body);
    g_assert_cmpstr(first, ==, "ok");
    g_autofree char *second = client_reply(client, &list);
    g_assert_cmpstr(second, ==, "ok");
    g_assert_nonnull(strstr(list, "\"tcp:80-127.0.0.1:81\""));
}

/* Several commands in one write; replies come in order. */
static void test_pipelined(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    GString *text = g_string_new(NULL);

    guest_new(net);
    g_autoptr(Client) client = client_new(net, path);
    for (int i = 1; i <= 300; i++) {
        g_string_append_printf(text, "add tcp:%d-:9\n", i);
    }
    client_send(client, text->str, text->len);
    g_string_free(text, TRUE);
    for (int i = 1; i <= 300; i++) {
        g_autofree char *body = NULL;
        g_autofree char *code = client_reply(client, &body);

        g_assert_cmpstr(code, ==, "ok");
        g_assert_cmpint(atoi(body), ==, i);
    }
}

/* The last line counts only with its end: it may be cut. */
static void test_cut_line(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);

    net_setenv(net, "SLIRP_REDIRECT", "tcp:80-:81 tcp:82-:83");
    guest_new(net);
    g_autoptr(Client) cut = client_new(net, path);
    client_send_text(cut, "del 2\ndel 1");
    shutdown(cut->fd, SHUT_WR);
    client_expect_closed(cut);
    g_assert_cmpstr(cut->in->str, ==, "redirect/1 ok 0\n");
    g_autoptr(Client) client = client_new(net, path);
    g_autofree char *list = client_ask(client, "list --json");
    g_assert_nonnull(strstr(list, "\"id\":1,"));
    g_assert_null(strstr(list, "\"id\":2,"));
}

static void expect_too_long(Net *net, const char *path, const char *start,
                            size_t bytes)
{
    g_autoptr(Client) client = client_new(net, path);
    g_autofree char *line = g_strnfill(SERVER_LINE_MAX - 2, 'x');

    line[SERVER_LINE_MAX - 3] = '\n';
    client_send_text(client, start);
    if (*start == '\0') {
        memset(line, 'x', SERVER_LINE_MAX - 2);
    }
    for (size_t sent = 0; sent < bytes; sent += SERVER_LINE_MAX - 2) {
        client_send(client, line, SERVER_LINE_MAX - 2);
    }
    client_expect_closed(client);
    g_assert_true(g_str_has_prefix(client->in->str, "redirect/1 error "));
    g_assert_nonnull(strstr(client->in->str, " too-long\n"));
}

static void test_oversized(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);

    net_setenv(net, "SLIRP_REDIRECT", "tcp:80-:81");
    guest_new(net);
    expect_too_long(net, path, "", 10 * SERVER_LINE_MAX);
    expect_too_long(net, path, "replace <<E\n", 2 * SERVER_PAYLOAD_MAX);
    g_autoptr(Client) client = client_new(net, path);
    g_autofree char *list = client_ask(client, "list");
    g_assert_nonnull(strstr(list, "tcp:80-127.0.0.1:81"));
}

/* Garbage may by chance be a command, so the rules are not looked at. */
static void check_alive(Client *client)
{
    g_autofree char *list = client_ask(client, "list --json");

    g_assert_true(g_str_has_prefix(list, "{\"rules\":["));
}

/* Bytes of any value, with newlines and words that mean something. */
static GByteArray *garbage_new(GRand *rand)
{
    static const char *const words[] = {
        "list", "replace <<", "flows --json\n", "\n",           " ",
        "add ", "<<E",        "del 7\n",        "explain tcp ", "1.2.3.4:80\n",
        "--",   "stats\n",    "\0\0\n",
    };
    GByteArray *bytes = g_byte_array_new();
    int n = g_rand_int_range(rand, 1, 200);

    for (int i = 0; i < n; i++) {
        const char *word =
            words[g_rand_int_range(rand, 0, G_N_ELEMENTS(words))];
        uint8_t byte = g_rand_int(rand);

        if (g_rand_boolean(rand)) {
            g_byte_array_append(bytes, &byte, 1);
        } else {
            g_byte_array_append(bytes, (const uint8_t *)word, strlen(word));
        }
    }
    return bytes;
}

/* Garbage, and an end at any moment of a reply. */
static void test_fuzz(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    const char *given = g_getenv("CONTROL_TEST_SEED");
    uint32_t seed = given != NULL ? (uint32_t)g_ascii_strtoull(given, NULL, 10)
                                  : g_random_int();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    g_test_message("CONTROL_TEST_SEED=%u", seed);
    net_setenv(net, "SLIRP_REDIRECT", "tcp:80-:81");
    guest_new(net);
    g_autoptr(Client) other = client_new(net, path);
    for (int i = 0; i < 500; i++) {
        g_autoptr(GByteArray) bytes = garbage_new(rand);
        g_autoptr(Client) client = client_new(net, path);
        int turns = g_rand_int_range(rand, 0, 6);

        client_send(client, (const char *)bytes->data, bytes->len);
        while (turns-- > 0) {
            net_step(net, 0);
            client_read(client);
        }
        if (g_rand_boolean(rand)) {
            shutdown(client->fd, SHUT_RD);
        }
        if (i % 5 == 0) {
            check_alive(other);
        }
    }
    check_alive(other);
}

/* ---- clients that do not play along ---- */

static void fill_table(Client *client, int n)
{
    GString *text = g_string_new("replace <<E\n");

    for (int i = 0; i < n; i++) {
        g_string_append_printf(text, "tcp:198.%d.%d.0/24:80-:81\n",
                               18 + i / 256, i % 256);
    }
    g_string_append(text, "E\n");
    client_send(client, text->str, text->len);
    g_string_free(text, TRUE);
    g_autofree char *body = NULL;
    g_autofree char *code = client_reply(client, &body);
    g_assert_cmpstr(code, ==, "ok");
}

static size_t heap_in_use(void)
{
    g_autofree char *text = NULL;

    g_assert_true(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    return g_ascii_strtoull(strchr(text, ' '), NULL, 10) *
           (size_t)sysconf(_SC_PAGESIZE);
}

/* Asks for megabytes, again and again, and reads none of it: the guest and
 * other clients go on, memory stays, and after a while it is cut off. */
static void test_reads_nothing(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(echo));
    g_autoptr(Client) other = client_new(net, path);
    size_t before;

    fill_table(other, 20000);
    g_autoptr(Client) client = client_new(net, path);
    before = heap_in_use();
    for (int i = 0; i < 500; i++) {
        send(client->fd, "list --json\n", 12, MSG_NOSIGNAL);
        if (i % 5 == 0) {
            net_step(net, 0);
        }
    }
    /* All replies are 1.5 GiB; the sanitizers keep freed memory for a while. */
    g_assert_cmpuint(heap_in_use() - before, <, 512 << 20);
    conn_send_text(conn, "still here");
    conn_expect_text(conn, "still here");
    net_advance(net, SERVER_STALL_MS + 1000);
    g_autoptr(JsonParser) stats = client_ask_json(other, "stats --json");
    JsonObject *o = json_node_get_object(json_parser_get_root(stats));
    g_assert_cmpint(json_object_get_int_member(o, "clients"), ==, 1);
    conn_close(conn);
}

/* Sends commands faster than they are done: what is not done yet is left in
 * the socket, and the sender waits. */
static void test_floods(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    g_autofree char *lines = g_strnfill(1 << 20, '\n');
    size_t taken = 0;

    for (unsigned i = 0; i < 1 << 20; i += 8) {
        memcpy(lines + i, "version\n", 8);
    }
    guest_new(net);
    g_autoptr(Client) client = client_new(net, path);
    for (int i = 0; i < 500; i++) {
        ssize_t n = send(client->fd, lines, 1 << 20, MSG_NOSIGNAL);

        taken += MAX(n, 0) / 8 * 8;
        if (n > 0 && n % 8 != 0) {
            client_send(client, &lines[n % 8], 8 - n % 8);
        }
        net_step(net, 0);
        client_read(client);
    }
    g_assert_cmpuint(client->in->len, >, 0);
    g_assert_cmpuint(taken, <, 4 << 20);
}

/* The one that was idle longest makes room. */
static void test_many_clients(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    Client *clients[SERVER_CLIENTS_MAX + 1];

    guest_new(net);
    for (unsigned i = 0; i < G_N_ELEMENTS(clients); i++) {
        clients[i] = client_new(net, path);
        g_free(client_ask(clients[i], "version"));
        net_advance(net, 10);
        if (i == 1) { /* so that the second one is the oldest */
            g_free(client_ask(clients[0], "version"));
            net_advance(net, 10);
        }
    }
    client_expect_closed(clients[1]);
    for (unsigned i = 0; i < G_N_ELEMENTS(clients); i++) {
        if (i != 1) {
            g_free(client_ask(clients[i], "version"));
        }
        client_free(clients[i]);
    }
}

/* As slirp4netns does: no events are known while the guest is sending. */
static void test_busy_guest(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    Guest *guest = guest_new(net, .select_error_when_busy = true);
    g_autoptr(Client) client = client_new(net, path);
    gint64 end = net_deadline();

    client_send_text(client, "version\n");
    while (client->in->len == 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        guest_send_text(guest, 5000, "10.0.2.2", 9, "x");
        net_advance(net, 1);
        client_read(client);
    }
    g_assert_true(g_str_has_prefix(client->in->str, "redirect/1 ok"));
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/control/file/mode", test_file);
    g_test_add_func("/control/file/stale", test_stale);
    g_test_add_func("/control/file/live", test_live);
    g_test_add_func("/control/file/no-socket", test_no_socket);
    g_test_add_func("/control/file/replaced", test_replaced);
    g_test_add_func("/control/file/pattern", test_pattern);
    g_test_add_func("/control/file/bad-paths", test_bad_paths);
    g_test_add_func("/control/line/partial", test_partial_lines);
    g_test_add_func("/control/line/pipelined", test_pipelined);
    g_test_add_func("/control/line/cut", test_cut_line);
    g_test_add_func("/control/line/oversized", test_oversized);
    g_test_add_func("/control/line/fuzz", test_fuzz);
    g_test_add_func("/control/client/reads-nothing", test_reads_nothing);
    g_test_add_func("/control/client/floods", test_floods);
    g_test_add_func("/control/client/many", test_many_clients);
    g_test_add_func("/control/client/busy-guest", test_busy_guest);
    return g_test_run();
}
