/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the parts of the rule parser and printer share.
 *
 * A rule is cut into match, target and options first, and each part parses
 * its own piece, so one rule can show a fault in each. A part that finds a
 * fault reports it with parse_error(), which returns false, and gives up on
 * its piece. Parse and print functions of one part stand in one file.
 */
#ifndef SLIRP_REDIRECT_RULES_PARSE_H
#define SLIRP_REDIRECT_RULES_PARSE_H

#include "rule.h"
#include "span.h"

enum {
    RULE_TEXT_MAX = 4096,
    RULE_NAME_MAX = 63,
    RULE_HOST_MAX = 253,      /* RFC 1035, less the root label */
    RULE_ZONE_MAX = 15,       /* IFNAMSIZ less the terminator */
    RULE_UNIX_PATH_MAX = 107, /* sun_path less the terminator */
    RULE_SECRET_MAX = 255,    /* RFC 1929 */
};

/* The ports of a target as written; what they mean depends on the match. */
typedef enum TargetPortsForm {
    TPORTS_NONE,
    TPORTS_ONE,  /* 9000 */
    TPORTS_OPEN, /* 9000.. */
    TPORTS_RANGE /* 9000..9010 */
} TargetPortsForm;

typedef struct TargetPorts {
    TargetPortsForm form;
    PortRange range;
    Span span;
} TargetPorts;

typedef struct Parser {
    Span rule;
    RulePos pos; /* of the rule's first byte */
    RuleDiags *diags;
    Rule *out;
    Span match, target, options; /* the pieces; options starts at the "+" */
    Span match_ports;
    TargetPorts tports;
    bool match_ok, target_ok; /* parsed without a fault */
    GStringChunk *scratch;    /* texts quoted in messages */
} Parser;

/* Parses one rule in a span; see rule_parse(). */
Rule *rule_parse_span(Span text, const RulePos *pos, RuleDiags *diags);

/* diag.c */
/* Reports a fault of the piece where; an empty one is widened. False. */
bool parse_error(Parser *p, Span where, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
/* The piece as a message may show it: passwords and control bytes masked.
 * Lives as long as the parser. */
const char *quote(Parser *p, Span s);
/* Adds a finding about a rule that has been parsed. */
void rule_diags_add_rule(RuleDiags *diags, bool warning, const Rule *rule,
                         const char *format, ...) G_GNUC_PRINTF(4, 5);
/* "FILE:LINE" or the source alone. */
void rule_pos_print(GString *out, const RulePos *pos);

/* match.c */
bool parse_match(Parser *p);
void print_match(GString *out, const Rule *rule);
/* "80" or "80..90", within 1..65535. */
bool parse_port_range(Parser *p, Span s, PortRange *range);
bool parse_port(Parser *p, Span s, uint16_t *port);
/* An address with optional length. */
bool parse_prefix(Parser *p, Span s, IpPrefix *prefix);
void print_ports(GString *out, const PortRange *ports);

/* target.c */
bool parse_target(Parser *p);
/* Decodes and takes a path. */
bool parse_unix_path(Parser *p, Span s);
/* Fits the target's ports to the matched ones; both must be parsed. */
bool fit_target_ports(Parser *p);
void print_target(GString *out, const Rule *rule, bool masked);
bool is_verdict(const Target *target);
/* True if a name target could be read as something else. */
bool is_reserved_target_word(Span s);
/* The words for that verdict: "reject opens no connection". */
const char *verdict_reason(TargetKind kind);

/* host.c */
/* HOST ":" ports, or an address alone. */
bool parse_host_target(Parser *p, Span s);
void print_host(GString *out, const Target *target);

/* proxy.c */
bool parse_socks5_target(Parser *p, Span s);
bool parse_http_target(Parser *p, Span s);
/* False after an error if the proxy cannot carry the rule's protocols. */
bool fit_proxy_protocol(Parser *p);
void print_proxy(GString *out, const Target *target, bool masked);

/* escape.c */
/* Decodes %XX; NULL after an error. */
char *unescape(Parser *p, Span s);
/* Appends text with every byte that is not plain, or is in set, as %XX. */
void print_escaped(GString *out, const char *text, const char *set);

/* options.c */
bool parse_options(Parser *p);
void print_options(GString *out, const Rule *rule);

#endif
