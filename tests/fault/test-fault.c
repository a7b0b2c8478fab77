/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every system call of the stack fails once, in every scenario.
 *
 * A scenario is run without faults first, to count its calls of each kind.
 * Then it is run again for each call and each way to fail. A step that waits
 * for something gives up quietly then, since a service may be refused; but
 * nothing may crash or leak, and once the fault is over, a new connection and
 * a new datagram have to be served.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/un.h>

#include "fault.h"
#include "internal.h"

enum { TURNS = 12, NTH_MAX = 40, SERVICE = 8080 };

typedef struct World {
    Net *net;
    Guest *guest;
    Peer *stream, *datagram; /* echo servers */
} World;

typedef void (*Scenario)(World *w);

/* Lets things happen, whatever they are. */
static void some_turns(World *w)
{
    for (unsigned i = 0; i < TURNS; i++) {
        net_step(w->net, 0);
    }
    net_advance(w->net, 1000);
}

static struct in_addr address(const char *text)
{
    struct in_addr in = { inet_addr(text) };

    return in;
}

/* The guest's half of a connection that may come to nothing. */
static void use(World *w, Conn *conn)
{
    some_turns(w);
    if (conn_state(conn) == CONN_ESTABLISHED) {
        conn_send_text(conn, "some bytes for the other side");
        some_turns(w);
        conn_shutdown(conn);
        some_turns(w);
    }
}

static void tcp_out(World *w)
{
    use(w, guest_connect(w->guest, "10.0.2.2", peer_port(w->stream)));
}

static void tcp_out6(World *w)
{
    Peer *echo = server_new(w->net, .mode = PEER_ECHO, .family = AF_INET6);

    use(w, guest_connect(w->guest, "fec0::2", peer_port(echo)));
}

static void tcp_refused(World *w)
{
    use(w, guest_connect(w->guest, "10.0.2.2",
                         net_refused_port(w->net, AF_INET, SOCK_STREAM)));
}

static void udp_out(World *w)
{
    guest_send_text(w->guest, 5000, "10.0.2.2", peer_port(w->datagram), "x");
    some_turns(w);
    guest_send_text(w->guest, 5000, "10.0.2.2",
                    net_refused_port(w->net, AF_INET, SOCK_DGRAM), "y");
    some_turns(w);
}

static void udp_out6(World *w)
{
    Peer *echo = server_new(w->net, .mode = PEER_ECHO, .family = AF_INET6,
                            .type = SOCK_DGRAM);

    guest_send_text(w->guest, 5000, "fec0::2", peer_port(echo), "x");
    some_turns(w);
}

static void ping(World *w)
{
    guest_ping(w->guest, "127.0.0.1", 1, 1, "x", 1);
    guest_ping(w->guest, "::1", 1, 1, "x", 1);
    some_turns(w);
}

/* To the name server's address; the query goes nowhere but into the fault
 * layer, or to this machine. */
static void dns(World *w)
{
    fault_arm(FAULT_SEND, FAULT_ERRNO, ENETUNREACH, 1, 1u << 30);
    guest_send_text(w->guest, 5000, "10.0.2.3", 53, "query");
    guest_send_text(w->guest, 5000, "fec0::3", 53, "query");
    some_turns(w);
}

static void add_hostfwd(World *w, int is_udp, uint16_t port)
{
    fault_inside++;
    slirp_add_hostfwd(guest_slirp(w->guest), is_udp, address("127.0.0.1"), port,
                      address("10.0.2.15"), SERVICE);
    fault_inside--;
}

static void hostfwd_tcp(World *w)
{
    uint16_t port = net_refused_port(w->net, AF_INET, SOCK_STREAM);
    Peer *client;

    guest_listen(w->guest, SERVICE);
    add_hostfwd(w, 0, port);
    client = host_connect(w->net, AF_INET, port);
    some_turns(w);
    peer_send_text(client, "x");
    some_turns(w);
    peer_close(client);
    some_turns(w);
}

static void hostfwd_udp(World *w)
{
    uint16_t port = net_refused_port(w->net, AF_INET, SOCK_DGRAM);
    Peer *client;

    add_hostfwd(w, 1, port);
    client = host_udp(w->net, AF_INET, port);
    peer_send_text(client, "x");
    some_turns(w);
}

