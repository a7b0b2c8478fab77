/* SPDX-License-Identifier: BSD-3-Clause */
/* The calls: ids, order, atomic replacement, errors; the environment's rules;
 * loops through hostfwds; the saved state. */
#include <arpa/inet.h>
#include <errno.h>

#include "redirect.h"

static int add(Guest *guest, const char *rule)
{
    return slirp_add_redirect(guest_slirp(guest), rule, NULL);
}

/* The rules in the list, in order, each with its id. */
static void expect_rules(Guest *guest, const char *expected)
{
    g_autofree char *info = slirp_redirect_info(guest_slirp(guest));
    g_auto(GStrv) lines = g_strsplit(info, "\n", -1);
    g_autoptr(GString) got = g_string_new(NULL);

    for (char **line = lines; *line; line++) {
        int id = atoi(*line);

        if (id > 0) {
            g_string_append_printf(got, "%s%d %s", got->len ? ", " : "", id,
                                   strrchr(*line, ' ') + 1);
        }
    }
    g_assert_cmpstr(got->str, ==, expected);
}

static void test_ids(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Slirp *slirp = guest_slirp(guest);

    expect_rules(guest, "");
    g_assert_cmpint(add(guest, "tcp:1-:1"), ==, 1);
    g_assert_cmpint(add(guest, "tcp:2-drop"), ==, 2);
    g_assert_cmpint(add(guest, "tcp:3-pass"), ==, 3);
    expect_rules(guest, "1 tcp:1-127.0.0.1:1, 2 tcp:2-drop, 3 tcp:3-pass");
    g_assert_cmpint(slirp_remove_redirect(slirp, 2), ==, 0);
    g_assert_cmpint(add(guest, "tcp:2-drop"), ==, 4);
    expect_rules(guest, "1 tcp:1-127.0.0.1:1, 3 tcp:3-pass, 4 tcp:2-drop");
    errno = 0;
    g_assert_cmpint(slirp_remove_redirect(slirp, 2), ==, -1);
    g_assert_cmpint(errno, ==, ENOENT);
    g_assert_cmpint(slirp_remove_redirect(slirp, 0), ==, -1);
    g_assert_cmpint(slirp_remove_redirect(slirp, -1), ==, -1);
    for (int id = 1; id <= 4; id++) {
        slirp_remove_redirect(slirp, id);
    }
    expect_rules(guest, "");
}

static void test_add_errors(void)
{
    static const char *const bad[] = { "tcp:80",
                                       "",
                                       "tcp:80-8080",
                                       "tcp:80-:1 tcp:81-:1",
                                       "tcp:1-socks5://:1",
                                       "tcp:80-:1+name=web" };
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    g_assert_cmpint(add(guest, "tcp:79-:1+name=web"), ==, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *errmsg = NULL;

        errno = 0;
        g_assert_cmpint(slirp_add_redirect(guest_slirp(guest), bad[i], &errmsg),
                        ==, -1);
        g_assert_cmpint(errno, ==, EINVAL);
        g_assert_true(g_str_has_prefix(errmsg, "redirect=: ") ||
                      g_str_has_prefix(errmsg, "redirect=:"));
    }
    g_assert_cmpint(add(guest, "tcp:80"), ==, -1);   /* no message wanted */
    g_assert_cmpint(add(guest, "tcp:80-:1"), ==, 2); /* no id was used up */
}

static void test_set_is_atomic(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    g_autofree char *errmsg = NULL;

    guest_set_rules(guest, "# web\ntcp:80-:1\n\ntcp:81-drop # other\n");
    expect_rules(guest, "1 tcp:80-127.0.0.1:1, 2 tcp:81-drop");
    errno = 0;
    g_assert_cmpint(slirp_set_redirects(guest_slirp(guest),
                                        "tcp:80-:2\ntcp:81\ntcp:82-90\n",
                                        &errmsg),
                    ==, -1);
    g_assert_cmpint(errno, ==, EINVAL);
    g_assert_nonnull(strstr(errmsg, "redirects:2:"));
    g_assert_nonnull(strstr(errmsg, "redirects:3:"));
    expect_rules(guest, "1 tcp:80-127.0.0.1:1, 2 tcp:81-drop");
    guest_set_rules(guest, "%s", "");
    expect_rules(guest, "");
}

