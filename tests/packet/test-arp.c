/* SPDX-License-Identifier: BSD-3-Clause */
/* Which addresses the stack answers for, by ARP and neighbour discovery. */
#include "harness.h"

static void test_own_addresses(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    g_assert_true(guest_resolve(guest, "10.0.2.2"));
    g_assert_true(guest_resolve(guest, "10.0.2.3"));
    g_assert_true(guest_resolve(guest, "fec0::2"));
    g_assert_true(guest_resolve(guest, "fec0::3"));
}

static void test_other_addresses(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    g_assert_false(guest_resolve(guest, "10.0.2.77"));
    g_assert_false(guest_resolve(guest, "198.51.100.7"));
    g_assert_false(guest_resolve(guest, "fec0::77"));
}

static void test_guest_is_asked(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .mute = true);

    guest_ping(guest, "10.0.2.2", 1, 1, "x", 1);
    guest_expect(guest, m_icmp(), m_icmp_type(0));
    guest_expect_idle(guest);
}

static void test_without_ipv4(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .no_ipv4 = true);

    g_assert_false(guest_resolve(guest, "10.0.2.2"));
    g_assert_true(guest_resolve(guest, "fec0::2"));
}

static void test_without_ipv6(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .no_ipv6 = true);

    g_assert_true(guest_resolve(guest, "10.0.2.2"));
    g_assert_false(guest_resolve(guest, "fec0::2"));
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/arp/own-addresses", test_own_addresses);
    g_test_add_func("/arp/other-addresses", test_other_addresses);
    g_test_add_func("/arp/guest-is-asked", test_guest_is_asked);
    g_test_add_func("/arp/without-ipv4", test_without_ipv4);
    g_test_add_func("/arp/without-ipv6", test_without_ipv6);
    return g_test_run();
}
