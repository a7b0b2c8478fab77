/* SPDX-License-Identifier: BSD-3-Clause */
/* Unix sockets of the host as targets, for streams and datagrams. */
#include <unistd.h>

#include "redirect.h"

static const char *const outside[] = { "198.51.100.7", "2001:db8::7" };

static void test_stream(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .family = AF_UNIX);
    Conn *conn;

    guest_set_rules(guest, "tcp:5432-unix:%s", peer_path(echo));
    conn = guest_connect(guest, dst, 5432);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    guest_expect(guest, m_tcp(), m_from(dst, 5432), m_flags(TCP_SYN | TCP_ACK));
    g_assert_true(guest_info_has(guest, peer_path(echo)));
    conn_close(conn);
    guest_expect_idle(guest);
    guest_expect_counts(guest, 1, 1, 0, 0);
    guest_expect_bytes(guest, 1, 5, 5);
}

static void test_half_close(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .family = AF_UNIX);
    Conn *conn;
    Peer *peer;

    guest_set_rules(guest, "tcp:5432-unix:%s", peer_path(server));
    conn = guest_link_to(guest, server, "198.51.100.7", 5432, &peer);
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

static void test_missing(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    int64_t start = net_now_ms(net);
    Conn *conn;

    guest_set_rules(guest, "tcp:5432-unix:%s/none", net_tmpdir(net));
    conn = guest_connect(guest, dst, 5432);
    conn_expect_reset(conn);
    guest_expect(guest, m_tcp(), m_from(dst, 5432), m_flags(TCP_RST | TCP_ACK));
    g_assert_cmpint(net_now_ms(net), ==, start);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

/* A file without a server, and a server of the wrong kind. */
static void test_stale(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .strict_register = true);
    Peer *dgram = server_new(net, .family = AF_UNIX, .type = SOCK_DGRAM);
    Peer *gone = server_new(net, .family = AF_UNIX);
    Conn *conn;

    guest_set_rules(guest, "tcp:80-unix:%s\ntcp:81-unix:%s", peer_path(dgram),
                    peer_path(gone));
    close(dup2(peer_fd(dgram), peer_fd(gone))); /* leaves the name behind */
    conn = guest_connect(guest, "198.51.100.7", 80);
    conn_expect_reset(conn);
    conn = guest_connect(guest, "198.51.100.7", 81);
    conn_expect_reset(conn);
    guest_expect_idle(guest);
}

/* connect() gives no sign when a backlog has room again. */
static void test_busy(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *busy = server_new_busy(net, AF_UNIX, 0);
    Conn *conn;

    guest_set_rules(guest, "tcp:5432-unix:%s", peer_path(busy));
    conn = guest_connect(guest, "198.51.100.7", 5432);
    net_advance(net, 20000);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    peer_pause(busy, false);
    server_accept(busy);
    net_await_virtual(net, 200, conn_state(conn) == CONN_ESTABLISHED);
    conn_abort(conn);
    guest_expect_counts(guest, 1, 1, 0, 0);
    guest_expect_idle(guest);
}

static void test_busy_times_out(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *busy = server_new_busy(net, AF_UNIX, 0);
    Conn *conn;

    guest_set_rules(guest, "tcp:5432-unix:%s+timeout=2", peer_path(busy));
    conn = guest_connect(guest, "198.51.100.7", 5432);
    net_advance(net, 1900);
    g_assert_cmpint(conn_state(conn), ==, CONN_SYN_SENT);
    net_advance(net, 200);
    g_assert_cmpint(conn_state(conn), ==, CONN_UNREACHABLE);
    g_assert_cmpint(conn_icmp_code(conn), ==, 1);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

/* Waiting flows of an instance that goes. */
static void test_busy_forever(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .strict_register = true);
    Peer *busy = server_new_busy(net, AF_UNIX, 0);

    guest_set_rules(guest, "tcp:5432-unix:%s", peer_path(busy));
    guest_connect(guest, "198.51.100.7", 5432);
    net_advance(net, 100);
    guest_free(guest);
}

/* Urgent data comes in line, as SO_OOBINLINE has it elsewhere. */
static void test_urgent_from_guest(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .family = AF_UNIX);
    Conn *conn;
    Peer *peer;

    guest_set_rules(guest, "tcp:23-unix:%s", peer_path(server));
    conn = guest_link_to(guest, server, "198.51.100.7", 23, &peer);
    conn_send_raw(conn, .flags = TCP_ACK | TCP_URG | TCP_PSH, .urgent = 3,
                  .data = "urgent", .len = 6);
    peer_expect_text(peer, "urgent");
    guest_expect_bytes(guest, 1, 6, 0);
    conn_abort(conn);
    guest_expect_idle(guest);
}

static void test_urgent_from_target(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .family = AF_UNIX);
    Conn *conn;
    Peer *peer;

    guest_set_rules(guest, "tcp:23-unix:%s", peer_path(server));
    conn = guest_link_to(guest, server, "198.51.100.7", 23, &peer);
    if (send(peer_fd(peer), "!", 1, MSG_OOB) != 1) {
        g_test_skip("this kernel has no urgent data on unix sockets");
    } else {
        conn_expect_text(conn, "!");
    }
    peer_send_text(peer, "more");
    conn_expect_text(conn, "more");
    conn_abort(conn);
    guest_expect_idle(guest);
}

