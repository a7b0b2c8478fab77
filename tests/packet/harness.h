/* SPDX-License-Identifier: BSD-3-Clause */
/* A model guest, host servers and a virtual clock around libslirp. */
#ifndef TEST_PACKET_HARNESS_H
#define TEST_PACKET_HARNESS_H

#include <glib.h>
#include <libslirp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "frame.h"

/*
 * Theory of operation
 *
 * A Net is one test's world: a virtual clock, the real descriptors, and one
 * or more Guests.  A Guest is a Slirp instance with a model machine on it,
 * which answers ARP and NDP, speaks TCP and UDP, and keeps every frame.
 * Peers are host-side sockets (servers, accepted or connected ones).
 *
 * Everything runs on one thread in net_step(): slirp_pollfds_fill(), one
 * poll(), slirp_pollfds_poll(), host sockets, then the frames the guests got.
 * Frames the stack emits are queued and handled after the call that emitted
 * them, so the stack is never re-entered.
 *
 * Virtual time stands still while a test awaits real sockets, except for the
 * 2 ms steps the stack asks for when it owes a delayed ACK; a test moves it
 * with net_advance().  Real time only bounds how long an awaited condition may
 * take before the test fails.
 *
 * Ownership: net_free() frees all that was made from the Net, then fails the
 * test over anything left: descriptors, timers, poll registrations, or an
 * unexpected log message.  Frames belong to the Guest that captured them.
 */

typedef struct Net Net;
typedef struct Guest Guest;
typedef struct Conn Conn;
typedef struct Peer Peer;

/* Net: clock, loop, logs */

/* Replaces g_test_init() in main(). */
void packet_test_init(int *argc, char ***argv);

Net *net_new(void);
void net_free(Net *net);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Net, net_free)

int64_t net_now_ms(const Net *net);
/* Let virtual time pass, at the pace the stack asks for. */
void net_advance(Net *net, int64_t ms);
/* Let time pass without a turn of the loop: the application was idle. */
void net_stall(Net *net, int64_t ms);
/* One turn of the loop; true if anything happened. */
bool net_step(Net *net, int real_timeout_ms);
/* Turn the loop until nothing more happens at this virtual instant. */
void net_settle(Net *net);
/* Turn the loop until the condition holds; false after the real time limit. */
bool net_run_until(Net *net, bool (*condition)(void *opaque), void *opaque);

