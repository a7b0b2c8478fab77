/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program as one compiled against libslirp 4.9, or against an older one: it
 * has the guest send a datagram to the host, and prints what comes back.
 *
 * usage: client VERSION socket|fd|none
 *
 * VERSION is that of the configuration; then come the callbacks which are set
 * to learn of sockets. The callbacks end with the last field that the version
 * knows, at the end of a page, and nothing can be read behind it. Compiled with
 * -DOLD it uses no call that libslirp 4.7 lacks.
 */
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <libslirp.h>

#define MAX_POLL 16
#define MAX_FD 64
#define ETHER_LEN 14
#define IP_LEN 20
#define UDP_LEN 8
#define GUEST_MAC 0x52, 0x54, 0, 0x12, 0x34, 0x56
#define GUEST_IP 10, 0, 2, 15
#define HOST_IP 10, 0, 2, 2

static struct pollfd polls[MAX_POLL];
static int n_polls;
static unsigned told_fd, told_socket;
static bool registered[MAX_FD]; /* by descriptor */
static char answer[64];

static slirp_ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
    const unsigned char *frame = buf;
    const size_t headers = ETHER_LEN + IP_LEN + UDP_LEN;

    (void)opaque;
    if (len > headers && frame[12] == 8 && frame[13] == 0 && frame[23] == 17) {
        snprintf(answer, sizeof(answer), "%.*s", (int)(len - headers),
                 (const char *)frame + headers);
    }
    return len;
}

static void guest_error(const char *msg, void *opaque)
{
    (void)opaque;
    fprintf(stderr, "client: %s\n", msg);
}

static int64_t clock_get_ns(void *opaque)
{
    struct timespec now;

    (void)opaque;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void *timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
    (void)cb;
    (void)cb_opaque;
    (void)opaque;
    return &n_polls;
}

static void timer_free(void *timer, void *opaque)
{
    (void)timer;
    (void)opaque;
}

static void timer_mod(void *timer, int64_t expire_time, void *opaque)
{
    (void)timer;
    (void)expire_time;
    (void)opaque;
}

static void notify(void *opaque)
{
    (void)opaque;
}

/* Whatever is watched is told of once, and once that it is not any more. */
static void set_registered(int fd, bool now)
{
    if (registered[fd] == now) {
        fprintf(stderr, "client: descriptor %d is told of again\n", fd);
    }
    registered[fd] = now;
}

static void register_fd(int fd, void *opaque)
{
    (void)opaque;
    told_fd++;
    set_registered(fd, true);
}

static void unregister_fd(int fd, void *opaque)
{
    (void)opaque;
    set_registered(fd, false);
}

static void register_socket(int fd, void *opaque)
{
    (void)opaque;
    told_socket++;
    set_registered(fd, true);
}

static void unregister_socket(int fd, void *opaque)
{
    (void)opaque;
    set_registered(fd, false);
}

static void report_registered(void)
{
    for (int fd = 0; fd < MAX_FD; fd++) {
        if (registered[fd]) {
            fprintf(stderr, "client: descriptor %d is still registered\n", fd);
        }
    }
}

static int add_poll(int fd, int events, void *opaque)
{
    (void)opaque;
    if (n_polls == MAX_POLL) {
        return -1;
    }
    polls[n_polls] = (struct pollfd){
        .fd = fd,
        .events = (events & SLIRP_POLL_IN ? POLLIN : 0) |
                  (events & SLIRP_POLL_OUT ? POLLOUT : 0),
    };
    return n_polls++;
}

static int get_revents(int idx, void *opaque)
{
    int revents = idx < 0 ? 0 : polls[idx].revents;

    (void)opaque;
    return (revents & POLLIN ? SLIRP_POLL_IN : 0) |
           (revents & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (revents & POLLERR ? SLIRP_POLL_ERR : 0);
}

static void turn(Slirp *slirp)
{
    uint32_t timeout = 1000;
    int found;

    n_polls = 0;
#ifdef OLD
    slirp_pollfds_fill(slirp, &timeout, add_poll, NULL);
#else
    slirp_pollfds_fill_socket(slirp, &timeout, add_poll, NULL);
#endif
    found = poll(polls, n_polls, timeout);
    slirp_pollfds_poll(slirp, found < 0, get_revents, NULL);
}

static size_t size_of_callbacks(unsigned version)
{
    if (version >= 6) {
        return sizeof(SlirpCb);
    }
    return version >= 4 ? offsetof(SlirpCb, register_poll_socket)
                        : offsetof(SlirpCb, init_completed);
}

/* The callbacks of the version, with an inaccessible page behind them. */
static const SlirpCb *place(const SlirpCb *cb, unsigned version)
{
    size_t page = sysconf(_SC_PAGESIZE), size = size_of_callbacks(version);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE) != 0) {
        perror("client: mmap");
        exit(2);
    }
    return memcpy(pages + page - size, cb, size);
}

