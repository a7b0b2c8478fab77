/* SPDX-License-Identifier: BSD-3-Clause */
/* Host-side sockets: servers and clients on loopback, driven by the loop. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128, CHUNK = 65536, BUSY_FILLERS = 2 };

typedef enum PeerRole { ROLE_LISTENER, ROLE_STREAM, ROLE_DGRAM } PeerRole;

typedef union Sockaddr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
} Sockaddr;

struct Peer {
    Net *net;
    Peer *server; /* that accepted this one */
    PeerRole role;
    PeerMode mode;
    int family, fd, poll_index;
    bool connected; /* a datagram socket with one partner */
    bool handed_out, paused, connecting;
    unsigned accepted, datagrams;
    size_t source_left;
    uint32_t source_seed;
    Sockaddr last;
    socklen_t last_len;
    GByteArray *tx, *rx;
    size_t tx_sent, rx_len, rx_expected;
    uint64_t digest;
    bool shutdown_wanted, shutdown_done, eof;
    int error;
    char *path;
};

/* Making */

static Peer *peer_new(Net *net, int fd, int family, PeerRole role,
                      PeerMode mode)
{
    Peer *peer = g_new0(Peer, 1);

    g_assert_cmpint(fd, >=, 0);
    peer->net = net;
    peer->fd = fd;
    peer->family = family;
    peer->role = role;
    peer->mode = mode;
    peer->poll_index = -1;
    peer->tx = g_byte_array_new();
    peer->rx = g_byte_array_new();
    g_ptr_array_add(net->peers, peer);
    return peer;
}

void peer_close(Peer *peer)
{
    if (peer->fd >= 0) {
        close(peer->fd);
        peer->fd = -1;
    }
    if (peer->path) {
        unlink(peer->path);
    }
}

void peer_free(Peer *peer)
{
    peer_close(peer);
    g_ptr_array_remove(peer->net->peers, peer);
    g_byte_array_unref(peer->tx);
    g_byte_array_unref(peer->rx);
    g_free(peer->path);
    g_free(peer);
}

static socklen_t loopback(Sockaddr *sa, int family, uint16_t port)
{
    *sa = (Sockaddr){ 0 };
    if (family == AF_INET6) {
        sa->in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
                                         .sin6_port = htons(port),
                                         .sin6_addr = in6addr_loopback };
        return sizeof(sa->in6);
    }
    sa->in =
        (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
    sa->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof(sa->in);
}

static socklen_t unix_address(Sockaddr *sa, const char *path)
{
    *sa = (Sockaddr){ .un.sun_family = AF_UNIX };
    g_assert_cmpuint(strlen(path), <, sizeof(sa->un.sun_path));
    strcpy(sa->un.sun_path, path);
    return sizeof(sa->un);
}