/* Await a C expression: net_await(net, conn_len(c) == 5). */
#define net_await(net, condition)                                              \
    do {                                                                       \
        gint64 net_await_end_ = net_deadline();                                \
        net_settle(net);                                                       \
        while (!(condition)) {                                                 \
            if (g_get_monotonic_time() > net_await_end_) {                     \
                net_fail(net, G_STRLOC ": awaited in vain: %s", #condition);   \
            }                                                                  \
            net_step(net, 20);                                                 \
        }                                                                      \
    } while (0)
/* The condition becomes true within so many virtual milliseconds. */
#define net_await_virtual(net, ms, condition)                                  \
    do {                                                                       \
        int64_t net_await_end_ = net_now_ms(net) + (ms);                       \
        while (!(condition)) {                                                 \
            if (net_now_ms(net) >= net_await_end_) {                           \
                net_fail(net, G_STRLOC ": not within %d ms: %s", (int)(ms),    \
                         #condition);                                          \
            }                                                                  \
            net_advance(net, 100);                                             \
        }                                                                      \
    } while (0)
gint64 net_deadline(void);

/* Fail the test with a message, after writing the captures. */
void net_fail(Net *net, const char *format, ...)
    G_GNUC_PRINTF(2, 3) G_GNUC_NORETURN;

/* The next log message that matches the glob is expected; it must come. */
void net_expect_log(Net *net, const char *pattern);
/* Messages that match the glob may come any number of times. */
void net_allow_log(Net *net, const char *pattern);
/* Set (or, with NULL, unset) a variable until net_free(). */
void net_setenv(Net *net, const char *name, const char *value);
/* Have only so many descriptors (RLIMIT_NOFILE) until net_free(). */
void net_limit_files(Net *net, unsigned n);
/* A private directory, removed with its content by net_free(). */
const char *net_tmpdir(Net *net);

/* Guest: one Slirp instance and its model machine */

typedef struct GuestConfig {
    uint32_t version; /* of SlirpConfig; 0: 4, as QEMU 10.0 */
    bool restricted, disable_host_loopback, disable_dns, disable_dhcp;
    bool no_ipv4, no_ipv6, enable_emu;
    bool no_dhcp_range;
    const struct sockaddr_in *outbound_addr;
    size_t mtu, mru;
    const char **dnssearch;
    const char *hostname, *domainname, *tftp_path, *bootfile;
    const char *tftp_server_name;
    /* The model machine */
    const char *ip, *ip6; /* default 10.0.2.15, fec0::5054:ff:fe12:3456 */
    const uint8_t *mac;   /* default 52:54:00:12:34:56 */
    bool mute;            /* do not announce the addresses at the start */
    /* The application around the library */
    bool select_error_when_busy; /* as slirp4netns: see libslirp.h */
    bool null_register;          /* no (un)register_poll_fd callbacks */
    bool strict_register;        /* unregistering a stranger is an error */
    int64_t clock_ahead_ms;      /* of net_now_ms() */
} GuestConfig;

/* guest_new(net, .restricted = true): QEMU's defaults with changes. */
#define guest_new(net, ...)                                                    \
    guest_new_config(net, &(const GuestConfig){ __VA_ARGS__ })
Guest *guest_new_config(Net *net, const GuestConfig *config);
/* Clean the instance up before net_free(), with the same checks. */
void guest_free(Guest *guest);
Slirp *guest_slirp(Guest *guest);
Net *guest_net(Guest *guest);
/* The guest's own address of that family. */
Endpoint guest_endpoint(Guest *guest, int family, uint16_t port);

/* Every flow ends within 300 virtual seconds, and leaves nothing behind. */
void guest_expect_idle(Guest *guest);
/* The same, buffers aside. */
void guest_expect_no_flows(Guest *guest);
/* How many sockets the instance holds: struct sockets, not descriptors. */
int guest_count_tcp(Guest *guest);
int guest_count_udp(Guest *guest);
int guest_count_icmp(Guest *guest);
/* Buffers in use, outside the queues towards the guest. */
int guest_count_buffers(Guest *guest);

/* Frames that pass go on to the guest; false loses the frame. */
typedef bool (*GuestFilter)(const Frame *frame, void *opaque);
void guest_set_filter(Guest *guest, GuestFilter filter, void *opaque);

/* Expectations.  A frame is taken by the first that matches it. */
#define guest_expect(guest, ...)                                               \
    guest_expect_list(guest, G_STRLOC, m_list(__VA_ARGS__))
/* No such frame is there, or comes within so many virtual milliseconds. */
#define guest_expect_none(guest, ms, ...)                                      \
    guest_expect_none_list(guest, G_STRLOC, ms, m_list(__VA_ARGS__))
#define guest_count_frames(guest, ...)                                         \
    guest_count_list(guest, m_list(__VA_ARGS__))
const Frame *guest_expect_list(Guest *guest, const char *where,
                               const Match *list);
void guest_expect_none_list(Guest *guest, const char *where, int64_t ms,
                            const Match *list);
unsigned guest_count_list(Guest *guest, const Match *list);
/* The first matching frame not taken yet, or NULL; does not wait. */
const Frame *guest_take(Guest *guest, const Match *list);
/* Mark all captured frames as taken. */
void guest_forget_frames(Guest *guest);

/* Sending.  Addresses are numeric; the guest's own is the source. */
void guest_send_frame(Guest *guest, const void *data, size_t len);
/* Put an IP packet into a frame and send it; frees the packet. */
void guest_send_packet(Guest *guest, GByteArray *packet);
void guest_send_fragments(Guest *guest, GByteArray *packet, size_t size);
void guest_send_udp(Guest *guest, uint16_t sport, const char *addr,
                    uint16_t port, const void *data, size_t len);
void guest_send_text(Guest *guest, uint16_t sport, const char *addr,
                     uint16_t port, const char *text);
void guest_ping(Guest *guest, const char *addr, uint16_t id, uint16_t seq,
                const void *data, size_t len);
/*
 * A lone segment outside every Conn; the guest then leaves this port alone
 * and sends no RST for what comes back.
 * guest_send_tcp(g, .to = endpoint(...), .flags = TCP_SYN, .seq = 1)
 */
#define guest_send_tcp(guest, ...)                                             \
    guest_send_segment(guest, (TcpSegment){ __VA_ARGS__ })
void guest_send_segment(Guest *guest, TcpSegment segment);
/* Does the stack answer ARP or neighbour solicitation for the address? */
bool guest_resolve(Guest *guest, const char *addr);
/* Announce the guest's addresses: gratuitous ARP, neighbour advertisement. */
void guest_announce(Guest *guest);

/* Conn: a TCP connection of the model guest */

typedef enum ConnState {
    CONN_SYN_SENT,
    CONN_SYN_RECEIVED,
    CONN_ESTABLISHED, /* may send; see conn_eof() for the other direction */
    CONN_FIN_SENT,    /* FIN queued or sent, not acknowledged */
    CONN_FIN_ACKED,   /* the stack has our FIN; still receiving */
    CONN_CLOSED,      /* both directions ended in order */
    CONN_RESET,       /* the stack sent RST */
    CONN_UNREACHABLE, /* the stack sent ICMP unreachable */
    CONN_ABORTED,     /* the guest sent RST */
} ConnState;

typedef struct ConnOptions {
    uint16_t port;    /* source port; 0: the next free one */
    uint16_t mss;     /* 0: from the MTU; the option is always sent */
    bool no_mss;      /* send no MSS option */
    uint32_t window;  /* receive buffer; 0: 65535 */
    int wscale;       /* shift offered; 0: no option */
    uint32_t iss;     /* initial sequence number; 0: arbitrary */
    bool discard;     /* count and digest received data, do not keep it */
    bool retransmit;  /* send again after 1 s, 2 s, ... virtual */
    const char *from; /* another source address */
} ConnOptions;

#define guest_connect(guest, addr, port, ...)                                  \
    guest_connect_options(guest, addr, port,                                   \
                          &(const ConnOptions){ __VA_ARGS__ })
Conn *guest_connect_options(Guest *guest, const char *addr, uint16_t port,
                            const ConnOptions *options);
/* Accept connections to the port; conn_accept() hands them out in order. */
void guest_listen(Guest *guest, uint16_t port);
Conn *guest_accept(Guest *guest, uint16_t port);
void guest_unlisten(Guest *guest, uint16_t port);

ConnState conn_state(const Conn *conn);
const char *conn_state_name(ConnState state);
/* Await a state, failing on another final one. */
void conn_expect_state(Conn *conn, ConnState state);
#define conn_expect_established(conn) conn_expect_state(conn, CONN_ESTABLISHED)
#define conn_expect_reset(conn) conn_expect_state(conn, CONN_RESET)
Endpoint conn_local(const Conn *conn);
Endpoint conn_remote(const Conn *conn);
uint16_t conn_peer_mss(const Conn *conn); /* option in the SYN; 0: none */
int conn_peer_wscale(const Conn *conn);   /* -1: none */
uint8_t conn_icmp_type(const Conn *conn); /* of CONN_UNREACHABLE */
uint8_t conn_icmp_code(const Conn *conn);

void conn_send(Conn *conn, const void *data, size_t len);
void conn_send_text(Conn *conn, const char *text);
size_t conn_unsent(const Conn *conn); /* queued and not acknowledged */
size_t conn_len(const Conn *conn);    /* bytes received */
const uint8_t *conn_data(const Conn *conn);
uint64_t conn_digest(const Conn *conn); /* of the bytes received */
bool conn_eof(const Conn *conn);        /* received FIN */
/* Await exactly this as the next bytes of the stream. */
void conn_expect(Conn *conn, const void *data, size_t len);
void conn_expect_text(Conn *conn, const char *text);
void conn_expect_eof(Conn *conn);
/* Stop reading: the window closes as the receive buffer fills. */
void conn_pause(Conn *conn, bool pause);
void conn_shutdown(Conn *conn); /* FIN after all that is queued */
void conn_abort(Conn *conn);    /* RST now */
/* Shut down, await the other FIN, and expect an orderly end. */
void conn_close(Conn *conn);
/*
 * A segment made by hand on this connection; from, to, seq, ack and window
 * that are zero are filled in.  Does not move the Conn's own state.
 */
#define conn_send_raw(conn, ...)                                               \
    conn_send_segment(conn, (TcpSegment){ __VA_ARGS__ })
void conn_send_segment(Conn *conn, TcpSegment segment);
uint32_t conn_snd_nxt(const Conn *conn);
uint32_t conn_rcv_nxt(const Conn *conn);
/* Answer nothing any more: a guest that vanished. */
void conn_freeze(Conn *conn);

/* Peer: host-side sockets, all on loopback or in net_tmpdir() */

typedef enum PeerMode {
    PEER_MANUAL, /* the test sends; what arrives is kept */
    PEER_ECHO,
    PEER_SINK,   /* what arrives is counted and digested, not kept */
    PEER_SOURCE, /* sends pattern bytes, then FIN */
} PeerMode;

typedef struct ServerConfig {
    PeerMode mode;
    int family;       /* AF_INET (default), AF_INET6, AF_UNIX */
    int type;         /* SOCK_STREAM (default), SOCK_DGRAM */
    const char *addr; /* default: loopback */
    uint16_t port;    /* 0: ephemeral */
    const char *path; /* AF_UNIX; default: a new one */
    size_t source_len;
} ServerConfig;

#define server_new(net, ...)                                                   \
    server_new_config(net, &(const ServerConfig){ __VA_ARGS__ })
Peer *server_new_config(Net *net, const ServerConfig *config);
/* A stream listener whose backlog is full, so that connects stay unanswered, on
 * a port or, for AF_UNIX, a path. */
Peer *server_new_busy(Net *net, int family, uint16_t port);
/* A port with nobody behind it. */
uint16_t net_refused_port(Net *net, int family, int type);
/* A client socket of the host, as for host forwards. */
Peer *host_connect(Net *net, int family, uint16_t port);
Peer *host_connect_unix(Net *net, const char *path, int type);
Peer *host_udp(Net *net, int family, uint16_t port);

uint16_t peer_port(const Peer *peer);
const char *peer_path(const Peer *peer);
/* Await the next connection of a listener. */
Peer *server_accept(Peer *server);
unsigned server_accepted(const Peer *server); /* so far */
Endpoint peer_remote(const Peer *peer); /* of the last datagram, for UDP */
void peer_send(Peer *peer, const void *data, size_t len);
void peer_send_text(Peer *peer, const char *text);
size_t peer_len(const Peer *peer); /* bytes received */
size_t peer_unsent(const Peer *peer);
const uint8_t *peer_data(const Peer *peer);
uint64_t peer_digest(const Peer *peer);
unsigned peer_datagrams(const Peer *peer);
bool peer_eof(const Peer *peer);
int peer_error(const Peer *peer); /* errno that ended it, e.g. ECONNRESET */
void peer_expect(Peer *peer, const void *data, size_t len);
void peer_expect_text(Peer *peer, const char *text);
void peer_expect_eof(Peer *peer);
void peer_pause(Peer *peer, bool pause);
void peer_shutdown(Peer *peer); /* FIN once all is sent */
void peer_reset(Peer *peer);    /* close with RST */
void peer_close(Peer *peer);
int peer_fd(const Peer *peer);

/* What many tests begin with */

/* A connection of the guest to a server of its own, established at both ends;
 * the host as the guest sees it gives the family. */
Conn *guest_link(Guest *guest, const char *host, Peer **peer);
/* The same to a server that the guest reaches as dst. */
Conn *guest_link_to(Guest *guest, Peer *server, const char *dst, uint16_t port,
                    Peer **peer);
/* Forwards a free port of the host's loopback, which is returned, to that port
 * of the guest; for SOCK_STREAM or SOCK_DGRAM. */
uint16_t guest_add_hostfwd(Guest *guest, int type, uint16_t port);
/* What the guest sends there is appended to got, unless that is NULL. */
void guest_add_guestfwd(Guest *guest, const char *addr, uint16_t port,
                        GByteArray *got);

/* A DHCP message (RFC 2132, 9.6) from the client 52:54:XX:XX:XX:XX. */
enum { DHCP_CLIENT = 68, DHCP_SERVER = 67 }; /* ports */
enum { DHCP_DISCOVER = 1, DHCP_OFFER = 2, DHCP_REQUEST = 3, DHCP_ACK = 5 };
enum { DHCP_OWN = 0x00123456 }; /* the guest's own client number */
void guest_send_dhcp(Guest *guest, uint8_t type, uint32_t client);
/* The length byte of the option, which the value follows, or NULL. */
const uint8_t *frame_dhcp_option(const Frame *f, uint8_t code);

/* Adds PATH/ipv4 and PATH/ipv6, with one of the addresses each. */
void packet_test_add_both(const char *path, const char *const addrs[2],
                          GTestDataFunc test);

/* Reproducible bulk data, and the digest conn_digest() and peer_digest() use */
void pattern_fill(uint32_t seed, void *data, size_t len);
GByteArray *pattern_new(uint32_t seed, size_t len);
enum { DIGEST_START = 0 };
uint64_t digest_update(uint64_t digest, const void *data, size_t len);

/* May this process ping? It may not everywhere, and not by raw sockets without
 * being root; skips the test if not. */
bool require_icmp(int type);
/* Memory allocated in this process; sanitizers keep their own count. */
size_t memory_in_use(void);
unsigned descriptors_in_use(void);

#endif
