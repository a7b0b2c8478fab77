/* SPDX-License-Identifier: BSD-3-Clause */
/* Just enough of the ELF format to know a program or library by its symbols. */
#ifndef SLIRP_REDIRECT_CLI_ELF_FILE_H
#define SLIRP_REDIRECT_CLI_ELF_FILE_H

#include <glib.h>
#include <stdbool.h>

typedef enum ElfKind {
    ELF_DYNAMIC, /* has a loader: a program for this machine */
    ELF_LIBRARY, /* for this machine, without a loader: a library, or static */
    ELF_FOREIGN, /* for another machine or word size */
    ELF_SCRIPT,  /* "#!" */
    ELF_NONE,    /* anything else, or not readable */
} ElfKind;

typedef struct Elf {
    ElfKind kind;
    GMappedFile *map;
    const char *data;
    gsize size;
    char *loader; /* ELF_DYNAMIC: the program that loads it */
} Elf;

void elf_open(Elf *elf, const char *path);
void elf_close(Elf *elf);
/* True if the file has the dynamic symbol: as an import, or as an export. */
bool elf_imports(const Elf *elf, const char *symbol);
bool elf_exports(const Elf *elf, const char *symbol);

#endif
