/* SPDX-License-Identifier: BSD-3-Clause */
/* Targets by name: resolved once, at load; all answers, in order. */
#include <errno.h>

#include "redirect.h"

static void expect_echo(Guest *guest, const char *dst)
{
    Conn *conn = guest_connect(guest, dst, 80);

    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
}

/* The first address that works is used, for connections of both families. */
static void test_first_refuses(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);

    resolver_set("two.test", "::1", "127.0.0.1");
    guest_set_rules(guest, "tcp:80-two.test:%u", peer_port(echo));
    expect_echo(guest, "198.51.100.7");
    expect_echo(guest, "2001:db8::7");
    guest_expect_counts(guest, 1, 2, 0, 0);
    guest_expect_idle(guest);
}

static void test_order(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *v4 = server_new(net, .mode = PEER_ECHO);
    Peer *v6 = server_new(net, .mode = PEER_ECHO, .family = AF_INET6,
                          .port = peer_port(v4));

    resolver_set("two.test", "::1", "127.0.0.1");
    guest_set_rules(guest, "tcp:80-two.test:%u", peer_port(v4));
    expect_echo(guest, "198.51.100.7");
    g_assert_cmpuint(server_accepted(v6), ==, 1);
    g_assert_cmpuint(server_accepted(v4), ==, 0);
    guest_expect_idle(guest);
}

static void test_all_refuse(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Conn *conn;

    resolver_set("two.test", "127.0.0.2", "127.0.0.1");
    guest_set_rules(guest, "tcp:80-two.test:%u",
                    net_refused_port(net, AF_INET, SOCK_STREAM));
    conn = guest_connect(guest, "198.51.100.7", 80);
    conn_expect_reset(conn);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

/* Of two addresses the silent first one gets half of the time. */
static void test_first_silent(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *silent = server_new_busy(net, AF_INET6, 0);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .port = peer_port(silent));
    Conn *conn;

    resolver_set("two.test", "::1", "127.0.0.1");
    guest_set_rules(guest, "tcp:80-two.test:%u+timeout=10", peer_port(echo));
    conn = guest_connect(guest, "198.51.100.7", 80);
    net_advance(net, 4900);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    g_assert_cmpuint(server_accepted(echo), ==, 0);
    net_advance(net, 200);
    conn_expect_established(conn);
    guest_expect_counts(guest, 1, 1, 0, 0);
    conn_close(conn);
    guest_expect_idle(guest);
}

/* An address that refuses leaves its time to the others. */
static void test_refusal_leaves_time(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *silent = server_new_busy(net, AF_INET, 0);
    Conn *conn;

    resolver_set("two.test", "::1", "127.0.0.1");
    guest_set_rules(guest, "tcp:80-two.test:%u+timeout=10", peer_port(silent));
    conn = guest_connect(guest, "198.51.100.7", 80);
    net_advance(net, 9900);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    net_advance(net, 200);
    g_assert_cmpint(conn_state(conn), ==, CONN_UNREACHABLE);
    guest_expect_idle(guest);
}

