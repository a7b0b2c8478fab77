/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults of the pinned release in forwards, both ways. */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault.h"
#include "internal.h"

enum { ALWAYS = 1 << 30, SERVICE = 8080, LONG = 1 << 20 };

static const struct in_addr at = { 0x6402000a }; /* 10.0.2.100 */

static void add_unix_forward(Guest *guest, int family, struct sockaddr_un *host)
{
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } to = { .sa.sa_family = (sa_family_t)family };
    size_t len = family == AF_INET ? sizeof(to.in) : sizeof(to.in6);

    if (family == AF_INET) {
        to.in.sin_port = htons(SERVICE);
    } else {
        to.in6.sin6_port = htons(SERVICE);
    }
    host->sun_family = AF_UNIX;
    g_snprintf(host->sun_path, sizeof(host->sun_path), "%s/forward",
               net_tmpdir(guest_net(guest)));
    g_assert_cmpint(slirp_add_hostxfwd(guest_slirp(guest),
                                       (struct sockaddr *)host, sizeof(*host),
                                       &to.sa, (socklen_t)len, 0),
                    ==, 0);
}

/* A unix client comes when a call for its reserved port fails. */
typedef struct UnixClient {
    const char *name;
    FaultCall call;
    int family; /* of the guest's side */
} UnixClient;

static const UnixClient unix_clients[] = {
    { "socket/ipv4", FAULT_SOCKET, AF_INET },
    { "socket/ipv6", FAULT_SOCKET, AF_INET6 },
    { "bind/ipv4", FAULT_BIND, AF_INET },
    { "bind/ipv6", FAULT_BIND, AF_INET6 },
    { "getsockname/ipv4", FAULT_NAME, AF_INET },
    { "getsockname/ipv6", FAULT_NAME, AF_INET6 },
};

static void test_unix_client(const void *opaque)
{
    const UnixClient *c = opaque;
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .no_ipv4 = c->family == AF_INET6);
    struct sockaddr_un host;
    Peer *client;
    Conn *conn;

    add_unix_forward(guest, c->family, &host);
    guest_listen(guest, SERVICE);
    fault_arm(c->call, FAULT_ERRNO, EMFILE, 1, ALWAYS);
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
static void test_registered(const void *type)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .strict_register = true);
    uint16_t port = guest_add_hostfwd(guest, GPOINTER_TO_INT(type), SERVICE);
    struct in_addr loopback = { .s_addr = htonl(INADDR_LOOPBACK) };

    net_settle(net);
    g_assert_cmpint(slirp_remove_hostfwd(guest_slirp(guest),
                                         GPOINTER_TO_INT(type) == SOCK_DGRAM,
                                         loopback, port),
                    ==, 0);
}

/* Flows for which there was no descriptor. */
static void test_registered_none(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .strict_register = true);
    Conn *conn;

    fault_arm(FAULT_SOCKET, FAULT_ERRNO, EMFILE, 1, ALWAYS);
    conn = guest_connect(guest, "10.0.2.2", 9);
    guest_send_text(guest, 5000, "10.0.2.2", 9, "x");
    guest_ping(guest, "127.0.0.1", 1, 1, "x", 1);
    conn_expect_state(conn, CONN_UNREACHABLE);
    fault_disarm();
    guest_expect_idle(guest);
}

/* A socket whose binding to an outbound address fails. */
static void test_registered_unbound(void)
{
    struct sockaddr_in loopback = { .sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .outbound_addr = &loopback);

    if (!require_icmp(SOCK_DGRAM)) {
        return;
    }
    fault_arm(FAULT_BIND, FAULT_ERRNO, EADDRNOTAVAIL, 1, ALWAYS);
    guest_ping(guest, "127.0.0.1", 1, 1, "x", 1);
    fault_disarm();
    guest_expect_idle(guest);
}

