/* SPDX-License-Identifier: BSD-3-Clause */
/* Parses one rule: cuts it into its parts and fits them together. */
#include "parse.h"

#include <string.h>

/* Text */

static bool check_length(Parser *p)
{
    if (p->rule.len == 0) {
        return parse_error(p, p->rule,
                           "empty rule; the simplest one is "
                           "`tcp:80-127.0.0.1:8080`");
    }
    if (p->rule.len > RULE_TEXT_MAX) {
        return parse_error(p, span_tail(p->rule, RULE_TEXT_MAX),
                           "a rule has at most %d bytes, this one has %zu",
                           RULE_TEXT_MAX, p->rule.len);
    }
    return true;
}

static bool is_white(char c)
{
    return c != '\0' && strchr(WHITE, c);
}

/* Bytes that no rule holds, whatever part they are in. */
static bool check_bytes(Parser *p)
{
    for (size_t i = 0; i < p->rule.len; i++) {
        char c = p->rule.at[i];
        Span where = { p->rule.at + i, 1 };

        if (g_ascii_isgraph(c) && c != ',') {
            continue;
        }
        if (is_white(c)) {
            return parse_error(p, where,
                               "white space ends a rule; in a path "
                               "or password write `%%%02X`",
                               (uint8_t)c);
        }
        if (g_ascii_iscntrl(c) || c == '\0') {
            return parse_error(p, where, "control character 0x%02x in the rule",
                               (uint8_t)c);
        }
        if (c == ',') {
            return parse_error(p, where,
                               "`,` ends a QEMU option: write one "
                               "`redirect=` per rule (`%%2C` in a "
                               "path or password)");
        }
    }
    return true;
}

/* Cutting */

/* No "-" outside brackets. */
static bool no_target(Parser *p)
{
    size_t open = span_rfind(p->rule, '['), close = span_rfind(p->rule, ']');

    if (open != SPAN_NONE && (close == SPAN_NONE || close < open)) {
        return parse_error(p, span_tail(p->rule, open), "missing `]`");
    }
    return parse_error(p, p->rule,
                       "no `-TARGET` part; a rule is "
                       "`%s-TARGET`, for example `%s-:8080`",
                       quote(p, p->rule), quote(p, p->rule));
}

/* The digits that end the match, as in "tcp:80"; length 0 if none. */
static Span last_digits(Span s)
{
    size_t n = 0;

    while (n < s.len && g_ascii_isdigit(s.at[s.len - 1 - n])) {
        n++;
    }
    return span_tail(s, s.len - n);
}

/* "80-8080" and "80-90-:9000": "-" separates, so it makes no range. */
static bool check_dash_range(Parser *p)
{
    Span from = last_digits(p->match), to = p->target;
    size_t n = span_run(to, DIGITS);

    to = span_head(to, n);
    if (n == 0 || (n < p->target.len && p->target.at[n] != '-')) {
        return true;
    }
    if (n < p->target.len && from.len > 0) {
        return parse_error(p, span_join(from, to),
                           "a port range is written `%s..%s`", quote(p, from),
                           quote(p, to));
    }
    if (from.len == 0) {
        return parse_error(p, to, "host loopback port %s is `-:%s`",
                           quote(p, to), quote(p, to));
    }
    return parse_error(p, span_join(from, to),
                       "ambiguous: host loopback port %s is `-:%s`, a range is "
                       "`%s..%s-TARGET`",
                       quote(p, to), quote(p, to), quote(p, from),
                       quote(p, to));
}

/* Cuts at the first "-" outside brackets and then at the first "+". */
static bool cut(Parser *p)
{
    size_t dash = span_find_outside(p->rule, '-'), plus;

    if (dash == SPAN_NONE) {
        return no_target(p);
    }
    p->match = span_head(p->rule, dash);
    p->target = span_tail(p->rule, dash + 1);
    plus = span_find(p->target, '+');
    p->options = span_tail(p->target, p->target.len);
    if (plus != SPAN_NONE) {
        p->options = span_tail(p->target, plus);
        p->target = span_head(p->target, plus);
    }
    return true;
}

/* A command of guestfwd holds blanks and commas, which are not its fault. */
static bool is_command(const Parser *p)
{
    size_t dash = span_find_outside(p->rule, '-');

    return dash != SPAN_NONE &&
           span_starts(span_tail(p->rule, dash + 1), "cmd:");
}

/* Fitting */

/* TCP has no multicast, and a broadcast is nobody to connect to. */
static bool fit_multicast(Parser *p)
{
    const Rule *rule = p->out;

    if (!ipaddr_is_multicast(&rule->target.addr) ||
        !(rule->protocols & RULE_TCP)) {
        return true;
    }
    return parse_error(p, p->target,
                       "TCP cannot connect to a multicast or "
                       "broadcast address");
}

static bool parse_parts(Parser *p)
{
    bool options_ok, fits;

    if (!check_length(p) || (!is_command(p) && !check_bytes(p)) || !cut(p) ||
        !check_dash_range(p)) {
        return false;
    }
    p->match_ok = parse_match(p);
    p->target_ok = parse_target(p);
    options_ok = parse_options(p);
    if (!p->match_ok || !p->target_ok) {
        return false;
    }
    /* Each has something to say of its own. */
    fits = fit_target_ports(p);
    fits &= fit_proxy_protocol(p);
    fits &= fit_multicast(p);
    return fits && options_ok;
}

Rule *rule_parse_span(Span text, const RulePos *pos, RuleDiags *diags)
{
    g_autoptr(Rule) rule = rule_new();
    Parser p = { .rule = text, .pos = *pos, .diags = diags, .out = rule };
    bool ok;

    p.pos.column = MAX(p.pos.column, 1);
    rule->pos = p.pos;
    ok = parse_parts(&p);
    if (p.scratch) {
        g_string_chunk_free(p.scratch);
    }
    return ok ? g_steal_pointer(&rule) : NULL;
}

Rule *rule_parse(const char *text, const RulePos *pos, RuleDiags *diags)
{
    return rule_parse_span(span_of(text), pos, diags);
}
