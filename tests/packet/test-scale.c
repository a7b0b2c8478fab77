/* SPDX-License-Identifier: BSD-3-Clause */
/* Many flows at the price of one: lookup, events, time-outs, ends. */
#include <arpa/inet.h>
#include <stdlib.h>

#include "harness.h"

enum { FLOWS = 150, SERVICE = 8080 };

/* What an application is told by slirp_pollfds_fill(). */
typedef struct Filled {
    unsigned descriptors;
    uint32_t timeout_ms;
} Filled;

static int count_descriptor(int fd, int events, void *opaque)
{
    Filled *filled = opaque;

    (void)events;
    g_assert_cmpint(fd, >=, 0);
    return (int)filled->descriptors++;
}

static Filled fill(Guest *guest)
{
    Filled filled = { 0, UINT32_MAX };

    slirp_pollfds_fill(guest_slirp(guest), &filled.timeout_ms, count_descriptor,
                       &filled);
    return filled;
}

static bool is_classic(void)
{
    return g_strcmp0(g_getenv("SLIRP_REDIRECT_POLL"), "classic") == 0;
}

static void open_flows(Guest *guest, Peer *echo, Conn **conns)
{
    for (unsigned i = 0; i < FLOWS; i++) {
        conns[i] = guest_connect(guest, "10.0.2.2", peer_port(echo));
        conn_expect_established(conns[i]);
    }
}

/* Every flow gets its own bytes, whatever the order. */
static void test_own_bytes(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conns[FLOWS];

    open_flows(guest, echo, conns);
    for (unsigned i = 0; i < FLOWS; i++) {
        unsigned n = i * 7 % FLOWS;
        g_autofree char *text = g_strdup_printf("flow %u", n);

        conn_send_text(conns[n], text);
        conn_expect_text(conns[n], text);
    }
    for (unsigned i = 0; i < FLOWS; i++) {
        conn_close(conns[i]);
    }
    guest_expect_idle(guest);
}

/* Idle flows neither fill the application's list nor wake it up. */
static void test_idle(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conns[FLOWS];
    Filled filled;

    open_flows(guest, echo, conns);
    net_advance(net, 80000); /* whatever the opening set has gone off */
    filled = fill(guest);
    if (is_classic()) {
        g_assert_cmpuint(filled.descriptors, ==, FLOWS);
        g_assert_cmpuint(filled.timeout_ms, ==, 1000);
    } else {
        g_assert_cmpuint(filled.descriptors, ==, 1);
        g_assert_cmpuint(filled.timeout_ms, >, 3600 * 1000);
    }
    for (unsigned i = 0; i < FLOWS; i++) {
        conn_close(conns[i]);
    }
    guest_expect_idle(guest);
}

/* slirp4netns reports a failed poll while the guest sends. */
static void test_busy_guest(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .select_error_when_busy = true);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(echo));
    gint64 end = net_deadline();

    if (is_classic()) {
        g_test_skip("the classic loop waits for a guest that is silent");
        conn_expect_established(conn);
        return;
    }
    conn_send_text(conn, "hello");
    while (conn_len(conn) < 5) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        guest_ping(guest, "10.0.2.2", 1, 1, "x", 1);
        net_step(net, 0);
    }
    conn_expect_text(conn, "hello");
    conn_close(conn);
    guest_expect_idle(guest);
}

typedef struct Loss {
    unsigned left; /* how many data segments get lost */
} Loss;

static bool lose(const Frame *frame, void *opaque)
{
    Loss *loss = opaque;

    if (loss->left == 0 || frame->kind != FRAME_TCP ||
        frame->payload_len == 0) {
        return true;
    }
    loss->left--;
    return false;
}

/* A lost segment comes again after the least time-out, then after twice. */
static void test_retransmission(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);
    Loss loss = { 2 };

    guest_set_filter(guest, lose, &loss);
    peer_send_text(peer, "lost");
    net_await(net, loss.left == 1);
    net_advance(net, 150);
    g_assert_cmpuint(loss.left, ==, 1);
    net_advance(net, 100);
    g_assert_cmpuint(loss.left, ==, 0);
    g_assert_cmpuint(conn_len(conn), ==, 0);
    net_advance(net, 300);
    g_assert_cmpuint(conn_len(conn), ==, 0);
    net_advance(net, 150);
    conn_expect_text(conn, "lost");
    peer_shutdown(peer);
    conn_close(conn);
    guest_expect_idle(guest);
}