/* Both silent: the whole takes no longer than the time-out. */
static void test_all_silent(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *silent = server_new_busy(net, AF_INET, 0);
    Conn *conn;

    server_new_busy(net, AF_INET6, peer_port(silent));
    resolver_set("two.test", "127.0.0.1", "::1");
    guest_set_rules(guest, "tcp:80-two.test:%u+timeout=10", peer_port(silent));
    conn = guest_connect(guest, "2001:db8::7", 80);
    net_advance(net, 9900);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    net_advance(net, 200);
    g_assert_cmpint(conn_state(conn), ==, CONN_UNREACHABLE);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

/* The loop may first look when the time of an address that answered is over;
 * the answer counts. */
static void test_late_look(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *first = server_new(net, .mode = PEER_ECHO, .family = AF_INET6);
    Peer *busy = server_new_busy(net, AF_INET, peer_port(first));
    Conn *conn;

    resolver_set("two.test", "::1", "127.0.0.1");
    guest_set_rules(guest, "tcp:80-two.test:%u+timeout=10", peer_port(busy));
    conn = guest_connect(guest, "198.51.100.7", 80);
    net_stall(net, 6000);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
    guest_expect_idle(guest);
}

/* Datagrams: a refusal before any answer leads to the next address, with the
 * datagram that was refused. */
static void test_udp_first_refuses(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

    resolver_set("two.test", "::1", "127.0.0.1");
    guest_set_rules(guest, "udp:53-two.test:%u", peer_port(echo));
    guest_send_text(guest, 5000, "198.51.100.7", 53, "first");
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 53), m_text("first"));
    guest_send_text(guest, 5000, "198.51.100.7", 53, "second");
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 53), m_text("second"));
    guest_send_text(guest, 5000, "2001:db8::7", 53, "");
    guest_expect(guest, m_udp(), m_from("2001:db8::7", 53), m_text(""));
    guest_expect_none(guest, 0, m_icmp());
    guest_expect_counts(guest, 1, 2, 0, 0);
    guest_expect_bytes(guest, 1, 11, 11);
    guest_expect_idle(guest);
}

static void test_udp_all_refuse(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    g_autoptr(GByteArray) packet =
        packet_udp(guest_endpoint(guest, AF_INET, 5000),
                   endpoint("198.51.100.7", 53), "hello", 5);

    resolver_set("two.test", "::1", "127.0.0.1");
    guest_set_rules(guest, "udp:53-two.test:%u",
                    net_refused_port(net, AF_INET, SOCK_DGRAM));
    guest_send_text(guest, 5000, "198.51.100.7", 53, "hello");
    guest_expect_unreachable(guest, "198.51.100.7", 3, packet);
    guest_expect_none(guest, 0, m_icmp());
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

static void test_resolved_at_load(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    unsigned before = resolver_questions();

    resolver_set("one.test", "127.0.0.1", NULL);
    guest_set_rules(guest, "tcp:80-one.test:%u", peer_port(echo));
    g_assert_cmpuint(resolver_questions(), ==, before + 1);
    resolver_set(NULL, NULL, NULL);
    expect_echo(guest, "198.51.100.7");
    expect_echo(guest, "198.51.100.8");
    g_assert_cmpuint(resolver_questions(), ==, before + 1);
    guest_expect_idle(guest);
}

/* A name that does not resolve refuses the set, and the old one stays. */
static void test_unresolvable(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    g_autofree char *errmsg = NULL;

    resolver_set("one.test", "127.0.0.1", NULL);
    guest_set_rules(guest, "tcp:80-one.test:%u", peer_port(echo));
    errno = 0;
    g_assert_cmpint(slirp_set_redirects(guest_slirp(guest),
                                        "tcp:81-:1\ntcp:82-other.test:2",
                                        &errmsg),
                    ==, -1);
    g_assert_cmpint(errno, ==, EINVAL);
    g_assert_nonnull(strstr(errmsg, "cannot resolve `other.test`"));
    expect_echo(guest, "198.51.100.7");
    guest_expect_counts(guest, 1, 1, 0, 0);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/redirect/names/first-refuses", test_first_refuses);
    g_test_add_func("/redirect/names/order", test_order);
    g_test_add_func("/redirect/names/all-refuse", test_all_refuse);
    g_test_add_func("/redirect/names/first-silent", test_first_silent);
    g_test_add_func("/redirect/names/refusal-leaves-time",
                    test_refusal_leaves_time);
    g_test_add_func("/redirect/names/all-silent", test_all_silent);
    g_test_add_func("/redirect/names/late-look", test_late_look);
    g_test_add_func("/redirect/names/udp-first-refuses",
                    test_udp_first_refuses);
    g_test_add_func("/redirect/names/udp-all-refuse", test_udp_all_refuse);
    g_test_add_func("/redirect/names/resolved-at-load", test_resolved_at_load);
    g_test_add_func("/redirect/names/unresolvable", test_unresolvable);
    return g_test_run();
}
