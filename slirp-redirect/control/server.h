/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Serves the control protocol on a unix socket, within somebody's poll cycle.
 *
 * Theory of operation. The owner calls server_fill() before each poll and
 * server_poll() after it; nothing here waits. A client is read only while
 * nothing is left to write to it, so one reply is all that it can make us
 * keep; one command of each client is done in a cycle. Bounds: clients, bytes
 * of a line and of a payload, and the time without progress after which a
 * client that does not read is cut off. A new client beyond the bound takes
 * the place of the one that was idle longest.
 */
#ifndef SLIRP_REDIRECT_CONTROL_SERVER_H
#define SLIRP_REDIRECT_CONTROL_SERVER_H

#include <stdint.h>

#include "control/listener.h"

enum {
    SERVER_CLIENTS_MAX = 8,
    SERVER_LINE_MAX = 8192, /* bytes, newline included */
    SERVER_PAYLOAD_MAX = 4 << 20,
    SERVER_STALL_MS = 10000,
};

/* Events, with the values that libslirp gives them. */
enum { SERVER_POLL_IN = 1 << 0, SERVER_POLL_OUT = 1 << 1 };

typedef struct Server Server;

typedef struct ServerOps {
    /* Does one command, and appends its whole reply. payload is NULL unless
     * the line asked for one. False: close the connection after it. */
    bool (*command)(void *opaque, const char *line, const GString *payload,
                    GString *reply);
    /* Around the life of a descriptor that will be polled. */
    void (*watch)(void *opaque, int fd);
    void (*unwatch)(void *opaque, int fd);
} ServerOps;

/* Takes over *listener. */
Server *server_new(Listener *listener, const ServerOps *ops, void *opaque);
void server_free(Server *server);

/* Adds what is to be polled; add() returns an index for this cycle. Lowers
 * *timeout_ms if there is something to do earlier. */
void server_fill(Server *server, uint32_t now_ms, uint32_t *timeout_ms,
                 int (*add)(int fd, int events, void *opaque), void *opaque);
/* ready() gives the events of an index; NULL: unknown, so try everything. */
void server_poll(Server *server, uint32_t now_ms,
                 int (*ready)(int index, void *opaque), void *opaque);

unsigned server_clients(const Server *server);
const char *server_path(const Server *server);

#endif
