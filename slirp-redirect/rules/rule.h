/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A redirect rule as a value, and its text form: the parser, the canonical
 * printer and the verifier.
 *
 * Theory of operation. Text becomes rules in two passes. The parser turns one
 * rule at a time into a Rule and reports every fault it can name with its
 * column. The verifier then looks at the whole set: names used twice, targets
 * that this build cannot serve, rules that can never match, loops. Nothing
 * here does I/O or resolves names; addresses known only to an instance (its
 * virtual network) stay symbolic in the Rule.
 *
 * rule_parse() and rule_print() are inverses: what is printed parses to an
 * equal value, and is the canonical spelling of that value.
 */
#ifndef SLIRP_REDIRECT_RULES_RULE_H
#define SLIRP_REDIRECT_RULES_RULE_H

#include <glib.h>

#include "addr.h"

typedef enum RuleProto {
    RULE_TCP = 1 << 0,
    RULE_UDP = 1 << 1,
    RULE_ANY_PROTO = RULE_TCP | RULE_UDP,
} RuleProto;

typedef enum RuleFamily {
    RULE_V4 = 1 << 0,
    RULE_V6 = 1 << 1,
    RULE_BOTH_FAMILIES = RULE_V4 | RULE_V6,
} RuleFamily;

typedef enum RuleDstKind {
    RULE_DST_ANY,     /* "*": never multicast or broadcast */
    RULE_DST_PREFIX,  /* an address or block */
    RULE_DST_HOST,    /* the virtual host address, both families */
    RULE_DST_DNS,     /* the virtual name server, both families */
    RULE_DST_PRIVATE, /* RFC 1918, 100.64/10, fc00::/7, less the own network */
    RULE_DST_LINKLOCAL,
    RULE_DST_META, /* cloud metadata addresses */
} RuleDstKind;

/* Inclusive, host order. "*" is 0..65535 so that no port escapes it. */
typedef struct PortRange {
    uint16_t lo, hi;
} PortRange;

typedef enum TargetKind {
    TARGET_PASS,   /* as if there were no rule */
    TARGET_REJECT, /* RST or ICMP port unreachable */
    TARGET_DROP,   /* silence */
    TARGET_KEEP,   /* the original address, another port */
    TARGET_ADDRESS,
    TARGET_NAME, /* a host name, resolved when the table is loaded */
    TARGET_UNIX,
} TargetKind;

typedef enum PortMapKind {
    PORT_KEEP,  /* the port the guest asked for */
    PORT_FIXED, /* always port */
    PORT_SHIFT, /* port + (asked - first matched port) */
} PortMapKind;

typedef struct PortMap {
    PortMapKind kind;
    uint16_t port;
} PortMap;

typedef enum TargetProxy {
    PROXY_NONE,
    PROXY_SOCKS5, /* RFC 1928; the endpoint is the proxy */
    PROXY_HTTP,   /* CONNECT, RFC 9110 section 9.3.6 */
} TargetProxy;

/* Where a matching flow goes. Unused members are zero or NULL. */
typedef struct Target {
    TargetKind kind;
    TargetProxy proxy;
    IpAddr addr;    /* TARGET_ADDRESS */
    char *zone;     /* TARGET_ADDRESS: interface of a link-local address */
    char *host;     /* TARGET_NAME */
    char *path;     /* TARGET_UNIX, decoded, absolute, at most 107 bytes */
    PortMap ports;  /* PORT_KEEP for verdicts and unix */
    char *user;     /* proxies: decoded; NULL = no authentication */
    char *password; /* proxies: decoded */
} Target;

/* Where a rule was written, for messages; never part of its meaning. */
typedef struct RulePos {
    const char *source; /* interned: "redirect=", "SLIRP_REDIRECT", a path */
    unsigned line;      /* from 1; 0 = the source has no lines */
    unsigned column;    /* from 1, of the rule's first byte in that line */
} RulePos;

typedef struct Rule {
    uint8_t protocols; /* RuleProto mask */
    uint8_t families;  /* RuleFamily mask, narrowed by dst and src */
    RuleDstKind dst_kind;
    IpPrefix dst; /* RULE_DST_PREFIX */
    PortRange ports;
    IpPrefix src; /* addr.family 0 = any source */
    Target target;
    uint8_t proxy_header; /* PROXY protocol version 1 or 2; 0 = none */
    bool log;
    unsigned timeout_s; /* connect time-out; 0 = the default of 75 s */
    char *name;         /* NULL = none */
    /* Instances on this virtual network only; addr.family 0 = all. Written
     * as a [section] line of a rule file, not by rule_print(). */
    IpPrefix section;
    RulePos pos;
} Rule;

enum { RULE_TIMEOUT_DEFAULT_S = 75, RULE_TIMEOUT_MAX_S = 86400 };

