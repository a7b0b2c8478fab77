/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watches the directory, since a file that is replaced is another file. A new
 * file does not count before it is closed: it is still empty then, and an
 * empty rule file is a valid one that lets everything pass.
 */
#include "control/watchfile.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

int watchfile_open(const char *path, char **error)
{
    g_autofree char *dir = g_path_get_dirname(path);
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fd < 0 ||
        inotify_add_watch(fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO) < 0) {
        *error = g_strdup_printf("cannot watch %s: %s", dir, g_strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

bool watchfile_changed(int fd, const char *name)
{
    char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool changed = false;
    ssize_t n = read(fd, buf, sizeof(buf));

    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const void *)(buf + at);

        /* After an overflow nobody knows, so look. */
        changed |= (event->mask & IN_Q_OVERFLOW) != 0 ||
                   (event->len > 0 && strcmp(event->name, name) == 0);
        at += (ssize_t)sizeof(*event) + event->len;
    }
    return changed;
}
