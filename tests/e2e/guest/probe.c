/* SPDX-License-Identifier: BSD-3-Clause */
/* Command loop of the guest's probe agent, with the helpers all commands use.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

int probe_limit_ms = 20000;

/* ---- verdict lines ---- */

static void verdict_putc(Verdict *v, char c)
{
    if (v->len < sizeof(v->line) - 2) { /* room for the newline */
        v->line[v->len++] = c;
    }
}

void verdict_bytes(Verdict *v, const char *key, const void *data, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    const unsigned char *p = data;

    if (v->len > 0) {
        verdict_putc(v, ' ');
    }
    while (*key) {
        verdict_putc(v, *key++);
    }
    verdict_putc(v, '=');
    for (size_t i = 0; i < len; i++) {
        if (p[i] > ' ' && p[i] < 0x7f && p[i] != '%') {
            verdict_putc(v, p[i]);
        } else {
            verdict_putc(v, '%');
            verdict_putc(v, hex[p[i] >> 4]);
            verdict_putc(v, hex[p[i] & 15]);
        }
    }
}

void verdict_text(Verdict *v, const char *key, const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    verdict_bytes(v, key, text, strlen(text));
}

void verdict_errno(Verdict *v, int err)
{
    const char *word = "error";
    const char *name = strerrorname_np(err);

    switch (err) {
    case ECONNREFUSED:
        word = "refused";
        break;
    case ENETUNREACH:
    case EHOSTUNREACH:
        word = "unreachable";
        break;
    case EACCES:
    case EPERM:
        word = "prohibited";
        break;
    case ETIMEDOUT:
        word = "timeout";
        break;
    case ECONNRESET:
    case EPIPE:
        word = "reset";
        break;
    }
    verdict_text(v, "verdict", "%s", word);
    verdict_text(v, "errno", "%s", name ? name : "?");
}

void verdict_resolver(Verdict *v, int err)
{
    verdict_text(v, "verdict", "unresolved");
    verdict_text(v, "reason", "%s", gai_strerror(err));
}

size_t text_decode(char *text)
{
    char *out = text;

    for (char *in = text; *in; out++) {
        if (in[0] == '%' && isxdigit(in[1]) && isxdigit(in[2])) {
            const char digits[] = { in[1], in[2], '\0' };

            *out = (char)strtoul(digits, NULL, 16);
            in += 3;
        } else {
            *out = *in++;
        }
    }
    return out - text;
}

/* ---- sockets ---- */

int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

int wait_for(int fd, short events, int64_t deadline_ms)
{
    struct pollfd pfd = { .fd = fd, .events = events };

    for (;;) {
        int64_t left = deadline_ms - now_ms();
        int n = poll(&pfd, 1, left > 0 ? left : 0);

        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            errno = ETIMEDOUT;
            return -1;
        }
        if (errno != EINTR) {
            return -1;
        }
    }
}

