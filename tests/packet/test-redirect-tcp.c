/* SPDX-License-Identifier: BSD-3-Clause */
/* Redirected connections: failures, time-outs, changes, urgent data. */
#include <arpa/inet.h>

#include "redirect.h"

static const char *const outside[] = { "198.51.100.7", "2001:db8::7" };

/* A broadcast address is one that the host cannot connect to. */
#define UNREACHABLE "127.255.255.255"

static void test_refused(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    int64_t start = net_now_ms(net);
    Conn *conn;

    guest_set_rules(guest, "tcp:80-:%u",
                    net_refused_port(net, AF_INET, SOCK_STREAM));
    conn = guest_connect(guest, dst, 80);
    conn_expect_reset(conn);
    guest_expect(guest, m_tcp(), m_from(dst, 80), m_flags(TCP_RST | TCP_ACK));
    g_assert_cmpint(net_now_ms(net), ==, start);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

static void test_unreachable(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    TcpSegment syn = { .from = guest_endpoint(guest, family_of(dst), 5555),
                       .to = endpoint(dst, 80),
                       .seq = 7,
                       .flags = TCP_SYN,
                       .window = 1000 };
    g_autoptr(GByteArray) packet = packet_tcp(&syn);
    bool v6 = family_of(dst) == AF_INET6;

    guest_set_rules(guest, "tcp:80-" UNREACHABLE ":80");
    guest_send_segment(guest, syn);
    guest_expect_unreachable(guest, v6 ? "fe80::2" : "10.0.2.2", 0, packet);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

static void test_times_out(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *silent = server_new_busy(net, AF_INET, 0);
    Conn *conn;

    guest_set_rules(guest, "tcp:80-:%u+timeout=3\ntcp:81-:%u",
                    peer_port(silent), peer_port(silent));
    conn = guest_connect(guest, dst, 80);
    net_advance(net, 2900);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    net_advance(net, 200);
    g_assert_cmpint(conn_state(conn), ==, CONN_UNREACHABLE);
    g_assert_cmpint(conn_icmp_code(conn), ==,
                    family_of(dst) == AF_INET6 ? 3 : 1);
    guest_expect_counts(guest, 1, 1, 0, 1);
    conn = guest_connect(guest, dst, 81);
    net_advance(net, 74000);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    net_advance(net, 1500);
    g_assert_cmpint(conn_state(conn), ==, CONN_UNREACHABLE);
    guest_expect_idle(guest);
}

/* The time-out begins with the SYN, not with the last turn of the loop. */
static void test_times_out_after_idling(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *silent = server_new_busy(net, AF_INET, 0);
    Conn *conn;

    guest_set_rules(guest, "tcp:80-:%u+timeout=3", peer_port(silent));
    net_settle(net);
    net_stall(net, 10000);
    conn = guest_connect(guest, "198.51.100.7", 80);
    net_advance(net, 2900);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    net_advance(net, 200);
    g_assert_cmpint(conn_state(conn), ==, CONN_UNREACHABLE);
    guest_expect_idle(guest);
}

/* The SYNs that a guest repeats meanwhile are the same flow. */
static void test_repeated_syn(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *silent = server_new_busy(net, AF_INET, 0);

    guest_set_rules(guest, "tcp:80-:%u+timeout=3", peer_port(silent));
    for (int i = 0; i < 3; i++) {
        guest_send_tcp(guest, .from.port = 5555,
                       .to = endpoint("198.51.100.7", 80), .seq = 1,
                       .flags = TCP_SYN, .window = 1000);
        net_settle(net);
    }
    g_assert_cmpint(guest_count_tcp(guest), ==, 1);
    guest_expect_idle(guest);
    guest_expect_counts(guest, 1, 1, 0, 1);
}

/* A guest that ends in the middle leaves nothing. */
static void test_ends_while_connecting(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *silent = server_new_busy(net, AF_INET, 0);

    guest_set_rules(guest, "tcp:80-:%u", peer_port(silent));
    guest_connect(guest, "198.51.100.7", 80);
    net_settle(net);
    g_assert_cmpint(guest_count_tcp(guest), ==, 1);
    guest_free(guest);
}

static void test_guestfwd_first(void)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) got = g_byte_array_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conn, *other;

    guest_add_guestfwd(guest, "10.0.2.100", 1234, got);
    guest_set_rules(guest, "tcp:10.0.2.100:*-:%u", peer_port(echo));
    conn = guest_connect(guest, "10.0.2.100", 1234);
    conn_send_text(conn, "for the application");
    net_await(net, got->len == 19);
    other = guest_connect(guest, "10.0.2.100", 1235);
    conn_send_text(other, "redirected");
    conn_expect_text(other, "redirected");
    guest_expect_counts(guest, 1, 1, 0, 0);
    conn_abort(conn);
    conn_close(other);
    guest_expect_idle(guest);
}

