/* SPDX-License-Identifier: BSD-3-Clause */
/* Probe commands over UDP and ICMP, and the resolver. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

/*
 * The sockets stay unconnected, so that a reply from a wrong address is seen
 * and named rather than dropped by the guest's kernel; RECVERR brings ICMP
 * errors to them all the same.
 */
static int datagram_socket(const struct addrinfo *ai, const char *dev)
{
    int on = 1;
    int fd = net_socket(ai, dev);

    if (fd >= 0) {
        if (ai->ai_family == AF_INET6) {
            setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
        } else {
            setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
        }
    }
    return fd;
}

/* A reply, or -1 with errno; an ICMP error becomes its errno. */
static ssize_t datagram_receive(int fd, void *buf, size_t size, char *from,
                                size_t from_size, int64_t deadline_ms)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    ssize_t n;

    if (wait_for(fd, POLLIN, deadline_ms) < 0) {
        return -1;
    }
    n = recvfrom(fd, buf, size, 0, (struct sockaddr *)&ss, &len);
    if (n >= 0) {
        net_name((struct sockaddr *)&ss, len, from, from_size);
    }
    return n;
}

void cmd_udp(Verdict *v, int argc, char **argv)
{
    static char buf[2048];
    char from[96];
    struct addrinfo *ai;
    int64_t start = now_ms();
    ssize_t n = -1;
    int err = net_resolve(argv[1], argv[2], SOCK_DGRAM, &ai);
    int fd;

    if (err) {
        verdict_resolver(v, err);
        return;
    }
    fd = datagram_socket(ai, argc > 5 ? argv[5] : NULL);
    if (fd >= 0 && sendto(fd, argv[3], text_decode(argv[3]), 0, ai->ai_addr,
                          ai->ai_addrlen) >= 0) {
        n = datagram_receive(fd, buf, sizeof(buf), from, sizeof(from),
                             start + atoi(argv[4]));
    }
    if (n < 0) {
        verdict_errno(v, errno);
    } else {
        verdict_text(v, "verdict", "reply");
        verdict_bytes(v, "text", buf, n);
        verdict_text(v, "from", "%s", from);
    }
    verdict_text(v, "ms", "%lld", (long long)(now_ms() - start));
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(ai);
}

/* Sends TEXT by *fd, which is opened if it is -1: 0, or an errno. */
static int fan_send(int *fd, char *text, const char *host, const char *port)
{
    struct addrinfo *ai;
    int err = 0;

    if (net_resolve(host, port, SOCK_DGRAM, &ai)) {
        return EINVAL;
    }
    if (*fd < 0) {
        *fd = datagram_socket(ai, NULL);
    }
    if (*fd < 0 || sendto(*fd, text, text_decode(text), 0, ai->ai_addr,
                          ai->ai_addrlen) < 0) {
        err = errno;
    }
    freeaddrinfo(ai);
    return err;
}

/* Appends replyN=TEXT@ADDRESS:PORT for the next datagram: 0, or an errno. */
static int fan_receive(Verdict *v, int fd, int number, int64_t deadline_ms)
{
    static char buf[1024 + 100];
    char from[96], key[16];
    ssize_t n =
        datagram_receive(fd, buf, 1024, from, sizeof(from), deadline_ms);

    if (n < 0) {
        return errno;
    }
    if (number == 1) {
        verdict_text(v, "verdict", "reply");
    }
    snprintf(key, sizeof(key), "reply%d", number);
    n += sprintf(buf + n, "@%s", from);
    verdict_bytes(v, key, buf, n);
    return 0;
}

/*
 * One socket, one datagram to each of several destinations; one replyN for
 * each answer, in the order of arrival.
 */
void cmd_udp_fan(Verdict *v, int argc, char **argv)
{
    int64_t deadline = now_ms() + atoi(argv[1]);
    int fd = -1, sent = 0, got = 0, failed = 0;

    for (int i = 2; i + 2 < argc && !failed; i += 3) {
        failed = fan_send(&fd, argv[i], argv[i + 1], argv[i + 2]);
        sent++;
    }
    while (!failed && got < sent) {
        failed = fan_receive(v, fd, got + 1, deadline);
        got += !failed;
    }
    if (failed && got == 0) {
        verdict_errno(v, failed);
    }
    verdict_text(v, "replies", "%d", got);
    if (fd >= 0) {
        close(fd);
    }
}

/* The kernel's ping sockets fill in identifier and checksum. */
void cmd_ping(Verdict *v, int argc, char **argv)
{
    struct icmphdr echo = { .type = ICMP_ECHO, .un.echo.sequence = htons(1) };
    struct addrinfo *ai;
    char from[96];
    char buf[256];
    int64_t start = now_ms();
    ssize_t n = -1;
    int err = net_resolve(argv[1], NULL, SOCK_DGRAM, &ai);
    int fd;

    if (err) {
        verdict_resolver(v, err);
        return;
    }
    ai->ai_protocol = IPPROTO_ICMP;
    if (ai->ai_family == AF_INET6) {
        ai->ai_protocol = IPPROTO_ICMPV6;
        echo.type = ICMP6_ECHO_REQUEST;
    }
    fd = datagram_socket(ai, argc > 2 ? argv[2] : NULL);
    if (fd >= 0 &&
        sendto(fd, &echo, sizeof(echo), 0, ai->ai_addr, ai->ai_addrlen) >= 0) {
        n = datagram_receive(fd, buf, sizeof(buf), from, sizeof(from),
                             start + probe_limit_ms);
    }
    if (n < 0) {
        verdict_errno(v, errno);
    } else {
        verdict_text(v, "verdict", "reply");
    }
    verdict_text(v, "ms", "%lld", (long long)(now_ms() - start));
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(ai);
}

/* ---- names ---- */

static bool copy_file(const char *from, const char *to)
{
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    bool ok = in && out;
    int c;

    while (ok && (c = fgetc(in)) != EOF) {
        fputc(c, out);
    }
    if (in) {
        fclose(in);
    }
    if (out) {
        ok = fclose(out) == 0 && ok;
    }
    return ok;
}

/* glibc sees a changed resolv.conf by itself. */
static void resolver_use(const char *server)
{
    FILE *f = fopen("/etc/resolv.conf", "w");

    if (f) {
        fprintf(f, "nameserver %s\noptions timeout:20 attempts:1\n", server);
        fclose(f);
    }
}

void cmd_resolve(Verdict *v, int argc, char **argv)
{
    struct addrinfo *list = NULL, *ai;
    bool own = argc > 2 && copy_file("/etc/resolv.conf", "/etc/resolv.dhcp");
    char text[2048] = "";
    int err;

    if (argc > 2) {
        resolver_use(argv[2]);
    }
    err = net_resolve(argv[1], NULL, SOCK_STREAM, &list);
    if (own) {
        rename("/etc/resolv.dhcp", "/etc/resolv.conf");
    }
    if (err) {
        verdict_resolver(v, err);
        return;
    }
    for (ai = list; ai; ai = ai->ai_next) {
        char host[64];
        size_t len = strlen(text);

        getnameinfo(ai->ai_addr, ai->ai_addrlen, host, sizeof(host), NULL, 0,
                    NI_NUMERICHOST);
        snprintf(text + len, sizeof(text) - len, "%s%s", len ? "," : "", host);
    }
    freeaddrinfo(list);
    verdict_text(v, "verdict", "ok");
    verdict_text(v, "addresses", "%s", text);
}
