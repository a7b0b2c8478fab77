/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP from the guest to the host: addresses, sizes, errors, expiry. */
#include "harness.h"

static const char *const hosts[] = { "10.0.2.2", "fec0::2" };

static void test_echo(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM,
                            .family = family_of(host));
    const Frame *reply;
    Endpoint mine = guest_endpoint(guest, family_of(host), 5000);

    guest_send_text(guest, 5000, host, peer_port(echo), "hello");
    reply = guest_expect(guest, m_udp(), m_from(host, peer_port(echo)));
    g_assert_true(endpoint_equal(&reply->to, &mine));
    g_assert_cmpmem(reply->payload, reply->payload_len, "hello", 5);
    guest_expect_idle(guest);
}

/* Replies larger than the MTU come in fragments (IPv4). */
static void test_large(void)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(7, 8000);
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    Endpoint to = endpoint("10.0.2.2", peer_port(echo));

    guest_send_fragments(guest,
                         packet_udp(guest_endpoint(guest, AF_INET, 5000), to,
                                    data->data, data->len),
                         1480);
    guest_expect(guest, m_udp(), m_from_endpoint(to),
                 m_payload(data->data, data->len));
    guest_expect_idle(guest);
}

static void test_lost_fragment(void)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(7, 4000);
    Guest *guest = guest_new(net);
    Peer *sink = server_new(net, .mode = PEER_SINK, .type = SOCK_DGRAM);
    Endpoint to = endpoint("10.0.2.2", peer_port(sink));
    g_autoptr(GByteArray) packet = packet_udp(
        guest_endpoint(guest, AF_INET, 5000), to, data->data, data->len);

    guest_send_packet(guest, packet_fragment(packet, 1, 0, 1480));
    guest_expect_idle(guest); /* the queue expires */
    g_assert_cmpuint(peer_datagrams(sink), ==, 0);
}

static void test_refused(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = net_refused_port(net, family_of(host), SOCK_DGRAM);
    bool v6 = family_of(host) == AF_INET6;

    guest_send_text(guest, 5000, host, port, "anybody?");
    guest_expect(guest, v6 ? m_icmp6() : m_icmp(), m_icmp_type(v6 ? 1 : 3),
                 m_icmp_code(v6 ? 4 : 3));
    guest_expect_idle(guest);
}

static void test_expires(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *sink = server_new(net, .mode = PEER_SINK, .type = SOCK_DGRAM);

    guest_send_text(guest, 5000, "10.0.2.2", peer_port(sink), "one");
    net_await(net, peer_datagrams(sink) == 1);
    net_advance(net, 239000);
    g_assert_cmpint(guest_count_udp(guest), ==, 1);
    net_advance(net, 2000);
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    packet_test_add_both("/udp/echo", hosts, test_echo);
    g_test_add_func("/udp/large", test_large);
    g_test_add_func("/udp/lost-fragment", test_lost_fragment);
    packet_test_add_both("/udp/refused", hosts, test_refused);
    g_test_add_func("/udp/expires", test_expires);
    return g_test_run();
}
