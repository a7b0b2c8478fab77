/* SPDX-License-Identifier: BSD-3-Clause */
/* Echo requests to the addresses the stack answers itself. */
#include "harness.h"

static void test_ping(const void *host)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(3, 1000);
    Guest *guest = guest_new(net);
    bool v6 = endpoint(host, 0).family == AF_INET6;
    const Frame *reply;

    guest_ping(guest, host, 7, 9, data->data, data->len);
    reply = guest_expect(guest, v6 ? m_icmp6() : m_icmp(), m_from(host, 0),
                         m_icmp_type(v6 ? 129 : 0),
                         m_payload(data->data, data->len));
    g_assert_cmpuint(reply->icmp.id, ==, 7);
    g_assert_cmpuint(reply->icmp.seq, ==, 9);
    if (v6) {
        /* libslirp 4.8.0 keeps the buffer of each IPv6 request it answers. */
        guest_expect_no_flows(guest);
    } else {
        guest_expect_idle(guest);
    }
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_data_func("/ping/ipv4/host", "10.0.2.2", test_ping);
    g_test_add_data_func("/ping/ipv4/nameserver", "10.0.2.3", test_ping);
    g_test_add_data_func("/ping/ipv6/host", "fec0::2", test_ping);
    g_test_add_data_func("/ping/ipv6/nameserver", "fec0::3", test_ping);
    return g_test_run();
}
