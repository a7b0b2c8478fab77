/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds out which libslirp.so.0 a program would load, and puts the one with
 * redirects in front if that is another.
 *
 * Theory of operation. The program's own loader is asked (LOADER --list
 * PROGRAM, what ldd(1) does; it runs nothing of the program). The library it
 * names is ours if it exports slirp_add_redirect(). If it is not, a directory
 * that holds ours is prepended to LD_LIBRARY_PATH and the loader asked again,
 * since a DT_RPATH may still win. A stock library would take no notice of
 * rules and let every flow through, so any doubt is an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli.h"
#include "library.h"

#define LIBRARY_NAME "libslirp.so.0"
#define BUILD_TREE_SUFFIX "/slirp-redirect/cli/slirp-redirect"

enum { LOADER_OUTPUT_MAX = 1 << 20 };

typedef enum LibraryState {
    LIBRARY_OURS,
    LIBRARY_OTHER, /* or not found */
    LIBRARY_UNUSED,
    LIBRARY_UNKNOWN, /* the loader did not answer */
} LibraryState;

static bool runs_with_other_ids(const struct stat *st)
{
    return ((st->st_mode & S_ISUID) && st->st_uid != getuid()) ||
           ((st->st_mode & S_ISGID) && st->st_gid != getgid());
}

void program_open(Program *program, const char *path)
{
    struct stat st;

    *program = (Program){ .path = path };
    elf_open(&program->elf, path);
    program->secure =
        (stat(path, &st) == 0 && runs_with_other_ids(&st)) ||
        (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0);
}

void program_close(Program *program)
{
    elf_close(&program->elf);
}

static bool is_ours(const char *path)
{
    Elf elf;

    elf_open(&elf, path);
    bool ours = elf_exports(&elf, LIBRARY_SYMBOL);
    elf_close(&elf);
    return ours;
}

/* Reads at most LOADER_OUTPUT_MAX bytes; what is beyond is lost. */
static char *read_output(int fd)
{
    GString *text = g_string_new(NULL);
    char buf[4096];
    ssize_t n;

    while (
        text->len < LOADER_OUTPUT_MAX &&
        ((n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))) {
        if (n > 0)
            g_string_append_len(text, buf, n);
    }
    return g_string_free(text, FALSE);
}

static int spawn_with_output(char **argv, char **env, int fd, pid_t *pid)
{
    posix_spawn_file_actions_t actions;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null",
                                     O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null",
                                     O_WRONLY, 0);
    int rc = posix_spawn(pid, argv[0], &actions, NULL, argv, env);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

/* What the loader says about the program's libraries; NULL if it can not. */
static char *loader_list(const Program *program, char **env)
{
    char *argv[] = { program->elf.loader, (char *)"--list",
                     (char *)program->path, NULL };
    char *text = NULL;
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return NULL;
    int rc = spawn_with_output(argv, env, fds[1], &pid);
    close(fds[1]);
    if (rc == 0)
        text = read_output(fds[0]);
    close(fds[0]);
    while (rc == 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return text;
}

/* The path in "\tlibslirp.so.0 => PATH (0x...)"; NULL if it has none. */
static char *listed_path(const char *line)
{
    const char *arrow = strstr(line, " => ");
    const char *end = arrow ? g_strrstr(line, " (0x") : NULL;

    if (!end || end < arrow + 4)
        return NULL;
    return g_strndup(arrow + 4, end - (arrow + 4));
}

static LibraryState line_state(const char *line, char **found)
{
    g_free(*found);
    *found = listed_path(line);
    return *found && is_ours(*found) ? LIBRARY_OURS : LIBRARY_OTHER;
}

/* *found: the library's path, or NULL if the loader finds none. */
static LibraryState library_state(const Program *program, char **env,
                                  char **found)
{
    g_autofree char *text = loader_list(program, env);

    if (!text || !strstr(text, ".so"))
        return LIBRARY_UNKNOWN;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        const char *name = *line + strspn(*line, " \t");
        const char *end = strstr(name, " ");
        const char *base = end ? g_strrstr_len(name, end - name, "/") : NULL;
        if (g_str_has_prefix(base ? base + 1 : name, LIBRARY_NAME " "))
            return line_state(*line, found);
    }
    return LIBRARY_UNUSED;
}

/* Where the library lies if this is the executable of a build tree. */
static char *build_tree_dir(void)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);

    if (!self || !g_str_has_suffix(self, BUILD_TREE_SUFFIX))
        return NULL;
    g_autofree char *root =
        g_strndup(self, strlen(self) - strlen(BUILD_TREE_SUFFIX));
    return g_build_filename(root, CLI_BUILD_LIBDIR, NULL);
}

static bool dir_has_ours(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, LIBRARY_NAME, NULL);
    return is_ours(path);
}

