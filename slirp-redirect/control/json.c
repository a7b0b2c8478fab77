/* SPDX-License-Identifier: BSD-3-Clause */
/* A JSON writer without a tree. */
#include "control/json.h"

#include <string.h>

/* A comma is due unless something was just opened. */
static void begin_value(GString *out, const char *name)
{
    if (out->len > 0 && strchr("{[", out->str[out->len - 1]) == NULL &&
        out->str[out->len - 1] != '\n') {
        g_string_append_c(out, ',');
    }
    if (name != NULL) {
        g_string_append_printf(out, "\"%s\":", name);
    }
}

static void append_escaped(GString *out, const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    for (const char *c = valid; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            g_string_append_c(out, '\\');
            g_string_append_c(out, *c);
        } else if (*c == '\n') {
            g_string_append(out, "\\n");
        } else if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            g_string_append_printf(out, "\\u%04x", (unsigned)*c);
        } else {
            g_string_append_c(out, *c);
        }
    }
}

void json_string(GString *out, const char *name, const char *value)
{
    begin_value(out, name);
    if (value == NULL) {
        g_string_append(out, "null");
        return;
    }
    g_string_append_c(out, '"');
    append_escaped(out, value);
    g_string_append_c(out, '"');
}

void json_take(GString *out, const char *name, char *value)
{
    json_string(out, name, value);
    g_free(value);
}

void json_number(GString *out, const char *name, guint64 value)
{
    begin_value(out, name);
    g_string_append_printf(out, "%" G_GUINT64_FORMAT, value);
}

void json_bool(GString *out, const char *name, gboolean value)
{
    begin_value(out, name);
    g_string_append(out, value ? "true" : "false");
}

void json_begin(GString *out, const char *name, char bracket)
{
    begin_value(out, name);
    g_string_append_c(out, bracket);
}

void json_end(GString *out, char bracket)
{
    g_string_append_c(out, bracket);
}
