/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of libslirp that says what it was started with, a line a fact. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const char *slirp_version_string(void);
#ifdef PATCHED
extern int slirp_add_redirect(void *slirp, const char *rule, char **errmsg);
#endif

static void print_variable(const char *name)
{
    const char *value = getenv(name);

    printf("%s=%s\n", name, value ? value : "");
}

static void print_library(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];

    while (maps && fgets(line, sizeof(line), maps)) {
        if (strstr(line, "libslirp.so")) {
            printf("library=%s", strchr(line, '/'));
            break;
        }
    }
    if (maps)
        fclose(maps);
}

int main(int argc, char **argv)
{
#ifdef PATCHED
    if (argc == 0)
        slirp_add_redirect(NULL, NULL, NULL);
#endif
    slirp_version_string();
    printf("pid=%ld\n", (long)getpid());
    for (int i = 0; i < argc; i++)
        printf("argument=%s\n", argv[i]);
    print_variable("SLIRP_REDIRECT");
    print_variable("SLIRP_REDIRECT_FILE");
    print_library();
    return 0;
}