/* What stays keeps its id and counters, equal rules each their own. */
static void test_set_keeps_entries(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Conn *conn;

    net_expect_log(net, "*can never match*");
    guest_set_rules(guest, "tcp:80-reject\ntcp:81-drop\ntcp:80-reject");
    conn = guest_connect(guest, "198.51.100.7", 80);
    conn_expect_reset(conn);
    net_expect_log(net, "*can never match*");
    guest_set_rules(guest, "tcp:82-drop\ntcp:80-reject\ntcp:80-reject");
    expect_rules(guest, "4 tcp:82-drop, 1 tcp:80-reject, 3 tcp:80-reject");
    guest_expect_counts(guest, 1, 1, 1, 0);
    guest_expect_counts(guest, 3, 0, 0, 0);
    guest_set_rules(guest, "tcp:80-drop");
    expect_rules(guest, "5 tcp:80-drop");
    guest_set_rules(guest, "[10.0.2.0/24]\ntcp:80-drop");
    expect_rules(guest, "6 tcp:80-drop");
    guest_expect_idle(guest);
}

static void test_warnings(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    net_expect_log(net, "redirect: warning: *inside the guest's own virtual*");
    g_assert_cmpint(add(guest, "tcp:80-10.0.2.2:80"), ==, 1);
    net_expect_log(net, "redirect: warning: *can never match*");
    g_assert_cmpint(add(guest, "tcp:80-:1"), ==, 2);
}

/* Own rules come before those of the environment, which serve every guest. */
static void test_environment(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = g_build_filename(net_tmpdir(net), "rules", NULL);
    const char *names[] = { "redirect=tcp:1-drop", "example.org",
                            "redirect=tcp:2-drop", NULL };
    Guest *guest, *other;

    g_assert_true(g_file_set_contents(path,
                                      "udp:5-drop\n"
                                      "[10.9.0.0/16]\nudp:6-drop\n"
                                      "[10.0.2.0/24]\nudp:7-drop\n"
                                      "[fec0::/64]\nudp:8-drop\n"
                                      "[*]\nudp:9-drop\n",
                                      -1, NULL));
    net_setenv(net, "SLIRP_REDIRECT", "udp:3-drop\tudp:4-drop");
    net_setenv(net, "SLIRP_REDIRECT_FILE", path);
    guest = guest_new(net, .dnssearch = names);
    expect_rules(guest, "1 tcp:1-drop, 2 tcp:2-drop, 3 udp:3-drop, "
                        "4 udp:4-drop, 5 udp:5-drop, 6 udp:7-drop, "
                        "7 udp:8-drop, 8 udp:9-drop");
    g_assert_cmpint(add(guest, "tcp:9-drop"), ==, 9);
    expect_rules(guest, "1 tcp:1-drop, 2 tcp:2-drop, 9 tcp:9-drop, "
                        "3 udp:3-drop, 4 udp:4-drop, 5 udp:5-drop, "
                        "6 udp:7-drop, 7 udp:8-drop, 8 udp:9-drop");
    g_assert_cmpint(slirp_remove_redirect(guest_slirp(guest), 3), ==, 0);
    g_assert_cmpint(slirp_remove_redirect(guest_slirp(guest), 1), ==, 0);
    g_assert_cmpint(add(guest, "tcp:10-drop"), ==, 10);
    expect_rules(guest, "2 tcp:2-drop, 9 tcp:9-drop, 10 tcp:10-drop, "
                        "4 udp:4-drop, 5 udp:5-drop, 6 udp:7-drop, "
                        "7 udp:8-drop, 8 udp:9-drop");
    other = guest_new(net, .no_ipv6 = true);
    expect_rules(other, "1 udp:3-drop, 2 udp:4-drop, 3 udp:5-drop, "
                        "4 udp:7-drop, 5 udp:9-drop");
}

/* Loops */

static const char loop[] = "*a loop: port * is forwarded back to this guest*";

static void add_forward(Guest *guest, int is_udp, uint16_t port)
{
    struct in_addr host = { inet_addr("127.0.0.1") }, any = { 0 };

    g_assert_cmpint(
        slirp_add_hostfwd(guest_slirp(guest), is_udp, host, port, any, 80), ==,
        0);
}

/* Neither the rules nor the hostfwds have to come first. */
static void test_loop_by_hostfwd(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t tcp = net_refused_port(net, AF_INET, SOCK_STREAM);

    guest_set_rules(guest, "tcp:80-:%u", tcp);
    net_advance(net, 1000);
    net_expect_log(net, loop);
    add_forward(guest, 0, tcp);
    net_advance(net, 1000);
}