static int new_socket(int family, int type)
{
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static socklen_t server_address(Net *net, const ServerConfig *config,
                                Sockaddr *sa, char **path)
{
    int family = config->family ? config->family : AF_INET;
    static unsigned number;
    socklen_t len;

    if (family == AF_UNIX) {
        *path = config->path
                    ? g_strdup(config->path)
                    : g_strdup_printf("%s/%u.sock", net_tmpdir(net), number++);
        return unix_address(sa, *path);
    }
    len = loopback(sa, family, config->port);
    if (config->addr) {
        void *addr = family == AF_INET ? (void *)&sa->in.sin_addr
                                       : (void *)&sa->in6.sin6_addr;

        g_assert_cmpint(inet_pton(family, config->addr, addr), ==, 1);
    }
    return len;
}

Peer *server_new_config(Net *net, const ServerConfig *config)
{
    int family = config->family ? config->family : AF_INET;
    int type = config->type ? config->type : SOCK_STREAM;
    PeerRole role = type == SOCK_DGRAM ? ROLE_DGRAM : ROLE_LISTENER;
    Peer *peer =
        peer_new(net, new_socket(family, type), family, role, config->mode);
    int one = 1;
    Sockaddr sa;
    socklen_t len = server_address(net, config, &sa, &peer->path);

    if (family == AF_INET6) {
        setsockopt(peer->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }
    if (family != AF_UNIX && role == ROLE_LISTENER) {
        setsockopt(peer->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    }
    if (bind(peer->fd, &sa.sa, len) < 0) {
        net_fail(net, "bind: %s", g_strerror(errno));
    }
    if (role == ROLE_LISTENER) {
        g_assert_cmpint(listen(peer->fd, BACKLOG), ==, 0);
    }
    peer->source_left = config->source_len;
    return peer;
}

static int start_connect(int family, int type, const Sockaddr *sa,
                         socklen_t len)
{
    int fd = new_socket(family, type);

    if (connect(fd, &sa->sa, len) < 0 && errno != EINPROGRESS) {
        g_error("connect: %s", g_strerror(errno));
    }
    return fd;
}

uint16_t net_refused_port(Net *net, int family, int type)
{
    Peer *peer = server_new(net, .family = family, .type = type);
    uint16_t port = peer_port(peer);

    peer_free(peer);
    return port;
}

Peer *host_connect(Net *net, int family, uint16_t port)
{
    Sockaddr sa;
    socklen_t len = loopback(&sa, family, port);
    int fd = start_connect(family, SOCK_STREAM, &sa, len);
    Peer *peer = peer_new(net, fd, family, ROLE_STREAM, PEER_MANUAL);

    peer->connecting = true;
    return peer;
}

Peer *host_connect_unix(Net *net, const char *path, int type)
{
    Sockaddr sa;
    socklen_t len = unix_address(&sa, path);
    int fd = start_connect(AF_UNIX, type, &sa, len);

    return peer_new(net, fd, AF_UNIX,
                    type == SOCK_DGRAM ? ROLE_DGRAM : ROLE_STREAM, PEER_MANUAL);
}

bool require_icmp(int type)
{
    int fd = socket(AF_INET, type, IPPROTO_ICMP);

    if (fd < 0 && type == SOCK_DGRAM) {
        fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); /* as the library does */
    }
    if (fd < 0) {
        g_test_skip("sockets for ICMP are not allowed here");
        return false;
    }
    close(fd);
    return true;
}

Peer *host_udp(Net *net, int family, uint16_t port)
{
    Sockaddr sa;
    socklen_t len = loopback(&sa, family, port);
    int fd = start_connect(family, SOCK_DGRAM, &sa, len);
    Peer *peer = peer_new(net, fd, family, ROLE_DGRAM, PEER_MANUAL);

    peer->connected = true;
    return peer;
}

Peer *server_new_busy(Net *net, int family, uint16_t port)
{
    Peer *peer = server_new(net, .family = family, .port = port);

    peer_pause(peer, true);
    g_assert_cmpint(listen(peer->fd, 0), ==, 0);
    if (family == AF_UNIX) {
        host_connect_unix(net, peer_path(peer), SOCK_STREAM);
        return peer;
    }
    for (int i = 0; i < BUSY_FILLERS; i++) {
        host_connect(net, family, peer_port(peer));
    }
    return peer;
}

/* The loop */

static size_t unsent(const Peer *peer)
{
    return peer->tx->len - peer->tx_sent;
}

static bool wants_output(const Peer *peer)
{
    return peer->role == ROLE_STREAM &&
           (unsent(peer) > 0 || peer->source_left > 0 || peer->connecting ||
            (peer->shutdown_wanted && !peer->shutdown_done));
}

void peer_poll_fill(Peer *peer)
{
    short events = 0;

    peer->poll_index = -1;
    if (peer->fd < 0) {
        return;
    }
    if (!peer->paused && !peer->eof && !peer->error && !peer->connecting) {
        events |= POLLIN;
    }
    if (wants_output(peer) && !peer->error) {
        events |= POLLOUT;
    }
    if (events) {
        peer->poll_index = net_add_poll(peer->net, peer->fd, events);
    }
}

static void keep(Peer *peer, const uint8_t *data, size_t len)
{
    peer->rx_len += len;
    peer->digest = digest_update(peer->digest, data, len);
    if (peer->mode != PEER_SINK) {
        g_byte_array_append(peer->rx, data, (guint)len);
    }
}

static void accept_all(Peer *server)
{
    Sockaddr from = { 0 };
    socklen_t len = sizeof(from);
    int fd;

    while ((fd = accept4(server->fd, &from.sa, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        Peer *peer = peer_new(server->net, fd, server->family, ROLE_STREAM,
                              server->mode);

        peer->server = server;
        peer->last = from;
        peer->last_len = len;
        peer->source_left =
            server->mode == PEER_SOURCE ? server->source_left : 0;
        peer->shutdown_wanted = server->mode == PEER_SOURCE;
        server->accepted++;
        len = sizeof(from);
    }
}

static void read_stream(Peer *peer)
{
    uint8_t data[CHUNK];
    ssize_t n = recv(peer->fd, data, sizeof(data), 0);

    if (n > 0) {
        keep(peer, data, (size_t)n);
        if (peer->mode == PEER_ECHO) {
            g_byte_array_append(peer->tx, data, (guint)n);
        }
    } else if (n == 0) {
        peer->eof = true;
        peer->shutdown_wanted |= peer->mode != PEER_MANUAL;
    } else if (errno != EAGAIN) {
        peer->error = errno;
    }
}

static void read_datagrams(Peer *peer)
{
    uint8_t data[CHUNK];
    socklen_t len;
    ssize_t n;

    for (;;) {
        len = sizeof(peer->last);
        n = recvfrom(peer->fd, data, sizeof(data), 0, &peer->last.sa, &len);
        if (n < 0) {
            peer->error = errno == EAGAIN ? peer->error : errno;
            return;
        }
        peer->last_len = len;
        peer->datagrams++;
        keep(peer, data, (size_t)n);
        if (peer->mode == PEER_ECHO) {
            peer_send(peer, data, (size_t)n);
        }
    }
}

static void refill_source(Peer *peer)
{
    size_t len = MIN(peer->source_left, (size_t)CHUNK);

    if (unsent(peer) == 0 && len > 0) {
        g_byte_array_set_size(peer->tx, (guint)len);
        peer->tx_sent = 0;
        pattern_fill(peer->source_seed, peer->tx->data, len);
        peer->source_seed += (uint32_t)len;
        peer->source_left -= len;
    }
}

static void write_stream(Peer *peer)
{
    ssize_t n;

    peer->connecting = false;
    refill_source(peer);
    if (unsent(peer) > 0) {
        n = send(peer->fd, peer->tx->data + peer->tx_sent, unsent(peer),
                 MSG_NOSIGNAL);
        if (n > 0) {
            peer->tx_sent += (size_t)n;
        } else if (errno != EAGAIN) {
            peer->error = errno;
        }
    }
    if (peer->shutdown_wanted && !peer->shutdown_done && unsent(peer) == 0 &&
        peer->source_left == 0) {
        peer->shutdown_done = true;
        shutdown(peer->fd, SHUT_WR);
    }
}

static void take_error(Peer *peer)
{
    socklen_t len = sizeof(peer->error);

    getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &peer->error, &len);
}

static void read_peer(Peer *peer)
{
    switch (peer->role) {
    case ROLE_LISTENER:
        accept_all(peer);
        break;
    case ROLE_STREAM:
        read_stream(peer);
        break;
    case ROLE_DGRAM:
        read_datagrams(peer);
        break;
    }
}

void peer_poll_dispatch(Peer *peer)
{
    short got;

    if (peer->poll_index < 0 || peer->fd < 0) {
        return;
    }
    got = net_poll_result(peer->net, peer->poll_index);
    peer->poll_index = -1;
    if (got & POLLIN) {
        read_peer(peer);
    } else if (got & POLLERR) {
        take_error(peer);
    }
    if (got & POLLOUT && !peer->error) {
        write_stream(peer);
    }
    if (got & POLLHUP && !(got & POLLIN)) {
        peer->eof = true;
    }
}

/* What tests do with a peer */

static void own_address(const Peer *peer, Sockaddr *sa)
{
    socklen_t len = sizeof(*sa);

    *sa = (Sockaddr){ 0 };
    g_assert_cmpint(getsockname(peer->fd, &sa->sa, &len), ==, 0);
}

uint16_t peer_port(const Peer *peer)
{
    Sockaddr sa;

    own_address(peer, &sa);
    return ntohs(peer->family == AF_INET6 ? sa.in6.sin6_port : sa.in.sin_port);
}

const char *peer_path(const Peer *peer)
{
    return peer->path;
}

int peer_fd(const Peer *peer)
{
    return peer->fd;
}

static Peer *next_accepted(Peer *server)
{
    for (guint i = 0; i < server->net->peers->len; i++) {
        Peer *peer = server->net->peers->pdata[i];

        if (peer->server == server && !peer->handed_out) {
            return peer;
        }
    }
    return NULL;
}

Peer *server_accept(Peer *server)
{
    Peer *peer;

    net_await(server->net, next_accepted(server) != NULL);
    peer = next_accepted(server);
    peer->handed_out = true;
    return peer;
}

unsigned server_accepted(const Peer *server)
{
    return server->accepted;
}

Endpoint peer_remote(const Peer *peer)
{
    Endpoint ep = { .family = peer->last.sa.sa_family };

    if (ep.family == AF_INET) {
        memcpy(ep.addr, &peer->last.in.sin_addr, 4);
        ep.port = ntohs(peer->last.in.sin_port);
    } else if (ep.family == AF_INET6) {
        memcpy(ep.addr, &peer->last.in6.sin6_addr, 16);
        ep.port = ntohs(peer->last.in6.sin6_port);
    }
    return ep;
}

static void send_datagram(Peer *peer, const void *data, size_t len)
{
    bool to = !peer->connected && peer->last_len > sizeof(sa_family_t);
    ssize_t n = sendto(peer->fd, data, len, MSG_NOSIGNAL,
                       to ? &peer->last.sa : NULL, to ? peer->last_len : 0);

    if (n < 0) {
        peer->error = errno;
    }
}

void peer_send(Peer *peer, const void *data, size_t len)
{
    peer->net->activity = true;
    if (peer->role == ROLE_DGRAM) {
        send_datagram(peer, data, len);
    } else {
        g_byte_array_append(peer->tx, data, (guint)len);
    }
}

void peer_send_text(Peer *peer, const char *text)
{
    peer_send(peer, text, strlen(text));
}

size_t peer_len(const Peer *peer)
{
    return peer->rx_len;
}

size_t peer_unsent(const Peer *peer)
{
    return unsent(peer) + peer->source_left;
}

const uint8_t *peer_data(const Peer *peer)
{
    return peer->rx->data;
}

uint64_t peer_digest(const Peer *peer)
{
    return peer->digest;
}

unsigned peer_datagrams(const Peer *peer)
{
    return peer->datagrams;
}

bool peer_eof(const Peer *peer)
{
    return peer->eof;
}

int peer_error(const Peer *peer)
{
    return peer->error;
}

void peer_expect(Peer *peer, const void *data, size_t len)
{
    net_await(peer->net, peer->rx->len - peer->rx_expected >= len ||
                             peer->eof || peer->error);
    g_assert_cmpmem(peer->rx->data + peer->rx_expected,
                    MIN(len, peer->rx->len - peer->rx_expected), data, len);
    peer->rx_expected += len;
}

void peer_expect_text(Peer *peer, const char *text)
{
    peer_expect(peer, text, strlen(text));
}

void peer_expect_eof(Peer *peer)
{
    net_await(peer->net, peer->eof || peer->error);
    g_assert_cmpint(peer->error, ==, 0);
}

void peer_pause(Peer *peer, bool pause)
{
    peer->paused = pause;
}

void peer_shutdown(Peer *peer)
{
    peer->shutdown_wanted = true;
}

void peer_reset(Peer *peer)
{
    struct linger linger = { .l_onoff = 1 };

    setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    peer_close(peer);
}

/* Bulk data: byte i depends on seed + i, so that pieces fit together */

void pattern_fill(uint32_t seed, void *data, size_t len)
{
    uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        uint32_t x = seed + (uint32_t)i;

        p[i] = (uint8_t)((x * 2654435761u) >> 24 ^ x);
    }
}

GByteArray *pattern_new(uint32_t seed, size_t len)
{
    GByteArray *a = g_byte_array_new();

    g_byte_array_set_size(a, (guint)len);
    pattern_fill(seed, a->data, len);
    return a;
}

/* FNV-1a */
uint64_t digest_update(uint64_t digest, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t h = digest ? digest : 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++) {
        h = (h ^ p[i]) * 0x100000001b3u;
    }
    return h;
}
