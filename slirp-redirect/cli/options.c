/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads the options of a sub-command from its table, and finds near names. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

G_DEFINE_QUARK(slirp - redirect - cli, cli_error)

enum { NAME_MAX_LEN = 32 }; /* longer words are no typing slip */

void cli_complain(const char *format, ...)
{
    va_list args;

    fputs("slirp-redirect: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* Levenshtein's distance, both words at most NAME_MAX_LEN long. */
static unsigned edit_distance(const char *a, const char *b)
{
    unsigned row[NAME_MAX_LEN + 1];
    size_t n = strlen(b);

    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            unsigned above = row[j];
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = MIN(MIN(above, row[j - 1]) + 1, change);
            diagonal = above;
        }
    }
    return row[n];
}

const char *cli_nearest(const char *word, const char *const *names, unsigned n)
{
    const char *nearest = NULL;
    unsigned best = 3; /* two slips are one word, three another */

    if (strlen(word) > NAME_MAX_LEN)
        return NULL;
    for (unsigned i = 0; i < n; i++) {
        unsigned distance = edit_distance(word, names[i]);
        if (distance < best) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

static const CliOption *option_find(const CliOption *options, const char *word)
{
    size_t len = strcspn(word, "=");

    for (; options->name; options++) {
        if (strncmp(options->name, word, len) == 0 &&
            options->name[len] == '\0')
            return options;
    }
    return NULL;
}

static void option_unknown(const CliOption *options, const char *word,
                           GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *name = g_strndup(word, strcspn(word, "="));

    for (const CliOption *o = options; o->name; o++)
        g_ptr_array_add(names, (char *)o->name);
    const char *nearest =
        cli_nearest(name, (const char *const *)names->pdata, names->len);
    if (nearest)
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "unknown option '%s'; did you mean '%s'?", name, nearest);
    else
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "unknown option '%s'",
                    name);
}

/* Takes the option at **at, and its value; leaves *at on the last word. */
static bool option_take(char ***at, const CliOption *options, void *state,
                        GError **error)
{
    const char *word = **at;
    const CliOption *option = option_find(options, word);
    const char *value = strchr(word, '=');

    if (!option) {
        option_unknown(options, word, error);
        return false;
    }
    if (!option->set) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_HELP, "help");
        return false;
    }
    if (value && !option->takes_value) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "%s takes no value",
                    option->name);
        return false;
    }
    if (value)
        value++;
    else if (option->takes_value)
        value = (*at)[1] ? *++*at : NULL;
    if (option->takes_value && !value) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "%s needs a value",
                    option->name);
        return false;
    }
    return option->set(state, value, error);
}

char **cli_options_parse(char **words, const CliOption *options, CliOrder order,
                         void *state, GError **error)
{
    g_autoptr(GPtrArray) operands = g_ptr_array_new();

    for (; *words; words++) {
        if (strcmp(*words, "--") == 0) {
            words++;
            break;
        }
        if ((*words)[0] == '-' && (*words)[1]) {
            if (!option_take(&words, options, state, error))
                return NULL;
        } else if (order == CLI_ORDER_FIRST) {
            break;
        } else {
            g_ptr_array_add(operands, *words);
        }
    }
    for (; *words; words++)
        g_ptr_array_add(operands, *words);
    g_ptr_array_add(operands, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&operands), FALSE);
}