/* Nothing of a connection is left when both directions have ended. */
static void test_end(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);

    peer_shutdown(peer); /* the host first: the side that would wait */
    conn_expect_eof(conn);
    conn_shutdown(conn);
    conn_expect_state(conn, CONN_CLOSED);
    g_assert_cmpint(guest_count_tcp(guest), ==, 0);
    peer_expect_eof(peer);
}

/* What the host has not read when the guest is done reaches it all the same. */
static void test_end_with_data_left(void)
{
    enum { LEN = 4 << 20 };
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(3, LEN);
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .mode = PEER_SINK);
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(server));
    Peer *peer = server_accept(server);

    peer_shutdown(peer);
    conn_expect_eof(conn);
    conn_send(conn, data->data, LEN / 2);
    peer_pause(peer, true);
    conn_send(conn, data->data + LEN / 2, LEN / 2);
    conn_shutdown(conn);
    net_advance(net, 30000);
    peer_pause(peer, false);
    net_await(net, peer_eof(peer));
    g_assert_cmpuint(peer_len(peer), ==, LEN);
    guest_expect_idle(guest);
}

/* Clients of a host forward that all come at once. */
static void test_burst(void)
{
    enum { CLIENTS = 100 };
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_STREAM, SERVICE);
    Peer *clients[CLIENTS];

    guest_listen(guest, SERVICE);
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = host_connect(net, AF_INET, port);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        Conn *conn = guest_accept(guest, SERVICE);

        conn_expect_established(conn);
        conn_abort(conn);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        net_await(net, peer_eof(clients[i]) || peer_error(clients[i]));
    }
    guest_expect_no_flows(guest);
}

/* UDP sockets are found by the guest's port, and expire. */
static void test_udp(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

    for (uint16_t i = 0; i < 2 * FLOWS; i++) {
        uint16_t port = 20000 + i % FLOWS;
        g_autofree char *text = g_strdup_printf("%u", i);

        guest_send_text(guest, port, "10.0.2.2", peer_port(echo), text);
        guest_expect(guest, m_udp(), m_to_port(port), m_text(text));
    }
    g_assert_cmpint(guest_count_udp(guest), ==, FLOWS);
    net_advance(net, 239000);
    g_assert_cmpint(guest_count_udp(guest), ==, FLOWS);
    net_advance(net, 2000);
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
}

/* The datagram of the guest's n-th port, which arrives in two pieces. */
static GByteArray *datagram(Guest *guest, const Peer *echo, uint16_t n)
{
    g_autofree char *text = g_strdup_printf("datagram %u in pieces", n);

    return packet_udp(guest_endpoint(guest, AF_INET, 20000 + n),
                      endpoint("10.0.2.2", peer_port(echo)), text,
                      strlen(text));
}

/* Pieces of one datagram find each other among those of many. */
static void test_fragments(void)
{
    enum { PIECE = 16 };
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);

    for (uint16_t i = 0; i < FLOWS; i++) {
        g_autoptr(GByteArray) packet = datagram(guest, echo, i);

        guest_send_packet(guest, packet_fragment(packet, i, PIECE, 64));
    }
    for (uint16_t i = 0; i < FLOWS; i++) {
        uint16_t n = i * 7 % FLOWS;
        g_autoptr(GByteArray) packet = datagram(guest, echo, n);
        g_autofree char *text = g_strdup_printf("datagram %u in pieces", n);

        guest_send_packet(guest, packet_fragment(packet, n, 0, PIECE));
        guest_expect(guest, m_udp(), m_to_port(20000 + n), m_text(text));
    }
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/scale/own-bytes", test_own_bytes);
    g_test_add_func("/scale/idle", test_idle);
    g_test_add_func("/scale/busy-guest", test_busy_guest);
    g_test_add_func("/scale/retransmission", test_retransmission);
    g_test_add_func("/scale/end", test_end);
    g_test_add_func("/scale/end-with-data-left", test_end_with_data_left);
    g_test_add_func("/scale/burst", test_burst);
    g_test_add_func("/scale/udp", test_udp);
    g_test_add_func("/scale/fragments", test_fragments);
    return g_test_run();
}