static void hostfwd_unix(World *w)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(SERVICE) };
    struct sockaddr_un host = { .sun_family = AF_UNIX };
    int added;

    g_snprintf(host.sun_path, sizeof(host.sun_path), "%s/forward",
               net_tmpdir(w->net));
    guest_listen(w->guest, SERVICE);
    fault_inside++;
    added =
        slirp_add_hostxfwd(guest_slirp(w->guest), (struct sockaddr *)&host,
                           sizeof(host), (struct sockaddr *)&to, sizeof(to), 0);
    fault_inside--;
    if (added == 0) {
        host_connect_unix(w->net, host.sun_path, SOCK_STREAM);
    }
    some_turns(w);
}

static void guestfwd_callback(World *w)
{
    struct in_addr at = address("10.0.2.100");

    guest_add_guestfwd(w->guest, "10.0.2.100", 1234, NULL);
    use(w, guest_connect(w->guest, "10.0.2.100", 1234));
    slirp_remove_guestfwd(guest_slirp(w->guest), at, 1234);
}

static void guestfwd_unix(World *w)
{
    struct in_addr at = address("10.0.2.100");
    Peer *server = server_new(w->net, .mode = PEER_ECHO, .family = AF_UNIX);

    slirp_add_unix(guest_slirp(w->guest), peer_path(server), &at, 1234);
    use(w, guest_connect(w->guest, "10.0.2.100", 1234));
}

static void dhcp(World *w)
{
    guest_send_dhcp(w->guest, DHCP_DISCOVER, DHCP_OWN);
    some_turns(w);
}

static void tftp(World *w)
{
    static const char request[] = "\0\1file\0octet\0blksize\0001428";

    guest_send_udp(w->guest, 5001, "10.0.2.2", 69, request, sizeof(request));
    some_turns(w);
    guest_send_udp(w->guest, 5001, "10.0.2.2", 69, "\0\4\0\0", 4);
    some_turns(w);
    guest_send_udp(w->guest, 5001, "10.0.2.2", 69, "\0\4\0\1", 4);
    some_turns(w);
}

static void G_GNUC_PRINTF(2, 3) set_rule(World *w, const char *format, ...)
{
    g_autofree char *rule = NULL;
    g_autofree char *error = NULL;
    va_list args;

    va_start(args, format);
    rule = g_strdup_vprintf(format, args);
    va_end(args);
    g_assert_cmpint(slirp_set_redirects(guest_slirp(w->guest), rule, &error),
                    ==, 0);
}

static void redirect_tcp(World *w)
{
    set_rule(w, "tcp:198.51.100.7:80-127.0.0.1:%u", peer_port(w->stream));
    use(w, guest_connect(w->guest, "198.51.100.7", 80));
    set_rule(w, "%s", "");
}

static void redirect_udp(World *w)
{
    set_rule(w, "udp:198.51.100.7:80-127.0.0.1:%u", peer_port(w->datagram));
    guest_send_text(w->guest, 5000, "198.51.100.7", 80, "x");
    some_turns(w);
    guest_send_text(w->guest, 5000, "198.51.100.7", 80, "y");
    some_turns(w);
    set_rule(w, "%s", "");
}

static void redirect_unix(World *w)
{
    Peer *server = server_new(w->net, .mode = PEER_ECHO, .family = AF_UNIX);

    set_rule(w, "tcp:198.51.100.7:80-unix:%s", peer_path(server));
    use(w, guest_connect(w->guest, "198.51.100.7", 80));
    set_rule(w, "%s", "");
}

static void redirect_reject(World *w)
{
    set_rule(w, "any:198.51.100.7:80-reject");
    use(w, guest_connect(w->guest, "198.51.100.7", 80));
    guest_send_text(w->guest, 5000, "198.51.100.7", 80, "x");
    some_turns(w);
    set_rule(w, "%s", "");
}