/* A forward to the guest's first address, of which there is none. */
static void test_no_guest_address(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .no_dhcp_range = true);
    struct in_addr loopback = { .s_addr = htonl(INADDR_LOOPBACK) };
    struct in_addr any = { 0 };
    uint16_t port = net_refused_port(net, AF_INET, SOCK_STREAM);
    Peer *client;

    g_assert_cmpint(
        slirp_add_hostfwd(guest_slirp(guest), 0, loopback, port, any, SERVICE),
        ==, 0);
    client = host_connect(net, AF_INET, port);
    net_await(net, peer_eof(client) || peer_error(client));
    guest_expect_idle(guest);
}

/* Calls that only ever fail when something is wrong with the host. */
static void test_failing_call(const void *call)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port;
    Conn *conn;

    fault_arm((FaultCall)GPOINTER_TO_INT(call), FAULT_ERRNO, ENOMEM, 1, ALWAYS);
    port = guest_add_hostfwd(guest, SOCK_STREAM, SERVICE);
    guest_listen(guest, SERVICE);
    host_connect(net, AF_INET, port);
    conn = guest_accept(guest, SERVICE);
    fault_disarm();
    conn_abort(conn);
    guest_expect_idle(guest);
}

/* A unix guestfwd whose server is busy. */
static void test_busy_unix(void)
{
    enum { HANGS_S = 5 };
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *busy = server_new_busy(net, AF_UNIX, 0);
    struct in_addr addr = at;
    Conn *conn;

    net_allow_log(net, "open_unix*");
    g_assert_cmpint(
        slirp_add_unix(guest_slirp(guest), peer_path(busy), &addr, 1234), ==,
        0);
    g_assert_true(guest_resolve(guest, "10.0.2.100"));
    alarm(HANGS_S); /* ends the process */
    conn = guest_connect(guest, "10.0.2.100", 1234);
    conn_expect_eof(conn);
    alarm(0);
    conn_close(conn);
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

/* What is as long as this has memory of its own; sanitizers find the leak by
 * themselves. */
static void test_name_leak(const void *is_path)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *name = g_strnfill(LONG, 'x');
    size_t before = memory_in_use();
    Guest *guest = guest_new(net, .tftp_server_name = is_path ? NULL : name);
    struct in_addr addr = at;

    if (is_path) {
        g_assert_cmpint(slirp_add_unix(guest_slirp(guest), name, &addr, 1234),
                        ==, 0);
        g_assert_cmpint(slirp_remove_guestfwd(guest_slirp(guest), addr, 1234),
                        ==, 0);
    }
    guest_free(guest);
    g_assert_cmpuint(memory_in_use(), <, before + LONG);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    for (unsigned i = 0; i < G_N_ELEMENTS(unix_clients); i++) {
        g_autofree char *path = g_strdup_printf("/fixes/forward/unix-client/%s",
                                                unix_clients[i].name);

        g_test_add_data_func(path, &unix_clients[i], test_unix_client);
    }
    g_test_add_func("/fixes/forward/accept-pause", test_accept_pause);
    g_test_add_data_func("/fixes/forward/registered/tcp",
                         GINT_TO_POINTER(SOCK_STREAM), test_registered);
    g_test_add_data_func("/fixes/forward/registered/udp",
                         GINT_TO_POINTER(SOCK_DGRAM), test_registered);
    g_test_add_func("/fixes/forward/registered/none", test_registered_none);
    g_test_add_func("/fixes/forward/registered/unbound",
                    test_registered_unbound);
    g_test_add_func("/fixes/forward/remove-guestfwd", test_remove_guestfwd);
    g_test_add_func("/fixes/forward/bad-command", test_bad_command);
    g_test_add_func("/fixes/forward/busy-unix", test_busy_unix);
    g_test_add_func("/fixes/forward/no-guest-address", test_no_guest_address);
    g_test_add_data_func("/fixes/forward/failing-call/fcntl",
                         GINT_TO_POINTER(FAULT_FCNTL), test_failing_call);
    g_test_add_data_func("/fixes/forward/failing-call/getnameinfo",
                         GINT_TO_POINTER(FAULT_NAMEINFO), test_failing_call);
    g_test_add_data_func("/fixes/forward/name-leak/server", NULL,
                         test_name_leak);
    g_test_add_data_func("/fixes/forward/name-leak/path", "", test_name_leak);
    return g_test_run();
}
