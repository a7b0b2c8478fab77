/* SPDX-License-Identifier: BSD-3-Clause */
/* Paths of files that an instance keeps: patterns, and where sockets are. */
#ifndef SLIRP_REDIRECT_CONTROL_PLACE_H
#define SLIRP_REDIRECT_CONTROL_PLACE_H

#include <glib.h>
#include <stdbool.h>

/* The value of SLIRP_REDIRECT_CONTROL that stands for the default place. */
#define PLACE_AUTO "auto"
#define PLACE_SUFFIX ".sock"
/* The name of a socket in place_default_dir(). */
#define PLACE_PATTERN "%p.%n" PLACE_SUFFIX

/*
 * A file, named by the directory that was there when it was opened: it is
 * still found after the process has changed its root, as sandboxes do.
 */
typedef struct Place {
    int dir_fd; /* -1 = none */
    char *name; /* within that directory */
    char *path; /* absolute, for messages */
} Place;

/*
 * Replaces %p by the process ID, %n by the number of the instance and %% by a
 * percent sign. NULL with *error (g_free()) for anything else after a "%".
 */
char *place_expand(const char *pattern, unsigned instance, char **error);
/*
 * The user's own directory for control sockets: slirp-redirect below
 * XDG_RUNTIME_DIR, or below /run/user/UID, or /tmp/slirp-redirect-UID.
 */
char *place_default_dir(void);
/* Makes that directory; false with *error if it cannot be trusted. */
bool place_make_dir(const char *dir, char **error);

/* False with *error if the directory of path cannot be opened. */
bool place_open(Place *place, const char *path, char **error);
void place_close(Place *place);

#endif
