/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The left side of a rule: protocol, destination, ports and source.
 *
 *     proto ":" [ dst ":" ] ports [ "@" src ]
 */
#include "parse.h"
#include "suggest.h"

#include <assert.h>

static const struct {
    const char *name;
    uint8_t mask;
} protocols[] = {
    { "tcp", RULE_TCP },
    { "udp", RULE_UDP },
    { "any", RULE_ANY_PROTO },
};

static const char *const dst_words[] = {
    [RULE_DST_ANY] = "*",           [RULE_DST_PREFIX] = NULL,
    [RULE_DST_HOST] = "host",       [RULE_DST_DNS] = "dns",
    [RULE_DST_PRIVATE] = "private", [RULE_DST_LINKLOCAL] = "linklocal",
    [RULE_DST_META] = "meta",
};
static_assert(G_N_ELEMENTS(dst_words) == RULE_DST_META + 1, "a word each");

/* Protocol */

static bool unknown_protocol(Parser *p, Span s)
{
    const char *near = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(protocols); i++) {
        near = suggest_nearer(s, near, protocols[i].name);
    }
    if (s.len == 0) {
        return parse_error(p, s,
                           "the protocol is missing: `tcp`, `udp` or "
                           "`any`");
    }
    if (near) {
        return parse_error(p, s, "unknown protocol `%s`; did you mean `%s`?",
                           quote(p, s), near);
    }
    return parse_error(p, s, "unknown protocol `%s`; use `tcp`, `udp` or `any`",
                       quote(p, s));
}

static bool parse_protocol(Parser *p, Span s)
{
    Span name = s;
    char digit = s.len > 0 ? s.at[s.len - 1] : '\0';

    if (digit == '4' || digit == '6') {
        name = span_head(s, s.len - 1);
        p->out->families = digit == '4' ? RULE_V4 : RULE_V6;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(protocols); i++) {
        if (span_is(name, protocols[i].name)) {
            p->out->protocols = protocols[i].mask;
            return true;
        }
    }
    return unknown_protocol(p, s);
}

/* Addresses */

static bool bad_v4(Parser *p, Span s)
{
    return parse_error(p, s,
                       "`%s` is no IPv4 address (four numbers 0..255, "
                       "without leading zeros)",
                       quote(p, s));
}

static bool parse_bare_addr(Span s, int family, IpAddr *addr)
{
    char buf[IPADDR_STRLEN];

    return span_copy(s, buf, sizeof(buf)) && ipaddr_parse(buf, addr) &&
           addr->family == family;
}

/* Takes the brackets off an IPv6 block. */
static bool strip_brackets(Parser *p, Span *s)
{
    size_t close = span_find(*s, ']');
    Span after;

    if (close == SPAN_NONE) {
        return parse_error(p, *s, "missing `]`");
    }
    after = span_tail(*s, close + 1);
    if (span_starts(after, "/")) {
        return parse_error(p, after,
                           "the length goes inside the brackets: "
                           "`%s%s]`",
                           quote(p, span_head(*s, close)), quote(p, after));
    }
    if (after.len > 0) {
        return parse_error(p, after, "unexpected `%s` after `]`",
                           quote(p, after));
    }
    *s = span_head(span_tail(*s, 1), close - 1);
    return true;
}

static bool bad_bracketed(Parser *p, Span s)
{
    IpAddr addr;

    if (parse_bare_addr(s, AF_INET, &addr)) {
        return parse_error(p, s, "brackets are for IPv6; write `%s`",
                           quote(p, s));
    }
    if (span_find(s, '%') != SPAN_NONE) {
        return parse_error(p, s,
                           "only a target can have an interface; leave "
                           "out `%s`",
                           quote(p, span_tail(s, span_find(s, '%'))));
    }
    return parse_error(p, s, "`%s` is no IPv6 address", quote(p, s));
}

static bool parse_prefix_length(Parser *p, Span s, IpPrefix *prefix)
{
    unsigned len, max = ipaddr_bits(&prefix->addr);

    if (s.len == 0) {
        return parse_error(p, s, "the prefix length is missing (0..%u)", max);
    }
    if (!span_number(s, &len)) {
        return parse_error(p, s, "`%s` is no prefix length (0..%u)",
                           quote(p, s), max);
    }
    if (len > max) {
        return parse_error(p, s, "prefix length %s is out of range 0..%u",
                           quote(p, s), max);
    }
    prefix->len = (uint8_t)len;
    return true;
}

