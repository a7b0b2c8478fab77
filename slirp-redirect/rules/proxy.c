/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Proxy targets: scheme "://" [ user ":" password "@" ] endpoint.
 *
 * An endpoint that starts "unix:/" has no credentials before it; "/" in a
 * user or password is escaped, so the two cannot be confused.
 */
#include "parse.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *scheme;
    const char *tcp_only;  /* what carries no UDP, or NULL */
    unsigned usual_port;   /* for corrected text only */
    unsigned password_min; /* RFC 1929 has no empty password, RFC 7617 has */
    /* Bytes that the protocol cannot carry in a user name. */
    const char *no_user_bytes;
} proxies[] = {
    [PROXY_NONE] = { "", NULL, 0, 0, "" },
    [PROXY_SOCKS5] = { "socks5://", NULL, 1080, 1, "" },
    [PROXY_HTTP] = { "http://", "HTTP CONNECT", 3128, 0, ":" },
};
static_assert(G_N_ELEMENTS(proxies) == PROXY_HTTP + 1, "a row each");

static bool check_length(Parser *p, Span s, const char *what, const char *value,
                         unsigned min)
{
    size_t len = strlen(value);

    if (len >= min && len <= RULE_SECRET_MAX) {
        return true;
    }
    return parse_error(p, s, "a %s has %u to %d bytes", what, min,
                       RULE_SECRET_MAX);
}

static bool parse_user(Parser *p, Span s)
{
    Target *target = &p->out->target;
    const char *bad = proxies[target->proxy].no_user_bytes;

    target->user = unescape(p, s);
    if (!target->user || !check_length(p, s, "user", target->user, 1)) {
        return false;
    }
    if (strpbrk(target->user, bad)) {
        return parse_error(p, s, "a user of an HTTP proxy cannot hold `:`");
    }
    return true;
}

static bool parse_password(Parser *p, Span s)
{
    Target *target = &p->out->target;

    target->password = unescape(p, s);
    return target->password &&
           check_length(p, s, "password", target->password,
                        proxies[target->proxy].password_min);
}

static bool parse_credentials(Parser *p, Span s)
{
    size_t colon = span_find(s, ':');
    bool ok;

    if (colon == SPAN_NONE) {
        return parse_error(p, s, "a password is missing: `USER:PASSWORD@`");
    }
    ok = parse_user(p, span_head(s, colon));
    ok &= parse_password(p, span_tail(s, colon + 1));
    return ok;
}

static bool portless_proxy(Parser *p, Span s)
{
    return parse_error(p, s, "a proxy needs its port: `%s:%u`", quote(p, s),
                       proxies[p->out->target.proxy].usual_port);
}

/* Things seen after a proxy that are part of no endpoint. */
static bool check_endpoint(Parser *p, Span s)
{
    size_t at = span_find(s, '@'), slash = span_find(s, '/');

    if (at != SPAN_NONE) {
        return parse_error(p, (Span){ s.at + at, 1 },
                           "`@` in a user or password is written `%%40`");
    }
    if (slash != SPAN_NONE) {
        return parse_error(p, span_tail(s, slash),
                           "a proxy is HOST:PORT, without a path");
    }
    if (s.len == 0) {
        return parse_error(p, s, "the proxy is missing: HOST:PORT");
    }
    return s.at[0] == '[' || span_find(s, ':') != SPAN_NONE ||
           portless_proxy(p, s);
}

static bool parse_endpoint(Parser *p, Span s)
{
    if (span_starts(s, "unix:")) {
        return parse_unix_path(p, span_tail(s, strlen("unix:")));
    }
    if (!check_endpoint(p, s) || !parse_host_target(p, s)) {
        return false;
    }
    if (p->tports.form == TPORTS_NONE) {
        return portless_proxy(p, s);
    }
    if (p->tports.form != TPORTS_ONE) {
        return parse_error(p, p->tports.span, "a proxy has one port");
    }
    return true;
}

/* The index of the "@" that ends the credentials, or SPAN_NONE. */
static size_t credentials_end(Span s)
{
    return span_starts(s, "unix:/") ? SPAN_NONE : span_find(s, '@');
}

static bool parse_proxy(Parser *p, Span s, TargetProxy proxy)
{
    size_t at;
    bool ok = true;

    p->out->target.proxy = proxy;
    s = span_tail(s, strlen(proxies[proxy].scheme));
    at = credentials_end(s);
    if (at != SPAN_NONE) {
        ok = parse_credentials(p, span_head(s, at));
        s = span_tail(s, at + 1);
    }
    return parse_endpoint(p, s) && ok;
}

bool parse_socks5_target(Parser *p, Span s)
{
    return parse_proxy(p, s, PROXY_SOCKS5);
}

bool parse_http_target(Parser *p, Span s)
{
    return parse_proxy(p, s, PROXY_HTTP);
}

bool fit_proxy_protocol(Parser *p)
{
    const char *tcp_only = proxies[p->out->target.proxy].tcp_only;

    if (!tcp_only || !(p->out->protocols & RULE_UDP)) {
        return true;
    }
    return parse_error(p, p->target, "%s carries TCP only", tcp_only);
}

void print_proxy(GString *out, const Target *target, bool masked)
{
    g_string_append(out, proxies[target->proxy].scheme);
    if (!target->user) {
        return;
    }
    print_escaped(out, target->user, ":@/");
    g_string_append_c(out, ':');
    if (masked) {
        g_string_append(out, "***");
    } else {
        print_escaped(out, target->password, ":@/");
    }
    g_string_append_c(out, '@');
}
