/* SPDX-License-Identifier: BSD-3-Clause */
/* Searching and cutting pieces of text. */
#include "span.h"

#include <string.h>

Span span_of(const char *text)
{
    return (Span){ text, strlen(text) };
}

Span span_head(Span s, size_t n)
{
    return (Span){ s.at, n };
}

Span span_tail(Span s, size_t n)
{
    return (Span){ s.at + n, s.len - n };
}

Span span_join(Span a, Span b)
{
    return (Span){ a.at, (size_t)(b.at + b.len - a.at) };
}

/* strchr() would find the terminator of set for a NUL byte. */
static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c);
}

Span span_trim(Span s)
{
    while (s.len > 0 && is_in(s.at[0], WHITE)) {
        s = span_tail(s, 1);
    }
    while (s.len > 0 && is_in(s.at[s.len - 1], WHITE)) {
        s.len--;
    }
    return s;
}

bool span_is(Span s, const char *word)
{
    return strlen(word) == s.len && memcmp(s.at, word, s.len) == 0;
}

bool span_starts(Span s, const char *prefix)
{
    size_t len = strlen(prefix);

    return len <= s.len && memcmp(s.at, prefix, len) == 0;
}

size_t span_find(Span s, char c)
{
    const char *found = s.len ? memchr(s.at, c, s.len) : NULL;

    return found ? (size_t)(found - s.at) : SPAN_NONE;
}

size_t span_rfind(Span s, char c)
{
    const char *found = s.len ? memrchr(s.at, c, s.len) : NULL;

    return found ? (size_t)(found - s.at) : SPAN_NONE;
}

size_t span_find_text(Span s, const char *text)
{
    const char *found = memmem(s.at, s.len, text, strlen(text));

    return found ? (size_t)(found - s.at) : SPAN_NONE;
}

static size_t find_outside(Span s, char c, bool last)
{
    size_t found = SPAN_NONE;
    bool inside = false;

    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == '[') {
            inside = true;
        } else if (s.at[i] == ']') {
            inside = false;
        } else if (s.at[i] == c && !inside) {
            found = i;
            if (!last) {
                break;
            }
        }
    }
    return found;
}

size_t span_find_outside(Span s, char c)
{
    return find_outside(s, c, false);
}

size_t span_rfind_outside(Span s, char c)
{
    return find_outside(s, c, true);
}

size_t span_run(Span s, const char *set)
{
    size_t n = 0;

    while (n < s.len && is_in(s.at[n], set)) {
        n++;
    }
    return n;
}

size_t span_count(Span s, char c)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        n += s.at[i] == c;
    }
    return n;
}

bool span_all_in(Span s, const char *set)
{
    return span_run(s, set) == s.len;
}

bool span_number(Span s, unsigned *value)
{
    unsigned n = 0;

    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(s.at[i] - '0');

        if (digit > 9) {
            return false;
        }
        n = n > (G_MAXUINT - digit) / 10 ? G_MAXUINT : n * 10 + digit;
    }
    *value = n;
    return s.len > 0;
}

char *span_dup(Span s)
{
    return g_strndup(s.at, s.len);
}

bool span_copy(Span s, char *buf, size_t size)
{
    if (s.len >= size || span_find(s, '\0') != SPAN_NONE) {
        return false;
    }
    memcpy(buf, s.at, s.len);
    buf[s.len] = '\0';
    return true;
}
