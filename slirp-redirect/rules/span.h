/* SPDX-License-Identifier: BSD-3-Clause */
/* A piece of text by reference: what the parser hands from part to part. */
#ifndef SLIRP_REDIRECT_RULES_SPAN_H
#define SLIRP_REDIRECT_RULES_SPAN_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

/* Not NUL-terminated; at is never NULL, so it can always be pointed at. */
typedef struct Span {
    const char *at;
    size_t len;
} Span;

/* No such byte: larger than any index, so "i < len" tests stay short. */
#define SPAN_NONE ((size_t)-1)

Span span_of(const char *text);
/* The first n bytes, and what follows them. n is at most s.len. */
Span span_head(Span s, size_t n);
Span span_tail(Span s, size_t n);
/* From the start of a to the end of b; both are parts of one text. */
Span span_join(Span a, Span b);
Span span_trim(Span s);

bool span_is(Span s, const char *word);
bool span_starts(Span s, const char *prefix);
/* Index of a byte or string, or SPAN_NONE. */
size_t span_find(Span s, char c);
size_t span_rfind(Span s, char c);
size_t span_find_text(Span s, const char *text);
/* The same, bytes between [ and ] not counted. */
size_t span_find_outside(Span s, char c);
size_t span_rfind_outside(Span s, char c);
/* How many bytes at the start are in set. */
size_t span_run(Span s, const char *set);
/* How many bytes in all are c. */
size_t span_count(Span s, char c);
bool span_all_in(Span s, const char *set);
/* A decimal number; false if not all digits. Saturates at UINT_MAX. */
bool span_number(Span s, unsigned *value);
/* A NUL-terminated copy; g_free(). */
char *span_dup(Span s);
/* The same in buf; false if it does not fit or holds a NUL. */
bool span_copy(Span s, char *buf, size_t size);

#define DIGITS "0123456789"
#define WHITE " \t\n\v\f\r"

#endif
