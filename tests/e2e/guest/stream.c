/* SPDX-License-Identifier: BSD-3-Clause */
/* Probe commands over TCP. */
#include <errno.h>
#include <linux/if_alg.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "probe.h"

/* ---- SHA-256 by the kernel ---- */

static int sha256_open(void)
{
    struct sockaddr_alg alg = { .salg_family = AF_ALG,
                                .salg_type = "hash",
                                .salg_name = "sha256" };
    int base = socket(AF_ALG, SOCK_SEQPACKET, 0);
    int fd = -1;

    if (base >= 0) {
        if (bind(base, (struct sockaddr *)&alg, sizeof(alg)) == 0) {
            fd = accept(base, NULL, NULL);
        }
        close(base);
    }
    return fd;
}

static bool sha256_update(int fd, const void *data, size_t len)
{
    return send(fd, data, len, MSG_MORE) == (ssize_t)len;
}

/* Appends sha256=HEX and closes fd. */
static void sha256_verdict(Verdict *v, int fd)
{
    unsigned char digest[32];
    char hex[2 * sizeof(digest) + 1];

    if (send(fd, "", 0, 0) == 0 &&
        read(fd, digest, sizeof(digest)) == sizeof(digest)) {
        for (size_t i = 0; i < sizeof(digest); i++) {
            sprintf(hex + 2 * i, "%02x", digest[i]);
        }
        verdict_text(v, "sha256", "%s", hex);
    }
    close(fd);
}

/* ---- blocking-like I/O with the limit as its bound ---- */

static ssize_t stream_read(int fd, void *buf, size_t size)
{
    if (wait_for(fd, POLLIN, now_ms() + probe_limit_ms) < 0) {
        return -1;
    }
    return read(fd, buf, size);
}

static bool stream_write(int fd, const char *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

        if (n >= 0) {
            buf += n;
            len -= n;
        } else if (errno != EAGAIN ||
                   wait_for(fd, POLLOUT, now_ms() + probe_limit_ms) < 0) {
            return false;
        }
    }
    return true;
}

/* Reads to the end of the stream; what exceeds size is counted only. */
static ssize_t stream_read_all(int fd, char *buf, size_t size)
{
    static char drop[PROBE_CHUNK];
    size_t total = 0;

    for (;;) {
        bool room = total < size;
        ssize_t n = room ? stream_read(fd, buf + total, size - total)
                         : stream_read(fd, drop, sizeof(drop));

        if (n < 0) {
            return -1;
        }
        if (n == 0) {
            return total;
        }
        total += n;
    }
}

/* Resolves and connects; on failure the verdict is already written. */
static int stream_open(Verdict *v, const char *host, const char *port,
                       const char *dev)
{
    struct addrinfo *ai;
    int err = net_resolve(host, port, SOCK_STREAM, &ai);
    int fd;

    if (err) {
        verdict_resolver(v, err);
        return -1;
    }
    fd = net_connect(ai, dev);
    if (fd < 0) {
        verdict_errno(v, errno);
    }
    freeaddrinfo(ai);
    return fd;
}

/* ---- commands ---- */

void cmd_tcp(Verdict *v, int argc, char **argv)
{
    int64_t start = now_ms();
    int fd = stream_open(v, argv[1], argv[2], argc > 3 ? argv[3] : NULL);

    if (fd >= 0) {
        verdict_text(v, "verdict", "connected");
        close(fd);
    }
    verdict_text(v, "ms", "%lld", (long long)(now_ms() - start));
}

typedef struct Url {
    char host[256], port[8], path[1024];
} Url;

static bool url_parse(Url *url, const char *text)
{
    const char *fmt[] = { "http://[%255[^]]]:%7[0-9]%1023s",
                          "http://[%255[^]]]%1023s",
                          "http://%255[^]:/[]:%7[0-9]%1023s",
                          "http://%255[^]:/[]%1023s" };

    for (int i = 0; i < 4; i++) {
        bool with_port = i % 2 == 0;
        int n;

        strcpy(url->port, "80");
        strcpy(url->path, "/");
        n = with_port ? sscanf(text, fmt[i], url->host, url->port, url->path)
                      : sscanf(text, fmt[i], url->host, url->path);
        if (n >= (with_port ? 2 : 1) && url->path[0] == '/') {
            return true;
        }
    }
    return false;
}