/* Legal, if odd: back into the guest through its own hostfwd. */
static void test_through_hostfwd(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_STREAM, 8080);
    struct in_addr loopback = { inet_addr("127.0.0.1") };
    Conn *out, *in;

    net_expect_log(net, "*a loop: port * of the host is forwarded back*");
    guest_listen(guest, 8080);
    guest_set_rules(guest, "tcp:80-:%u", port);
    out = guest_connect(guest, "198.51.100.7", 80);
    in = guest_accept(guest, 8080);
    conn_send_text(out, "round trip");
    conn_expect_text(in, "round trip");
    conn_send_text(in, "and back");
    conn_expect_text(out, "and back");
    conn_shutdown(out);
    conn_expect_eof(in);
    conn_shutdown(in);
    conn_expect_state(out, CONN_CLOSED);
    guest_expect_idle(guest);
    slirp_remove_hostfwd(guest_slirp(guest), 0, loopback, port);
}

/* Protocol helpers know the original destination only. */
static void test_no_emulation(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .enable_emu = true);
    Conn *conn;

    guest_set_rules(guest, "tcp:1..65535-:%u",
                    net_refused_port(net, AF_INET, SOCK_STREAM));
    conn = guest_connect(guest, "198.51.100.7", 113, .port = 113);
    conn_expect_reset(conn);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

static void test_bulk(const void *dst)
{
    enum { LEN = 4 << 20 };
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(1, LEN);
    Guest *guest = guest_new(net);
    Peer *sink = server_new(net, .mode = PEER_SINK);
    Peer *source = server_new(net, .mode = PEER_SOURCE, .source_len = LEN);
    Conn *up, *down;
    Peer *peer;

    guest_set_rules(guest, "tcp:80-:%u\ntcp:81-:%u", peer_port(sink),
                    peer_port(source));
    up = guest_connect(guest, dst, 80);
    down = guest_connect(guest, dst, 81, .discard = true);
    conn_send(up, data->data, data->len);
    conn_shutdown(up);
    peer = server_accept(sink);
    net_await(net, peer_eof(peer));
    g_assert_cmpuint(peer_digest(peer), ==,
                     digest_update(DIGEST_START, data->data, data->len));
    conn_expect_eof(down);
    conn_close(down);
    conn_expect_state(up, CONN_CLOSED);
    guest_expect_idle(guest);
    guest_expect_bytes(guest, 1, LEN, 0);
    guest_expect_bytes(guest, 2, 0, LEN);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    packet_test_add_both("/redirect/tcp/refused", outside, test_refused);
    packet_test_add_both("/redirect/tcp/unreachable", outside,
                         test_unreachable);
    packet_test_add_both("/redirect/tcp/times-out", outside, test_times_out);
    packet_test_add_both("/redirect/tcp/bulk", outside, test_bulk);
    g_test_add_func("/redirect/tcp/times-out-after-idling",
                    test_times_out_after_idling);
    g_test_add_func("/redirect/tcp/repeated-syn", test_repeated_syn);
    g_test_add_func("/redirect/tcp/ends-while-connecting",
                    test_ends_while_connecting);
    g_test_add_func("/redirect/tcp/guestfwd-first", test_guestfwd_first);
    g_test_add_func("/redirect/tcp/through-hostfwd", test_through_hostfwd);
    g_test_add_func("/redirect/tcp/no-emulation", test_no_emulation);
    return g_test_run();
}
