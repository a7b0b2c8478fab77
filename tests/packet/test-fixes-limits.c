/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the pinned release leaves to the guest without bound. The limits are
 * those of docs/security.md for n = 256 descriptors.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fault.h"
#include "internal.h"

enum { ALWAYS = 1 << 30 };
enum { FILES = 256, RESERVE = 32 };
enum { TCP_MOST = 168, HALF_OPEN_MOST = 84, UDP_MOST = 84, UDP_PER_GUEST = 56 };
enum { ECHO_MOST = 14, FRAGMENTS_MOST = 512, SEGMENTS_MOST = 200 };
enum { WAITING_MOST = 128 };

static const char *const strangers[] = { "198.51.100.9", "2001:db8::9" };
static const char *const hosts[] = { "10.0.2.2", "fec0::2" };

static Guest *limited_guest(Net *net)
{
    net_limit_files(net, FILES);
    return guest_new(net);
}

/* Nobody could answer a source outside the virtual network. */
static void test_foreign_source(const void *source)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    int family = family_of(source);
    Peer *sink = server_new(net, .type = SOCK_DGRAM, .family = family);
    const char *host = family == AF_INET ? "10.0.2.2" : "fec0::2";

    guest_send_packet(guest,
                      packet_udp(endpoint(source, 5000),
                                 endpoint(host, peer_port(sink)), "x", 1));
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
    guest_send_text(guest, 5000, host, peer_port(sink), "own");
    peer_expect_text(sink, "own");
    guest_expect_idle(guest);
}

static void send_from(Guest *guest, const char *addr, uint16_t port, Peer *to)
{
    guest_send_packet(guest,
                      packet_udp(endpoint(addr, port),
                                 endpoint("10.0.2.2", peer_port(to)), "x", 1));
}

/* One guest address takes the room of its own flows, not of others'. */
static void test_udp_of_one_guest(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = limited_guest(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

    send_from(guest, "10.0.2.16", 999, echo);
    for (uint16_t i = 0; i < UDP_PER_GUEST + 1; i++) {
        net_advance(net, 10);
        guest_send_text(guest, 1000 + i, "10.0.2.2", peer_port(echo), "x");
        guest_expect(guest, m_udp(), m_to_port(1000 + i));
    }
    g_assert_cmpint(guest_count_udp(guest), ==, UDP_PER_GUEST + 1);
    guest_expect_idle(guest);
}

static void test_udp_of_all_guests(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = limited_guest(net);
    Peer *sink = server_new(net, .mode = PEER_SINK, .type = SOCK_DGRAM);
    g_autofree char *info = NULL;

    for (unsigned i = 0; i < 2 * UDP_MOST; i++) {
        g_autofree char *addr = g_strdup_printf("10.0.2.%u", 16 + i % 8);

        send_from(guest, addr, (uint16_t)(1000 + i), sink);
    }
    g_assert_cmpint(guest_count_udp(guest), ==, UDP_MOST);
    info = slirp_connection_info(guest_slirp(guest));
    g_assert_nonnull(strstr(info, "UDP at its limit of 84 flows: 84 evicted"));
    guest_expect_idle(guest);
}

static void expect_unreachable(Guest *guest, int family)
{
    bool v6 = family == AF_INET6;

    g_assert_cmpuint(fault_hits(), >=, 1);
    fault_disarm();
    guest_expect(guest, v6 ? m_icmp6() : m_icmp(), m_icmp_type(v6 ? 1 : 3));
    guest_expect_idle(guest);
}

/* A flow for which there is no descriptor at all. */
static void test_udp_refused(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    fault_arm(FAULT_SOCKET, FAULT_ERRNO, EMFILE, 1, ALWAYS);
    guest_send_text(guest, 5000, host, 9, "x");
    expect_unreachable(guest, family_of(host));
}

static void test_echo_refused(const void *stranger)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    fault_arm(FAULT_SOCKET, FAULT_ERRNO, EMFILE, 1, ALWAYS);
    guest_ping(guest, stranger, 1, 1, "x", 1);
    expect_unreachable(guest, family_of(stranger));
}

/* Connections to where nobody answers: the next is refused at once. */
static void test_half_open(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = limited_guest(net);
    uint16_t port = peer_port(server_new_busy(net, AF_INET, 0));
    Conn *conns[HALF_OPEN_MOST];

    for (unsigned i = 0; i < HALF_OPEN_MOST; i++) {
        conns[i] = guest_connect(guest, "10.0.2.2", port);
    }
    conn_expect_reset(guest_connect(guest, "10.0.2.2", port));
    for (unsigned i = 0; i < HALF_OPEN_MOST; i++) {
        g_assert_cmpint(conn_state(conns[i]), ==, CONN_SYN_SENT);
    }
}

