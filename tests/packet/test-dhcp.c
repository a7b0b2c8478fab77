/* SPDX-License-Identifier: BSD-3-Clause */
/* The addresses and options the built-in DHCP server hands out. */
#include "harness.h"

enum { OPT_MASK = 1, OPT_ROUTER = 3, OPT_DNS = 6, OPT_TYPE = 53 };

static void assert_option_address(const Frame *f, uint8_t code,
                                  const char *addr)
{
    Endpoint want = endpoint(addr, 0);
    const uint8_t *value = frame_dhcp_option(f, code);

    g_assert_nonnull(value);
    g_assert_cmpmem(value + 1, value[0], want.addr, 4);
}

static void assert_message(const Frame *f, uint8_t type)
{
    Endpoint mine = endpoint("10.0.2.15", 0);

    g_assert_cmpmem(f->payload + 16, 4, mine.addr, 4);
    g_assert_nonnull(frame_dhcp_option(f, OPT_TYPE));
    g_assert_cmpuint(frame_dhcp_option(f, OPT_TYPE)[1], ==, type);
    assert_option_address(f, OPT_MASK, "255.255.255.0");
    assert_option_address(f, OPT_ROUTER, "10.0.2.2");
    assert_option_address(f, OPT_DNS, "10.0.2.3");
}

static void test_lease(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .mute = true);

    guest_send_dhcp(guest, DHCP_DISCOVER, DHCP_OWN);
    assert_message(guest_expect(guest, m_udp(), m_to_port(DHCP_CLIENT)),
                   DHCP_OFFER);
    guest_send_dhcp(guest, DHCP_REQUEST, DHCP_OWN);
    assert_message(guest_expect(guest, m_udp(), m_to_port(DHCP_CLIENT)),
                   DHCP_ACK);
    guest_expect_idle(guest);
}

static void test_disabled(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .disable_dhcp = true);

    guest_send_dhcp(guest, DHCP_DISCOVER, DHCP_OWN);
    guest_expect_none(guest, 1000, m_udp(), m_to_port(DHCP_CLIENT));
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/dhcp/lease", test_lease);
    g_test_add_func("/dhcp/disabled", test_disabled);
    return g_test_run();
}
