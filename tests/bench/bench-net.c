/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both ends of the benchmark's connections.
 *
 *   bench-net serve        servers on 127.0.0.1, until standard input ends
 *   bench-net guest        one command a line on standard input; the answer is
 *                          one number a line, or "error TEXT"
 *
 * The guest's commands, with ADDR and PORT of a server:
 *
 *   idle ADDR PORT N       open N connections, keep them; seconds it took
 *   drop                   close them again; seconds
 *   rtt ADDR PORT N        median round trip of one byte, in microseconds
 *   crr ADDR PORT N CONC   connect, request, response, close; a second
 *   send|recv ADDR PORT S  TCP for S seconds; Mbit/s
 *   usend|urecv ADDR PORT S SIZE   UDP datagrams that arrived, a second
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    PORT_ECHO = 7001,    /* bytes come back */
    PORT_SINK = 7002,    /* bytes are counted; the count answers the FIN */
    PORT_SOURCE = 7003,  /* bytes without end */
    PORT_CRR = 7004,     /* one request, one response, then FIN */
    PORT_USINK = 7005,   /* a "?" is answered with the datagrams so far */
    PORT_USOURCE = 7006, /* a datagram "SECONDS SIZE" starts a flood */
    CHUNK = 256 * 1024,
    RESPONSE = 128,
    IDLE_MAX = 65536,
};

static char chunk[CHUNK];

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in address(const char *addr, int port)
{
    struct sockaddr_in sin = { .sin_family = AF_INET };

    sin.sin_port = htons((uint16_t)port);
    inet_pton(AF_INET, addr, &sin.sin_addr);
    return sin;
}

static void raise_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- the servers ---- */

