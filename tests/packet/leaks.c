/* SPDX-License-Identifier: BSD-3-Clause */
/* What the process has taken: its descriptors, and its memory. */
#include "internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

static void snapshot_add(GHashTable *fds, int dir, const char *name)
{
    char target[256];
    ssize_t len = readlinkat(dir, name, target, sizeof(target) - 1);

    if (len < 0 || atoi(name) == dir) {
        return;
    }
    target[len] = '\0';
    g_hash_table_insert(fds, GINT_TO_POINTER(atoi(name)), g_strdup(target));
}

GHashTable *fds_snapshot(void)
{
    GHashTable *fds = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    g_assert_nonnull(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] != '.') {
            snapshot_add(fds, dirfd(dir), entry->d_name);
        }
    }
    closedir(dir);
    return fds;
}

static void append_missing(GString *text, const char *label, GHashTable *from,
                           GHashTable *in)
{
    GHashTableIter iter;
    gpointer fd, target;

    g_hash_table_iter_init(&iter, from);
    while (g_hash_table_iter_next(&iter, &fd, &target)) {
        if (!g_hash_table_contains(in, fd) ||
            strcmp(g_hash_table_lookup(in, fd), target) != 0) {
            g_string_append_printf(text, "%s descriptor %d (%s)\n", label,
                                   GPOINTER_TO_INT(fd), (char *)target);
        }
    }
}

char *fds_difference(GHashTable *before)
{
    g_autoptr(GHashTable) after = fds_snapshot();
    GString *text = g_string_new(NULL);

    append_missing(text, "leaked", after, before);
    append_missing(text, "lost", before, after);
    return g_string_free(text, text->len == 0);
}

/* Without the help of a further descriptor, which there may not be. */
unsigned descriptors_in_use(void)
{
    struct rlimit limit;
    unsigned n = 0;

    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 0; fd < (int)limit.rlim_cur; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

size_t memory_in_use(void)
{
    struct mallinfo2 m = mallinfo2();

    return m.uordblks + m.hblkhd;
}