void cmd_http(Verdict *v, int argc, char **argv)
{
    static char reply[PROBE_CHUNK];
    char request[2048];
    Url url;
    char *body;
    ssize_t n;
    int fd, status = 0;

    if (!url_parse(&url, argv[1])) {
        verdict_text(v, "verdict", "usage");
        return;
    }
    fd = stream_open(v, url.host, url.port, argc > 2 ? argv[2] : NULL);
    if (fd < 0) {
        return;
    }
    snprintf(request, sizeof(request),
             strchr(url.host, ':') ? "GET %s HTTP/1.0\r\nHost: [%s]\r\n\r\n"
                                   : "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n",
             url.path, url.host);
    if (!stream_write(fd, request, strlen(request)) ||
        (n = stream_read_all(fd, reply, sizeof(reply) - 1)) < 0) {
        verdict_errno(v, errno);
        close(fd);
        return;
    }
    close(fd);
    reply[n < (ssize_t)sizeof(reply) ? n : (ssize_t)sizeof(reply) - 1] = '\0';
    sscanf(reply, "HTTP/%*d.%*d %d", &status);
    body = strstr(reply, "\r\n\r\n");
    verdict_text(v, "verdict", body ? "ok" : "garbage");
    verdict_text(v, "status", "%d", status);
    if (body) {
        body += 4;
        verdict_text(v, "bytes", "%zd", n - (body - reply));
        verdict_bytes(v, "body", body, strnlen(body, 1024));
    }
}

void cmd_fetch(Verdict *v, int argc, char **argv)
{
    static char buf[PROBE_CHUNK];
    long long wanted = atoll(argv[3]), got = 0;
    int64_t start = now_ms();
    ssize_t n = 0;
    int fd = stream_open(v, argv[1], argv[2], argc > 4 ? argv[4] : NULL);
    int hash;

    if (fd < 0) {
        return;
    }
    hash = sha256_open();
    while (hash >= 0 && (n = stream_read(fd, buf, sizeof(buf))) > 0) {
        sha256_update(hash, buf, n);
        got += n;
    }
    if (hash < 0 || n < 0) {
        verdict_errno(v, errno);
    } else {
        verdict_text(v, "verdict", got == wanted ? "ok" : "short");
    }
    verdict_text(v, "bytes", "%lld", got);
    verdict_text(v, "ms", "%lld", (long long)(now_ms() - start));
    if (hash >= 0) {
        sha256_verdict(v, hash);
    }
    close(fd);
}

/* Fills buf with the next part of a splitmix64 sequence. */
static void noise(uint64_t *state, char *buf, size_t len)
{
    for (size_t i = 0; i < len; i += sizeof(uint64_t)) {
        uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        memcpy(buf + i, &z, sizeof(z));
    }
}

/* The peer's answer after the end of our stream says that all has arrived. */
void cmd_send(Verdict *v, int argc, char **argv)
{
    static char buf[PROBE_CHUNK];
    char reply[256];
    long long left = atoll(argv[3]), sent = 0;
    uint64_t state = strtoull(argv[4], NULL, 0);
    int64_t start = now_ms();
    ssize_t n = -1;
    int fd = stream_open(v, argv[1], argv[2], argc > 5 ? argv[5] : NULL);
    int hash;

    if (fd < 0) {
        return;
    }
    hash = sha256_open();
    while (hash >= 0 && left > 0) {
        size_t part =
            left < (long long)sizeof(buf) ? (size_t)left : sizeof(buf);

        noise(&state, buf, sizeof(buf));
        if (!stream_write(fd, buf, part)) {
            break;
        }
        sha256_update(hash, buf, part);
        sent += part;
        left -= part;
    }
    if (hash >= 0 && left <= 0) {
        shutdown(fd, SHUT_WR);
        n = stream_read_all(fd, reply, sizeof(reply));
    }
    if (n < 0) {
        verdict_errno(v, errno);
    } else {
        verdict_text(v, "verdict", "ok");
        verdict_bytes(v, "reply", reply,
                      n < (ssize_t)sizeof(reply) ? (size_t)n : sizeof(reply));
    }
    verdict_text(v, "bytes", "%lld", sent);
    verdict_text(v, "ms", "%lld", (long long)(now_ms() - start));
    if (hash >= 0) {
        sha256_verdict(v, hash);
    }
    close(fd);
}

/* Says TEXT, ends its own direction and reads until the peer ends the other. */
void cmd_half_close(Verdict *v, int argc, char **argv)
{
    char reply[2048];
    ssize_t n;
    int fd = stream_open(v, argv[1], argv[2], argc > 4 ? argv[4] : NULL);

    if (fd < 0) {
        return;
    }
    if (!stream_write(fd, argv[3], text_decode(argv[3])) ||
        shutdown(fd, SHUT_WR) < 0 ||
        (n = stream_read_all(fd, reply, sizeof(reply))) < 0) {
        verdict_errno(v, errno);
    } else {
        verdict_text(v, "verdict", "ok");
        verdict_bytes(v, "reply", reply,
                      n < (ssize_t)sizeof(reply) ? (size_t)n : sizeof(reply));
    }
    close(fd);
}
