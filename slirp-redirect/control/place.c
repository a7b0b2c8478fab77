/* SPDX-License-Identifier: BSD-3-Clause */
/* Expands path patterns, and finds and keeps directories. */
#include "control/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIR_NAME "slirp-redirect"

char *place_expand(const char *pattern, unsigned instance, char **error)
{
    g_autoptr(GString) path = g_string_new(NULL);

    for (const char *c = pattern; *c != '\0'; c++) {
        if (*c != '%') {
            g_string_append_c(path, *c);
            continue;
        }
        switch (*++c) {
        case 'p':
            g_string_append_printf(path, "%ld", (long)getpid());
            break;
        case 'n':
            g_string_append_printf(path, "%u", instance);
            break;
        case '%':
            g_string_append_c(path, '%');
            break;
        default:
            *error = g_strdup_printf("`%s`: after %% comes p (process ID), n "
                                     "(number of the instance) or %%",
                                     pattern);
            return NULL;
        }
    }
    return g_string_free(g_steal_pointer(&path), FALSE);
}

char *place_default_dir(void)
{
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    g_autofree char *run =
        g_strdup_printf("/run/user/%lu", (unsigned long)geteuid());

    if (runtime != NULL && g_path_is_absolute(runtime)) {
        return g_build_filename(runtime, DIR_NAME, NULL);
    }
    if (access(run, W_OK | X_OK) == 0) {
        return g_build_filename(run, DIR_NAME, NULL);
    }
    return g_strdup_printf("/tmp/" DIR_NAME "-%lu", (unsigned long)geteuid());
}

bool place_make_dir(const char *dir, char **error)
{
    struct stat st;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST) {
        *error = g_strdup_printf("cannot make %s: %s", dir, g_strerror(errno));
        return false;
    }
    /* Somebody else's directory in /tmp would show our sockets to them. */
    if (lstat(dir, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 077) != 0) {
        *error = g_strdup_printf("%s must be a directory of this user alone "
                                 "(mode 0700)",
                                 dir);
        return false;
    }
    return true;
}

bool place_open(Place *place, const char *path, char **error)
{
    g_autofree char *absolute = g_canonicalize_filename(path, NULL);
    g_autofree char *dir = g_path_get_dirname(absolute);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        *error = g_strdup_printf("cannot open the directory %s: %s", dir,
                                 g_strerror(errno));
        return false;
    }
    place->dir_fd = fd;
    place->name = g_path_get_basename(absolute);
    place->path = g_steal_pointer(&absolute);
    return true;
}

void place_close(Place *place)
{
    if (place->dir_fd >= 0) {
        close(place->dir_fd);
    }
    g_free(place->name);
    g_free(place->path);
    *place = (Place){ .dir_fd = -1 };
}
