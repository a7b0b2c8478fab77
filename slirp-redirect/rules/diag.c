/* SPDX-License-Identifier: BSD-3-Clause */
/* Findings: collecting them, and showing them with a mark under the fault. */
#include "parse.h"

#include <string.h>

/* More of an over-long rule helps nobody. */
enum { ECHO_MAX = 160 };

static void diag_free(gpointer data)
{
    RuleDiag *diag = data;

    g_free(diag->text);
    g_free(diag->message);
    g_free(diag);
}

RuleDiags *rule_diags_new(void)
{
    RuleDiags *diags = g_new0(RuleDiags, 1);

    diags->list = g_ptr_array_new_with_free_func(diag_free);
    return diags;
}

void rule_diags_free(RuleDiags *diags)
{
    if (diags) {
        g_ptr_array_unref(diags->list);
        g_free(diags);
    }
}

static RuleDiag *add(RuleDiags *diags, bool warning, const RulePos *pos,
                     char *message)
{
    RuleDiag *diag = g_new0(RuleDiag, 1);

    diag->warning = warning;
    diag->pos = *pos;
    diag->width = 1;
    diag->message = message;
    g_ptr_array_add(diags->list, diag);
    diags->errors += !warning;
    return diag;
}

void rule_diags_add(RuleDiags *diags, bool warning, const RulePos *pos,
                    const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add(diags, warning, pos, g_strdup_vprintf(format, args));
    va_end(args);
}

void rule_diags_add_rule(RuleDiags *diags, bool warning, const Rule *rule,
                         const char *format, ...)
{
    va_list args;
    RuleDiag *diag;

    va_start(args, format);
    diag = add(diags, warning, &rule->pos, g_strdup_vprintf(format, args));
    va_end(args);
    diag->text = rule_print_masked(rule);
    diag->text_column = rule->pos.column;
    diag->width = diag->mark_width = (unsigned)strlen(diag->text);
}

/*
 * The part of a rule that may be a password. It has to be found in faulty
 * rules too, so it errs on the side of hiding: everything between the last
 * "@" of a target that is no plain unix path and the ":" that ends the user.
 */
static Span find_secret(Span rule)
{
    Span none = { rule.at, 0 }, target;
    size_t dash = span_find_outside(rule, '-'), start, at;

    target = dash < rule.len ? span_tail(rule, dash + 1) : rule;
    start = span_find_text(target, "://");
    if (start == SPAN_NONE && dash == SPAN_NONE) {
        return none;
    }
    if (start != SPAN_NONE) {
        target = span_tail(target, start + 3);
    }
    at = span_rfind(target, '@');
    if (at == SPAN_NONE || span_starts(target, "unix:/")) {
        return none;
    }
    target = span_head(target, at);
    start = span_find(target, ':');
    return start < at ? span_tail(target, start + 1) : target;
}

/* Appends bytes; those a terminal should not get become "?". */
static void append_clean(GString *out, Span s)
{
    while (s.len > 0) {
        gunichar c = g_utf8_get_char_validated(s.at, (gssize)s.len);
        size_t n = 1;

        if (c >= (gunichar)-2 || !g_unichar_isprint(c)) {
            g_string_append_c(out, '?');
        } else {
            n = (size_t)g_unichar_to_utf8(c, NULL);
            g_string_append_len(out, s.at, (gssize)n);
        }
        s = span_tail(s, n);
    }
}

/* The bytes of s that lie before, in and after secret. */
static void append_masked(GString *out, Span s, Span secret)
{
    const char *end = s.at + s.len;
    const char *from = CLAMP(secret.at, s.at, end);
    const char *to = CLAMP(secret.at + secret.len, s.at, end);

    append_clean(out, (Span){ s.at, (size_t)(from - s.at) });
    if (to > from) {
        g_string_append(out, "***");
    }
    append_clean(out, (Span){ to, (size_t)(end - to) });
}

const char *quote(Parser *p, Span s)
{
    g_autoptr(GString) out = g_string_new("");

    append_masked(out, s, find_secret(p->rule));
    if (!p->scratch) {
        p->scratch = g_string_chunk_new(256);
    }
    return g_string_chunk_insert(p->scratch, out->str);
}

