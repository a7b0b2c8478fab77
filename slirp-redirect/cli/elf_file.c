/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads ELF headers and dynamic symbols of a mapped file, within its bounds. */
#include <elf.h>
#include <link.h>
#include <string.h>

#include "elf_file.h"

typedef ElfW(Ehdr) FileHeader;
typedef ElfW(Phdr) ProgramHeader;
typedef ElfW(Shdr) SectionHeader;
typedef ElfW(Sym) Symbol;

enum {
    NATIVE_CLASS = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32,
    NATIVE_DATA = G_BYTE_ORDER == G_LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB,
};

/* length bytes at offset, or NULL if the file does not hold them. */
static const char *bytes_at(const Elf *elf, guint64 offset, guint64 length)
{
    if (offset > elf->size || length > elf->size - offset)
        return NULL;
    return elf->data + offset;
}

/* The string at offset, ended within limit bytes and the file; or NULL. */
static const char *string_at(const Elf *elf, guint64 offset, guint64 limit)
{
    const char *text = bytes_at(elf, offset, limit);

    return text && memchr(text, '\0', limit) ? text : NULL;
}

static bool file_header(const Elf *elf, FileHeader *header)
{
    const char *bytes = bytes_at(elf, 0, sizeof(*header));

    if (!bytes)
        return false;
    memcpy(header, bytes, sizeof(*header));
    return true;
}

static char *find_loader(const Elf *elf, const FileHeader *header)
{
    ProgramHeader ph;

    for (unsigned i = 0; i < header->e_phnum; i++) {
        const char *bytes = bytes_at(
            elf, header->e_phoff + (guint64)i * sizeof(ph), sizeof(ph));
        if (!bytes)
            return NULL;
        memcpy(&ph, bytes, sizeof(ph));
        if (ph.p_type == PT_INTERP)
            return g_strdup(string_at(elf, ph.p_offset, ph.p_filesz));
    }
    return NULL;
}

static ElfKind elf_kind(Elf *elf)
{
    FileHeader header;

    if (elf->size >= 2 && memcmp(elf->data, "#!", 2) == 0)
        return ELF_SCRIPT;
    if (elf->size < EI_NIDENT || memcmp(elf->data, ELFMAG, SELFMAG) != 0)
        return ELF_NONE;
    if (elf->data[EI_CLASS] != NATIVE_CLASS ||
        elf->data[EI_DATA] != NATIVE_DATA || !file_header(elf, &header))
        return ELF_FOREIGN;
    elf->loader = find_loader(elf, &header);
    return elf->loader ? ELF_DYNAMIC : ELF_LIBRARY;
}

void elf_open(Elf *elf, const char *path)
{
    *elf = (Elf){ .kind = ELF_NONE };
    elf->map = g_mapped_file_new(path, FALSE, NULL);
    if (!elf->map)
        return;
    elf->data = g_mapped_file_get_contents(elf->map);
    elf->size = g_mapped_file_get_length(elf->map);
    elf->kind = elf_kind(elf);
}

void elf_close(Elf *elf)
{
    g_clear_pointer(&elf->map, g_mapped_file_unref);
    g_clear_pointer(&elf->loader, g_free);
}

static bool section(const Elf *elf, const FileHeader *header, unsigned index,
                    SectionHeader *sh)
{
    const char *bytes =
        bytes_at(elf, header->e_shoff + (guint64)index * sizeof(*sh),
                 index < header->e_shnum ? sizeof(*sh) : elf->size + 1);

    if (!bytes)
        return false;
    memcpy(sh, bytes, sizeof(*sh));
    return true;
}

static bool name_is(const Elf *elf, const SectionHeader *strings, guint64 at,
                    const char *name)
{
    size_t size = strlen(name) + 1;

    if (at > strings->sh_size || size > strings->sh_size - at)
        return false;
    const char *text = bytes_at(elf, strings->sh_offset + at, size);
    return text && memcmp(text, name, size) == 0;
}

static bool table_has(const Elf *elf, const SectionHeader *table,
                      const SectionHeader *strings, const char *name,
                      bool defined)
{
    Symbol symbol;

    for (guint64 at = 0; at + sizeof(symbol) <= table->sh_size;
         at += sizeof(symbol)) {
        const char *bytes =
            bytes_at(elf, table->sh_offset + at, sizeof(symbol));
        if (!bytes)
            return false;
        memcpy(&symbol, bytes, sizeof(symbol));
        if ((symbol.st_shndx != SHN_UNDEF) == defined &&
            name_is(elf, strings, symbol.st_name, name))
            return true;
    }
    return false;
}

static bool elf_has(const Elf *elf, const char *name, bool defined)
{
    FileHeader header;
    SectionHeader table, strings;

    if ((elf->kind != ELF_DYNAMIC && elf->kind != ELF_LIBRARY) ||
        !file_header(elf, &header))
        return false;
    for (unsigned i = 0; section(elf, &header, i, &table); i++) {
        if (table.sh_type == SHT_DYNSYM &&
            section(elf, &header, table.sh_link, &strings) &&
            table_has(elf, &table, &strings, name, defined))
            return true;
    }
    return false;
}

bool elf_imports(const Elf *elf, const char *symbol)
{
    return elf_has(elf, symbol, false);
}

bool elf_exports(const Elf *elf, const char *symbol)
{
    return elf_has(elf, symbol, true);
}
