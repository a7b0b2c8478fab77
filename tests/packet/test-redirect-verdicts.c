/* SPDX-License-Identifier: BSD-3-Clause */
/* pass, reject and drop, in the order of the rules; what comes before them. */
#include "redirect.h"

static const char *const outside[] = { "198.51.100.7", "2001:db8::7" };

enum { GUEST_PORT = 5000 };

static void test_reject(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    g_autoptr(GByteArray) packet =
        packet_udp(guest_endpoint(guest, family_of(dst), GUEST_PORT),
                   endpoint(dst, 53), "hello", 5);
    Conn *conn;

    guest_set_rules(guest, "any:*-reject");
    conn = guest_connect(guest, dst, 80);
    conn_expect_reset(conn);
    guest_expect(guest, m_tcp(), m_from(dst, 80), m_flags(TCP_RST | TCP_ACK));
    guest_send_text(guest, GUEST_PORT, dst, 53, "hello");
    guest_expect_unreachable(guest, dst, 3, packet);
    guest_expect_counts(guest, 1, 2, 2, 0);
    guest_expect_idle(guest);
}

static void test_drop(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Conn *conn;

    guest_set_rules(guest, "any:*-drop");
    guest_forget_frames(guest);
    conn = guest_connect(guest, dst, 80);
    guest_send_text(guest, GUEST_PORT, dst, 53, "hello");
    guest_expect_none(guest, 90000, m_either(m_tcp(), m_udp(), m_icmp()));
    guest_expect_none(guest, 0, m_icmp6(), m_icmp_type(1));
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    guest_expect_counts(guest, 1, 2, 2, 0);
    guest_expect_idle(guest);
}

/* The first match decides; a pass ends the search like any other. */
static void test_order(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    Conn *conn;

    guest_set_rules(guest, "any:host:%u-pass\nany:host:%u-pass\nany:*-reject",
                    peer_port(echo), peer_port(udp) ^ 1);
    conn = guest_connect(guest, "10.0.2.2", peer_port(echo));
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
    conn = guest_connect(guest, "198.51.100.7", peer_port(echo));
    conn_expect_reset(conn);
    guest_send_text(guest, GUEST_PORT, "10.0.2.2", peer_port(udp), "hello");
    guest_expect(guest, m_icmp(), m_icmp_type(3), m_icmp_code(3));
    guest_expect_counts(guest, 1, 1, 0, 0);
    guest_expect_counts(guest, 2, 0, 0, 0);
    guest_expect_counts(guest, 3, 2, 2, 0);
    guest_expect_idle(guest);
}

/* The datagrams of one flow are one flow. */
static void test_pass_counts_flows(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

    guest_set_rules(guest, "udp:*-pass");
    for (int i = 0; i < 5; i++) {
        guest_send_text(guest, GUEST_PORT, "10.0.2.2", peer_port(echo), "x");
        guest_expect(guest, m_udp(), m_from("10.0.2.2", peer_port(echo)));
    }
    guest_expect_counts(guest, 1, 1, 0, 0);
    guest_send_text(guest, GUEST_PORT + 1, "10.0.2.2", peer_port(echo), "x");
    guest_expect(guest, m_udp(), m_from("10.0.2.2", peer_port(echo)));
    guest_expect_counts(guest, 1, 2, 0, 0);
    net_advance(net, 250000);
    guest_send_text(guest, GUEST_PORT, "10.0.2.2", peer_port(echo), "x");
    guest_expect(guest, m_udp(), m_from("10.0.2.2", peer_port(echo)));
    guest_expect_counts(guest, 1, 3, 0, 0);
    guest_expect_idle(guest);
}

/* A SYN to many is not answered, not even with a refusal. */
static void test_reject_broadcast(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    guest_set_rules(guest, "any:0.0.0.0/0:*-reject\nany:[::/0]:*-reject");
    guest_send_tcp(guest, .from.port = 5555, .to = endpoint(dst, 80), .seq = 1,
                   .flags = TCP_SYN, .window = 1000);
    guest_expect_none(guest, 1000, m_tcp());
    guest_expect_idle(guest);
}

/* What the virtual network itself offers comes before the rules. */
static void test_dhcp_and_tftp(void)
{
    static const char request[] = "\0\1none\0octet"; /* RFC 1350 */
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .tftp_path = net_tmpdir(net));

    guest_set_rules(guest, "any:0.0.0.0/0:*-reject\nany:[::/0]:*-reject");
    guest_send_dhcp(guest, DHCP_DISCOVER, DHCP_OWN);
    guest_expect(guest, m_udp(), m_from_port(DHCP_SERVER),
                 m_to_port(DHCP_CLIENT));
    guest_send_udp(guest, GUEST_PORT, "10.0.2.2", 69, request, sizeof(request));
    guest_expect(guest, m_udp(), m_from("10.0.2.2", 69));
    guest_send_udp(guest, GUEST_PORT, "fec0::2", 69, request, sizeof(request));
    guest_expect(guest, m_udp(), m_from("fec0::2", 69));
    guest_expect_counts(guest, 1, 0, 0, 0);
    guest_expect_counts(guest, 2, 0, 0, 0);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    for (int i = 0; i < 2; i++) {
        g_autofree char *reject =
            g_strdup_printf("/redirect/verdicts/reject/ipv%d", i ? 6 : 4);
        g_autofree char *drop =
            g_strdup_printf("/redirect/verdicts/drop/ipv%d", i ? 6 : 4);

        g_test_add_data_func(reject, outside[i], test_reject);
        g_test_add_data_func(drop, outside[i], test_drop);
    }
    g_test_add_func("/redirect/verdicts/order", test_order);
    g_test_add_func("/redirect/verdicts/pass-counts-flows",
                    test_pass_counts_flows);
    g_test_add_data_func("/redirect/verdicts/broadcast/limited",
                         "255.255.255.255", test_reject_broadcast);
    g_test_add_data_func("/redirect/verdicts/broadcast/directed", "10.0.2.255",
                         test_reject_broadcast);
    g_test_add_data_func("/redirect/verdicts/broadcast/multicast", "ff02::1",
                         test_reject_broadcast);
    g_test_add_func("/redirect/verdicts/dhcp-and-tftp", test_dhcp_and_tftp);
    return g_test_run();
}