static int listener(int port, int type)
{
    struct sockaddr_in sin = address("127.0.0.1", port);
    int one = 1, size = 4 << 20;
    int s = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (type == SOCK_DGRAM) {
        setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    if (bind(s, (struct sockaddr *)&sin, sizeof(sin)) < 0 ||
        (type == SOCK_STREAM && listen(s, SOMAXCONN) < 0)) {
        die("bind");
    }
    return s;
}

typedef struct Client {
    int fd, port;
    bool listening;
} Client;

static Client *watch(int epfd, int fd, int port, bool listening)
{
    Client *client = calloc(1, sizeof(*client));
    struct epoll_event event = { .events = EPOLLIN };

    *client = (Client){ fd, port, listening };
    if (port == PORT_SOURCE && !listening) {
        event.events = EPOLLOUT;
    }
    event.data.ptr = client;
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    return client;
}

static void accept_all(int epfd, Client *server)
{
    int one = 1, s;

    while ((s = accept4(server->fd, NULL, NULL,
                        SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        watch(epfd, s, server->port, false);
    }
}

static void hang_up(Client *client)
{
    close(client->fd);
    free(client);
}

static void serve_stream(Client *client)
{
    ssize_t n;

    if (client->port == PORT_SOURCE) {
        n = send(client->fd, chunk, sizeof(chunk), MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            hang_up(client);
        }
        return;
    }
    n = recv(client->fd, chunk, sizeof(chunk), 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n > 0 && client->port == PORT_ECHO) {
        n = send(client->fd, chunk, (size_t)n, MSG_NOSIGNAL);
    } else if (n > 0 && client->port == PORT_CRR) {
        n = send(client->fd, chunk, RESPONSE, MSG_NOSIGNAL);
        hang_up(client);
        return;
    }
    if (n <= 0) {
        hang_up(client);
    }
}

/* Sends at full speed; what does not arrive was lost on the way. */
static void flood(int s, const struct sockaddr_in *to, double seconds,
                  size_t size)
{
    double end = now() + seconds;

    while (now() < end) {
        for (int i = 0; i < 64; i++) {
            sendto(s, chunk, size, 0, (const struct sockaddr *)to, sizeof(*to));
        }
    }
}

static void serve_datagrams(Client *client, uint64_t *count)
{
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    char text[2048];
    double seconds;
    size_t size;
    ssize_t n;

    while ((n = recvfrom(client->fd, text, sizeof(text) - 1, 0,
                         (struct sockaddr *)&from, &len)) >= 0) {
        text[n] = 0;
        if (client->port == PORT_USINK && text[0] != '?') {
            (*count)++;
        } else if (client->port == PORT_USINK) {
            int length = snprintf(text, sizeof(text), "%llu",
                                  (unsigned long long)*count);

            sendto(client->fd, text, (size_t)length, 0,
                   (struct sockaddr *)&from, len);
        } else if (sscanf(text, "%lf %zu", &seconds, &size) == 2) {
            flood(client->fd, &from, seconds, size);
        }
    }
}

static void serve_event(int epfd, Client *client, uint64_t *count)
{
    if (client->port == PORT_USINK || client->port == PORT_USOURCE) {
        serve_datagrams(client, count);
    } else if (client->listening) {
        accept_all(epfd, client);
    } else {
        serve_stream(client);
    }
}

static int serve(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event stdin_event = { .events = EPOLLIN };
    uint64_t count = 0;

    for (int port = PORT_ECHO; port <= PORT_USOURCE; port++) {
        int type = port >= PORT_USINK ? SOCK_DGRAM : SOCK_STREAM;

        watch(epfd, listener(port, type), port, true);
    }
    epoll_ctl(epfd, EPOLL_CTL_ADD, STDIN_FILENO, &stdin_event);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(epfd, events, 64, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) {
                return 0;
            }
            serve_event(epfd, events[i].data.ptr, &count);
        }
    }
}

/* ---- the guest ---- */

static int dial(const char *addr, int port, int type)
{
    struct sockaddr_in sin = address(addr, port);
    struct timeval limit = { .tv_sec = 10 };
    int one = 1, size = 4 << 20;
    int s = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (type == SOCK_STREAM) {
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    } else {
        setsockopt(s, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    }
    if (s < 0 || connect(s, (struct sockaddr *)&sin, sizeof(sin)) < 0) {
        close(s);
        return -1;
    }
    return s;
}

static int idle[IDLE_MAX];
static int idle_count;

static double open_idle(const char *addr, int port, int n)
{
    double start = now();

    for (int i = 0; i < n && idle_count < IDLE_MAX; i++) {
        int s = dial(addr, port, SOCK_STREAM);

        if (s < 0) {
            return -1;
        }
        idle[idle_count++] = s;
    }
    return now() - start;
}

static double close_idle(void)
{
    double start = now();

    while (idle_count > 0) {
        close(idle[--idle_count]);
    }
    return now() - start;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double round_trips(const char *addr, int port, int n)
{
    double *took = calloc((size_t)n, sizeof(*took));
    int s = dial(addr, port, SOCK_STREAM);
    double median = -1;
    char byte = 'x';

    for (int i = 0; s >= 0 && i < n; i++) {
        double start = now();

        if (send(s, &byte, 1, 0) != 1 || recv(s, &byte, 1, 0) != 1) {
            close(s);
            s = -1;
        }
        took[i] = (now() - start) * 1e6;
    }
    if (s >= 0) {
        qsort(took, (size_t)n, sizeof(*took), by_value);
        median = took[n / 2];
        close(s);
    }
    free(took);
    return median;
}

/* One of the connections of a crr; true when it has ended in order. */
typedef struct Exchange {
    int fd;
    bool asked;
} Exchange;

static void exchange_start(Exchange *e, int epfd, const struct sockaddr_in *sin)
{
    struct epoll_event event = { .events = EPOLLOUT, .data.ptr = e };

    e->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    e->asked = false;
    if (connect(e->fd, (const struct sockaddr *)sin, sizeof(*sin)) < 0 &&
        errno != EINPROGRESS) {
        die("connect");
    }
    epoll_ctl(epfd, EPOLL_CTL_ADD, e->fd, &event);
}

/* 1 when it has ended, -1 on failure. */
static int exchange_turn(Exchange *e, int epfd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = e };
    char text[2 * RESPONSE] = "request";
    ssize_t n;

    if (!e->asked) {
        e->asked = true;
        epoll_ctl(epfd, EPOLL_CTL_MOD, e->fd, &event);
        return send(e->fd, text, RESPONSE, MSG_NOSIGNAL) < 0 ? -1 : 0;
    }
    n = recv(e->fd, text, sizeof(text), 0);
    if (n > 0 || (n < 0 && errno == EAGAIN)) {
        return 0;
    }
    close(e->fd);
    return n == 0 ? 1 : -1;
}

static double connect_rate(const char *addr, int port, int n, int conc)
{
    struct sockaddr_in sin = address(addr, port);
    Exchange *all = calloc((size_t)conc, sizeof(*all));
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    int started = 0, done = 0;
    double start = now();

    while (started < conc && started < n) {
        exchange_start(&all[started++], epfd, &sin);
    }
    while (done < n) {
        struct epoll_event events[64];
        int ready = epoll_wait(epfd, events, 64, 10000);

        for (int i = 0; i < ready; i++) {
            int turn = exchange_turn(events[i].data.ptr, epfd);

            done += turn > 0;
            if (turn < 0) {
                ready = 0;
            } else if (turn > 0 && started < n) {
                started++;
                exchange_start(events[i].data.ptr, epfd, &sin);
            }
        }
        if (ready <= 0) {
            done = -1;
            break;
        }
    }
    close(epfd);
    free(all);
    return done < 0 ? -1 : n / (now() - start);
}

static double bulk(const char *addr, int port, double seconds, bool out)
{
    int s = dial(addr, port, SOCK_STREAM);
    double start = now(), end = start + seconds, bytes = 0;

    while (s >= 0 && now() < end) {
        ssize_t n = out ? send(s, chunk, sizeof(chunk), MSG_NOSIGNAL)
                        : recv(s, chunk, sizeof(chunk), 0);

        if (n <= 0) {
            close(s);
            return -1;
        }
        bytes += (double)n;
    }
    if (s < 0) {
        return -1;
    }
    if (out) { /* until the other side has all of it */
        shutdown(s, SHUT_WR);
        recv(s, chunk, sizeof(chunk), 0);
    }
    end = now();
    close(s);
    return bytes * 8 / 1e6 / (end - start);
}

/* How many datagrams arrived so far; -1 without an answer. A flood may drown
 * the question. */
static double arrived(int s)
{
    char text[64];

    while (recv(s, text, sizeof(text), MSG_DONTWAIT) > 0) {
        /* a late answer */
    }
    for (int i = 0; i < 20; i++) {
        struct pollfd pfd = { .fd = s, .events = POLLIN };
        ssize_t n;

        send(s, "?", 1, 0);
        if (poll(&pfd, 1, 500) > 0 &&
            (n = recv(s, text, sizeof(text) - 1, 0)) > 0) {
            text[n] = 0;
            return atof(text);
        }
    }
    errno = ETIMEDOUT;
    return -1;
}

static double datagrams_out(const char *addr, int port, double seconds,
                            size_t size)
{
    struct sockaddr_in sin = address(addr, port);
    int s = dial(addr, port, SOCK_DGRAM);
    double before = arrived(s), after;

    flood(s, &sin, seconds, size);
    after = arrived(s);
    close(s);
    return before < 0 || after < 0 ? -1 : (after - before) / seconds;
}

static double datagrams_in(const char *addr, int port, double seconds,
                           size_t size)
{
    int s = dial(addr, port, SOCK_DGRAM);
    struct timeval quiet = { .tv_usec = 500000 };
    uint64_t count = 0;
    char text[64];

    snprintf(text, sizeof(text), "%f %zu", seconds, size);
    send(s, text, strlen(text), 0);
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet));
    while (recv(s, chunk, sizeof(chunk), 0) > 0) {
        count++;
    }
    close(s);
    return count ? (double)count / seconds : -1;
}

