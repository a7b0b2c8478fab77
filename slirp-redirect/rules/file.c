/* SPDX-License-Identifier: BSD-3-Clause */
/* Several rules at once: words of a variable, lines and sections of a file. */
#include "parse.h"

#include <string.h>

static void rule_free_cb(gpointer data)
{
    rule_free(data);
}

static GPtrArray *rules_new(void)
{
    return g_ptr_array_new_with_free_func(rule_free_cb);
}

/* Words */

GPtrArray *rules_parse_words(const char *text, const char *source,
                             RuleDiags *diags)
{
    GPtrArray *rules = rules_new();
    Span rest = span_of(text);
    RulePos pos = { g_intern_string(source), 0, 0 };

    for (;;) {
        size_t len;
        Rule *rule;

        rest = span_tail(rest, span_run(rest, WHITE));
        if (rest.len == 0) {
            return rules;
        }
        len = strcspn(rest.at, WHITE);
        pos.column = (unsigned)(rest.at - text) + 1;
        rule = rule_parse_span(span_head(rest, len), &pos, diags);
        if (rule) {
            g_ptr_array_add(rules, rule);
        }
        rest = span_tail(rest, len);
    }
}

/* Files */

typedef struct FileReader {
    GPtrArray *rules;
    RuleDiags *diags;
    RulePos pos; /* of the first byte that counts in the line */
    IpPrefix section;
} FileReader;

/* Up to a "#" that stands first or after white space. */
static Span without_comment(Span line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.at[i] == '#' &&
            (i == 0 || line.at[i - 1] == ' ' || line.at[i - 1] == '\t')) {
            return span_head(line, i);
        }
    }
    return line;
}

/* The brackets are those of the section line; IPv6 needs no second pair, and
 * gets it here because that is how a block is parsed everywhere else. */
static bool parse_section_prefix(Parser *p, Span s, IpPrefix *section)
{
    Span inner = span_head(span_tail(s, 1), s.len - 2);

    if (span_find(inner, '[') != SPAN_NONE) {
        return parse_error(p, s,
                           "a section has one pair of brackets: "
                           "`[fec0::/64]`");
    }
    if (span_is(inner, "*")) {
        *section = (IpPrefix){ 0 };
        return true;
    }
    if (span_find(inner, '/') == SPAN_NONE) {
        return parse_error(p, s,
                           "a section names a virtual network with its "
                           "length: `[10.0.2.0/24]`, `[fec0::/64]` or "
                           "`[*]`");
    }
    return parse_prefix(p, span_find(inner, ':') != SPAN_NONE ? s : inner,
                        section);
}

static void read_section(FileReader *reader, Span line)
{
    Parser p = { .rule = line, .pos = reader->pos, .diags = reader->diags };
    IpPrefix section = { 0 };

    if (line.at[line.len - 1] != ']') {
        size_t close = span_find(line, ']');

        parse_error(&p, close == SPAN_NONE ? line : span_tail(line, close + 1),
                    close == SPAN_NONE ? "missing `]`"
                                       : "unexpected text after the section");
    } else if (parse_section_prefix(&p, line, &section)) {
        reader->section = section;
    }
    if (p.scratch) {
        g_string_chunk_free(p.scratch);
    }
}

static void read_rule(FileReader *reader, Span line)
{
    Rule *rule = rule_parse_span(line, &reader->pos, reader->diags);

    if (rule) {
        rule->section = reader->section;
        g_ptr_array_add(reader->rules, rule);
    }
}

static void read_line(FileReader *reader, Span line)
{
    Span s = span_trim(without_comment(line));

    if (s.len == 0) {
        return;
    }
    reader->pos.column = (unsigned)(s.at - line.at) + 1;
    if (s.at[0] == '[') {
        read_section(reader, s);
    } else {
        read_rule(reader, s);
    }
}

GPtrArray *rules_parse_lines(const char *text, gssize length,
                             const char *source, RuleDiags *diags)
{
    FileReader reader = {
        .rules = rules_new(),
        .diags = diags,
        .pos = { g_intern_string(source), 0, 0 },
    };
    Span rest = { text, length < 0 ? strlen(text) : (size_t)length };

    if (span_starts(rest, "\xef\xbb\xbf")) { /* a byte order mark */
        rest = span_tail(rest, 3);
    }
    while (rest.len > 0) {
        size_t len = span_find(rest, '\n');

        reader.pos.line++;
        len = len == SPAN_NONE ? rest.len : len;
        read_line(&reader, span_head(rest, len));
        rest = span_tail(rest, MIN(len + 1, rest.len));
    }
    return reader.rules;
}

/* Printing */

static void print_section(GString *out, const IpPrefix *section)
{
    char addr[IPADDR_STRLEN];

    if (section->addr.family == 0) {
        g_string_append(out, "[*]\n");
        return;
    }
    g_string_append_printf(out, "[%s/%u]\n", ipaddr_print(&section->addr, addr),
                           section->len);
}

char *rules_print(const GPtrArray *rules)
{
    GString *out = g_string_new("");
    IpPrefix section = { 0 };

    for (unsigned i = 0; i < rules->len; i++) {
        const Rule *rule = g_ptr_array_index(rules, i);
        g_autofree char *text = rule_print(rule);

        if (!ipprefix_equal(&section, &rule->section)) {
            section = rule->section;
            print_section(out, &section);
        }
        g_string_append_printf(out, "%s\n", text);
    }
    return g_string_free(out, FALSE);
}
