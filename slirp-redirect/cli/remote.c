/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds running instances, sends commands, reads replies. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"
#include "control/place.h"
#include "control/reply.h"
#include "remote.h"

enum { STATUS_MAX = 256, REPLY_MAX_BYTES = 1 << 30 };

static bool fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, CLI_ERROR, CLI_ERROR_USAGE, message);
    return false;
}

/* A connected socket, or -1 with errno. */
static int connect_to(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (g_strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
        sizeof(sun.sun_path))
        errno = ENAMETOOLONG;
    else if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* The sockets of the default directory that somebody listens on. */
static GPtrArray *discover(const char *dir)
{
    GPtrArray *found = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) handle = g_dir_open(dir, 0, NULL);
    const char *name;

    while (handle && (name = g_dir_read_name(handle))) {
        if (!g_str_has_suffix(name, PLACE_SUFFIX))
            continue;
        g_autofree char *path = g_build_filename(dir, name, NULL);
        int fd = connect_to(path);
        if (fd >= 0) {
            close(fd);
            g_ptr_array_add(found, g_steal_pointer(&path));
        } else if (errno == ECONNREFUSED) {
            unlink(path); /* its process was killed */
        }
    }
    return found;
}

/* The program behind a socket, from its name PID.N.sock; g_free(). */
static char *program_of(const char *path)
{
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *comm = g_strdup_printf("/proc/%" G_GUINT64_FORMAT "/comm",
                                            g_ascii_strtoull(name, NULL, 10));
    char *program = NULL;

    if (!g_file_get_contents(comm, &program, NULL, NULL))
        return g_strdup("?");
    return g_strstrip(program);
}

static char *choose(GError **error)
{
    g_autofree char *dir = place_default_dir();
    g_autoptr(GPtrArray) found = discover(dir);

    if (found->len == 1)
        return g_strdup(found->pdata[0]);
    if (found->len == 0) {
        fail(error,
             "no running instance in %s; name its socket with --socket, or "
             "start the program with slirp-redirect run --control auto",
             dir);
        return NULL;
    }
    g_autoptr(GString) list = g_string_new("several instances are running; "
                                           "choose one:");
    for (unsigned i = 0; i < found->len; i++) {
        g_autofree char *program = program_of(found->pdata[i]);
        g_string_append_printf(list, "\n  --socket %s  (%s)",
                               (char *)found->pdata[i], program);
    }
    fail(error, "%s", list->str);
    return NULL;
}

static char *socket_path(const char *word)
{
    if (strchr(word, '/') || g_file_test(word, G_FILE_TEST_EXISTS))
        return g_strdup(word);
    g_autofree char *dir = place_default_dir();
    const char *suffix =
        g_str_has_suffix(word, PLACE_SUFFIX) ? "" : PLACE_SUFFIX;
    return g_strconcat(dir, "/", word, suffix, NULL);
}

bool remote_open(Remote *remote, const char *socket, GError **error)
{
    g_autofree char *path = socket ? socket_path(socket) : choose(error);

    *remote = (Remote){ .fd = -1 };
    if (!path)
        return false;
    remote->fd = connect_to(path);
    if (remote->fd < 0)
        return fail(error, "%s: %s", path, g_strerror(errno));
    remote->in = g_string_new(NULL);
    return true;
}

void remote_close(Remote *remote)
{
    if (remote->fd >= 0) {
        close(remote->fd);
        g_string_free(remote->in, TRUE);
    }
    remote->fd = -1;
}

bool remote_send(Remote *remote, const char *text, gsize len, GError **error)
{
    while (len > 0) {
        ssize_t n = send(remote->fd, text, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(error, "control socket: %s", g_strerror(errno));
        text += n;
        len -= n;
    }
    return true;
}

static bool receive_more(Remote *remote, GError **error)
{
    char buf[65536];
    ssize_t n;

    do {
        n = recv(remote->fd, buf, sizeof(buf), 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return fail(error, "control socket: %s", g_strerror(errno));
    if (n == 0)
        return fail(error, "the instance closed the connection");
    g_string_append_len(remote->in, buf, n);
    return true;
}

/* Reads "redirect/1 ok LENGTH" or "redirect/1 error LENGTH CODE". */
static bool parse_status(const char *line, RemoteReply *reply, gsize *length,
                         GError **error)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 4);
    g_autofree char *mark = g_strdup_printf(REPLY_MARK "%d", REPLY_PROTOCOL);
    guint64 number = 0;

    if (!words[0] || !g_str_has_prefix(words[0], REPLY_MARK) || !words[1] ||
        !words[2] ||
        !g_ascii_string_to_unsigned(words[2], 10, 0, REPLY_MAX_BYTES, &number,
                                    NULL))
        return fail(error, "this is no control socket of slirp-redirect");
    if (strcmp(words[0], mark) != 0)
        return fail(error, "the instance speaks %s, this command %s", words[0],
                    mark);
    *length = number;
    reply->ok = strcmp(words[1], "ok") == 0;
    reply->code = g_strdup(words[3] ? words[3] : "");
    return true;
}

bool remote_receive(Remote *remote, RemoteReply *reply, GError **error)
{
    char *newline;
    gsize length = 0;

    *reply = (RemoteReply){ 0 };
    while (!(newline = memchr(remote->in->str, '\n', remote->in->len))) {
        if (remote->in->len > STATUS_MAX)
            return fail(error, "this is no control socket of slirp-redirect");
        if (!receive_more(remote, error))
            return false;
    }
    *newline = '\0';
    if (!parse_status(remote->in->str, reply, &length, error))
        return false;
    g_string_erase(remote->in, 0, newline + 1 - remote->in->str);
    while (remote->in->len < length) {
        if (!receive_more(remote, error))
            return false;
    }
    reply->body = g_string_new_len(remote->in->str, length);
    g_string_erase(remote->in, 0, length);
    return true;
}

bool remote_ask(Remote *remote, const char *line, RemoteReply *reply,
                GError **error)
{
    g_autofree char *text = g_strconcat(line, "\n", NULL);

    *reply = (RemoteReply){ 0 };
    return remote_send(remote, text, strlen(text), error) &&
           remote_receive(remote, reply, error);
}

void remote_reply_clear(RemoteReply *reply)
{
    g_clear_pointer(&reply->code, g_free);
    if (reply->body)
        g_string_free(reply->body, TRUE);
    reply->body = NULL;
}
