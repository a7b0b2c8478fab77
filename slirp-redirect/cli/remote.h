/* SPDX-License-Identifier: BSD-3-Clause */
/* Talks to the control socket of a running instance. */
#ifndef SLIRP_REDIRECT_CLI_REMOTE_H
#define SLIRP_REDIRECT_CLI_REMOTE_H

#include <glib.h>
#include <stdbool.h>

typedef struct Remote {
    int fd;      /* -1 = not connected */
    GString *in; /* received, not returned yet */
} Remote;

typedef struct RemoteReply {
    bool ok;
    char *code; /* of an error */
    GString *body;
} RemoteReply;

/*
 * Connects to a socket: a path, the name of one in the default directory
 * ("1234.1"), or, with NULL, the only one there. False with error; the message
 * lists the instances if there are several.
 */
bool remote_open(Remote *remote, const char *socket, GError **error);
void remote_close(Remote *remote);
/* Sends text, which ends with a newline. False with error. */
bool remote_send(Remote *remote, const char *text, gsize len, GError **error);
/* Waits for one reply; remote_reply_clear() it. */
bool remote_receive(Remote *remote, RemoteReply *reply, GError **error);
bool remote_ask(Remote *remote, const char *line, RemoteReply *reply,
                GError **error);
void remote_reply_clear(RemoteReply *reply);

#endif
