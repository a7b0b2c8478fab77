/* SPDX-License-Identifier: BSD-3-Clause */
/* Broken rules in the environment or the carrier: everything is rejected. */
#include <errno.h>

#include "redirect.h"

enum { GUEST_PORT = 5000 };

static void allow_messages(Net *net, const char *why)
{
    net_expect_log(net, why);
    net_expect_log(net, "redirect: all connections of the guest are rejected*");
}

static void expect_refused(Guest *guest, const char *dst)
{
    bool v6 = family_of(dst) == AF_INET6;
    Conn *conn = guest_connect(guest, dst, 80);

    conn_expect_reset(conn);
    guest_send_text(guest, GUEST_PORT, dst, 53, "hello");
    guest_expect(guest, v6 ? m_icmp6() : m_icmp(), m_from(dst, 0),
                 m_icmp_type(v6 ? 1 : 3), m_icmp_code(v6 ? 4 : 3));
    guest_ping(guest, dst, 1, 1, "abcd", 4);
    guest_expect(guest, v6 ? m_icmp6() : m_icmp(), m_from(dst, 0),
                 m_icmp_type(v6 ? 1 : 3), m_icmp_code(v6 ? 4 : 3));
}

/* Nothing gets out, by whatever address: the host's sockets see nothing. */
static void expect_closed(Guest *guest)
{
    static const char *const many[] = { "224.0.0.251", "255.255.255.255",
                                        "10.0.2.255", "ff02::1" };
    Net *net = guest_net(guest);
    Peer *udp = server_new(net, .type = SOCK_DGRAM);
    Peer *udp6 = server_new(net, .type = SOCK_DGRAM, .family = AF_INET6);

    expect_refused(guest, "198.51.100.7");
    expect_refused(guest, "2001:db8::7");
    expect_refused(guest, "10.0.2.2");
    expect_refused(guest, "fec0::2");
    expect_refused(guest, "10.0.2.3");
    expect_refused(guest, "fec0::3");
    for (size_t i = 0; i < G_N_ELEMENTS(many); i++) {
        guest_forget_frames(guest);
        guest_send_text(guest, GUEST_PORT, many[i], peer_port(udp), "hello");
        guest_send_text(guest, GUEST_PORT, many[i], peer_port(udp6), "hello");
        guest_ping(guest, many[i], 1, 1, "abcd", 4);
        guest_expect_none(guest, 100, m_either(m_udp(), m_icmp(), m_icmp6()));
    }
    g_assert_cmpuint(peer_datagrams(udp), ==, 0);
    g_assert_cmpuint(peer_datagrams(udp6), ==, 0);
    g_assert_true(guest_info_has(guest, "Everything is rejected"));
    guest_expect_idle(guest);
}

static void test_variable(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest;

    net_setenv(net, "SLIRP_REDIRECT", "tcp:80-:8080 tcp:81");
    allow_messages(net, "redirect: SLIRP_REDIRECT:*tcp:81*");
    guest = guest_new(net);
    expect_closed(guest);
    g_assert_true(guest_info_has(guest, "SLIRP_REDIRECT:"));
}

static void test_file(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = g_build_filename(net_tmpdir(net), "rules", NULL);
    g_autofree char *why = g_strdup_printf("redirect: %s:2:*", path);
    Guest *guest;

    g_assert_true(
        g_file_set_contents(path, "tcp:80-:8080\ntcp:81-82\n", -1, NULL));
    net_setenv(net, "SLIRP_REDIRECT_FILE", path);
    allow_messages(net, why);
    guest = guest_new(net);
    expect_closed(guest);
}

static void test_no_file(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest;

    net_setenv(net, "SLIRP_REDIRECT_FILE", "/nonexistent/rules");
    allow_messages(net, "redirect: /nonexistent/rules: cannot read this*");
    guest = guest_new(net);
    expect_closed(guest);
}

