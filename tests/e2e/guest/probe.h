/* SPDX-License-Identifier: BSD-3-Clause */
/* The guest's probe agent: commands in, exactly one verdict line out. */
#ifndef PROBE_H
#define PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <netdb.h>

enum { PROBE_MAX_ARGS = 32, PROBE_MAX_LINE = 2048, PROBE_CHUNK = 65536 };

/*
 * A verdict is a line of KEY=VALUE words, values percent-encoded; its first
 * word is always verdict=WORD. What a command calls TEXT is percent-encoded
 * too, so that it may hold any byte.
 */
typedef struct Verdict {
    char line[8192];
    size_t len;
} Verdict;

typedef struct Command {
    const char *name;
    int min_args, max_args; /* without the name */
    const char *usage;
    void (*run)(Verdict *v, int argc, char **argv);
} Command;

/* How long a command waits for the network, set by `limit MS`. */
extern int probe_limit_ms;

void verdict_bytes(Verdict *v, const char *key, const void *data, size_t len);
void verdict_text(Verdict *v, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* verdict=refused, unreachable, timeout... and errno=NAME. */
void verdict_errno(Verdict *v, int err);
void verdict_resolver(Verdict *v, int err);

/* Decodes a TEXT in place; its length. */
size_t text_decode(char *text);

/* Serves commands until the host closes the port or says poweroff. */
void probe_serve(int port);

int64_t now_ms(void);
/* Waits for poll(2) events on fd: 0, or -1 with errno (ETIMEDOUT). */
int wait_for(int fd, short events, int64_t deadline_ms);

/*
 * The sockets below are non-blocking and, with a device name (NULL for none),
 * bound to that interface.
 */
int net_socket(const struct addrinfo *ai, const char *dev);
int net_resolve(const char *host, const char *port, int type,
                struct addrinfo **out);
/* Connects within the limit: the socket, or -1 with errno. */
int net_connect(const struct addrinfo *ai, const char *dev);
/* ADDRESS:PORT or [ADDRESS]:PORT. */
void net_name(const struct sockaddr *sa, socklen_t len, char *out, size_t size);

/* stream.c */
void cmd_http(Verdict *v, int argc, char **argv);
void cmd_tcp(Verdict *v, int argc, char **argv);
void cmd_fetch(Verdict *v, int argc, char **argv);
void cmd_send(Verdict *v, int argc, char **argv);
void cmd_half_close(Verdict *v, int argc, char **argv);

/* datagram.c */
void cmd_udp(Verdict *v, int argc, char **argv);
void cmd_udp_fan(Verdict *v, int argc, char **argv);
void cmd_ping(Verdict *v, int argc, char **argv);
void cmd_resolve(Verdict *v, int argc, char **argv);

#endif
