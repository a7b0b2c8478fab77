/* SPDX-License-Identifier: BSD-3-Clause */
/* A listening unix socket that belongs to one user and one process. */
#ifndef SLIRP_REDIRECT_CONTROL_LISTENER_H
#define SLIRP_REDIRECT_CONTROL_LISTENER_H

#include <sys/types.h>

#include "control/place.h"

typedef struct Listener {
    int fd; /* -1 = none */
    Place place;
    pid_t owner; /* a child of a fork must not remove the socket */
    dev_t dev;
    ino_t ino;
} Listener;

/*
 * Makes a socket of mode 0600 at path that already listens. One that nobody
 * listens on any more is replaced; a live one and any other file are left
 * alone. False with *error (g_free()).
 */
bool listener_open(Listener *listener, const char *path, char **error);
/* Removes the socket, if it is still the one that was made. */
void listener_close(Listener *listener);
/*
 * The next connection, non-blocking and close-on-exec, or -1: with EAGAIN if
 * there is none, with EPERM if it was another user's and has been closed.
 */
int listener_accept(const Listener *listener);

#endif
