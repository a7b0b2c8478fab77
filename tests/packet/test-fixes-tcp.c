/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP faults of the pinned release: each case fails without its patch. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>

#include "fault.h"
#include "internal.h"

enum { ALWAYS = 1 << 30 };

static const char *const hosts[] = { "10.0.2.2", "fec0::2" };
static const char *const martians[] = { "127.0.0.1", "0.0.0.0", "::1",
                                        "::ffff:127.0.0.1" };

/* CVE-2026-9539: the urgent pointer reaches beyond the data. */
static void test_urgent_pointer(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);

    conn_send_raw(conn, .flags = TCP_ACK | TCP_URG, .urgent = 1500,
                  .data = "abc", .len = 3);
    net_await(net, peer_len(peer) >= 2); /* the last one is out of band */
    net_advance(net, 1000);
    g_assert_cmpuint(peer_len(peer), <=, 3);
    g_assert_cmpmem(peer_data(peer), 2, "ab", 2);
    conn_send_raw(conn, .seq = conn_snd_nxt(conn) + 3, .flags = TCP_RST);
    conn_freeze(conn);
    guest_expect_idle(guest);
}

/* A refused SYN was freed twice: more buffers than the stack keeps for reuse
 * make that show. */
static void test_refused_syn(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *sink = server_new(net, .mode = PEER_SINK, .type = SOCK_DGRAM);
    uint16_t port = net_refused_port(net, AF_INET, SOCK_STREAM);

    for (uint16_t i = 0; i < 40; i++) {
        guest_send_text(guest, (uint16_t)(5000 + i), "10.0.2.2",
                        peer_port(sink), "hold a buffer");
    }
    for (unsigned i = 0; i < 20; i++) {
        Conn *conn;

        fault_arm(FAULT_CONNECT, FAULT_ERRNO, ECONNREFUSED, 1, 1);
        conn = guest_connect(guest, "10.0.2.2", port);
        conn_expect_reset(conn);
        fault_disarm();
    }
    guest_expect_idle(guest);
}

/* A connect that fails after a while; what recv() says is what it says of a
 * socket that is not connected. */
static void expect_outcome(int err, ConnState state)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Conn *conn;

    fault_arm(FAULT_CONNECT, FAULT_ERRNO, EINPROGRESS, 1, 1);
    conn = guest_connect(guest, "192.0.2.1", 80);
    g_assert_cmpuint(fault_hits(), ==, 1);
    fault_arm(FAULT_RECV, FAULT_ERRNO, err, 1, ALWAYS);
    fault_so_error(err);
    conn_expect_state(conn, state);
    fault_so_error(0);
    fault_disarm();
    guest_expect_idle(guest);
}

static void test_late_unreachable(void)
{
    expect_outcome(EHOSTUNREACH, CONN_UNREACHABLE);
}

static void test_late_timeout(void)
{
    expect_outcome(ETIMEDOUT, CONN_UNREACHABLE);
}

/* A reset while nothing more fits into the buffer towards the guest. */
static void test_reset_when_full(void)
{
    static uint8_t bulk[400000];
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);
    int size = 1 << 20;

    conn_freeze(conn);
    setsockopt(fault_last_socket(), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    setsockopt(peer_fd(peer), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    g_assert_cmpint(send(peer_fd(peer), bulk, sizeof(bulk), 0), >, 200000);
    net_settle(net);
    fault_arm(FAULT_SEND, FAULT_ERRNO, EAGAIN, 1, ALWAYS);
    conn_send_raw(conn, .flags = TCP_ACK, .data = "x", .len = 1);
    peer_reset(peer);
    guest_expect(guest, m_tcp(), m_flags_set(TCP_RST));
    fault_disarm();
    guest_expect_idle(guest);
}

static bool is_large(const Frame *frame, void *opaque)
{
    (void)opaque;
    return frame->payload_len > 536;
}

static void test_guest_mss(const void *host)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *source = server_new(net, .mode = PEER_SOURCE, .source_len = 20000,
                              .family = family_of(host));
    Conn *conn = guest_connect(guest, host, peer_port(source), .mss = 536);

    conn_expect_eof(conn);
    g_assert_cmpuint(conn_len(conn), ==, 20000);
    guest_expect_none(guest, 0, m_tcp(), m_where(is_large, NULL));
    conn_close(conn);
    guest_expect_idle(guest);
}

/* The last option of a segment has no length: what follows is data. */
static void test_option_without_length(void)
{
    enum { NOP = 1, MSS = 2, SERVICE = 8080 };
    static const uint8_t options[] = { NOP, NOP, NOP, MSS };
    static const uint8_t data[] = { 4, 0, 100 };
    static const uint8_t answer[1000];
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_STREAM, SERVICE);
    Peer *client;
    const Frame *f;

    /* The model guest leaves the port to us. */
    guest_send_tcp(guest, .from.port = SERVICE, .to = endpoint("10.0.2.2", 9),
                   .flags = TCP_RST);
    client = host_connect(net, AF_INET, port);
    f = guest_expect(guest, m_tcp(), m_flags(TCP_SYN), m_to_port(SERVICE));
    guest_send_tcp(
        guest, .from = f->to, .to = f->from, .seq = 1000, .ack = f->tcp.seq + 1,
        .flags = TCP_SYN | TCP_ACK, .window = 65535, .options = options,
        .options_len = sizeof(options), .data = data, .len = sizeof(data));
    peer_expect(client, data, sizeof(data));
    peer_send(client, answer, sizeof(answer));
    f = guest_expect(guest, m_tcp(), m_has_payload());
    g_assert_cmpuint(f->payload_len, >, 100);
    guest_send_tcp(guest, .from = f->to, .to = f->from, .seq = 1004,
                   .flags = TCP_RST);
    guest_expect_idle(guest);
}

