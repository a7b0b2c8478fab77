/* SPDX-License-Identifier: BSD-3-Clause */
/* Host forwards into the guest, and guest forwards into the application. */
#include <arpa/inet.h>

#include "harness.h"

enum { SERVICE = 8080 };

static struct in_addr address(const char *text)
{
    struct in_addr in = { inet_addr(text) };

    return in;
}

static void remove_forward(Guest *guest, int is_udp, uint16_t port)
{
    int result = slirp_remove_hostfwd(guest_slirp(guest), is_udp,
                                      address("127.0.0.1"), port);

    g_assert_cmpint(result, ==, 0);
}

static void test_tcp(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_STREAM, SERVICE);
    Peer *client;
    Conn *conn;

    guest_listen(guest, SERVICE);
    client = host_connect(net, AF_INET, port);
    conn = guest_accept(guest, SERVICE);
    conn_send_text(conn, "welcome");
    peer_expect_text(client, "welcome");
    peer_send_text(client, "thanks");
    conn_expect_text(conn, "thanks");
    peer_shutdown(client);
    conn_expect_eof(conn);
    conn_close(conn);
    guest_expect_idle(guest);
    remove_forward(guest, 0, port);
}

static void test_tcp_refused(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_STREAM, SERVICE);
    Peer *client = host_connect(net, AF_INET, port);

    net_await(net, peer_eof(client) || peer_error(client));
    guest_expect_idle(guest);
    remove_forward(guest, 0, port);
}

static void test_udp(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_DGRAM, SERVICE);
    Peer *client = host_udp(net, AF_INET, port);
    const Frame *f;

    peer_send_text(client, "ping");
    f = guest_expect(guest, m_udp(), m_to_port(SERVICE), m_text("ping"));
    guest_send_packet(guest, packet_udp(f->to, f->from, "pong", 4));
    peer_expect_text(client, "pong");
    remove_forward(guest, 1, port);
}

static void test_guestfwd(void)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) got = g_byte_array_new();
    Guest *guest = guest_new(net, .restricted = true);
    Slirp *slirp = guest_slirp(guest);
    struct in_addr at = address("10.0.2.100");
    Conn *conn;

    guest_add_guestfwd(guest, "10.0.2.100", 1234, got);
    g_assert_true(guest_resolve(guest, "10.0.2.100"));
    conn = guest_connect(guest, "10.0.2.100", 1234);
    conn_expect_established(conn);
    conn_send_text(conn, "to the application");
    net_await(net, got->len == 18);
    g_assert_cmpmem(got->data, got->len, "to the application", 18);
    g_assert_cmpuint(slirp_socket_can_recv(slirp, at, 1234), >, 0);
    slirp_socket_recv(slirp, at, 1234, (const uint8_t *)"back", 4);
    conn_expect_text(conn, "back");
    conn_abort(conn);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/forward/host/tcp", test_tcp);
    g_test_add_func("/forward/host/tcp-refused", test_tcp_refused);
    g_test_add_func("/forward/host/udp", test_udp);
    g_test_add_func("/forward/guest/callback", test_guestfwd);
    return g_test_run();
}