static bool check_prefix_bits(Parser *p, Span s, const IpPrefix *prefix)
{
    IpPrefix masked = ipprefix_masked(prefix);
    char buf[IPPREFIX_STRLEN + 2];

    if (ipprefix_is_canonical(prefix)) {
        return true;
    }
    return parse_error(p, s,
                       "bits are set outside the prefix; did you mean "
                       "`%s`?",
                       ipprefix_print(&masked, buf));
}

/* Brackets have been dealt with; whole is what a message points at. */
static bool parse_bare_prefix(Parser *p, Span s, Span whole, int family,
                              IpPrefix *prefix)
{
    size_t slash = span_find(s, '/');
    Span addr = slash == SPAN_NONE ? s : span_head(s, slash);

    if (!parse_bare_addr(addr, family, &prefix->addr)) {
        return family == AF_INET ? bad_v4(p, addr) : bad_bracketed(p, addr);
    }
    prefix->len = (uint8_t)ipaddr_bits(&prefix->addr);
    if (slash != SPAN_NONE &&
        !parse_prefix_length(p, span_tail(s, slash + 1), prefix)) {
        return false;
    }
    return check_prefix_bits(p, whole, prefix);
}

bool parse_prefix(Parser *p, Span s, IpPrefix *prefix)
{
    Span whole = s;

    if (!span_starts(s, "[")) {
        return parse_bare_prefix(p, s, whole, AF_INET, prefix);
    }
    return strip_brackets(p, &s) &&
           parse_bare_prefix(p, s, whole, AF_INET6, prefix);
}

/* Destination */

static bool unbracketed_dst(Parser *p, Span s)
{
    Span all = p->match_ports.len ? span_join(s, p->match_ports) : s;
    Span addr = s;
    IpAddr ignored;
    size_t slash = span_find(s, '/');

    if (slash != SPAN_NONE) {
        addr = span_head(s, slash);
    }
    if (parse_bare_addr(addr, AF_INET6, &ignored)) {
        return parse_error(p, s, "IPv6 goes in brackets: `[%s]:%s`",
                           quote(p, s), quote(p, p->match_ports));
    }
    if (parse_bare_addr(all, AF_INET6, &ignored)) {
        return parse_error(p, all,
                           "IPv6 goes in brackets, and ports follow: "
                           "`[%s]:*`",
                           quote(p, all));
    }
    if (!span_all_in(s, DIGITS "abcdefABCDEF:/.")) {
        return parse_error(p, s,
                           "unexpected `:`; a rule is "
                           "PROTO:[DESTINATION:]PORTS-TARGET");
    }
    return parse_error(p, s, "IPv6 goes in brackets: `[2001:db8::1]:80`");
}

static bool unknown_dst(Parser *p, Span s)
{
    const char *near = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(dst_words); i++) {
        if (dst_words[i]) {
            near = suggest_nearer(s, near, dst_words[i]);
        }
    }
    if (near) {
        return parse_error(p, s, "unknown destination `%s`; did you mean `%s`?",
                           quote(p, s), near);
    }
    return parse_error(p, s,
                       "unknown destination `%s`; use `*`, an address, a "
                       "block, `host`, `dns`, `private`, `linklocal` or "
                       "`meta`",
                       quote(p, s));
}

/* "tcp::5555-:23" is how hostfwd= writes it. */
static bool looks_like_hostfwd(Parser *p, Span s)
{
    Span proto = span_head(p->rule, span_find(p->rule, ':') + 1);

    return parse_error(p, (Span){ s.at, 1 },
                       "this looks like a hostfwd rule (host to guest); "
                       "redirect is guest to host: write `%s%s`",
                       quote(p, proto),
                       quote(p, span_tail(p->rule, proto.len + 1)));
}