static void test_unresolvable(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest;

    resolver_set(NULL, NULL, NULL);
    net_setenv(net, "SLIRP_REDIRECT", "tcp:80-nowhere.test:80");
    allow_messages(net, "redirect: SLIRP_REDIRECT:*cannot resolve*");
    guest = guest_new(net);
    expect_closed(guest);
}

static void test_carrier(void)
{
    static const char *names[] = { "redirect=tcp:80", NULL };
    g_autoptr(Net) net = net_new();
    Guest *guest;

    allow_messages(net, "redirect: dnssearch=redirect=:*");
    guest = guest_new(net, .dnssearch = names);
    expect_closed(guest);
}

/* The calls do not open it by accident; a good set does. */
static void test_reopened(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *errmsg = NULL;
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Guest *guest;
    Slirp *slirp;
    Conn *conn;

    net_setenv(net, "SLIRP_REDIRECT", "tcp:80");
    allow_messages(net, "redirect: SLIRP_REDIRECT:*");
    guest = guest_new(net);
    slirp = guest_slirp(guest);
    errno = 0;
    g_assert_cmpint(slirp_add_redirect(slirp, "tcp:80-:1", &errmsg), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_nonnull(strstr(errmsg, "everything is rejected"));
    errno = 0;
    g_assert_cmpint(slirp_remove_redirect(slirp, 1), ==, -1);
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_cmpint(slirp_set_redirects(slirp, "tcp:80", NULL), ==, -1);
    conn = guest_connect(guest, "198.51.100.7", 80);
    conn_expect_reset(conn);
    guest_set_rules(guest, "tcp:80-:%u", peer_port(echo));
    g_assert_false(guest_info_has(guest, "Everything is rejected"));
    conn = guest_connect(guest, "198.51.100.7", 80);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
    guest_ping(guest, "10.0.2.2", 1, 1, "abcd", 4);
    guest_expect(guest, m_icmp(), m_icmp_type(0));
    guest_expect_idle(guest);
}

/* DHCP: the guest never sees the carrier */

enum { OPT_SEARCH = 119 };

static const Frame *discover(Guest *guest)
{
    guest_send_dhcp(guest, DHCP_DISCOVER, DHCP_OWN);
    return guest_expect(guest, m_udp(), m_from_port(DHCP_SERVER));
}

static void test_search_list(void)
{
    static const char *both[] = { "redirect=tcp:80-:1", "a.test",
                                  "redirect=udp:53-:2", "b.test", NULL };
    static const char *names[] = { "a.test", "b.test", NULL };
    static const char *rules[] = { "redirect=tcp:80-:1", NULL };
    g_autoptr(Net) net = net_new();
    Guest *mixed = guest_new(net, .dnssearch = both);
    Guest *plain = guest_new(net, .dnssearch = names);
    Guest *bare = guest_new(net, .dnssearch = rules);
    const uint8_t *got = frame_dhcp_option(discover(mixed), OPT_SEARCH);
    const uint8_t *want = frame_dhcp_option(discover(plain), OPT_SEARCH);

    g_assert_nonnull(want);
    g_assert_nonnull(got);
    g_assert_cmpmem(got, got[0] + 1, want, want[0] + 1);
    g_assert_null(frame_dhcp_option(discover(bare), OPT_SEARCH));
    g_assert_true(guest_info_has(mixed, "udp:53-127.0.0.1:2"));
    g_assert_true(guest_info_has(bare, "tcp:80-127.0.0.1:1"));
    g_assert_false(guest_info_has(plain, "tcp"));
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/redirect/closed/variable", test_variable);
    g_test_add_func("/redirect/closed/file", test_file);
    g_test_add_func("/redirect/closed/no-file", test_no_file);
    g_test_add_func("/redirect/closed/unresolvable", test_unresolvable);
    g_test_add_func("/redirect/closed/carrier", test_carrier);
    g_test_add_func("/redirect/closed/reopened", test_reopened);
    g_test_add_func("/redirect/closed/search-list", test_search_list);
    return g_test_run();
}
