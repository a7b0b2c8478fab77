/* SPDX-License-Identifier: BSD-3-Clause */
/* The host a target names: an address, a host name or nothing (loopback). */
#include "parse.h"
#include "suggest.h"

#include <string.h>

#define ALNUM DIGITS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Ports */

static bool parse_target_ports(Parser *p, Span s)
{
    TargetPorts *ports = &p->tports;
    size_t dots = span_find_text(s, "..");

    ports->span = s;
    if (dots == SPAN_NONE) {
        ports->form = TPORTS_ONE;
        return parse_port(p, s, &ports->range.lo);
    }
    if (dots + 2 == s.len) {
        ports->form = TPORTS_OPEN;
        return parse_port(p, span_head(s, dots), &ports->range.lo);
    }
    ports->form = TPORTS_RANGE;
    return parse_port_range(p, s, &ports->range);
}

/* Addresses */

static bool set_addr(Parser *p, Span s, const IpAddr *addr)
{
    static const uint8_t zeros[16];

    if (memcmp(addr->bytes, zeros, sizeof(zeros)) == 0) {
        return parse_error(p, s,
                           "nobody can connect to `%s`; the host's "
                           "loopback is `:PORT`",
                           quote(p, s));
    }
    p->out->target.kind = TARGET_ADDRESS;
    p->out->target.addr = *addr;
    return true;
}

static bool parse_v4(Parser *p, Span s)
{
    char buf[IPADDR_STRLEN];
    IpAddr addr;

    if (span_find(s, '/') != SPAN_NONE) {
        return parse_error(p, s, "a target is one address, not a block");
    }
    if (!span_copy(s, buf, sizeof(buf)) || !ipaddr_parse(buf, &addr)) {
        return parse_error(p, s,
                           "`%s` is no IPv4 address (four numbers "
                           "0..255, without leading zeros)",
                           quote(p, s));
    }
    return set_addr(p, s, &addr);
}

static bool is_link_local(const IpAddr *addr)
{
    static const IpPrefix linklocal = { { AF_INET6, { 0xfe, 0x80 } }, 10 };

    return ipprefix_contains(&linklocal, addr);
}

static bool parse_zone(Parser *p, Span s)
{
    if (s.len == 0) {
        return parse_error(p, s, "an interface name is missing after `%%`");
    }
    if (s.len > RULE_ZONE_MAX || !span_all_in(s, ALNUM "_.-")) {
        return parse_error(p, s, "`%s` is no interface name", quote(p, s));
    }
    p->out->target.zone = span_dup(s);
    return true;
}

/* after is what follows the bracket, for the corrected text. */
static bool check_zone(Parser *p, Span addr, Span zone, Span after)
{
    bool needs = is_link_local(&p->out->target.addr);

    if (needs && !zone.at) {
        return parse_error(p, addr,
                           "a link-local target needs its interface: "
                           "`[%s%%eth0]%s`",
                           quote(p, addr), quote(p, after));
    }
    if (!needs && zone.at) {
        return parse_error(p, zone,
                           "only a link-local target has an "
                           "interface; leave out `%%%s`",
                           quote(p, zone));
    }
    return !zone.at || parse_zone(p, zone);
}

static bool bad_v6(Parser *p, Span s)
{
    char buf[IPADDR_STRLEN];
    IpAddr addr;

    if (span_find(s, '/') != SPAN_NONE) {
        return parse_error(p, s, "a target is one address, not a block");
    }
    if (span_copy(s, buf, sizeof(buf)) && ipaddr_parse(buf, &addr)) {
        return parse_error(p, s, "brackets are for IPv6; write `%s`",
                           quote(p, s));
    }
    return parse_error(p, s, "`%s` is no IPv6 address", quote(p, s));
}

/* inner is what stands between the brackets. */
static bool parse_v6(Parser *p, Span inner, Span after)
{
    size_t percent = span_find(inner, '%');
    Span zone = { NULL, 0 }, text = inner;
    char buf[IPADDR_STRLEN];
    IpAddr addr;

    if (percent != SPAN_NONE) {
        text = span_head(inner, percent);
        zone = span_tail(inner, percent + 1);
    }
    if (!span_copy(text, buf, sizeof(buf)) || !ipaddr_parse(buf, &addr) ||
        addr.family != AF_INET6) {
        return bad_v6(p, text);
    }
    return set_addr(p, text, &addr) && check_zone(p, text, zone, after);
}

static bool parse_bracketed(Parser *p, Span s)
{
    size_t close = span_find(s, ']');
    Span after;

    if (close == SPAN_NONE) {
        return parse_error(p, s, "missing `]`");
    }
    after = span_tail(s, close + 1);
    if (after.len > 0 && after.at[0] != ':') {
        return parse_error(p, after, "expected `:PORT` after `]`");
    }
    if (!parse_v6(p, span_head(span_tail(s, 1), close - 1), after)) {
        return false;
    }
    return after.len == 0 || parse_target_ports(p, span_tail(after, 1));
}

static bool looks_like_v6(Span s)
{
    return span_count(s, ':') > 1 && (span_find_text(s, "::") != SPAN_NONE ||
                                      span_all_in(s, DIGITS "abcdefABCDEF:"));
}

