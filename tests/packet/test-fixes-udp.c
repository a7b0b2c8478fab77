/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults of the pinned release in UDP, ICMP, DHCP and its clock. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/icmp6.h>
#include <unistd.h>

#include "fault.h"
#include "internal.h"

static const char *const hosts[] = { "10.0.2.2", "fec0::2" };

static const char *const uses[] = { "flow", "echo", "echo6", "forward",
                                    "listener" };

static int add_forward6(Guest *guest, uint16_t port)
{
    struct sockaddr_in6 host = { .sin6_family = AF_INET6,
                                 .sin6_addr = in6addr_loopback,
                                 .sin6_port = htons(port) };
    struct sockaddr_in6 any = { .sin6_family = AF_INET6,
                                .sin6_port = htons(7) };

    return slirp_add_hostxfwd(guest_slirp(guest), (struct sockaddr *)&host,
                              sizeof(host), (struct sockaddr *)&any,
                              sizeof(any), SLIRP_HOSTFWD_UDP);
}

/* A datagram for a guest that has no IPv6 address yet. */
static void test_forward_before_address(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .mute = true);
    uint16_t port = net_refused_port(net, AF_INET6, SOCK_DGRAM);
    Peer *client;

    g_assert_cmpint(add_forward6(guest, port), ==, 0);
    client = host_udp(net, AF_INET6, port);
    peer_send_text(client, "too early");
    net_settle(net);
    guest_expect_none(guest, 1000, m_udp());
}

/* An error on a forward that the guest has not answered. */
static void test_forward_error(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_DGRAM, 7);
    Peer *client = host_udp(net, AF_INET, port);

    fault_arm(FAULT_RECV, FAULT_ERRNO, ECONNREFUSED, 1, 1);
    peer_send_text(client, "x");
    net_await(net, fault_hits() == 1);
    fault_disarm();
    guest_expect(guest, m_udp(), m_to_port(7), m_text("x"));
}

/* The answer of a server comes from the address the guest wrote to, though
 * the guest's port has spoken to others since. */
static void test_reply_source(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    int family = family_of(host);
    Peer *server = server_new(net, .type = SOCK_DGRAM, .family = family);

    guest_send_text(guest, 5000, host, peer_port(server), "question");
    net_await(net, peer_datagrams(server) == 1);
    fault_arm(FAULT_SEND, FAULT_ERRNO, ENETUNREACH, 1, 1); /* goes nowhere */
    guest_send_text(guest, 5000,
                    family == AF_INET ? "192.0.2.1" : "2001:db8::1", 9,
                    "elsewhere");
    g_assert_cmpuint(fault_hits(), ==, 1);
    fault_disarm();
    peer_send_text(server, "answer");
    guest_expect(guest, m_udp(), m_from(host, peer_port(server)),
                 m_text("answer"));
    guest_expect_idle(guest);
}

/* A full queue loses the datagram; an error would be a lie. */
static void test_full_queue(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *sink = server_new(net, .type = SOCK_DGRAM);

    fault_arm(FAULT_SEND, FAULT_ERRNO, EAGAIN, 1, 1);
    guest_send_text(guest, 5000, "10.0.2.2", peer_port(sink), "lost");
    g_assert_cmpuint(fault_hits(), ==, 1);
    fault_disarm();
    guest_expect_none(guest, 0, m_icmp());
    guest_send_text(guest, 5000, "10.0.2.2", peer_port(sink), "found");
    peer_expect_text(sink, "found");
    guest_expect_idle(guest);
}

/* The next datagram that the stack is to receive fails with err. */
static void fail_answer(Guest *guest, Peer *server, int err)
{
    guest_send_text(guest, 5000, "10.0.2.2", peer_port(server), "question");
    net_await(guest_net(guest), peer_datagrams(server) == 1);
    fault_arm(FAULT_RECV, FAULT_ERRNO, err, 1, 1);
    peer_send_text(server, "answer");
    net_await(guest_net(guest), fault_hits() == 1);
    fault_disarm();
}

/* A datagram that poll() announced is gone when it is read. */
static void test_empty_queue(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .type = SOCK_DGRAM);

    fail_answer(guest, server, EAGAIN);
    guest_expect_none(guest, 0, m_icmp());
    guest_expect(guest, m_udp(), m_text("answer"));
    guest_expect_idle(guest);
}

/* A socket that the system has cut off is given up, without its buffers. */
static void test_dead_socket(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .type = SOCK_DGRAM);

    fail_answer(guest, server, ENOTCONN);
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
    g_assert_cmpint(guest_count_buffers(guest), ==, 0);
}

