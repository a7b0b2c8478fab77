/* SPDX-License-Identifier: BSD-3-Clause */
/* Redirects as permissions: restrict, host loopback, the name server. */
#include "redirect.h"

enum { GUEST_PORT = 5000 };

static const char *const outside[] = { "198.51.100.7", "2001:db8::7" };

static void expect_tcp(Guest *guest, const char *dst, uint16_t port)
{
    Conn *conn = guest_connect(guest, dst, port);

    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
}

static void expect_udp(Guest *guest, const char *dst, uint16_t port)
{
    guest_send_text(guest, GUEST_PORT, dst, port, "hello");
    guest_expect(guest, m_udp(), m_from(dst, port), m_text("hello"));
}

/* The rules are the list of what is allowed; nothing else works. */
static void test_allow_list(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .restricted = true);
    Peer *tcp = server_new(net, .mode = PEER_ECHO);
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    const char *host = family_of(dst) == AF_INET6 ? "fec0::2" : "10.0.2.2";
    Conn *conn;

    guest_set_rules(guest, "tcp:80-:%u\nudp:53-:%u", peer_port(tcp),
                    peer_port(udp));
    expect_tcp(guest, dst, 80);
    expect_udp(guest, dst, 53);
    conn = guest_connect(guest, dst, 81);
    conn_expect_reset(conn);
    conn = guest_connect(guest, host, peer_port(tcp));
    conn_expect_reset(conn);
    guest_send_text(guest, GUEST_PORT, dst, 54, "hello");
    guest_send_text(guest, GUEST_PORT, host, peer_port(udp), "hello");
    guest_expect_none(guest, 1000, m_udp());
    g_assert_cmpuint(server_accepted(tcp), ==, 1);
    g_assert_cmpuint(peer_datagrams(udp), ==, 1);
    guest_expect_idle(guest);
}

/* pass means "as if there were no rule". */
static void test_pass(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .restricted = true);
    Peer *tcp = server_new(net, .mode = PEER_ECHO, .family = family_of(host));
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM,
                           .family = family_of(host));
    Conn *conn;

    guest_set_rules(guest, "any:*-pass");
    conn = guest_connect(guest, host, peer_port(tcp));
    conn_expect_reset(conn);
    guest_send_text(guest, GUEST_PORT, host, peer_port(udp), "hello");
    guest_expect_none(guest, 1000, m_udp());
    g_assert_cmpuint(server_accepted(tcp), ==, 0);
    g_assert_cmpuint(peer_datagrams(udp), ==, 0);
    guest_expect_idle(guest);
}

/* DHCPv6 is the network's own; a rule does not get it under restrict. */
static void test_dhcpv6(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .restricted = true);
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

    guest_set_rules(guest, "udp:*-:%u", peer_port(udp));
    guest_send_text(guest, 546, "fec0::2", 547, "\1abc");
    guest_send_text(guest, GUEST_PORT, "fec0::2", 69, "tftp");
    guest_expect_none(guest, 1000, m_udp());
    g_assert_cmpuint(peer_datagrams(udp), ==, 0);
    guest_expect_counts(guest, 1, 0, 0, 0);
    guest_expect_idle(guest);
}

/* A loopback target is an explicit permission, keeping an address is none. */
static void test_no_host_loopback(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .disable_host_loopback = true);
    bool v6 = family_of(host) == AF_INET6;
    Peer *tcp = server_new(net, .mode = PEER_ECHO, .family = family_of(host));
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM,
                           .family = family_of(host));
    const char *loopback = v6 ? "[::1]" : "127.0.0.1";
    Conn *conn;

    guest_set_rules(guest,
                    "tcp:80-%s:%u\nudp:80-%s:%u\ntcp:81-*:%u\nudp:81-*:%u",
                    loopback, peer_port(tcp), loopback, peer_port(udp),
                    peer_port(tcp), peer_port(udp));
    expect_tcp(guest, host, 80);
    expect_udp(guest, host, 80);
    conn = guest_connect(guest, host, 81);
    conn_expect_state(conn, CONN_UNREACHABLE);
    conn = guest_connect(guest, v6 ? "::1" : "127.0.0.1", 81);
    conn_expect_state(conn, CONN_UNREACHABLE);
    guest_send_text(guest, GUEST_PORT, host, 81, "hello");
    guest_expect(guest, v6 ? m_icmp6() : m_icmp(), m_from(host, 0),
                 m_icmp_type(v6 ? 1 : 3));
    guest_send_text(guest, GUEST_PORT, v6 ? "::ffff:127.0.0.1" : "0.0.0.0", 81,
                    "hello");
    guest_expect_none(guest, 1000, m_udp());
    g_assert_cmpuint(server_accepted(tcp), ==, 1);
    g_assert_cmpuint(peer_datagrams(udp), ==, 1);
    guest_expect_counts(guest, 3, 2, 0, 2);
    guest_expect_idle(guest);
}

/* The name server's address is matched whether or not it is served. */
static void test_no_dns(void)
{
    for (int disabled = 0; disabled < 2; disabled++) {
        g_autoptr(Net) net = net_new();
        Guest *guest = guest_new(net, .disable_dns = disabled);
        Peer *tcp = server_new(net, .mode = PEER_ECHO);
        Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

        guest_set_rules(guest, "tcp:dns:53-:%u\nudp:dns:53-:%u", peer_port(tcp),
                        peer_port(udp));
        expect_tcp(guest, "10.0.2.3", 53);
        expect_udp(guest, "10.0.2.3", 53);
        expect_tcp(guest, "fec0::3", 53);
        expect_udp(guest, "fec0::3", 53);
        guest_expect_idle(guest);
    }
}

/* One instance's rules are not another's. */
static void test_instances(void)
{
    g_autoptr(Net) net = net_new();
    Guest *one = guest_new(net, .restricted = true);
    Guest *two = guest_new(net, .restricted = true);
    Peer *tcp = server_new(net, .mode = PEER_ECHO);
    Conn *conn;

    guest_set_rules(one, "tcp:80-:%u", peer_port(tcp));
    expect_tcp(one, "198.51.100.7", 80);
    conn = guest_connect(two, "198.51.100.7", 80);
    conn_expect_reset(conn);
    guest_expect_idle(one);
    guest_expect_idle(two);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_data_func("/redirect/restrict/allow-list/ipv4", outside[0],
                         test_allow_list);
    g_test_add_data_func("/redirect/restrict/allow-list/ipv6", outside[1],
                         test_allow_list);
    g_test_add_data_func("/redirect/restrict/pass/ipv4", "10.0.2.2", test_pass);
    g_test_add_data_func("/redirect/restrict/pass/ipv6", "fec0::2", test_pass);
    g_test_add_func("/redirect/restrict/dhcpv6", test_dhcpv6);
    g_test_add_data_func("/redirect/restrict/no-host-loopback/ipv4", "10.0.2.2",
                         test_no_host_loopback);
    g_test_add_data_func("/redirect/restrict/no-host-loopback/ipv6", "fec0::2",
                         test_no_host_loopback);
    g_test_add_func("/redirect/restrict/no-dns", test_no_dns);
    g_test_add_func("/redirect/restrict/instances", test_instances);
    return g_test_run();
}
