/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes sure that a program will load the libslirp that has redirects. */
#ifndef SLIRP_REDIRECT_CLI_LIBRARY_H
#define SLIRP_REDIRECT_CLI_LIBRARY_H

#include "elf_file.h"

/* The call that tells this libslirp (and a QEMU that uses it) from others. */
#define LIBRARY_SYMBOL "slirp_add_redirect"

typedef struct Program {
    const char *path; /* as it will be executed, with a slash */
    Elf elf;
    bool secure; /* set-id or capabilities: the loader drops LD_LIBRARY_PATH */
} Program;

void program_open(Program *program, const char *path);
void program_close(Program *program);

typedef struct LibraryNeeds {
    bool force;   /* go on if it can not be made sure */
    bool verbose; /* say what was found on stderr */
} LibraryNeeds;

/* Changes LD_LIBRARY_PATH in *env (g_environ_*) if need be. */
bool library_prepare(const Program *program, const LibraryNeeds *needs,
                     char ***env, GError **error);

#endif
