/* SPDX-License-Identifier: BSD-3-Clause */
/* The C library's functions, in front of the real ones. */
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int fault_inside;

static struct {
    FaultCall call;
    FaultKind kind;
    int err;
    unsigned first, last;
    unsigned seen, hits;
    unsigned calls[FAULT_CALLS + 1];
    int so_error;
    bool no_icmp_datagram, no_icmp_raw;
    int last_socket;
} state = { .last_socket = -1 };

static const char *const names[] = {
    [FAULT_SOCKET] = "socket",
    [FAULT_CONNECT] = "connect",
    [FAULT_BIND] = "bind",
    [FAULT_LISTEN] = "listen",
    [FAULT_ACCEPT] = "accept",
    [FAULT_SEND] = "send",
    [FAULT_RECV] = "recv",
    [FAULT_RECVMSG] = "recvmsg",
    [FAULT_SETSOCKOPT] = "setsockopt",
    [FAULT_GETSOCKOPT] = "getsockopt",
    [FAULT_NAME] = "getsockname",
    [FAULT_NAMEINFO] = "getnameinfo",
    [FAULT_FCNTL] = "fcntl",
    [FAULT_IOCTL] = "ioctl",
    [FAULT_SHUTDOWN] = "shutdown",
    [FAULT_OPEN] = "open",
    [FAULT_GETRANDOM] = "getrandom",
    [FAULT_EPOLL] = "epoll",
    [FAULT_ANY] = "any",
};

const char *fault_name(FaultCall call)
{
    return names[call];
}

void fault_arm(FaultCall call, FaultKind kind, int err, unsigned nth,
               unsigned times)
{
    fault_disarm();
    state.call = call;
    state.kind = kind;
    state.err = err;
    state.first = nth;
    state.last = times > G_MAXUINT - nth ? G_MAXUINT : nth + times - 1;
}

void fault_disarm(void)
{
    state.kind = FAULT_NONE;
    state.seen = state.hits = 0;
    memset(state.calls, 0, sizeof(state.calls));
}

void fault_so_error(int err)
{
    state.so_error = err;
}

void fault_no_icmp(bool datagram, bool raw)
{
    state.no_icmp_datagram = datagram;
    state.no_icmp_raw = raw;
}

unsigned fault_calls(FaultCall call)
{
    return state.calls[call];
}

unsigned fault_hits(void)
{
    return state.hits;
}

int fault_last_socket(void)
{
    return state.last_socket;
}

/* What is to become of this call. */
static FaultKind decide(FaultCall call)
{
    if (!fault_inside) {
        return FAULT_NONE;
    }
    state.calls[call]++;
    state.calls[FAULT_ANY]++;
    if (state.kind == FAULT_NONE ||
        (state.call != call && state.call != FAULT_ANY)) {
        return FAULT_NONE;
    }
    state.seen++;
    if (state.seen < state.first || state.seen > state.last) {
        return FAULT_NONE;
    }
    state.hits++;
    errno = state.err;
    return state.kind;
}

/* Calls that move no data cannot be short. */
static bool fails(FaultCall call)
{
    return decide(call) == FAULT_ERRNO;
}

static void *real(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    g_assert_nonnull(function);
    return function;
}

#define REAL(name) ((__typeof__(&name))real(#name))

static int keep_last(int fd)
{
    if (fault_inside && fd >= 0) {
        state.last_socket = fd;
    }
    return fd;
}

static bool is_refused_icmp(int type, int protocol)
{
    bool raw = (type & ~SOCK_CLOEXEC) == SOCK_RAW;

    return fault_inside &&
           (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) &&
           (raw ? state.no_icmp_raw : state.no_icmp_datagram);
}

int socket(int domain, int type, int protocol)
{
    if (is_refused_icmp(type, protocol)) {
        errno = EACCES;
        return -1;
    }
    return fails(FAULT_SOCKET)
               ? -1
               : keep_last(REAL(socket)(domain, type, protocol));
}

int accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    return fails(FAULT_ACCEPT) ? -1 : keep_last(REAL(accept)(fd, addr, len));
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
    return fails(FAULT_ACCEPT) ? -1
                               : keep_last(REAL(accept4)(fd, addr, len, flags));
}

int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    return fails(FAULT_CONNECT) ? -1 : REAL(connect)(fd, addr, len);
}

int bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    return fails(FAULT_BIND) ? -1 : REAL(bind)(fd, addr, len);
}

int listen(int fd, int backlog)
{
    return fails(FAULT_LISTEN) ? -1 : REAL(listen)(fd, backlog);
}

