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

/* A server on the loopback address that learns the TTL, and where the guest
 * finds it. */
static int ttl_socket(int family, Endpoint *to)
{
    struct sockaddr_in sin = { .sin_family = AF_INET };
    struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6 };
    bool v6 = family == AF_INET6;
    struct sockaddr *sa =
        v6 ? (struct sockaddr *)&sin6 : (struct sockaddr *)&sin;
    socklen_t len = v6 ? sizeof(sin6) : sizeof(sin);
    int s = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin6.sin6_addr = in6addr_loopback;
    g_assert_no_errno(bind(s, sa, len));
    g_assert_no_errno(getsockname(s, sa, &len));
    g_assert_no_errno(setsockopt(s, v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                                 v6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL, &one,
                                 sizeof(one)));
    *to = v6 ? endpoint("fec0::2", ntohs(sin6.sin6_port))
             : endpoint("10.0.2.2", ntohs(sin.sin_port));
    return s;
}

static int received_ttl(int s)
{
    char data[16], control[64];
    struct iovec iov = { data, sizeof(data) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control,
                          .msg_controllen = sizeof(control) };
    int ttl;

    g_assert_cmpint(recvmsg(s, &msg, 0), ==, 1);
    memcpy(&ttl, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(ttl));
    return ttl;
}

static void set_ttl(GByteArray *packet, uint8_t ttl)
{
    uint8_t *h = packet->data;

    if (h[0] >> 4 == 6) {
        h[7] = ttl;
        return;
    }
    h[8] = ttl;
    put_be16(h + 10, 0);
    put_be16(h + 10, inet_checksum(0, h, 20));
}

/* traceroute counts hops by it; it may change with each datagram. */
static void test_ttl(const void *host)
{
    static const uint8_t ttls[] = { 64, 64, 2, 3, 3, 255, 64 };
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    int family = family_of(host);
    Endpoint to;
    int s = ttl_socket(family, &to);

    for (unsigned i = 0; i < G_N_ELEMENTS(ttls); i++) {
        GByteArray *packet =
            packet_udp(guest_endpoint(guest, family, 5000), to, "x", 1);

        set_ttl(packet, ttls[i]);
        guest_send_packet(guest, packet);
        g_assert_cmpint(received_ttl(s), ==, ttls[i] - 1);
    }
    close(s);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    packet_test_add_both("/udp/echo", hosts, test_echo);
    g_test_add_func("/udp/large", test_large);
    g_test_add_func("/udp/lost-fragment", test_lost_fragment);
    packet_test_add_both("/udp/refused", hosts, test_refused);
    g_test_add_func("/udp/expires", test_expires);
    g_test_add_data_func("/udp/ttl/ipv4", "10.0.2.2", test_ttl);
    g_test_add_data_func("/udp/ttl/ipv6", "fec0::2", test_ttl);
    return g_test_run();
}