static void test_datagram(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .family = AF_UNIX,
                            .type = SOCK_DGRAM);
    Endpoint mine = guest_endpoint(guest, family_of(dst), 5000);

    guest_set_rules(guest, "udp:514-unix:%s", peer_path(echo));
    guest_send_text(guest, 5000, dst, 514, "hello");
    guest_expect(guest, m_udp(), m_from(dst, 514), m_to_endpoint(mine),
                 m_text("hello"));
    guest_send_text(guest, 5000, dst, 514, "");
    guest_expect(guest, m_udp(), m_from(dst, 514), m_text(""));
    guest_expect_idle(guest);
    guest_expect_counts(guest, 1, 1, 0, 0);
    guest_expect_bytes(guest, 1, 5, 5);
}

static void test_datagram_missing(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    g_autoptr(GByteArray) packet =
        packet_udp(guest_endpoint(guest, family_of(dst), 5000),
                   endpoint(dst, 514), "hello", 5);

    guest_set_rules(guest, "udp:514-unix:%s/none", net_tmpdir(net));
    guest_send_text(guest, 5000, dst, 514, "hello");
    guest_expect_unreachable(guest, dst, 3, packet);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

/* A server that comes back under its name is found again, even after the
 * guest was told that it was gone. */
static void test_server_restarts(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .family = AF_UNIX,
                            .type = SOCK_DGRAM);
    g_autofree char *path = g_strdup(peer_path(echo));

    guest_set_rules(guest, "udp:514-unix:%s", path);
    guest_send_text(guest, 5000, "198.51.100.7", 514, "one");
    guest_expect(guest, m_udp(), m_text("one"));
    peer_close(echo);
    echo = server_new(net, .mode = PEER_ECHO, .family = AF_UNIX,
                      .type = SOCK_DGRAM, .path = path);
    guest_send_text(guest, 5000, "198.51.100.7", 514, "two");
    guest_expect(guest, m_udp(), m_text("two"));
    peer_close(echo);
    for (int i = 0; i < 3; i++) {
        guest_send_text(guest, 5000, "198.51.100.7", 514, "anybody?");
        guest_expect(guest, m_icmp(), m_icmp_type(3), m_icmp_code(3),
                     m_from("198.51.100.7", 0));
    }
    server_new(net, .mode = PEER_ECHO, .family = AF_UNIX, .type = SOCK_DGRAM,
               .path = path);
    guest_send_text(guest, 5000, "198.51.100.7", 514, "three");
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 514), m_text("three"));
    guest_expect_counts(guest, 1, 1, 0, 3);
    guest_expect_idle(guest);
}

/* A unix socket carries more than UDP can; what cannot pass is lost alone. */
static void test_oversized_reply(void)
{
    enum { MOST = 65507 };
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(1, MOST + 1);
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .family = AF_UNIX, .type = SOCK_DGRAM);

    guest_set_rules(guest, "udp:514-unix:%s", peer_path(server));
    guest_send_text(guest, 5000, "198.51.100.7", 514, "hello");
    peer_expect_text(server, "hello");
    peer_send(server, data->data, MOST + 1);
    g_assert_cmpint(peer_error(server), ==, 0);
    peer_send(server, data->data, MOST);
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 514),
                 m_payload(data->data, MOST));
    guest_expect_none(guest, 0, m_udp());
    guest_expect_bytes(guest, 1, 5, MOST);
    guest_expect_idle(guest);
}

/* A server that does not read: datagrams are lost, and nothing waits. */
static void test_full_queue(void)
{
    enum { SENT = 2000 };
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = server_new(net, .family = AF_UNIX, .type = SOCK_DGRAM);

    guest_set_rules(guest, "udp:514-unix:%s", peer_path(server));
    peer_pause(server, true);
    for (int i = 0; i < SENT; i++) {
        guest_send_text(guest, 5000, "198.51.100.7", 514, "x");
    }
    peer_pause(server, false);
    net_settle(net);
    g_assert_cmpuint(peer_datagrams(server), <, SENT);
    guest_expect_bytes(guest, 1, peer_datagrams(server), 0);
    guest_send_text(guest, 5000, "198.51.100.7", 514, "after");
    net_await(net, peer_data(server)[peer_len(server) - 1] == 'r');
    guest_expect_none(guest, 0, m_icmp());
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    packet_test_add_both("/redirect/unix/stream", outside, test_stream);
    packet_test_add_both("/redirect/unix/missing", outside, test_missing);
    packet_test_add_both("/redirect/unix/datagram", outside, test_datagram);
    packet_test_add_both("/redirect/unix/datagram-missing", outside,
                         test_datagram_missing);
    g_test_add_func("/redirect/unix/half-close", test_half_close);
    g_test_add_func("/redirect/unix/stale", test_stale);
    g_test_add_func("/redirect/unix/busy", test_busy);
    g_test_add_func("/redirect/unix/busy-times-out", test_busy_times_out);
    g_test_add_func("/redirect/unix/busy-forever", test_busy_forever);
    g_test_add_func("/redirect/unix/urgent-from-guest", test_urgent_from_guest);
    g_test_add_func("/redirect/unix/urgent-from-target",
                    test_urgent_from_target);
    g_test_add_func("/redirect/unix/server-restarts", test_server_restarts);
    g_test_add_func("/redirect/unix/oversized-reply", test_oversized_reply);
    g_test_add_func("/redirect/unix/full-queue", test_full_queue);
    return g_test_run();
}