static bool parse_dst(Parser *p, Span s)
{
    Rule *rule = p->out;

    for (unsigned i = 0; i < G_N_ELEMENTS(dst_words); i++) {
        if (dst_words[i] && span_is(s, dst_words[i])) {
            rule->dst_kind = (RuleDstKind)i;
            return true;
        }
    }
    rule->dst_kind = RULE_DST_PREFIX;
    if (s.len == 0) {
        return looks_like_hostfwd(p, s);
    }
    if (s.at[0] == '[') {
        return parse_prefix(p, s, &rule->dst);
    }
    if (span_find(s, ':') != SPAN_NONE) {
        return unbracketed_dst(p, s);
    }
    if (span_all_in(s, DIGITS "./")) {
        return parse_prefix(p, s, &rule->dst);
    }
    return unknown_dst(p, s);
}

/* Ports */

bool parse_port(Parser *p, Span s, uint16_t *port)
{
    unsigned n;

    if (s.len == 0) {
        return parse_error(p, s, "a port is missing here");
    }
    if (!span_number(s, &n)) {
        return parse_error(p, s, "`%s` is no port (a number 1..65535)",
                           quote(p, s));
    }
    if (n == 0 || n > 65535) {
        return parse_error(p, s, "port %s is out of range 1..65535",
                           quote(p, s));
    }
    *port = (uint16_t)n;
    return true;
}

bool parse_port_range(Parser *p, Span s, PortRange *range)
{
    size_t dots = span_find_text(s, "..");
    Span hi;

    if (dots == SPAN_NONE) {
        bool ok = parse_port(p, s, &range->lo);

        range->hi = range->lo;
        return ok;
    }
    if (!parse_port(p, span_head(s, dots), &range->lo)) {
        return false;
    }
    hi = span_tail(s, dots + 2);
    if (hi.len == 0) {
        return parse_error(p, s, "the range has no end; write `%u..65535`",
                           range->lo);
    }
    if (!parse_port(p, hi, &range->hi)) {
        return false;
    }
    if (range->lo > range->hi) {
        return parse_error(p, s,
                           "the range runs backwards; did you mean "
                           "`%u..%u`?",
                           range->hi, range->lo);
    }
    return true;
}

/* A destination where ports are expected: the ports have been forgotten. */
static bool is_dst_alone(Span s)
{
    IpAddr addr;
    size_t slash = span_find(s, '/');

    for (unsigned i = RULE_DST_HOST; i < G_N_ELEMENTS(dst_words); i++) {
        if (span_is(s, dst_words[i])) {
            return true;
        }
    }
    if (slash != SPAN_NONE) {
        s = span_head(s, slash);
    }
    return span_starts(s, "[") || parse_bare_addr(s, AF_INET, &addr);
}

static bool parse_match_ports(Parser *p, Span s)
{
    size_t plus = span_find(s, '+');

    if (span_is(s, "*")) {
        p->out->ports = (PortRange){ 0, 65535 };
        return true;
    }
    if (plus != SPAN_NONE) {
        return parse_error(p, span_tail(s, plus),
                           "options come last, after the target");
    }
    if (is_dst_alone(s)) {
        return parse_error(p, s,
                           "the ports are missing: `%s:80`, or `%s:*` "
                           "for all",
                           quote(p, s), quote(p, s));
    }
    return parse_port_range(p, s, &p->out->ports);
}

/* Source */

static bool parse_src(Parser *p, Span s)
{
    IpAddr addr;

    if (s.len == 0) {
        return parse_error(p, s, "a source address is missing after `@`");
    }
    if (s.at[0] == '[') {
        return parse_prefix(p, s, &p->out->src);
    }
    if (parse_bare_addr(s, AF_INET6, &addr)) {
        return parse_error(p, s, "IPv6 goes in brackets: `[%s]`", quote(p, s));
    }
    if (!span_all_in(s, DIGITS "./")) {
        return parse_error(p, s, "`%s` is no source; use an address or a block",
                           quote(p, s));
    }
    return parse_prefix(p, s, &p->out->src);
}

/* Families */

static uint8_t family_of(const IpPrefix *prefix)
{
    switch (prefix->addr.family) {
    case AF_INET:
        return RULE_V4;
    case AF_INET6:
        return RULE_V6;
    default:
        return RULE_BOTH_FAMILIES;
    }
}

static const char *family_name(uint8_t mask)
{
    return mask == RULE_V4 ? "IPv4" : "IPv6";
}