static void assert_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    g_assert_cmpint(flags, >=, 0);
    g_assert_true(flags & O_NONBLOCK);
}

/* No call on a socket of the host blocks the loop. */
static void test_nonblocking(const void *use)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    if (g_str_has_prefix(use, "echo") && !require_icmp(SOCK_DGRAM)) {
        return;
    }
    if (strcmp(use, "flow") == 0) {
        guest_send_text(guest, 5000, "10.0.2.2", 9, "x");
    } else if (strcmp(use, "echo") == 0) {
        guest_ping(guest, "127.0.0.1", 1, 1, "x", 1);
    } else if (strcmp(use, "echo6") == 0) {
        guest_ping(guest, "::1", 1, 1, "x", 1);
    } else if (strcmp(use, "forward") == 0) {
        guest_add_hostfwd(guest, SOCK_DGRAM, 7);
    } else {
        guest_add_hostfwd(guest, SOCK_STREAM, 7);
    }
    assert_nonblocking(fault_last_socket());
}

/* The file of name servers is looked at once a second. */
static void test_name_servers(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    for (unsigned second = 0; second < 4; second++) {
        fault_arm(FAULT_SEND, FAULT_ERRNO, ENETUNREACH, 1, G_MAXUINT);
        for (uint16_t i = 0; i < 10; i++) {
            guest_send_text(guest, 5000 + i, "10.0.2.3", 53, "query");
        }
        /* stat(), and fopen() if it has changed */
        g_assert_cmpuint(fault_calls(FAULT_OPEN), <=, 2);
        fault_disarm();
        net_advance(net, 1100);
    }
}

/* Replies of a fixed size fit, however small the guest's packets. */
static void test_small_mtu(void)
{
    enum { BLOCK = 1428, BLOCKS = 20 };
    static const char request[] = "\0\1file\0octet\0blksize\0001428";
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(5, BLOCK * BLOCKS);
    g_autofree char *file = g_build_filename(net_tmpdir(net), "file", NULL);
    Guest *guest = guest_new(net, .tftp_path = net_tmpdir(net), .mtu = 700,
                             .no_ipv6 = true);

    g_assert_true(
        g_file_set_contents(file, (const char *)data->data, data->len, NULL));
    guest_send_udp(guest, 5001, "10.0.2.2", 69, request, sizeof(request));
    guest_expect(guest, m_udp(), m_to_port(5001));
    for (uint8_t i = 0; i < BLOCKS; i++) {
        const uint8_t ack[] = { 0, 4, 0, i };
        const Frame *f;

        guest_send_udp(guest, 5001, "10.0.2.2", 69, ack, sizeof(ack));
        f = guest_expect(guest, m_udp(), m_to_port(5001));
        g_assert_cmpmem(f->payload + 4, f->payload_len - 4,
                        data->data + i * BLOCK, BLOCK);
    }
    guest_expect_idle(guest);
}

/* The list of connections names IPv6 addresses. */
static void test_list_ipv6(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "fec0::2", &peer);
    g_autofree char *info = slirp_connection_info(guest_slirp(guest));

    g_assert_nonnull(strstr(info, " fec0::2 "));
    conn_abort(conn);
    guest_expect_idle(guest);
}

/* More clients than addresses. */
static void test_discover_leak(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    for (unsigned i = 0; i < 100; i++) {
        guest_send_dhcp(guest, DHCP_DISCOVER, i);
    }
    net_settle(net);
    g_assert_cmpint(guest_count_buffers(guest), ==, 0);
}

static void test_echo6_leak(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    for (uint16_t i = 0; i < 10; i++) {
        guest_ping(guest, "fec0::2", 1, i, "x", 1);
        guest_expect(guest, m_icmp6(), m_icmp_type(129));
    }
    g_assert_cmpint(guest_count_buffers(guest), ==, 0);
}

/* What an uninitialised variable holds next. */
static void G_GNUC_NO_INLINE dirty_stack(void)
{
    volatile uint8_t bytes[64 << 10];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = 0xff;
    }
}

/* All of the address that an echo request goes to is given. */
static void test_echo6_address(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    if (!require_icmp(SOCK_RAW)) {
        return;
    }
    fault_no_icmp(true, false); /* raw sockets look at the port, too */
    dirty_stack();
    guest_ping(guest, "::1", 1, 1, "x", 1);
    fault_no_icmp(false, false);
    guest_expect(guest, m_icmp6(), m_icmp_type(129));
    guest_expect_idle(guest);
}