/* The first directory that holds our library; NULL with error if none. */
static char *find_dir(GError **error)
{
    const char *chosen = g_getenv("SLIRP_REDIRECT_LIBDIR");
    char *dirs[] = { build_tree_dir(), g_strdup(CLI_LIBDIR),
                     g_build_filename(CLI_LIBDIR, "slirp-redirect", NULL) };
    char *dir = NULL;

    if (chosen && *chosen) {
        if (dir_has_ours(chosen))
            dir = g_canonicalize_filename(chosen, NULL);
        else
            g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                        "SLIRP_REDIRECT_LIBDIR=%s: no " LIBRARY_NAME
                        " with redirects there",
                        chosen);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(dirs); i++) {
        if (!dir && !(chosen && *chosen) && dirs[i] && dir_has_ours(dirs[i]))
            dir = g_strdup(dirs[i]);
        g_free(dirs[i]);
    }
    if (!dir && !(chosen && *chosen))
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "the " LIBRARY_NAME " with redirects is not in " CLI_LIBDIR
                    "; set SLIRP_REDIRECT_LIBDIR to its directory");
    return dir;
}

static void prepend_dir(char ***env, const char *dir)
{
    const char *old = g_environ_getenv(*env, "LD_LIBRARY_PATH");
    g_autofree char *path =
        old && *old ? g_strconcat(dir, ":", old, NULL) : g_strdup(dir);

    *env = g_environ_setenv(*env, "LD_LIBRARY_PATH", path, TRUE);
}

/* A wrong state of affairs: an error, or with --force a mere remark. */
static bool doubt(const LibraryNeeds *needs, GError **error, const char *format,
                  ...) G_GNUC_PRINTF(3, 4);

static bool doubt(const LibraryNeeds *needs, GError **error, const char *format,
                  ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *message = g_strdup_vprintf(format, args);
    va_end(args);
    if (needs->force) {
        cli_complain("warning: %s", message);
        return true;
    }
    g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "%s", message);
    return false;
}

/* Puts the directory of our library in front of all others. */
static bool put_in_front(const LibraryNeeds *needs, char ***env, GError **error)
{
    g_autofree char *dir = find_dir(error);

    if (!dir)
        return false;
    if (strpbrk(dir, ":;"))
        return doubt(needs, error,
                     "%s: LD_LIBRARY_PATH can not hold this directory; use one "
                     "without : and ;",
                     dir);
    prepend_dir(env, dir);
    if (needs->verbose)
        cli_complain("libslirp: LD_LIBRARY_PATH begins with %s", dir);
    return true;
}

/* Asks the loader again whether that was enough. */
static bool verify(const Program *program, const LibraryNeeds *needs,
                   char **env, GError **error)
{
    g_autofree char *found = NULL;

    if (library_state(program, env, &found) == LIBRARY_OURS)
        return true;
    return doubt(needs, error,
                 "%s would still load %s (a run path of its own wins); "
                 "install the libslirp with redirects over that one",
                 program->path, found ? found : "no " LIBRARY_NAME);
}

/* A program whose libraries the loader could list. */
static bool prepare_listed(const Program *program, const LibraryNeeds *needs,
                           char ***env, GError **error)
{
    g_autofree char *found = NULL;

    switch (library_state(program, *env, &found)) {
    case LIBRARY_OURS:
        if (needs->verbose)
            cli_complain("libslirp: %s has redirects", found);
        return true;
    case LIBRARY_OTHER:
        if (program->secure)
            return doubt(needs, error,
                         "%s is set-uid, set-gid or has capabilities, so "
                         "LD_LIBRARY_PATH is ignored; install the libslirp "
                         "with redirects as the system's",
                         program->path);
        return put_in_front(needs, env, error) &&
               verify(program, needs, *env, error);
    case LIBRARY_UNUSED:
        return doubt(needs, error,
                     "%s does not use " LIBRARY_NAME ", so it has no "
                     "redirects; --force starts it all the same",
                     program->path) &&
               put_in_front(needs, env, error);
    case LIBRARY_UNKNOWN:
        break;
    }
    return doubt(needs, error,
                 "%s: its loader %s does not list its libraries; --force "
                 "starts it unchecked",
                 program->path, program->elf.loader) &&
           put_in_front(needs, env, error);
}

/* Why the loader can not be asked about a file of this kind. */
static const char *kind_doubt(ElfKind kind)
{
    switch (kind) {
    case ELF_LIBRARY:
        return "is statically linked, so its libslirp can not be replaced";
    case ELF_FOREIGN:
        return "is for another kind of machine than this slirp-redirect";
    default:
        return "can not be read or is no program, so its libslirp is unknown";
    }
}

bool library_prepare(const Program *program, const LibraryNeeds *needs,
                     char ***env, GError **error)
{
    if (program->elf.kind == ELF_DYNAMIC)
        return prepare_listed(program, needs, env, error);
    if (program->elf.kind != ELF_SCRIPT)
        return doubt(needs, error, "%s %s; --force starts it all the same",
                     program->path, kind_doubt(program->elf.kind)) &&
               put_in_front(needs, env, error);
    if (needs->verbose)
        cli_complain("%s is a script: what it starts is not checked",
                     program->path);
    return put_in_front(needs, env, error);
}
