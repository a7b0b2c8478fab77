/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads rules from the environment and from rule files. */
#include "source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void append_all(GPtrArray *rules, GPtrArray *more)
{
    g_ptr_array_extend_and_steal(rules, more);
}

/* Reads at most SOURCE_FILE_MAX bytes; NULL with errno. */
static GString *read_bounded(int fd)
{
    GString *text = g_string_new(NULL);
    char buf[16384];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) != 0) {
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 || text->len + (size_t)n > SOURCE_FILE_MAX) {
            int err = n < 0 ? errno : EFBIG;
            g_string_free(text, TRUE);
            errno = err;
            return NULL;
        }
        g_string_append_len(text, buf, n);
    }
    return text;
}

void source_load_fd(int fd, const char *path, GPtrArray *rules,
                    RuleDiags *diags)
{
    RulePos pos = { .source = g_intern_string(path) };
    GString *text = fd < 0 ? NULL : read_bounded(fd);

    if (text == NULL) {
        rule_diags_add(diags, false, &pos,
                       "cannot read this rule file: %s; check the path and "
                       "its permissions",
                       g_strerror(errno));
    } else {
        append_all(rules,
                   rules_parse_lines(text->str, text->len, pos.source, diags));
        g_string_free(text, TRUE);
    }
    if (fd >= 0) {
        close(fd);
    }
}

void source_load_file(const char *path, GPtrArray *rules, RuleDiags *diags)
{
    source_load_fd(open(path, O_RDONLY | O_CLOEXEC), path, rules, diags);
}

void source_load_variable(GPtrArray *rules, RuleDiags *diags)
{
    const char *text = secure_getenv(SOURCE_ENV_RULES);

    if (text != NULL) {
        append_all(rules, rules_parse_words(text, SOURCE_ENV_RULES, diags));
    }
}

const char *source_variable(const char *name)
{
    const char *value = secure_getenv(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

void source_load_environment(GPtrArray *rules, RuleDiags *diags)
{
    const char *path = source_variable(SOURCE_ENV_FILE);

    source_load_variable(rules, diags);
    if (path != NULL) {
        source_load_file(path, rules, diags);
    }
}