int shutdown(int fd, int how)
{
    return fails(FAULT_SHUTDOWN) ? -1 : REAL(shutdown)(fd, how);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    return fails(FAULT_SETSOCKOPT)
               ? -1
               : REAL(setsockopt)(fd, level, name, value, len);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    if (fails(FAULT_GETSOCKOPT)) {
        return -1;
    }
    if (fault_inside && state.so_error && level == SOL_SOCKET &&
        name == SO_ERROR) {
        *(int *)value = state.so_error;
        return 0;
    }
    return REAL(getsockopt)(fd, level, name, value, len);
}

int getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
    return fails(FAULT_NAME) ? -1 : REAL(getsockname)(fd, addr, len);
}

int getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
    return fails(FAULT_NAME) ? -1 : REAL(getpeername)(fd, addr, len);
}

int getnameinfo(const struct sockaddr *addr, socklen_t len, char *host,
                socklen_t host_len, char *service, socklen_t service_len,
                int flags)
{
    return fails(FAULT_NAMEINFO)
               ? EAI_FAIL
               : REAL(getnameinfo)(addr, len, host, host_len, service,
                                   service_len, flags);
}

/* The length that is left of len, or -1 if the call fails; 0 with *lost set
 * if it only seems to succeed. */
static ssize_t allowed(FaultCall call, size_t len, bool *lost)
{
    *lost = false;
    switch (decide(call)) {
    case FAULT_ERRNO:
        return -1;
    case FAULT_LOST:
        *lost = true;
        return 0;
    case FAULT_SHORT:
        return (ssize_t)MIN(len, 1);
    default:
        return (ssize_t)len;
    }
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    bool lost;
    ssize_t n = allowed(FAULT_SEND, len, &lost);

    if (lost) {
        return (ssize_t)len;
    }
    return n < 0 ? -1 : REAL(send)(fd, data, (size_t)n, flags);
}

ssize_t sendto(int fd, const void *data, size_t len, int flags,
               const struct sockaddr *addr, socklen_t addr_len)
{
    bool lost;
    ssize_t n = allowed(FAULT_SEND, len, &lost);

    if (lost) {
        return (ssize_t)len;
    }
    return n < 0 ? -1
                 : REAL(sendto)(fd, data, (size_t)n, flags, addr, addr_len);
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    return fails(FAULT_SEND) ? -1 : REAL(sendmsg)(fd, msg, flags);
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    bool lost;
    ssize_t n = allowed(FAULT_RECV, len, &lost);

    return n < 0 ? -1 : REAL(recv)(fd, data, (size_t)n, flags);
}

ssize_t recvfrom(int fd, void *data, size_t len, int flags,
                 struct sockaddr *addr, socklen_t *addr_len)
{
    bool lost;
    ssize_t n = allowed(FAULT_RECV, len, &lost);

    return n < 0 ? -1
                 : REAL(recvfrom)(fd, data, (size_t)n, flags, addr, addr_len);
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    return fails(FAULT_RECVMSG) ? -1 : REAL(recvmsg)(fd, msg, flags);
}

ssize_t read(int fd, void *data, size_t len)
{
    bool lost;
    ssize_t n = allowed(FAULT_RECV, len, &lost);

    return n < 0 ? -1 : REAL(read)(fd, data, (size_t)n);
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    void *arg;

    va_start(args, command);
    arg = va_arg(args, void *);
    va_end(args);
    return fails(FAULT_FCNTL) ? -1 : REAL(fcntl)(fd, command, arg);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    return fails(FAULT_IOCTL) ? -1 : REAL(ioctl)(fd, request, arg);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(FAULT_OPEN) ? -1 : REAL(open)(path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return fails(FAULT_OPEN) ? NULL : REAL(fopen)(path, mode);
}

int stat(const char *path, struct stat *buf)
{
    return fails(FAULT_OPEN) ? -1 : REAL(stat)(path, buf);
}

ssize_t getrandom(void *buf, size_t len, unsigned flags)
{
    return fails(FAULT_GETRANDOM) ? -1 : REAL(getrandom)(buf, len, flags);
}

int epoll_create1(int flags)
{
    return fails(FAULT_EPOLL) ? -1 : REAL(epoll_create1)(flags);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    return fails(FAULT_EPOLL) ? -1 : REAL(epoll_ctl)(epfd, op, fd, event);
}

int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    return fails(FAULT_EPOLL) ? -1
                              : REAL(epoll_wait)(epfd, events, max, timeout);
}
