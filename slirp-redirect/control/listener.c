/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes, guards and removes a unix socket.
 *
 * Theory of operation. Two processes may want the same path at once, and a
 * socket that was bound but does not listen yet looks like a stale one. So the
 * look at what is there, bind() and listen() happen under a lock on the
 * directory, which leaves no lock file behind. The mode is set on the socket
 * before bind(): Linux gives the file the mode of the socket, so there is no
 * moment at which it is wider, and the umask of the process stays as it is.
 */
#include "control/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16, LOCK_TRIES = 200, LOCK_WAIT_US = 1000 };

static bool fail(char **error, const char *path, const char *why)
{
    *error = g_strdup_printf("%s: %s", path, why);
    return false;
}

static int new_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Others hold the lock for microseconds; whoever holds it for long must not
 * keep a virtual machine from starting. */
static bool lock(int dir_fd)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(dir_fd, LOCK_EX | LOCK_NB) == 0) {
            return true;
        }
        if (errno != EWOULDBLOCK && errno != EINTR) {
            return false;
        }
        g_usleep(LOCK_WAIT_US);
    }
    return false;
}

/* True if connecting is refused, which only a dead socket does. */
static bool is_stale(const struct sockaddr_un *sun)
{
    int s = new_socket();
    bool refused;

    if (s < 0) {
        return false;
    }
    refused = connect(s, (const struct sockaddr *)sun, sizeof(*sun)) < 0 &&
              errno == ECONNREFUSED;
    close(s);
    return refused;
}

static bool remove_stale(const Place *place, const struct sockaddr_un *sun,
                         char **error)
{
    struct stat st;

    if (fstatat(place->dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT || fail(error, place->path, g_strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return fail(error, place->path, "exists and is no socket");
    }
    if (!is_stale(sun)) {
        return fail(error, place->path,
                    "another instance uses this socket; %p and %n in the path "
                    "stand for the process ID and the number of the instance");
    }
    if (unlinkat(place->dir_fd, place->name, 0) < 0 && errno != ENOENT) {
        return fail(error, place->path, g_strerror(errno));
    }
    return true;
}

static bool bind_and_listen(Listener *listener, const struct sockaddr_un *sun,
                            char **error)
{
    const Place *place = &listener->place;
    struct stat st;

    if (fchmod(listener->fd, 0600) < 0 ||
        bind(listener->fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0) {
        return fail(error, place->path, g_strerror(errno));
    }
    /* The umask may have taken away from the mode, but nothing was added. */
    if (listen(listener->fd, BACKLOG) < 0 ||
        fstatat(place->dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        int err = errno;

        unlinkat(place->dir_fd, place->name, 0);
        return fail(error, place->path, g_strerror(err));
    }
    listener->owner = getpid();
    listener->dev = st.st_dev;
    listener->ino = st.st_ino;
    return true;
}

static bool take_path(Listener *listener, char **error)
{
    const Place *place = &listener->place;
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    bool ok;

    if (g_strlcpy(sun.sun_path, place->path, sizeof(sun.sun_path)) >=
        sizeof(sun.sun_path)) {
        return fail(error, place->path, "longer than a socket's path can be");
    }
    if (!lock(place->dir_fd)) {
        return fail(error, place->path, "cannot lock its directory");
    }
    ok = remove_stale(place, &sun, error) &&
         bind_and_listen(listener, &sun, error);
    flock(place->dir_fd, LOCK_UN);
    return ok;
}

bool listener_open(Listener *listener, const char *path, char **error)
{
    *listener = (Listener){ .fd = -1, .place = { .dir_fd = -1 } };
    if (!place_open(&listener->place, path, error)) {
        return false;
    }
    listener->fd = new_socket();
    if (listener->fd < 0) {
        fail(error, path, g_strerror(errno));
    } else if (take_path(listener, error)) {
        return true;
    }
    if (listener->fd >= 0) {
        close(listener->fd);
        listener->fd = -1;
    }
    place_close(&listener->place);
    return false;
}

void listener_close(Listener *listener)
{
    const Place *place = &listener->place;
    struct stat st;

    if (listener->fd < 0) {
        return;
    }
    close(listener->fd);
    listener->fd = -1;
    if (listener->owner == getpid() &&
        fstatat(place->dir_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == listener->dev && st.st_ino == listener->ino) {
        unlinkat(place->dir_fd, place->name, 0); /* a sandbox may forbid it */
    }
    place_close(&listener->place);
}

static bool is_allowed(int s)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);

    return getsockopt(s, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

int listener_accept(const Listener *listener)
{
    int s = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (s >= 0 && !is_allowed(s)) {
        close(s);
        errno = EPERM;
        return -1;
    }
    return s;
}
