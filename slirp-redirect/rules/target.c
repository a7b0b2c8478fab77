/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The right side of a rule: where a matching flow goes.
 *
 * A new kind of target is a row in forms[], its parse function, and a row in
 * printers[] with its print function.
 */
#include "parse.h"

#include <assert.h>
#include <string.h>

/* Verdicts */

static const struct {
    const char *word;
    const char *reason; /* why an option about connecting has no meaning */
} verdicts[] = {
    [TARGET_PASS] = { "pass", "pass leaves the flow as it is" },
    [TARGET_REJECT] = { "reject", "reject opens no connection" },
    [TARGET_DROP] = { "drop", "drop opens no connection" },
};

bool is_verdict(const Target *target)
{
    return target->kind < G_N_ELEMENTS(verdicts);
}

const char *verdict_reason(TargetKind kind)
{
    return verdicts[kind].reason;
}

static bool parse_verdict(Parser *p, Span s)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(verdicts); i++) {
        if (span_is(s, verdicts[i].word)) {
            p->out->target.kind = (TargetKind)i;
            return true;
        }
    }
    g_return_val_if_reached(false);
}

static void print_verdict(GString *out, const Target *target)
{
    g_string_append(out, verdicts[target->kind].word);
}

/* "*:8443" */

static bool parse_keep(Parser *p, Span s)
{
    if (!span_starts(s, "*:")) {
        return parse_error(p, s,
                           "`*` as a target changes only the port: "
                           "`*:PORT`");
    }
    /* What follows reads like ":PORT", whose host is then not used. */
    if (!parse_host_target(p, span_tail(s, 1))) {
        return false;
    }
    p->out->target.kind = TARGET_KEEP;
    p->out->target.addr = (IpAddr){ 0 };
    return true;
}

static void print_keep(GString *out, const Target *target)
{
    (void)target;
    g_string_append_c(out, '*');
}

/* Unix sockets */

bool parse_unix_path(Parser *p, Span s)
{
    Target *target = &p->out->target;

    target->path = unescape(p, s);
    if (!target->path) {
        return false;
    }
    if (target->path[0] != '/') {
        return parse_error(p, s,
                           "a unix socket path must be absolute (and at "
                           "most %d bytes)",
                           RULE_UNIX_PATH_MAX);
    }
    if (strlen(target->path) > RULE_UNIX_PATH_MAX) {
        return parse_error(p, s,
                           "a unix socket path has at most %d bytes, "
                           "this one has %zu",
                           RULE_UNIX_PATH_MAX, strlen(target->path));
    }
    target->kind = TARGET_UNIX;
    return true;
}

static bool parse_unix(Parser *p, Span s)
{
    return parse_unix_path(p, span_tail(s, strlen("unix:")));
}

static void print_unix(GString *out, const Target *target)
{
    g_string_append(out, "unix:");
    print_escaped(out, target->path, "");
}

/* What other tools write, and what to write here. */

static bool reject_command(Parser *p, Span s)
{
    return parse_error(p, s,
                       "`%s` belongs to guestfwd; redirect never runs "
                       "programs",
                       quote(p, span_head(s, span_find(s, ':') + 1)));
}

static bool reject_protocol(Parser *p, Span s)
{
    Span rest = span_tail(s, span_find(s, ':') + 1);

    return parse_error(p, s, "a target has no protocol; write `%s`",
                       quote(p, rest));
}

static bool reject_scheme(Parser *p, Span s)
{
    Span scheme = span_head(s, span_find_text(s, "://") + 3);

    return parse_error(p, scheme,
                       "unknown proxy `%s`; use `socks5://` or "
                       "`http://`",
                       quote(p, scheme));
}

/* Forms */

typedef enum FormMatch { WHOLE, PREFIX, WITHIN } FormMatch;

/* The first row that fits is the form of the target. */
static const struct {
    FormMatch match;
    const char *text;
    bool (*parse)(Parser *p, Span s);
} forms[] = {
    { WHOLE, "pass", parse_verdict },
    { WHOLE, "reject", parse_verdict },
    { WHOLE, "drop", parse_verdict },
    { PREFIX, "*", parse_keep },
    { PREFIX, "unix:", parse_unix },
    { PREFIX, "socks5://", parse_socks5_target },
    { PREFIX, "http://", parse_http_target },
    { PREFIX, "cmd:", reject_command },
    { PREFIX, "tcp:", reject_protocol },
    { PREFIX, "udp:", reject_protocol },
    { WITHIN, "://", reject_scheme },
    { PREFIX, "", parse_host_target },
};

