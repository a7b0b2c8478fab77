/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults of the pinned release in forwards, both ways. */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/un.h>

#include "fault.h"
#include "internal.h"

enum { ALWAYS = 1 << 30, SERVICE = 8080 };

static const struct in_addr at = { 0x6402000a }; /* 10.0.2.100 */

static void add_unix_forward(Guest *guest, struct sockaddr_un *host)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(SERVICE) };

    host->sun_family = AF_UNIX;
    g_snprintf(host->sun_path, sizeof(host->sun_path), "%s/forward",
               net_tmpdir(guest_net(guest)));
    g_assert_cmpint(slirp_add_hostxfwd(guest_slirp(guest),
                                       (struct sockaddr *)host, sizeof(*host),
                                       (struct sockaddr *)&to, sizeof(to), 0),
                    ==, 0);
}

/* A unix client comes when descriptors are short. */
static void test_unix_client(const void *call)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    struct sockaddr_un host;
    Peer *client;
    Conn *conn;

    add_unix_forward(guest, &host);
    guest_listen(guest, SERVICE);
    fault_arm((FaultCall)GPOINTER_TO_INT(call), FAULT_ERRNO, EMFILE, 1, ALWAYS);
    client = host_connect_unix(net, host.sun_path, SOCK_STREAM);
    conn = guest_accept(guest, SERVICE);
    g_assert_cmpuint(fault_hits(), >, 0);
    fault_disarm();
    conn_send_text(conn, "welcome");
    peer_expect_text(client, "welcome");
    conn_abort(conn);
    guest_expect_idle(guest);
}

/* A connection waits while accept() has no descriptor for it. */
static void test_accept_pause(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_STREAM, SERVICE);
    Peer *client;
    Conn *conn;

    guest_listen(guest, SERVICE);
    net_settle(net);
    fault_arm(FAULT_ACCEPT, FAULT_ERRNO, EMFILE, 1, ALWAYS);
    client = host_connect(net, AF_INET, port);
    for (unsigned i = 0; i < 100; i++) {
        net_step(net, 0);
    }
    g_assert_cmpuint(fault_hits(), >=, 1);
    g_assert_cmpuint(fault_hits(), <=, 2);
    fault_disarm();
    net_advance(net, 1000);
    conn = guest_accept(guest, SERVICE);
    conn_send_text(conn, "welcome");
    peer_expect_text(client, "welcome");
    conn_abort(conn);
    guest_expect_idle(guest);
}

/* Listeners are registered for polling, and only what was registered is
 * unregistered. */
static void test_registered(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .strict_register = true);
    Peer *server = server_new(net);
    uint16_t port = guest_add_hostfwd(guest, SOCK_STREAM, SERVICE);
    struct in_addr loopback = { .s_addr = htonl(INADDR_LOOPBACK) };

    guest_connect(guest, "10.0.2.2", peer_port(server));
    net_settle(net);
    g_assert_cmpint(slirp_remove_hostfwd(guest_slirp(guest), 0, loopback, port),
                    ==, 0);
}

/* A guestfwd goes while a connection to it is open. */
static void test_remove_guestfwd(void)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) got = g_byte_array_new();
    Guest *guest = guest_new(net);
    struct in_addr addr = at;
    Conn *conn;

    guest_add_guestfwd(guest, "10.0.2.100", 1234, got);
    g_assert_true(guest_resolve(guest, "10.0.2.100"));
    conn = guest_connect(guest, "10.0.2.100", 1234);
    conn_expect_established(conn);
    conn_send_text(conn, "one");
    net_await(net, got->len == 3);
    g_assert_cmpint(slirp_remove_guestfwd(guest_slirp(guest), addr, 1234), ==,
                    0);
    conn_send_text(conn, "two");
    conn_expect_reset(conn);
    g_assert_cmpuint(got->len, ==, 3);
    guest_expect_idle(guest);
}

/* A guestfwd command that no shell would take. */
static void test_bad_command(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    struct in_addr addr = at;
    Conn *conn;

    net_allow_log(net, "fork_exec invalid command*");
    g_assert_cmpint(
        slirp_add_exec(guest_slirp(guest), "cat 'unfinished", &addr, 1234), ==,
        0);
    g_assert_true(guest_resolve(guest, "10.0.2.100"));
    conn = guest_connect(guest, "10.0.2.100", 1234);
    conn_expect_eof(conn);
    conn_close(conn);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_data_func("/fixes/forward/unix-client/socket",
                         GINT_TO_POINTER(FAULT_SOCKET), test_unix_client);
    g_test_add_data_func("/fixes/forward/unix-client/bind",
                         GINT_TO_POINTER(FAULT_BIND), test_unix_client);
    g_test_add_data_func("/fixes/forward/unix-client/getsockname",
                         GINT_TO_POINTER(FAULT_NAME), test_unix_client);
    g_test_add_func("/fixes/forward/accept-pause", test_accept_pause);
    g_test_add_func("/fixes/forward/registered", test_registered);
    g_test_add_func("/fixes/forward/remove-guestfwd", test_remove_guestfwd);
    g_test_add_func("/fixes/forward/bad-command", test_bad_command);
    return g_test_run();
}