/* Narrows the rule to what protocol, destination and source agree on. */
static bool narrow_families(Parser *p, Span proto, Span dst, Span src)
{
    Rule *rule = p->out;
    uint8_t of_dst = family_of(&rule->dst), of_src = family_of(&rule->src);

    if ((rule->families & of_dst) == 0) {
        return parse_error(p, dst, "%s cannot match an %s address",
                           quote(p, proto), family_name(of_dst));
    }
    if ((rule->families & of_src) == 0) {
        return parse_error(p, src, "%s cannot match an %s source",
                           quote(p, proto), family_name(of_src));
    }
    if ((of_dst & of_src) == 0) {
        return parse_error(p, src,
                           "this can never match: an %s destination "
                           "and an %s source",
                           family_name(of_dst), family_name(of_src));
    }
    rule->families &= of_dst & of_src;
    return true;
}

/* The match */

/* Cuts "[ dst ":" ] ports" at the last ":"; dst.at is NULL if absent. */
static Span cut_dst(Parser *p, Span s)
{
    size_t colon = span_rfind_outside(s, ':');

    p->match_ports = s;
    if (colon == SPAN_NONE) {
        return (Span){ NULL, 0 };
    }
    p->match_ports = span_tail(s, colon + 1);
    return span_head(s, colon);
}

static bool missing_colon(Parser *p, Span s)
{
    if (s.len > 0 && span_all_in(s, DIGITS "*.")) {
        return parse_error(p, s,
                           "the protocol is missing: `tcp:%s`, `udp:%s` "
                           "or `any:%s`",
                           quote(p, s), quote(p, s), quote(p, s));
    }
    return parse_error(p, s, "a rule starts with `tcp:`, `udp:` or `any:`");
}

bool parse_match(Parser *p)
{
    Span proto, rest, dst, src = { NULL, 0 };
    size_t colon = span_find(p->match, ':'), at;
    bool ok;

    if (colon == SPAN_NONE) {
        return missing_colon(p, p->match);
    }
    proto = span_head(p->match, colon);
    rest = span_tail(p->match, colon + 1);
    at = span_find_outside(rest, '@');
    if (at != SPAN_NONE) {
        src = span_tail(rest, at + 1);
        rest = span_head(rest, at);
    }
    dst = cut_dst(p, rest);
    ok = parse_protocol(p, proto);
    ok &= !dst.at || parse_dst(p, dst);
    /* An IPv6 address without brackets has no ports worth a second error. */
    if (ok || !dst.at || span_find(dst, ':') == SPAN_NONE) {
        ok &= parse_match_ports(p, p->match_ports);
    }
    ok &= !src.at || parse_src(p, src);
    return ok && narrow_families(p, proto, dst, src);
}

/* Printing */

static void print_protocol(GString *out, const Rule *rule)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(protocols); i++) {
        if (protocols[i].mask == rule->protocols) {
            g_string_append(out, protocols[i].name);
        }
    }
    /* An address says the family already. */
    if (rule->dst.addr.family == 0 && rule->src.addr.family == 0 &&
        rule->families != RULE_BOTH_FAMILIES) {
        g_string_append_c(out, rule->families == RULE_V4 ? '4' : '6');
    }
    g_string_append_c(out, ':');
}

void print_ports(GString *out, const PortRange *ports)
{
    if (ports->lo == 0 && ports->hi == 65535) {
        g_string_append_c(out, '*');
    } else if (ports->lo == ports->hi) {
        g_string_append_printf(out, "%u", ports->lo);
    } else {
        g_string_append_printf(out, "%u..%u", ports->lo, ports->hi);
    }
}

void print_match(GString *out, const Rule *rule)
{
    char buf[IPPREFIX_STRLEN + 2];

    print_protocol(out, rule);
    if (rule->dst_kind == RULE_DST_PREFIX) {
        g_string_append_printf(out, "%s:", ipprefix_print(&rule->dst, buf));
    } else if (rule->dst_kind != RULE_DST_ANY) {
        g_string_append_printf(out, "%s:", dst_words[rule->dst_kind]);
    }
    print_ports(out, &rule->ports);
    if (rule->src.addr.family != 0) {
        g_string_append_printf(out, "@%s", ipprefix_print(&rule->src, buf));
    }
}