static const char *const form_list =
    "`pass`, `reject`, `drop`, `:PORT`, `HOST:PORT`, `ADDRESS`, `*:PORT`, "
    "`unix:/PATH`, `socks5://HOST:PORT` or `http://HOST:PORT`";

static bool form_fits(unsigned i, Span s)
{
    switch (forms[i].match) {
    case WHOLE:
        return span_is(s, forms[i].text);
    case PREFIX:
        return span_starts(s, forms[i].text);
    default:
        return span_find_text(s, forms[i].text) != SPAN_NONE;
    }
}

bool parse_target(Parser *p)
{
    Span s = p->target;

    if (s.len == 0) {
        return parse_error(p, s, "empty target; use %s", form_list);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++) {
        if (form_fits(i, s)) {
            return forms[i].parse(p, s);
        }
    }
    g_return_val_if_reached(false);
}

bool is_reserved_target_word(Span s)
{
    static const char *const words[] = {
        /* Destinations, easily mistaken for hosts. */
        "host",
        "dns",
        "private",
        "linklocal",
        "meta",
        /* With a colon these are other forms. */
        "pass",
        "reject",
        "drop",
        "unix",
        "cmd",
        "tcp",
        "udp",
        "socks5",
        "http",
    };
    g_autofree char *lower = g_ascii_strdown(s.at, (gssize)s.len);

    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        if (g_str_equal(lower, words[i])) {
            return true;
        }
    }
    return false;
}

/* Ports */

static bool shift_error(Parser *p)
{
    const PortRange *asked = &p->out->ports;
    unsigned lo = p->tports.range.lo;

    if (asked->lo == 0) {
        return parse_error(p, p->tports.span,
                           "the shift runs past 65535; `*` can only map onto "
                           "`1..` (each port to itself) or onto one port, "
                           "`%u`",
                           lo);
    }
    return parse_error(p, p->tports.span,
                       "the shift runs past 65535: %u ports from %u on",
                       asked->hi - asked->lo + 1, lo);
}

/* How many ports a range stands for; "*" has no port 0 that could be used. */
static unsigned port_count(const PortRange *ports)
{
    return (unsigned)(ports->hi - MAX(ports->lo, 1) + 1);
}

static bool count_error(Parser *p)
{
    unsigned asked = port_count(&p->out->ports);
    unsigned given = port_count(&p->tports.range);
    unsigned lo = p->tports.range.lo;

    if (asked == 1) {
        return parse_error(p, p->tports.span,
                           "one port cannot map onto %u; write `%u`", given,
                           lo);
    }
    if (lo + asked - 1 > 65535) {
        return parse_error(p, p->tports.span,
                           "%u ports cannot map onto %u; `%u` collapses", asked,
                           given, lo);
    }
    return parse_error(p, p->tports.span,
                       "%u ports cannot map onto %u; `%u..` shifts, `%u` "
                       "collapses",
                       asked, given, lo, lo);
}

bool fit_target_ports(Parser *p)
{
    const PortRange *asked = &p->out->ports;
    PortMap *map = &p->out->target.ports;
    unsigned count = port_count(asked);

    if (p->tports.form == TPORTS_NONE) {
        return true;
    }
    if (p->tports.form == TPORTS_RANGE &&
        port_count(&p->tports.range) != count) {
        return count_error(p);
    }
    map->port = p->tports.range.lo;
    map->kind = PORT_FIXED;
    if (p->tports.form != TPORTS_ONE && count > 1) {
        map->kind = PORT_SHIFT;
    }
    if (map->kind == PORT_SHIFT && map->port + count - 1 > 65535) {
        return shift_error(p);
    }
    return true;
}

/* Printing */

static void print_target_ports(GString *out, const PortMap *map)
{
    if (map->kind != PORT_KEEP) {
        g_string_append_printf(out, ":%u%s", map->port,
                               map->kind == PORT_SHIFT ? ".." : "");
    }
}

static void (*const printers[])(GString *out, const Target *target) = {
    [TARGET_PASS] = print_verdict, [TARGET_REJECT] = print_verdict,
    [TARGET_DROP] = print_verdict, [TARGET_KEEP] = print_keep,
    [TARGET_ADDRESS] = print_host, [TARGET_NAME] = print_host,
    [TARGET_UNIX] = print_unix,
};
static_assert(G_N_ELEMENTS(printers) == TARGET_UNIX + 1, "a row each");

void print_target(GString *out, const Rule *rule, bool masked)
{
    const Target *target = &rule->target;

    print_proxy(out, target, masked);
    printers[target->kind](out, target);
    print_target_ports(out, &target->ports);
}
