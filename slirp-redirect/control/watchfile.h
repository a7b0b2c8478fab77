/* SPDX-License-Identifier: BSD-3-Clause */
/* Tells when a file has been written anew, by inotify(7). */
#ifndef SLIRP_REDIRECT_CONTROL_WATCHFILE_H
#define SLIRP_REDIRECT_CONTROL_WATCHFILE_H

#include <stdbool.h>

/* A descriptor to poll for reading, or -1 with *error (g_free()). */
int watchfile_open(const char *path, char **error);
/* Takes what there is to read; true if the file called name has been closed
 * after writing, or been replaced by a rename. Does not wait. */
bool watchfile_changed(int fd, const char *name);

#endif
