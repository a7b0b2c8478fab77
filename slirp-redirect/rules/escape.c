/* SPDX-License-Identifier: BSD-3-Clause */
/* %XX escapes in unix paths, users and passwords. */
#include "parse.h"

#include <string.h>

/* The value of the two digits after a percent sign, or -1. */
static int escaped_byte(Span s)
{
    int hi, lo;

    if (s.len < 3) {
        return -1;
    }
    hi = g_ascii_xdigit_value(s.at[1]);
    lo = g_ascii_xdigit_value(s.at[2]);
    return hi < 0 || lo < 0 ? -1 : hi * 16 + lo;
}

char *unescape(Parser *p, Span s)
{
    g_autoptr(GString) out = g_string_sized_new(s.len);

    while (s.len > 0) {
        if (s.at[0] != '%') {
            g_string_append_c(out, s.at[0]);
            s = span_tail(s, 1);
            continue;
        }
        Span escape = span_head(s, MIN(s.len, 3));
        int byte = escaped_byte(s);

        if (byte < 0) {
            parse_error(p, escape,
                        "unknown escape `%s`; a percent sign is "
                        "written `%%25`",
                        quote(p, escape));
            return NULL;
        }
        if (byte == 0) {
            parse_error(p, escape, "`%%00` is not possible here: no NUL byte");
            return NULL;
        }
        g_string_append_c(out, (char)byte);
        s = span_tail(s, 3);
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

/*
 * Only printable ASCII comes out plain, so that a canonical rule passes
 * through every option list, file and terminal.
 */
void print_escaped(GString *out, const char *text, const char *set)
{
    for (; *text; text++) {
        if (g_ascii_isgraph(*text) && *text != '%' && *text != ',' &&
            *text != '+' && !strchr(set, *text)) {
            g_string_append_c(out, *text);
        } else {
            g_string_append_printf(out, "%%%02X", (uint8_t)*text);
        }
    }
}
