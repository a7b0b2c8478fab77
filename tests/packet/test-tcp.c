/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP from the guest to the host: open, carry, refuse, reset, time out. */
#include "harness.h"

enum { MEGABYTE = 1 << 20, BULK = 20 * MEGABYTE };

/* Most tests take the host's address as the guest sees it. */
static const char *const hosts[] = { "10.0.2.2", "fec0::2" };

static void test_echo(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .family = family_of(host));
    Conn *conn = guest_connect(guest, host, peer_port(echo));

    conn_expect_established(conn);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
    guest_expect_idle(guest);
}

static void test_upload(const void *host)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(1, BULK);
    Guest *guest = guest_new(net);
    Peer *sink = server_new(net, .mode = PEER_SINK, .family = family_of(host));
    Conn *conn = guest_connect(guest, host, peer_port(sink));
    Peer *peer;

    conn_send(conn, data->data, data->len);
    conn_shutdown(conn);
    peer = server_accept(sink);
    net_await(net, peer_eof(peer));
    g_assert_cmpuint(peer_len(peer), ==, BULK);
    g_assert_cmpuint(peer_digest(peer), ==,
                     digest_update(DIGEST_START, data->data, data->len));
    conn_expect_state(conn, CONN_CLOSED);
    guest_expect_idle(guest);
}

static void test_download(const void *host)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(0, BULK);
    Guest *guest = guest_new(net);
    Peer *source = server_new(net, .mode = PEER_SOURCE, .source_len = BULK,
                              .family = family_of(host));
    Conn *conn = guest_connect(guest, host, peer_port(source), .discard = true);

    conn_expect_eof(conn);
    g_assert_cmpuint(conn_len(conn), ==, BULK);
    g_assert_cmpuint(conn_digest(conn), ==,
                     digest_update(DIGEST_START, data->data, data->len));
    conn_close(conn);
    guest_expect_idle(guest);
}

static void test_half_close(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, host, &peer);

    conn_send_text(conn, "question");
    conn_shutdown(conn);
    peer_expect_text(peer, "question");
    peer_expect_eof(peer);
    peer_send_text(peer, "answer");
    conn_expect_text(conn, "answer");
    peer_shutdown(peer);
    conn_expect_state(conn, CONN_CLOSED);
    guest_expect_idle(guest);
}

static void test_refused(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = net_refused_port(net, family_of(host), SOCK_STREAM);
    Conn *conn = guest_connect(guest, host, port);

    conn_expect_reset(conn);
    guest_expect(guest, m_tcp(), m_from(host, port),
                 m_flags(TCP_RST | TCP_ACK));
    guest_expect_idle(guest);
}

static void test_host_resets(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, host, &peer);

    peer_reset(peer);
    conn_expect_reset(conn);
    guest_expect_idle(guest);
}

static void test_guest_resets(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, host, &peer);

    conn_abort(conn);
    net_await(net, peer_eof(peer) || peer_error(peer));
    guest_expect_idle(guest);
}

static void test_connect_times_out(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *silent = server_new_busy(net, AF_INET, 0);
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(silent));

    net_advance(net, 70000);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    net_advance(net, 10000);
    g_assert_cmpint(conn_state(conn), ==, CONN_RESET);
    guest_expect_idle(guest);
}

static void test_out_of_order(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);

    conn_send_raw(conn, .seq = conn_snd_nxt(conn) + 3, .flags = TCP_ACK,
                  .data = "def", .len = 3);
    net_settle(net);
    g_assert_cmpuint(peer_len(peer), ==, 0);
    conn_send_raw(conn, .flags = TCP_ACK, .data = "abc", .len = 3);
    peer_expect_text(peer, "abcdef");
    conn_send_raw(conn, .seq = conn_snd_nxt(conn) + 6, .flags = TCP_RST);
    conn_freeze(conn);
    guest_expect_idle(guest);
}

static void test_slow_reader(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *source = server_new(net, .mode = PEER_SOURCE, .source_len = MEGABYTE);
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(source));

    conn_pause(conn, true);
    net_await(net, conn_len(conn) > 60000);
    net_advance(net, 60000); /* persist timer */
    g_assert_cmpuint(conn_len(conn), ==, 65535);
    conn_pause(conn, false);
    conn_expect_eof(conn);
    g_assert_cmpuint(conn_len(conn), ==, MEGABYTE);
    conn_close(conn);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    packet_test_add_both("/tcp/echo", hosts, test_echo);
    packet_test_add_both("/tcp/upload", hosts, test_upload);
    packet_test_add_both("/tcp/download", hosts, test_download);
    packet_test_add_both("/tcp/half-close", hosts, test_half_close);
    packet_test_add_both("/tcp/refused", hosts, test_refused);
    packet_test_add_both("/tcp/host-resets", hosts, test_host_resets);
    packet_test_add_both("/tcp/guest-resets", hosts, test_guest_resets);
    g_test_add_func("/tcp/connect-times-out", test_connect_times_out);
    g_test_add_func("/tcp/out-of-order", test_out_of_order);
    g_test_add_func("/tcp/slow-reader", test_slow_reader);
    return g_test_run();
}