/* A host answers a datagram with an ICMPv6 error of a type nobody knows. */
static void test_unknown_error(void)
{
    g_autoptr(Net) net = NULL;
    struct sockaddr_in6 to = { .sin6_family = AF_INET6,
                               .sin6_addr = in6addr_loopback };
    int raw = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    g_autoptr(GByteArray) packet = NULL;
    struct sockaddr_in6 own;
    socklen_t own_len = sizeof(own);
    uint8_t error[8 + 48] = { 100 };
    Guest *guest;
    Peer *sink;

    if (raw < 0) {
        g_test_skip("raw sockets are not allowed here");
        return;
    }
    net = net_new(); /* raw is older, and closed here */
    guest = guest_new(net);
    sink = server_new(net, .type = SOCK_DGRAM, .family = AF_INET6);
    guest_send_text(guest, 5000, "fec0::2", peer_port(sink), "x");
    net_await(net, peer_datagrams(sink) == 1);
    g_assert_cmpint(
        getsockname(fault_last_socket(), (struct sockaddr *)&own, &own_len), ==,
        0);
    packet = packet_udp(endpoint("::1", ntohs(own.sin6_port)),
                        endpoint("::1", peer_port(sink)), "", 0);
    memcpy(error + 8, packet->data, MIN(packet->len, 48));
    g_assert_cmpint(sendto(raw, error, sizeof(error), 0, (struct sockaddr *)&to,
                           sizeof(to)),
                    ==, sizeof(error));
    net_settle(net);
    net_advance(net, 1000);
    peer_send_text(sink, "still there?");
    guest_expect(guest, m_udp(), m_text("still there?"));
    guest_expect_idle(guest);
    g_clear_pointer(&net, net_free);
    close(raw);
}

/* The clock of 32 bits starts again after 49.7 days. */
static void test_clock_wraps(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest;
    Peer *sink;

    net_clock_ns = ((INT64_C(1) << 32) - 5000) * 1000000;
    guest = guest_new(net);
    sink = server_new(net, .type = SOCK_DGRAM);
    guest_send_text(guest, 5000, "10.0.2.2", peer_port(sink), "x");
    net_await(net, peer_datagrams(sink) == 1);
    net_advance(net, 200000);
    g_assert_cmpint(guest_count_udp(guest), ==, 1);
    net_advance(net, 60000);
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
}

/* An instance's flows do not expire by the clock of another. */
static void test_two_clocks(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Guest *other = guest_new(net, .clock_ahead_ms = 24 * 3600 * 1000);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

    guest_send_text(guest, 5000, "10.0.2.2", peer_port(echo), "x");
    guest_expect(guest, m_udp());
    guest_send_text(other, 5000, "10.0.2.2", peer_port(echo), "x");
    guest_expect(other, m_udp());
    net_advance(net, 200000);
    g_assert_cmpint(guest_count_udp(guest), ==, 1);
    g_assert_cmpint(guest_count_udp(other), ==, 1);
    net_advance(net, 60000);
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
    g_assert_cmpint(guest_count_udp(other), ==, 0);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/fixes/udp/forward-before-address",
                    test_forward_before_address);
    g_test_add_func("/fixes/udp/forward-error", test_forward_error);
    packet_test_add_both("/fixes/udp/reply-source", hosts, test_reply_source);
    g_test_add_func("/fixes/udp/full-queue", test_full_queue);
    g_test_add_func("/fixes/udp/empty-queue", test_empty_queue);
    g_test_add_func("/fixes/udp/dead-socket", test_dead_socket);
    for (unsigned i = 0; i < G_N_ELEMENTS(uses); i++) {
        g_autofree char *path =
            g_strdup_printf("/fixes/nonblocking/%s", uses[i]);

        g_test_add_data_func(path, uses[i], test_nonblocking);
    }
    g_test_add_func("/fixes/udp/name-servers", test_name_servers);
    g_test_add_func("/fixes/udp/small-mtu", test_small_mtu);
    g_test_add_func("/fixes/info/ipv6", test_list_ipv6);
    g_test_add_func("/fixes/dhcp/discover-leak", test_discover_leak);
    g_test_add_func("/fixes/icmp6/echo-leak", test_echo6_leak);
    g_test_add_func("/fixes/icmp6/echo-address", test_echo6_address);
    g_test_add_func("/fixes/icmp6/unknown-error", test_unknown_error);
    g_test_add_func("/fixes/clock/wraps", test_clock_wraps);
    g_test_add_func("/fixes/clock/two", test_two_clocks);
    return g_test_run();
}