/* An empty piece still needs a byte to point at, within the rule. */
static Span widen(Span where, Span rule)
{
    if (where.len > 0 || rule.len == 0) {
        return where;
    }
    if (where.at >= rule.at + rule.len) {
        where.at = rule.at + rule.len - 1;
    }
    return (Span){ where.at, 1 };
}

/* A fault that touches the password is shown as all of its mask. */
static Span with_secret(Span where, Span secret)
{
    const char *end = where.at + where.len;
    const char *secret_end = secret.at + secret.len;

    if (end <= secret.at || where.at >= secret_end) {
        return where;
    }
    where.at = MIN(where.at, secret.at);
    where.len = (size_t)(MAX(end, secret_end) - where.at);
    return where;
}

static void set_echo(RuleDiag *diag, Span rule, Span where)
{
    Span secret = find_secret(rule);
    Span shown = span_head(rule, MIN(rule.len, ECHO_MAX));
    const char *end = shown.at + shown.len, *from, *to;
    g_autoptr(GString) out = g_string_new("");

    where = with_secret(where, secret);
    from = MIN(where.at, end);
    to = MIN(where.at + where.len, end);
    append_masked(out, (Span){ rule.at, (size_t)(from - rule.at) }, secret);
    diag->mark = (unsigned)out->len;
    append_masked(out, (Span){ from, (size_t)(to - from) }, secret);
    diag->mark_width = MAX((unsigned)out->len - diag->mark, 1);
    append_masked(out, (Span){ to, (size_t)(end - to) }, secret);
    g_string_append(out, shown.len < rule.len ? "..." : "");
    diag->text = g_string_free(g_steal_pointer(&out), FALSE);
}

bool parse_error(Parser *p, Span where, const char *format, ...)
{
    RulePos pos = p->pos;
    va_list args;
    RuleDiag *diag;

    where = widen(where, p->rule);
    pos.column += (unsigned)(where.at - p->rule.at);
    va_start(args, format);
    diag = add(p->diags, false, &pos, g_strdup_vprintf(format, args));
    va_end(args);
    diag->width = MAX((unsigned)where.len, 1);
    diag->text_column = p->pos.column;
    set_echo(diag, p->rule, where);
    return false;
}

void rule_pos_print(GString *out, const RulePos *pos)
{
    g_string_append(out, pos->source ? pos->source : "rule");
    if (pos->line != 0) {
        g_string_append_printf(out, ":%u", pos->line);
    }
}

/* Columns a terminal needs for n bytes: characters, not bytes. */
static unsigned screen_width(const char *text, unsigned n)
{
    return (unsigned)g_utf8_strlen(text, (gssize)n);
}

/* A caret, then tildes to the end of the fault. */
static void append_mark(GString *out, const RuleDiag *diag)
{
    unsigned indent = screen_width(diag->text, diag->mark);
    unsigned rest = (unsigned)strlen(diag->text) - diag->mark;
    unsigned width = MIN(diag->mark_width, rest);

    g_string_append_printf(out, "\n    %*s^", (int)indent, "");
    width = screen_width(diag->text + diag->mark, width);
    for (unsigned i = 1; i < width; i++) {
        g_string_append_c(out, '~');
    }
}

static void append_diag(GString *out, const RuleDiag *diag)
{
    g_string_append(out, diag->warning ? "warning: " : "");
    rule_pos_print(out, &diag->pos);
    if (diag->pos.line != 0 && diag->pos.column != 0) {
        g_string_append_printf(out, ":%u", diag->pos.column);
    }
    g_string_append_printf(out, ": %s", diag->message);
    if (diag->text && diag->text[0] != '\0') {
        g_string_append_printf(out, "\n    %s", diag->text);
        append_mark(out, diag);
    }
}

char *rule_diag_print(const RuleDiag *diag)
{
    GString *out = g_string_new("");

    append_diag(out, diag);
    return g_string_free(out, FALSE);
}

char *rule_diags_print(const RuleDiags *diags)
{
    GString *out = g_string_new("");

    for (unsigned i = 0; i < diags->list->len; i++) {
        g_string_append(out, i ? "\n" : "");
        append_diag(out, g_ptr_array_index(diags->list, i));
    }
    return g_string_free(out, FALSE);
}
