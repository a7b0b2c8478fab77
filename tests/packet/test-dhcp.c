/* SPDX-License-Identifier: BSD-3-Clause */
/* The addresses and options the built-in DHCP server hands out. */
#include "harness.h"

enum {
    CLIENT = 68,
    SERVER = 67,
    DISCOVER = 1,
    OFFER = 2,
    REQUEST = 3,
    ACK = 5
};
enum {
    OPT_MASK = 1,
    OPT_ROUTER = 3,
    OPT_DNS = 6,
    OPT_TYPE = 53,
    OPT_END = 255
};
enum { OPTIONS_AT = 240, MESSAGE_LEN = 300 };

static void send_message(Guest *guest, uint8_t type)
{
    static const uint8_t mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
    uint8_t m[MESSAGE_LEN] = { 1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef };
    uint8_t options[] = { 0x63, 0x82, 0x53, 0x63, OPT_TYPE, 1, type, OPT_END };

    memcpy(m + 28, mac, sizeof(mac));
    memcpy(m + OPTIONS_AT - 4, options, sizeof(options));
    guest_send_packet(guest, packet_udp(endpoint("0.0.0.0", CLIENT),
                                        endpoint("255.255.255.255", SERVER), m,
                                        sizeof(m)));
}

static const uint8_t *find_option(const Frame *f, uint8_t code)
{
    size_t at = OPTIONS_AT;

    while (at + 1 < f->payload_len && f->payload[at] != OPT_END) {
        if (f->payload[at] == code) {
            return f->payload + at + 2;
        }
        at += f->payload[at] ? 2u + f->payload[at + 1] : 1u;
    }
    return NULL;
}

static void assert_option_address(const Frame *f, uint8_t code,
                                  const char *addr)
{
    Endpoint want = endpoint(addr, 0);
    const uint8_t *value = find_option(f, code);

    g_assert_nonnull(value);
    g_assert_cmpmem(value, 4, want.addr, 4);
}

static void assert_message(const Frame *f, uint8_t type)
{
    Endpoint mine = endpoint("10.0.2.15", 0);

    g_assert_cmpuint(f->payload_len, >, OPTIONS_AT);
    g_assert_cmpmem(f->payload + 16, 4, mine.addr, 4);
    g_assert_cmpuint(*find_option(f, OPT_TYPE), ==, type);
    assert_option_address(f, OPT_MASK, "255.255.255.0");
    assert_option_address(f, OPT_ROUTER, "10.0.2.2");
    assert_option_address(f, OPT_DNS, "10.0.2.3");
}

static void test_lease(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .mute = true);

    send_message(guest, DISCOVER);
    assert_message(guest_expect(guest, m_udp(), m_to_port(CLIENT)), OFFER);
    send_message(guest, REQUEST);
    assert_message(guest_expect(guest, m_udp(), m_to_port(CLIENT)), ACK);
    guest_expect_idle(guest);
}

static void test_disabled(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .disable_dhcp = true);

    send_message(guest, DISCOVER);
    guest_expect_none(guest, 1000, m_udp(), m_to_port(CLIENT));
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/dhcp/lease", test_lease);
    g_test_add_func("/dhcp/disabled", test_disabled);
    return g_test_run();
}
