/* SPDX-License-Identifier: BSD-3-Clause */
/* What a guest cannot reach under restrict=on and without host loopback. */
#include "harness.h"

static void test_restrict(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .restricted = true);
    int family = endpoint(host, 0).family;
    Peer *tcp = server_new(net, .mode = PEER_ECHO, .family = family);
    Peer *udp = server_new(net, .mode = PEER_ECHO, .family = family,
                           .type = SOCK_DGRAM);
    Conn *conn = guest_connect(guest, host, peer_port(tcp));

    conn_expect_reset(conn);
    guest_send_text(guest, 5000, host, peer_port(udp), "hello");
    guest_expect_none(guest, 1000, m_udp());
    g_assert_cmpuint(server_accepted(tcp), ==, 0);
    g_assert_cmpuint(peer_datagrams(udp), ==, 0);
    guest_expect_idle(guest);
}

static void test_no_loopback(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .disable_host_loopback = true);
    Peer *tcp =
        server_new(net, .mode = PEER_ECHO, .family = endpoint(host, 0).family);
    Conn *conn = guest_connect(guest, host, peer_port(tcp));

    conn_expect_state(conn, CONN_UNREACHABLE);
    g_assert_cmpuint(server_accepted(tcp), ==, 0);
    guest_expect_idle(guest);
}

/* Two instances in one process do not see each other's rules. */
static void test_instances(void)
{
    g_autoptr(Net) net = net_new();
    Guest *jailed = guest_new(net, .restricted = true);
    Guest *free_one = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *refused = guest_connect(jailed, "10.0.2.2", peer_port(echo));
    Conn *served = guest_connect(free_one, "10.0.2.2", peer_port(echo));

    conn_expect_established(served);
    conn_expect_reset(refused);
    conn_close(served);
    guest_expect_idle(jailed);
    guest_expect_idle(free_one);
}

/* Every SlirpConfig version, and so both kinds of timers, serves. */
static void test_versions(void)
{
    for (uint32_t v = SLIRP_CONFIG_VERSION_MIN; v <= SLIRP_CONFIG_VERSION_MAX;
         v++) {
        g_autoptr(Net) net = net_new();
        Guest *guest = guest_new(net, .version = v);
        Peer *echo = server_new(net, .mode = PEER_ECHO);
        Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(echo));

        conn_send_text(conn, "x");
        conn_expect_text(conn, "x");
        net_advance(net, 700000);
        guest_expect(guest, m_icmp6(), m_icmp_type(134)); /* RA */
        conn_close(conn);
        guest_expect_idle(guest);
    }
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_data_func("/restrict/on/ipv4", "10.0.2.2", test_restrict);
    g_test_add_data_func("/restrict/on/ipv6", "fec0::2", test_restrict);
    g_test_add_data_func("/restrict/no-loopback/ipv4", "10.0.2.2",
                         test_no_loopback);
    g_test_add_data_func("/restrict/no-loopback/ipv6", "fec0::2",
                         test_no_loopback);
    g_test_add_func("/restrict/instances", test_instances);
    g_test_add_func("/restrict/versions", test_versions);
    return g_test_run();
}