static double command(const char *line)
{
    char name[16], addr[64];
    double a = 0, b = 0;
    int port = 0;
    int n = sscanf(line, "%15s %63s %d %lf %lf", name, addr, &port, &a, &b);

    if (n >= 1 && !strcmp(name, "drop")) {
        return close_idle();
    } else if (n < 4) {
        return -1;
    } else if (!strcmp(name, "idle")) {
        return open_idle(addr, port, (int)a);
    } else if (!strcmp(name, "rtt")) {
        return round_trips(addr, port, (int)a);
    } else if (!strcmp(name, "crr")) {
        return connect_rate(addr, port, (int)a, (int)b);
    } else if (!strcmp(name, "send") || !strcmp(name, "recv")) {
        return bulk(addr, port, a, name[0] == 's');
    } else if (!strcmp(name, "usend")) {
        return datagrams_out(addr, port, a, (size_t)b);
    } else if (!strcmp(name, "urecv")) {
        return datagrams_in(addr, port, a, (size_t)b);
    }
    return -1;
}

static int guest(void)
{
    char line[256];

    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        double value;

        errno = 0;
        value = command(line);
        if (value < 0) {
            printf("error %s\n", errno ? strerror(errno) : "no answer");
        } else {
            printf("%.9g\n", value);
        }
        fflush(stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    raise_limit();
    if (argc == 2 && !strcmp(argv[1], "serve")) {
        return serve();
    }
    if (argc == 2 && !strcmp(argv[1], "guest")) {
        return guest();
    }
    fprintf(stderr, "usage: bench-net serve | guest\n");
    return 2;
}