static const SlirpCb *callbacks(unsigned version, const char *how)
{
    SlirpCb cb = {
        .send_packet = send_packet,
        .guest_error = guest_error,
        .clock_get_ns = clock_get_ns,
        .timer_new = timer_new,
        .timer_free = timer_free,
        .timer_mod = timer_mod,
        .notify = notify,
    };

    if (strcmp(how, "fd") == 0) {
        cb.register_poll_fd = register_fd;
        cb.unregister_poll_fd = unregister_fd;
    } else if (strcmp(how, "socket") == 0) {
        cb.register_poll_socket = register_socket;
        cb.unregister_poll_socket = unregister_socket;
    }
    return place(&cb, version);
}

/* A socket of the host, which the guest's datagram is for. */
static int host_socket(unsigned *port)
{
    struct sockaddr_in addr = { .sin_family = AF_INET };
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        perror("client: socket");
        exit(2);
    }
    *port = ntohs(addr.sin_port);
    return fd;
}

static void echo(int fd)
{
    struct sockaddr_in peer;
    socklen_t len = sizeof(peer);
    char text[32];
    ssize_t n =
        recvfrom(fd, text, sizeof(text), 0, (struct sockaddr *)&peer, &len);

    if (n > 0) {
        sendto(fd, text, n, 0, (struct sockaddr *)&peer, len);
    }
}

static void send_arp(Slirp *slirp)
{
    const unsigned char frame[] = {
        255,       255,      255, 255, 255, 255, GUEST_MAC, 8, 6, /* Ethernet */
        0,         1,        8,   0,   6,   4,   0,         1,    /* who has */
        GUEST_MAC, GUEST_IP, 0,   0,   0,   0,   0,         0, HOST_IP,
    };

    slirp_input(slirp, frame, sizeof(frame));
}

static void send_datagram(Slirp *slirp, unsigned port, const char *text)
{
    unsigned char frame[ETHER_LEN + IP_LEN + UDP_LEN + 32] = {
        0x52,      0x55,
        HOST_IP,   GUEST_MAC,
        8,         0, /* Ethernet */
        0x45,      0,
        0,         IP_LEN + UDP_LEN + strlen(text),
        0,         1,
        0,         0,
        64,        17,
        0,         0,
        GUEST_IP,  HOST_IP, /* IP, without its checksum */
        4,         0,
        port >> 8, port,
        0,         UDP_LEN + strlen(text),
        0,         0, /* UDP */
    };
    unsigned sum = 0;

    memcpy(frame + ETHER_LEN + IP_LEN + UDP_LEN, text, strlen(text));
    for (int i = 0; i < IP_LEN; i += 2) {
        sum += frame[ETHER_LEN + i] << 8 | frame[ETHER_LEN + i + 1];
    }
    sum = ~((sum & 0xffff) + (sum >> 16));
    frame[ETHER_LEN + 10] = sum >> 8;
    frame[ETHER_LEN + 11] = sum;
    slirp_input(slirp, frame, ETHER_LEN + IP_LEN + UDP_LEN + strlen(text));
}

static Slirp *start(unsigned version, const char *how)
{
    SlirpConfig config = {
        .version = version,
        .in_enabled = true,
        .vnetwork.s_addr = inet_addr("10.0.2.0"),
        .vnetmask.s_addr = inet_addr("255.255.255.0"),
        .vhost.s_addr = inet_addr("10.0.2.2"),
        .vdhcp_start.s_addr = inet_addr("10.0.2.15"),
        .vnameserver.s_addr = inet_addr("10.0.2.3"),
    };

    return slirp_new(&config, callbacks(version, how), NULL);
}

int main(int argc, char **argv)
{
    unsigned version = argc == 3 ? atoi(argv[1]) : 0, port;
    Slirp *slirp = version > 0 ? start(version, argv[2]) : NULL;
    int fd = host_socket(&port);

    if (slirp == NULL) {
        fprintf(stderr, "client: version %u is refused\n", version);
        return 1;
    }
#ifndef OLD
    slirp_set_debug(SLIRP_DBG_CALL | SLIRP_DBG_MISC);
    slirp_reset_debug(SLIRP_DBG_CALL | SLIRP_DBG_MISC);
#endif
    send_arp(slirp);
    send_datagram(slirp, port, "hello");
    echo(fd);
    for (int i = 0; answer[0] == '\0' && i < 10; i++) {
        turn(slirp);
    }
    slirp_cleanup(slirp);
    close(fd);
    report_registered();
    printf("answer=%s told=%s%s\n", answer, told_fd > 0 ? "fd" : "",
           told_socket > 0 ? "socket" : "");
    return 0;
}
