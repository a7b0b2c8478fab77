/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules that change while flows live. */
#include "redirect.h"

enum { GUEST_PORT = 5000 };

/* A connection keeps its target until it closes. */
static void test_tcp_keeps_target(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *old = server_new(net, .mode = PEER_ECHO);
    Peer *new = server_new(net, .mode = PEER_ECHO);
    Conn *conn, *other;

    guest_set_rules(guest, "tcp:80-:%u", peer_port(old));
    conn = guest_connect(guest, "198.51.100.7", 80);
    conn_expect_established(conn);
    guest_set_rules(guest, "tcp:80-:%u", peer_port(new));
    other = guest_connect(guest, "198.51.100.7", 80);
    conn_send_text(other, "new");
    conn_expect_text(other, "new");
    guest_set_rules(guest, "any:*-reject");
    conn_send_text(conn, "still here");
    conn_expect_text(conn, "still here");
    conn_send_text(other, "here too");
    conn_expect_text(other, "here too");
    guest_set_rules(guest, "%s", "");
    conn_close(conn);
    conn_close(other);
    g_assert_cmpuint(server_accepted(old), ==, 1);
    g_assert_cmpuint(server_accepted(new), ==, 1);
    guest_expect_idle(guest);
}

/* So does one that is only just connecting. */
static void test_tcp_while_connecting(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *busy = server_new_busy(net, AF_UNIX, 0);
    Conn *conn;

    guest_set_rules(guest, "tcp:80-unix:%s+timeout=9", peer_path(busy));
    conn = guest_connect(guest, "198.51.100.7", 80);
    net_advance(net, 1000);
    guest_set_rules(guest, "%s", "");
    net_advance(net, 1000);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    peer_pause(busy, false);
    server_accept(busy);
    net_await_virtual(net, 200, conn_state(conn) == CONN_ESTABLISHED);
    conn_abort(conn);
    guest_expect_idle(guest);
}

/* A datagram goes where the rules of the moment send it, at once. */
static void test_udp_new_target(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *old = server_new(net, .type = SOCK_DGRAM);
    Peer *new = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

    guest_set_rules(guest, "udp:53-:%u", peer_port(old));
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "one");
    peer_expect_text(old, "one");
    guest_set_rules(guest, "udp:53-:%u", peer_port(new));
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
    peer_send_text(old, "too late");
    guest_expect_none(guest, 1000, m_udp());
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "two");
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 53), m_text("two"));
    guest_expect_idle(guest);
}

static void test_udp_rule_goes(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *target = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    Peer *plain = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    uint16_t port = peer_port(plain);

    guest_set_rules(guest, "udp:host:%u-:%u", port, peer_port(target));
    guest_send_text(guest, GUEST_PORT, "10.0.2.2", port, "redirected");
    guest_expect(guest, m_udp(), m_from("10.0.2.2", port),
                 m_text("redirected"));
    g_assert_cmpint(slirp_remove_redirect(guest_slirp(guest), 1), ==, 0);
    guest_send_text(guest, GUEST_PORT, "10.0.2.2", port, "plain");
    guest_expect(guest, m_udp(), m_from("10.0.2.2", port), m_text("plain"));
    g_assert_cmpuint(peer_datagrams(target), ==, 1);
    g_assert_cmpuint(peer_datagrams(plain), ==, 1);
    guest_expect_idle(guest);
}

/* Flows without a rule before: neither direction gets past a new one. */
static void test_udp_rule_comes(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *plain = server_new(net, .type = SOCK_DGRAM);
    Peer *target = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    uint16_t port = peer_port(plain);

    guest_send_text(guest, GUEST_PORT, "10.0.2.2", port, "one");
    peer_expect_text(plain, "one");
    guest_set_rules(guest, "udp:host:%u-reject", port);
    peer_send_text(plain, "too late");
    guest_expect_none(guest, 1000, m_udp());
    guest_send_text(guest, GUEST_PORT, "10.0.2.2", port, "two");
    guest_expect(guest, m_icmp(), m_icmp_type(3), m_icmp_code(3),
                 m_from("10.0.2.2", 0));
    guest_set_rules(guest, "udp:host:%u-:%u", port, peer_port(target));
    peer_send_text(plain, "too late");
    guest_expect_none(guest, 1000, m_udp());
    guest_send_text(guest, GUEST_PORT, "10.0.2.2", port, "three");
    guest_expect(guest, m_udp(), m_from("10.0.2.2", port), m_text("three"));
    g_assert_cmpuint(peer_datagrams(plain), ==, 1);
    guest_expect_idle(guest);
}

/* A change that leaves a flow's rule alone leaves the flow alone. */
static void test_udp_survives(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .type = SOCK_DGRAM);
    Endpoint before;

    guest_set_rules(guest, "udp:53-:%u", peer_port(server));
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "one");
    peer_expect_text(server, "one");
    before = peer_remote(server);
    guest_set_rules(guest, "tcp:80-:1\nudp:54-drop\nudp:53-:%u",
                    peer_port(server));
    peer_send_text(server, "answer");
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 53), m_text("answer"));
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "two");
    peer_expect_text(server, "two");
    g_assert_cmpuint(peer_remote(server).port, ==, before.port);
    guest_expect_counts(guest, 1, 1, 0, 0);
    guest_expect_bytes(guest, 1, 6, 6);
    guest_expect_idle(guest);
}

/* A rule before it that takes the flow ends it. */
static void test_udp_overruled(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .type = SOCK_DGRAM);

    guest_set_rules(guest, "udp:53-:%u", peer_port(server));
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "one");
    guest_send_text(guest, GUEST_PORT, "198.51.100.8", 53, "two");
    net_await(net, peer_datagrams(server) == 2);
    guest_set_rules(guest, "udp:198.51.100.7:53-drop\nudp:53-:%u",
                    peer_port(server));
    g_assert_cmpint(guest_count_udp(guest), ==, 1);
    peer_send_text(server, "for two");
    guest_expect(guest, m_udp(), m_from("198.51.100.8", 53));
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "three");
    net_settle(net);
    g_assert_cmpuint(peer_datagrams(server), ==, 2);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/redirect/changes/tcp-keeps-target",
                    test_tcp_keeps_target);
    g_test_add_func("/redirect/changes/tcp-while-connecting",
                    test_tcp_while_connecting);
    g_test_add_func("/redirect/changes/udp-new-target", test_udp_new_target);
    g_test_add_func("/redirect/changes/udp-rule-goes", test_udp_rule_goes);
    g_test_add_func("/redirect/changes/udp-rule-comes", test_udp_rule_comes);
    g_test_add_func("/redirect/changes/udp-survives", test_udp_survives);
    g_test_add_func("/redirect/changes/udp-overruled", test_udp_overruled);
    return g_test_run();
}