/* Establishes connections that stay in the backlog of their servers. */
static void fill_with_tcp(Guest *guest, unsigned n, Conn **conns)
{
    enum { EACH = 100 }; /* less than a backlog */
    Peer *server = NULL;

    for (unsigned i = 0; i < n; i++) {
        if (i % EACH == 0) {
            server = server_new(guest_net(guest));
            peer_pause(server, true);
        }
        conns[i] = guest_connect(guest, "10.0.2.2", peer_port(server));
        conn_expect_established(conns[i]);
    }
}

/* Established connections stay; a further one is refused, both ways. */
static void test_established(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = limited_guest(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_STREAM, 8080);
    Peer *server = server_new(net);
    Peer *client;
    Conn *conns[TCP_MOST - 1]; /* the forward counts, too */

    guest_listen(guest, 8080);
    fill_with_tcp(guest, TCP_MOST - 1, conns);
    conn_expect_reset(guest_connect(guest, "10.0.2.2", peer_port(server)));
    client = host_connect(net, AF_INET, port);
    net_await(net, peer_eof(client) || peer_error(client));
    for (unsigned i = 0; i < TCP_MOST - 1; i++) {
        g_assert_cmpint(conn_state(conns[i]), ==, CONN_ESTABLISHED);
    }
    conn_abort(conns[0]);
    conns[0] = guest_connect(guest, "10.0.2.2", peer_port(server));
    conn_expect_established(conns[0]);
}

/* What the host has left makes room for what is new. */
static void test_closing(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = limited_guest(net);
    Peer *peer;
    Conn *closing = guest_link(guest, "10.0.2.2", &peer);
    Conn *conns[TCP_MOST];

    peer_shutdown(peer);
    conn_expect_eof(closing);
    fill_with_tcp(guest, TCP_MOST, conns);
    g_assert_cmpint(guest_count_tcp(guest), ==, TCP_MOST);
    net_await(net, peer_eof(peer) || peer_error(peer));
}

/* Some descriptors are left to the application, whoever takes the others. */
static void test_reserve(void)
{
    enum { LEFT = RESERVE + 10 };
    g_autoptr(Net) net = net_new();
    Guest *guest = limited_guest(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    GArray *others = g_array_new(FALSE, FALSE, sizeof(int));

    net_settle(net);
    while (descriptors_in_use() < FILES - LEFT) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        g_array_append_val(others, fd);
    }
    for (uint16_t i = 0; i < 2 * LEFT; i++) {
        guest_send_text(guest, 1000 + i, "10.0.2.2", peer_port(echo), "x");
        guest_expect(guest, m_udp(), m_to_port(1000 + i));
    }
    g_assert_cmpuint(descriptors_in_use(), <=, FILES - RESERVE);
    for (guint i = 0; i < others->len; i++) {
        close(g_array_index(others, int, i));
    }
    g_array_free(others, TRUE);
    guest_expect_idle(guest);
}

/* An echo request that gets lost on its way. */
static void ping_void(Guest *guest, uint16_t id, uint16_t seq)
{
    fault_arm(FAULT_SEND, FAULT_LOST, 0, 1, 1);
    guest_ping(guest, "192.0.2.1", id, seq, "x", 1);
    fault_disarm();
}

/* One socket for each program that pings, and not for minutes. */
static void test_echo_sockets(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = limited_guest(net);

    if (!require_icmp(SOCK_DGRAM)) {
        return;
    }
    for (uint16_t i = 0; i < 5; i++) {
        ping_void(guest, 1, i);
    }
    g_assert_cmpint(guest_count_icmp(guest), ==, 1);
    for (uint16_t i = 0; i < 2 * ECHO_MOST; i++) {
        ping_void(guest, i, 1);
    }
    g_assert_cmpint(guest_count_icmp(guest), ==, ECHO_MOST);
    net_advance(net, 11000);
    g_assert_cmpint(guest_count_icmp(guest), ==, 0);
}