/* The host's side of a connection ends when the guest was switched off. */
static void test_keepalive(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);

    conn_freeze(conn);
    net_advance(net, 7150 * 1000);
    g_assert_cmpint(guest_count_tcp(guest), ==, 1);
    net_advance(net, 750 * 1000);
    net_await(net, peer_eof(peer) || peer_error(peer));
    g_assert_cmpint(guest_count_tcp(guest), ==, 0);
}

/* A keepalive offers the window that there is, not what 16 bits leave of it. */
static void test_keepalive_window(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);

    net_settle(net);
    guest_forget_frames(guest);
    net_advance(net, 7250 * 1000);
    g_assert_cmpuint(guest_expect(guest, m_tcp())->tcp.window, >=, 32768);
    conn_abort(conn);
    guest_expect_idle(guest);
}

/* The host's side is gone, and the guest takes note of that, but does not end
 * its own. */
static void test_linger(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);

    fault_arm(FAULT_SEND, FAULT_ERRNO, EPIPE, 1, ALWAYS);
    conn_send_text(conn, "x");
    conn_expect_eof(conn);
    fault_disarm();
    peer_close(peer);
    net_advance(net, 50 * 1000);
    g_assert_cmpint(guest_count_tcp(guest), ==, 1);
    net_advance(net, 20 * 1000);
    g_assert_cmpint(guest_count_tcp(guest), ==, 0);
}

/* RFC 6528: neither the first number nor the next can be guessed. */
static void test_sequence_numbers(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    uint32_t seq[2];

    for (unsigned i = 0; i < 2; i++) {
        Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(echo));

        seq[i] =
            guest_expect(guest, m_tcp(), m_flags(TCP_SYN | TCP_ACK))->tcp.seq;
        conn_expect_established(conn);
        conn_close(conn);
    }
    g_assert_cmpuint(seq[0], !=, 1);
    g_assert_cmpuint(seq[1] - seq[0], !=, 64000);
    guest_expect_idle(guest);
}

/* A host that has gone away raises no SIGPIPE. */
static void test_no_signal(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *peer;
    Conn *conn = guest_link(guest, "10.0.2.2", &peer);

    signal(SIGPIPE, SIG_DFL);
    peer_reset(peer);
    for (unsigned i = 0; i < 4; i++) {
        conn_send_raw(conn, .seq = conn_snd_nxt(conn) + i,
                      .flags = TCP_ACK | TCP_URG, .urgent = 1, .data = "x",
                      .len = 1);
    }
    conn_freeze(conn);
    guest_expect_idle(guest);
}

/* Under restrict a guestfwd's port must not open that port over IPv6: bytes 4
 * to 7 of the source are the guestfwd's address. */
static void test_restrict_ipv6(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest;
    Peer *server = server_new(net, .family = AF_INET6);
    Conn *conn;

    net_setenv(net, "SLIRP_REDIRECT_ALLOW_FOREIGN_SOURCES", "1");
    guest = guest_new(net, .restricted = true, .ip6 = "fec0:0:a00:264::15");
    guest_add_guestfwd(guest, "10.0.2.100", peer_port(server), NULL);
    conn = guest_connect(guest, "fec0::2", peer_port(server));
    conn_expect_reset(conn);
    g_assert_cmpuint(server_accepted(server), ==, 0);
    guest_expect_idle(guest);
}

/* Addresses that the host's kernel takes for itself lead nowhere. */
static void test_martian(const void *addr)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .disable_host_loopback = true);
    int family = strstr(addr, "ffff") ? AF_INET : family_of(addr);
    Peer *server = server_new(net, .family = family);
    Conn *conn = guest_connect(guest, addr, peer_port(server));

    conn_expect_state(conn, CONN_UNREACHABLE);
    g_assert_cmpuint(server_accepted(server), ==, 0);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/fixes/tcp/urgent-pointer", test_urgent_pointer);
    g_test_add_func("/fixes/tcp/refused-syn", test_refused_syn);
    g_test_add_func("/fixes/tcp/late-unreachable", test_late_unreachable);
    g_test_add_func("/fixes/tcp/late-timeout", test_late_timeout);
    g_test_add_func("/fixes/tcp/reset-when-full", test_reset_when_full);
    packet_test_add_both("/fixes/tcp/guest-mss", hosts, test_guest_mss);
    g_test_add_func("/fixes/tcp/option-without-length",
                    test_option_without_length);
    g_test_add_func("/fixes/tcp/keepalive", test_keepalive);
    g_test_add_func("/fixes/tcp/keepalive-window", test_keepalive_window);
    g_test_add_func("/fixes/tcp/linger", test_linger);
    g_test_add_func("/fixes/tcp/sequence-numbers", test_sequence_numbers);
    g_test_add_func("/fixes/tcp/no-signal", test_no_signal);
    g_test_add_func("/fixes/tcp/restrict-ipv6", test_restrict_ipv6);
    for (unsigned i = 0; i < G_N_ELEMENTS(martians); i++) {
        g_autofree char *path =
            g_strdup_printf("/fixes/tcp/martian/%s", martians[i]);

        g_test_add_data_func(path, martians[i], test_martian);
    }
    return g_test_run();
}