/* The virtual network of an instance; family 0 where a family is off. */
typedef struct RuleNet {
    IpPrefix vnet4, vnet6;
    IpAddr host4, host6; /* 10.0.2.2, fec0::2 by default */
    IpAddr dns4, dns6;   /* 10.0.2.3, fec0::3 by default */
} RuleNet;

/* A port of the host that forwards to this guest (hostfwd=). */
typedef struct RuleHostfwd {
    uint8_t protocol; /* RULE_TCP or RULE_UDP */
    IpAddr addr;      /* all zero bytes = every address of that family */
    uint16_t port;    /* host order */
} RuleHostfwd;

/* One finding of the parser or verifier. */
typedef struct RuleDiag {
    bool warning;   /* the set still loads */
    RulePos pos;    /* column: of the offending part */
    unsigned width; /* bytes of the offending part, at least 1 */
    char *text;     /* the rule as written; passwords are shown as "***" */
    unsigned text_column; /* column of text's first byte in its line */
    /* The offending part within text, bytes. Not column - text_column where
     * a password before it is masked or a very long rule is cut short. */
    unsigned mark, mark_width;
    char *message;
} RuleDiag;

/* Findings in the order found; free with rule_diags_free(). */
typedef struct RuleDiags {
    GPtrArray *list; /* RuleDiag *, owned */
    unsigned errors; /* how many of them are no warnings */
} RuleDiags;

RuleDiags *rule_diags_new(void);
void rule_diags_free(RuleDiags *diags);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RuleDiags, rule_diags_free)
/* Adds a finding about the whole source (pos->column may be 0). */
void rule_diags_add(RuleDiags *diags, bool warning, const RulePos *pos,
                    const char *format, ...) G_GNUC_PRINTF(4, 5);
/*
 * One finding as a person reads it: "source:line:column: message", then the
 * rule, then a caret line under the offending part. "source: message" where
 * there is no line. Warnings start "warning: ". No final newline; g_free().
 */
char *rule_diag_print(const RuleDiag *diag);
/* Every finding, one after the other, newline between; g_free(). */
char *rule_diags_print(const RuleDiags *diags);

/* Frees with rule_free(); never NULL members to worry about. */
Rule *rule_new(void);
void rule_free(Rule *rule);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Rule, rule_free)
Rule *rule_copy(const Rule *rule);
/* Same meaning; pos is ignored, section is compared. */
bool rule_equal(const Rule *a, const Rule *b);
/* For hash tables, with rule_equal(). */
unsigned rule_hash(const Rule *rule);
/* The canonical text of the rule alone; g_free(). Passwords in clear. */
char *rule_print(const Rule *rule);
/* As rule_print(), with any password shown as "***": for lists and logs. */
char *rule_print_masked(const Rule *rule);

/*
 * Parses one rule. pos tells where text stands (text may be part of a longer
 * line). Returns NULL after adding at least one error to diags.
 */
Rule *rule_parse(const char *text, const RulePos *pos, RuleDiags *diags);
/*
 * Parses rules separated by white space (SLIRP_REDIRECT, the API), or the
 * lines of a rule file with # comments and [prefix] sections. Every faulty
 * rule adds its errors; the result holds the good ones (Rule *, owned) and
 * is to be thrown away if diags->errors is not 0. Never NULL.
 */
GPtrArray *rules_parse_words(const char *text, const char *source,
                             RuleDiags *diags);
GPtrArray *rules_parse_lines(const char *text, gssize length,
                             const char *source, RuleDiags *diags);
/* The rules as a rule file that parses to an equal set; g_free(). */
char *rules_print(const GPtrArray *rules);

/*
 * Second pass over a whole set (Rule *): errors for names used twice and for
 * targets not built into this version, warnings for rules that an earlier one
 * covers. With net, also for targets inside the virtual network, and with
 * hostfwds (n_hostfwds of them) for loops. net and hostfwds may be NULL.
 * With net, rules of other instances' sections are not looked at.
 */
void rules_verify(const GPtrArray *rules, const RuleNet *net,
                  const RuleHostfwd *hostfwds, unsigned n_hostfwds,
                  RuleDiags *diags);
/* The loops alone: for rules that were verified before the hostfwds were
 * known. */
void rules_find_loops(const GPtrArray *rules, const RuleHostfwd *hostfwds,
                      unsigned n_hostfwds, RuleDiags *diags);
/* True if the rule's section is absent or one of net's networks. */
bool rule_applies_to(const Rule *rule, const RuleNet *net);

/* The port a flow to asked_port goes to; the rule must match that port. */
uint16_t rule_target_port(const Rule *rule, uint16_t asked_port);

/* The prefixes a destination keyword or prefix stands for on this network:
 * IpPrefix values; "private" comes with the own network cut out. For
 * RULE_DST_ANY the two zero-length prefixes. g_array_unref(). */
GArray *rule_dst_prefixes(const Rule *rule, const RuleNet *net);

#endif