static bool is_v6(Span s)
{
    char buf[IPADDR_STRLEN];
    IpAddr ignored;

    return span_copy(s, buf, sizeof(buf)) && ipaddr_parse(buf, &ignored);
}

/* "::1:8080" or "::1" without brackets. The port is likelier than one more
 * group of the address. */
static bool unbracketed_v6(Parser *p, Span s)
{
    size_t colon = span_rfind(s, ':');
    Span addr = span_head(s, colon), port = span_tail(s, colon + 1);

    if (is_v6(addr)) {
        return parse_error(p, s, "IPv6 goes in brackets: `[%s]:%s`",
                           quote(p, addr), quote(p, port));
    }
    if (is_v6(s)) {
        return parse_error(p, s, "IPv6 goes in brackets: `[%s]`", quote(p, s));
    }
    return parse_error(p, s, "IPv6 goes in brackets: `[ADDRESS]:PORT`");
}

/* Names */

static bool is_label(Span s)
{
    return s.len > 0 && s.len <= 63 && span_all_in(s, ALNUM "-") &&
           s.at[0] != '-' && s.at[s.len - 1] != '-';
}

/* RFC 1123 section 2.1; a dot at the end makes the name absolute. */
static bool is_host_name(Span s)
{
    size_t dot;

    if (s.len == 0 || s.len > RULE_HOST_MAX) {
        return false;
    }
    while ((dot = span_find(s, '.')) != SPAN_NONE) {
        if (!is_label(span_head(s, dot))) {
            return false;
        }
        s = span_tail(s, dot + 1);
        if (s.len == 0) {
            return true;
        }
    }
    return is_label(s);
}

/* Resolvers read "1.2.3", "127.1" and "0x7f.1" as IPv4, each in its way. */
static bool looks_numeric(Span s)
{
    size_t dot;

    if (s.len > 0 && s.at[s.len - 1] == '.') {
        s.len--;
    }
    dot = span_rfind(s, '.');
    if (dot != SPAN_NONE) {
        s = span_tail(s, dot + 1);
    }
    if (span_starts(s, "0x") || span_starts(s, "0X")) {
        return span_all_in(span_tail(s, 2), DIGITS "abcdefABCDEF");
    }
    return span_all_in(s, DIGITS "/");
}

static bool keyword_error(Parser *p, Span s)
{
    return parse_error(p, s,
                       "`%s` is a keyword, not a host; the host's "
                       "loopback is `:PORT`",
                       quote(p, s));
}

static bool parse_name(Parser *p, Span s)
{
    Target *target = &p->out->target;

    if (is_reserved_target_word(s)) {
        return keyword_error(p, s);
    }
    if (!is_host_name(s)) {
        return parse_error(p, s, "`%s` is no host name", quote(p, s));
    }
    target->kind = TARGET_NAME;
    target->host = g_ascii_strdown(s.at, (gssize)s.len);
    return true;
}

static bool parse_host(Parser *p, Span s)
{
    static const IpAddr loopback = { AF_INET, { 127, 0, 0, 1 } };

    if (s.len == 0) {
        return set_addr(p, s, &loopback);
    }
    return looks_numeric(s) ? parse_v4(p, s) : parse_name(p, s);
}

/* No port: right for an address, wrong for a name. */
static bool parse_portless(Parser *p, Span s)
{
    static const char *const verdicts[] = { "pass", "reject", "drop" };
    const char *near = NULL;

    if (looks_numeric(s)) {
        return parse_v4(p, s);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(verdicts); i++) {
        near = suggest_nearer(s, near, verdicts[i]);
    }
    if (near) {
        return parse_error(p, s, "unknown target `%s`; did you mean `%s`?",
                           quote(p, s), near);
    }
    if (is_reserved_target_word(s)) {
        return keyword_error(p, s);
    }
    if (!is_host_name(s)) {
        return parse_error(p, s, "unknown target `%s`", quote(p, s));
    }
    return parse_error(p, s, "a host name needs its port: `%s:80`",
                       quote(p, s));
}

bool parse_host_target(Parser *p, Span s)
{
    size_t colon = span_rfind(s, ':');
    bool ok;

    if (s.len > 0 && s.at[0] == '[') {
        return parse_bracketed(p, s);
    }
    if (colon == SPAN_NONE) {
        return parse_portless(p, s);
    }
    if (looks_like_v6(s)) {
        return unbracketed_v6(p, s);
    }
    ok = parse_host(p, span_head(s, colon));
    ok &= parse_target_ports(p, span_tail(s, colon + 1));
    return ok;
}

void print_host(GString *out, const Target *target)
{
    char buf[IPADDR_STRLEN];

    if (target->kind == TARGET_NAME) {
        g_string_append(out, target->host);
        return;
    }
    ipaddr_print(&target->addr, buf);
    if (target->addr.family == AF_INET) {
        g_string_append(out, buf);
    } else if (target->zone) {
        g_string_append_printf(out, "[%s%%%s]", buf, target->zone);
    } else {
        g_string_append_printf(out, "[%s]", buf);
    }
}