static const struct {
    const char *name;
    Scenario run;
} scenarios[] = {
    { "tcp-out", tcp_out },
    { "tcp-out6", tcp_out6 },
    { "tcp-refused", tcp_refused },
    { "udp-out", udp_out },
    { "udp-out6", udp_out6 },
    { "ping", ping },
    { "dns", dns },
    { "hostfwd-tcp", hostfwd_tcp },
    { "hostfwd-udp", hostfwd_udp },
    { "hostfwd-unix", hostfwd_unix },
    { "guestfwd-callback", guestfwd_callback },
    { "guestfwd-unix", guestfwd_unix },
    { "dhcp", dhcp },
    { "tftp", tftp },
    { "redirect-tcp", redirect_tcp },
    { "redirect-udp", redirect_udp },
    { "redirect-unix", redirect_unix },
    { "redirect-reject", redirect_reject },
};

static const struct {
    FaultKind kind;
    int err;
} faults[] = {
    { FAULT_ERRNO, EMFILE },  { FAULT_ERRNO, ENFILE },
    { FAULT_ERRNO, ENOBUFS }, { FAULT_ERRNO, EAGAIN },
    { FAULT_ERRNO, EINTR },   { FAULT_ERRNO, ECONNRESET },
    { FAULT_SHORT, 0 },
};

static void check_service(World *w)
{
    Conn *conn;

    guest_forget_frames(w->guest);
    net_advance(w->net, 1000);
    conn = guest_connect(w->guest, "10.0.2.2", peer_port(w->stream));
    conn_expect_established(conn);
    conn_send_text(conn, "well?");
    conn_expect_text(conn, "well?");
    conn_abort(conn);
    guest_send_text(w->guest, 6000, "10.0.2.2", peer_port(w->datagram),
                    "well?");
    guest_expect(w->guest, m_udp(), m_to_port(6000), m_text("well?"));
}

/* What a scenario left open is no leak of the stack. */
static void abort_all(Guest *guest)
{
    for (guint i = 0; i < guest->conns->len; i++) {
        Conn *conn = guest->conns->pdata[i];

        if (conn_state(conn) <= CONN_FIN_ACKED) {
            conn_abort(conn);
        }
    }
}

/* Runs one scenario with one fault; calls gets the number of calls of each
 * kind if it is not NULL. False if the fault did not happen. */
static bool run(Scenario scenario, FaultCall call, unsigned kind, unsigned nth,
                unsigned times, unsigned calls[FAULT_CALLS])
{
    g_autoptr(Net) net = net_new();
    World w = { .net = net };
    g_autofree char *file = g_build_filename(net_tmpdir(net), "file", NULL);
    bool hit;

    net_allow_log(net, "*");
    g_assert_true(g_file_set_contents(file, "content", -1, NULL));
    w.guest = guest_new(net, .tftp_path = net_tmpdir(net));
    w.stream = server_new(net, .mode = PEER_ECHO);
    w.datagram = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    g_assert_true(guest_resolve(w.guest, "10.0.2.2"));
    fault_disarm();
    if (nth) {
        g_test_message("%s, call %u, kind %u", fault_name(call), nth, kind);
        fault_arm(call, faults[kind].kind, faults[kind].err, nth, times);
    }
    scenario(&w);
    for (unsigned i = 0; calls && i < FAULT_CALLS; i++) {
        calls[i] = fault_calls((FaultCall)i);
    }
    hit = fault_hits() > 0;
    fault_disarm();
    check_service(&w);
    abort_all(w.guest);
    guest_expect_idle(w.guest);
    return hit;
}

static void test_scenario(const void *opaque)
{
    unsigned n = GPOINTER_TO_UINT(opaque);
    unsigned calls[FAULT_CALLS];
    unsigned runs = 0;

    run(scenarios[n].run, FAULT_ANY, 0, 0, 0, calls);
    /* shutdown() of an open socket never fails. */
    calls[FAULT_SHUTDOWN] = 0;
    for (unsigned call = 0; call < FAULT_CALLS; call++) {
        for (unsigned kind = 0; calls[call] && kind < G_N_ELEMENTS(faults);
             kind++) {
            for (unsigned nth = 1; nth <= MIN(calls[call], NTH_MAX); nth++) {
                runs +=
                    run(scenarios[n].run, (FaultCall)call, kind, nth, 1, NULL);
            }
            runs +=
                run(scenarios[n].run, (FaultCall)call, kind, 1, 1u << 30, NULL);
        }
    }
    printf("# %s: %u faults\n", scenarios[n].name, runs);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    for (unsigned i = 0; i < G_N_ELEMENTS(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/fault/%s", scenarios[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_scenario);
    }
    return g_test_run();
}