/* The same loops are told of once: another message fails the test. */
static void test_loop_by_rules(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t udp = net_refused_port(net, AF_INET, SOCK_DGRAM);

    add_forward(guest, 1, udp);
    net_advance(net, 1000);
    guest_set_rules(guest, "tcp:80-:%u", udp);
    net_advance(net, 1000);
    net_expect_log(net, loop);
    guest_set_rules(guest, "udp:80-:%u", udp);
    net_advance(net, 1000);
    guest_set_rules(guest, "udp:80-:%u\nudp:53-drop", udp);
    net_advance(net, 1000);
    net_expect_log(net, "*a loop*+name=u*");
    guest_set_rules(guest, "udp:80-:%u+name=u", udp);
    net_advance(net, 1000);
}

/* Saved state */

static slirp_ssize_t stream_write(const void *data, size_t len, void *opaque)
{
    g_byte_array_append(opaque, data, (guint)len);
    return (slirp_ssize_t)len;
}

static slirp_ssize_t stream_read(void *data, size_t len, void *opaque)
{
    GByteArray *bytes = opaque;

    len = MIN(len, bytes->len);
    memcpy(data, bytes->data, len);
    g_byte_array_remove_range(bytes, 0, (guint)len);
    return (slirp_ssize_t)len;
}

static GByteArray *saved(Guest *guest)
{
    GByteArray *bytes = g_byte_array_new();

    slirp_state_save(guest_slirp(guest), stream_write, bytes);
    return bytes;
}

/* Rules are the host's configuration, and redirected flows end with it: not
 * a byte of the state tells of them. */
static void test_state(void)
{
    g_autoptr(Net) net = net_new();
    Guest *plain = guest_new(net), *guest = guest_new(net);
    Peer *tcp = server_new(net, .mode = PEER_ECHO);
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    g_autoptr(GByteArray) before = saved(plain), ruled = NULL, busy = NULL;
    Conn *conn;

    guest_set_rules(guest, "tcp:10.0.2.100:80-:%u\nudp:53-:%u", peer_port(tcp),
                    peer_port(udp));
    ruled = saved(guest);
    g_assert_cmpmem(ruled->data, ruled->len, before->data, before->len);
    conn = guest_connect(guest, "10.0.2.100", 80);
    conn_expect_established(conn);
    guest_send_text(guest, 5000, "198.51.100.7", 53, "hello");
    guest_expect(guest, m_udp());
    busy = saved(guest); /* the next packet's identification is part of it */
    g_assert_cmpuint(busy->len, ==, before->len);
    g_assert_cmpint(slirp_state_version(), ==, 4);
    g_assert_cmpint(slirp_state_load(guest_slirp(plain), 4, stream_read, busy),
                    ==, 0);
    g_assert_cmpuint(busy->len, ==, 0);
    g_assert_cmpint(guest_count_tcp(plain) + guest_count_udp(plain), ==, 0);
    expect_rules(plain, "");
    conn_close(conn);
    guest_expect_idle(guest);
}

/* A guestfwd that is added where a redirected flow stands is not that flow. */
static void test_state_beside_guestfwd(void)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) got = g_byte_array_new(), bytes = NULL;
    Guest *guest = guest_new(net), *target = guest_new(net);
    Peer *tcp = server_new(net, .mode = PEER_ECHO);
    struct in_addr at = { inet_addr("10.0.2.100") };
    Conn *conn;

    guest_set_rules(guest, "tcp:10.0.2.100:80-:%u", peer_port(tcp));
    conn = guest_connect(guest, "10.0.2.100", 80);
    conn_expect_established(conn);
    slirp_add_guestfwd(guest_slirp(guest), stream_write, got, &at, 80);
    slirp_add_guestfwd(guest_slirp(target), stream_write, got, &at, 80);
    g_assert_cmpuint(slirp_socket_can_recv(guest_slirp(guest), at, 80), ==, 0);
    bytes = saved(guest);
    g_assert_cmpint(
        slirp_state_load(guest_slirp(target), 4, stream_read, bytes), ==, 0);
    g_assert_cmpint(guest_count_tcp(target), ==, 0);
    conn_close(conn);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/redirect/api/ids", test_ids);
    g_test_add_func("/redirect/api/add-errors", test_add_errors);
    g_test_add_func("/redirect/api/set-is-atomic", test_set_is_atomic);
    g_test_add_func("/redirect/api/set-keeps-entries", test_set_keeps_entries);
    g_test_add_func("/redirect/api/warnings", test_warnings);
    g_test_add_func("/redirect/api/environment", test_environment);
    g_test_add_func("/redirect/api/loop-by-hostfwd", test_loop_by_hostfwd);
    g_test_add_func("/redirect/api/loop-by-rules", test_loop_by_rules);
    g_test_add_func("/redirect/api/state", test_state);
    g_test_add_func("/redirect/api/state-beside-guestfwd",
                    test_state_beside_guestfwd);
    return g_test_run();
}