int net_socket(const struct addrinfo *ai, const char *dev)
{
    int fd =
        socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK, ai->ai_protocol);

    if (fd >= 0 && dev &&
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, dev, strlen(dev)) < 0) {
        int err = errno;

        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

int net_resolve(const char *host, const char *port, int type,
                struct addrinfo **out)
{
    struct addrinfo hints = { .ai_socktype = type };

    return getaddrinfo(host, port, &hints, out);
}

int net_connect(const struct addrinfo *ai, const char *dev)
{
    int fd = net_socket(ai, dev);
    int err = 0;
    socklen_t len = sizeof(err);

    if (fd < 0) {
        return -1;
    }
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
        err = errno;
        if (err == EINPROGRESS) {
            err = 0;
            if (wait_for(fd, POLLOUT, now_ms() + probe_limit_ms) < 0) {
                err = errno;
            } else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0) {
                err = errno;
            }
        }
    }
    if (err) {
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

void net_name(const struct sockaddr *sa, socklen_t len, char *out, size_t size)
{
    char host[64] = "?", port[16] = "?";

    getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(out, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

/* ---- commands about the guest itself ---- */

static void cmd_limit(Verdict *v, int argc, char **argv)
{
    (void)argc;
    probe_limit_ms = atoi(argv[1]);
    verdict_text(v, "verdict", "ok");
}

static void cmd_ifaces(Verdict *v, int argc, char **argv)
{
    struct ifaddrs *list, *i;

    (void)argc;
    (void)argv;
    if (getifaddrs(&list) < 0) {
        verdict_errno(v, errno);
        return;
    }
    verdict_text(v, "verdict", "ok");
    for (i = list; i; i = i->ifa_next) {
        const void *addr;
        char text[INET6_ADDRSTRLEN];

        if (!i->ifa_addr || (i->ifa_flags & IFF_LOOPBACK)) {
            continue;
        }
        if (i->ifa_addr->sa_family == AF_INET) {
            addr = &((struct sockaddr_in *)i->ifa_addr)->sin_addr;
        } else if (i->ifa_addr->sa_family == AF_INET6) {
            addr = &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;
        } else {
            continue;
        }
        inet_ntop(i->ifa_addr->sa_family, addr, text, sizeof(text));
        verdict_text(v, i->ifa_name, "%s", text);
    }
    freeifaddrs(list);
}

/* Runs a busybox applet; its output (both streams) is part of the verdict. */
static void cmd_run(Verdict *v, int argc, char **argv)
{
    static char output[4096];
    char drop[512];
    size_t len = 0;
    ssize_t n;
    int pipefd[2], status = -1;
    pid_t pid;

    (void)argc;
    if (pipe(pipefd) < 0 || (pid = fork()) < 0) {
        verdict_errno(v, errno);
        return;
    }
    if (pid == 0) {
        dup2(pipefd[1], 1);
        dup2(pipefd[1], 2);
        close(pipefd[0]);
        close(pipefd[1]);
        argv[0] = "busybox";
        execv("/bin/busybox", argv);
        _exit(127);
    }
    close(pipefd[1]);
    for (;;) {
        size_t room = sizeof(output) - len;

        n = room ? read(pipefd[0], output + len, room)
                 : read(pipefd[0], drop, sizeof(drop));
        if (n <= 0) {
            break;
        }
        len += room ? (size_t)n : 0;
    }
    close(pipefd[0]);
    waitpid(pid, &status, 0);
    verdict_text(v, "verdict", status == 0 ? "ok" : "failed");
    verdict_text(v, "status", "%d",
                 WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    verdict_bytes(v, "output", output, len);
}

/* ---- the loop ---- */

static const Command commands[] = {
    { "http", 1, 2, "URL [DEV]", cmd_http },
    { "tcp", 2, 3, "HOST PORT [DEV]", cmd_tcp },
    { "fetch", 3, 4, "HOST PORT BYTES [DEV]", cmd_fetch },
    { "send", 4, 5, "HOST PORT BYTES SEED [DEV]", cmd_send },
    { "half-close", 3, 4, "HOST PORT TEXT [DEV]", cmd_half_close },
    { "udp", 4, 5, "HOST PORT TEXT TIMEOUT_MS [DEV]", cmd_udp },
    { "udp-fan", 4, PROBE_MAX_ARGS - 1, "TIMEOUT_MS {TEXT HOST PORT}...",
      cmd_udp_fan },
    { "ping", 1, 2, "HOST [DEV]", cmd_ping },
    { "resolve", 1, 2, "NAME [SERVER]", cmd_resolve },
    { "ifaces", 0, 0, "", cmd_ifaces },
    { "limit", 1, 1, "MS", cmd_limit },
    { "run", 1, PROBE_MAX_ARGS - 1, "APPLET [ARG]...", cmd_run },
};

static int split(char *line, char **argv, int max)
{
    char *save = NULL;
    int argc = 0;

    for (char *word = strtok_r(line, " \r\n", &save); word && argc < max;
         word = strtok_r(NULL, " \r\n", &save)) {
        argv[argc++] = word;
    }
    argv[argc] = NULL;
    return argc;
}

static void execute(Verdict *v, int argc, char **argv)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        const Command *c = &commands[i];

        if (strcmp(c->name, argv[0])) {
            continue;
        }
        if (argc - 1 < c->min_args || argc - 1 > c->max_args) {
            verdict_text(v, "verdict", "usage");
            verdict_text(v, "usage", "%s %s", c->name, c->usage);
            return;
        }
        c->run(v, argc, argv);
        return;
    }
    verdict_text(v, "verdict", "unknown-command");
}

void probe_serve(int port)
{
    FILE *in = fdopen(port, "r");
    char line[PROBE_MAX_LINE];
    char *argv[PROBE_MAX_ARGS + 1];

    if (!in) {
        return;
    }
    while (fgets(line, sizeof(line), in)) {
        static Verdict v;
        int argc = split(line, argv, PROBE_MAX_ARGS);

        if (argc == 0) {
            continue;
        }
        if (!strcmp(argv[0], "poweroff")) {
            return;
        }
        v.len = 0;
        execute(&v, argc, argv);
        v.line[v.len++] = '\n';
        for (size_t done = 0; done < v.len;) {
            ssize_t n = write(port, v.line + done, v.len - done);

            if (n <= 0) {
                return;
            }
            done += n;
        }
    }
}
