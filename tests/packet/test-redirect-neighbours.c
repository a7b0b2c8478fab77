/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP and neighbour discovery for on-link addresses that rules name. */
#include "redirect.h"

static void test_named(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    g_assert_false(guest_resolve(guest, "10.0.2.100"));
    g_assert_false(guest_resolve(guest, "fec0::100"));
    guest_set_rules(guest, "tcp:10.0.2.100:80-:1\n"
                           "udp:10.0.2.128/30:*-:1\n"
                           "tcp:10.0.2.140:80-reject\n"
                           "tcp:[fec0::100]:80-:1\n"
                           "udp:[fec0::200/120]:*-:1");
    g_assert_true(guest_resolve(guest, "10.0.2.100"));
    g_assert_true(guest_resolve(guest, "10.0.2.131"));
    g_assert_true(guest_resolve(guest, "10.0.2.140"));
    g_assert_true(guest_resolve(guest, "fec0::100"));
    g_assert_true(guest_resolve(guest, "fec0::2ff"));
    g_assert_false(guest_resolve(guest, "10.0.2.101"));
    g_assert_false(guest_resolve(guest, "10.0.2.132"));
    g_assert_false(guest_resolve(guest, "fec0::101"));
    g_assert_false(guest_resolve(guest, "fec0::300"));
    guest_set_rules(guest, "tcp:10.0.2.101:80-:1");
    g_assert_false(guest_resolve(guest, "10.0.2.100"));
    g_assert_true(guest_resolve(guest, "10.0.2.101"));
    g_assert_true(guest_resolve(guest, "10.0.2.2"));
    guest_expect_idle(guest);
}

/* A rule that merely covers the network, or does nothing there. */
static void test_not_named(void)
{
    static const char *const rules[] = {
        "tcp:*-:1",
        "any:*-reject",
        "tcp:10.0.0.0/8:80-:1\ntcp:[fec0::/16]:80-:1",
        "tcp:10.0.2.0/24:80-:1\ntcp:[fec0::/64]:80-:1",
        "tcp:private:*-:1",
        "tcp:10.0.2.100:80-pass\ntcp:[fec0::100]:80-pass",
        "tcp:10.0.2.100:80-drop\ntcp:[fec0::100]:80-drop",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        g_autoptr(Net) net = net_new();
        Guest *guest = guest_new(net);

        guest_set_rules(guest, "%s", rules[i]);
        if (guest_resolve(guest, "10.0.2.100") ||
            guest_resolve(guest, "fec0::100")) {
            net_fail(net, "answered for %s", rules[i]);
        }
        guest_expect_idle(guest);
    }
}

/* Whoever has an address keeps it: the guest's own is never answered for. */
static void test_guests_own(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    guest_set_rules(guest, "tcp:10.0.2.15:80-:1\n"
                           "tcp:[fec0::5054:ff:fe12:3456]:80-:1");
    g_assert_false(guest_resolve(guest, "10.0.2.15"));
    g_assert_false(guest_resolve(guest, "fec0::5054:ff:fe12:3456"));
    guest_expect_idle(guest);
}

static const uint8_t guest_mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
static const uint8_t all[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* RFC 5227: the sender of a probe is 0.0.0.0. */
static void test_arp_probe(void)
{
    static const uint8_t arp[] = { 0, 1,    8,    0,  6,    4,    0,
                                   1, 0x52, 0x54, 0,  0x12, 0x34, 0x56,
                                   0, 0,    0,    0,  0,    0,    0,
                                   0, 0,    0,    10, 0,    2,    100 };
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) frame = frame_ethernet(all, guest_mac, 0x0806);
    Guest *guest = guest_new(net);

    guest_set_rules(guest, "tcp:10.0.2.100:80-:1");
    guest_forget_frames(guest);
    g_byte_array_append(frame, arp, sizeof(arp));
    guest_send_frame(guest, frame->data, frame->len);
    guest_expect_none(guest, 1000, m_arp());
    frame->data[FRAME_ETH_LEN + 14] = 10; /* the same, from 10.0.2.15 */
    frame->data[FRAME_ETH_LEN + 16] = 2;
    frame->data[FRAME_ETH_LEN + 17] = 15;
    guest_send_frame(guest, frame->data, frame->len);
    guest_expect(guest, m_arp(), m_arp_op(2), m_from("10.0.2.100", 0));
    guest_expect_idle(guest);
}

/* RFC 4862: the source of a probe is the unspecified address. */
static void test_nd_probe(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Endpoint target = endpoint("fec0::100", 0);

    guest_set_rules(guest, "tcp:[fec0::100]:80-:1");
    guest_forget_frames(guest);
    guest_send_packet(guest, packet_icmp(endpoint("::", 0),
                                         endpoint("ff02::1:ff00:100", 0), 135,
                                         0, 0, target.addr, 16));
    guest_expect_none(guest, 1000, m_icmp6(), m_icmp_type(136));
    g_assert_true(guest_resolve(guest, "fec0::100"));
    guest_expect_idle(guest);
}

/* The point of it: a server that is not there. */
static void test_served(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .restricted = true);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conn;

    guest_set_rules(guest, "tcp:10.0.2.100:80-:%u", peer_port(echo));
    g_assert_true(guest_resolve(guest, "10.0.2.100"));
    conn = guest_connect(guest, "10.0.2.100", 80);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/redirect/neighbours/named", test_named);
    g_test_add_func("/redirect/neighbours/not-named", test_not_named);
    g_test_add_func("/redirect/neighbours/guests-own", test_guests_own);
    g_test_add_func("/redirect/neighbours/arp-probe", test_arp_probe);
    g_test_add_func("/redirect/neighbours/nd-probe", test_nd_probe);
    g_test_add_func("/redirect/neighbours/served", test_served);
    return g_test_run();
}