/* Echo requests that go to the UDP service leave room to other flows. */
static void test_echo_over_udp(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = limited_guest(net);
    Peer *sink = server_new(net, .mode = PEER_SINK, .type = SOCK_DGRAM);

    guest_send_text(guest, 5000, "10.0.2.2", peer_port(sink), "x");
    fault_no_icmp(true, true);
    for (uint16_t i = 0; i < 2 * ECHO_MOST; i++) {
        ping_void(guest, i, 1);
    }
    fault_no_icmp(false, false);
    g_assert_cmpint(guest_count_udp(guest), ==, ECHO_MOST + 1);
    net_advance(net, 11000);
    g_assert_cmpint(guest_count_udp(guest), ==, 1);
}

/* Raw sockets, where there are no others for echo requests, see all requests
 * and replies of the host. */
static void test_echo_of_others(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    if (!require_icmp(SOCK_RAW)) {
        return;
    }
    fault_no_icmp(true, false);
    ping_void(guest, 1, 1);
    guest_ping(guest, "127.0.0.1", 2, 2, "x", 1);
    fault_no_icmp(false, false);
    g_assert_cmpuint(
        guest_expect(guest, m_icmp(), m_from("127.0.0.1", 0))->icmp.id, ==, 2);
    guest_expect_none(guest, 1000, m_icmp());
    guest_expect_idle(guest);
}

/* Datagrams of which only one fragment ever comes. */
static void test_fragments(void)
{
    static const uint8_t data[1000];
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *sink = server_new(net, .mode = PEER_SINK, .type = SOCK_DGRAM);
    Endpoint to = endpoint("10.0.2.2", peer_port(sink));
    g_autoptr(GByteArray) packet = packet_udp(
        guest_endpoint(guest, AF_INET, 5000), to, data, sizeof(data));

    for (unsigned i = 0; i < 2 * FRAGMENTS_MOST; i++) {
        guest_send_packet(guest, packet_fragment(packet, 1 + i, 0, 504));
    }
    /* A datagram has a buffer besides those of its fragments. */
    g_assert_cmpint(guest_count_buffers(guest), <=, 2 * FRAGMENTS_MOST);
    guest_send_packet(guest, packet_fragment(packet, 2 * FRAGMENTS_MOST, 504,
                                             sizeof(data) + 8 - 504));
    net_await(net, peer_datagrams(sink) == 1);
    guest_expect_idle(guest);
}

/* Single bytes with gaps between them. */
static void test_segments(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);

    for (unsigned i = 0; i < 1000; i++) {
        conn_send_raw(conn, .seq = conn_snd_nxt(conn) + 1 + 2 * i,
                      .flags = TCP_ACK, .data = "b", .len = 1);
    }
    g_assert_cmpint(guest_count_buffers(guest), <=, SEGMENTS_MOST);
    conn_send_raw(conn, .flags = TCP_ACK, .data = "a", .len = 1);
    peer_expect_text(peer, "ab");
    conn_send_raw(conn, .seq = conn_snd_nxt(conn) + 2, .flags = TCP_RST);
    conn_freeze(conn);
    guest_expect_idle(guest);
}

/* Replies to an address that has yet to be resolved. */
static void test_waiting(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .mute = true);

    for (uint16_t i = 0; i < 3 * WAITING_MOST; i++) {
        guest_ping(guest, "10.0.2.2", 1, i, "x", 1);
    }
    net_settle(net);
    g_assert_cmpuint(guest_count_frames(guest, m_icmp()), ==, WAITING_MOST);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    packet_test_add_both("/fixes/limits/foreign-source", strangers,
                         test_foreign_source);
    g_test_add_func("/fixes/limits/udp-of-one-guest", test_udp_of_one_guest);
    g_test_add_func("/fixes/limits/udp-of-all-guests", test_udp_of_all_guests);
    packet_test_add_both("/fixes/limits/udp-refused", hosts, test_udp_refused);
    packet_test_add_both("/fixes/limits/echo-refused", strangers,
                         test_echo_refused);
    g_test_add_func("/fixes/limits/half-open", test_half_open);
    g_test_add_func("/fixes/limits/established", test_established);
    g_test_add_func("/fixes/limits/closing", test_closing);
    g_test_add_func("/fixes/limits/reserve", test_reserve);
    g_test_add_func("/fixes/limits/echo-sockets", test_echo_sockets);
    g_test_add_func("/fixes/limits/echo-over-udp", test_echo_over_udp);
    g_test_add_func("/fixes/limits/echo-of-others", test_echo_of_others);
    g_test_add_func("/fixes/limits/fragments", test_fragments);
    g_test_add_func("/fixes/limits/segments", test_segments);
    g_test_add_func("/fixes/limits/waiting", test_waiting);
    return g_test_run();
}
