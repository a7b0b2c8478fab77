/* SPDX-License-Identifier: BSD-3-Clause */
/* Second pass over a whole set of rules: faults that one rule cannot show. */
#include "cover.h"
#include "parse.h"

#include <string.h>

/* A set with one mistake often has it a thousand times; the first few
 * findings of a kind say it all. */
enum { FINDINGS_MAX = 20 };

typedef enum FindingKind {
    FOUND_NOT_BUILT,
    FOUND_SAME_NAME,
    FOUND_COVERED,
    FOUND_OWN_NETWORK,
    FOUND_LOOP,
    FOUND_N_KINDS
} FindingKind;

typedef struct Verifier {
    const RuleNet *net;
    const RuleHostfwd *hostfwds;
    unsigned n_hostfwds;
    RuleDiags *diags;
    CoverIndex *cover;
    GHashTable *names; /* NameKey -> first Rule of that name */
    unsigned found[FOUND_N_KINDS];
    RulePos last; /* of the last finding not shown */
} Verifier;

typedef void Check(Verifier *v, const Rule *rule);

/* Counts a finding; false if it is one too many to show. */
static bool may_show(Verifier *v, FindingKind kind, const Rule *rule)
{
    v->last = rule->pos;
    return v->found[kind]++ < FINDINGS_MAX;
}

/* "`RULE` (FILE:LINE)" */
static char *describe(const Rule *rule)
{
    GString *out = g_string_new("`");
    g_autofree char *text = rule_print_masked(rule);

    g_string_append_printf(out, "%s` (", text);
    rule_pos_print(out, &rule->pos);
    g_string_append_c(out, ')');
    return g_string_free(out, FALSE);
}

/* What this version cannot do yet */

static bool has_socks5(const Rule *rule)
{
    return rule->target.proxy == PROXY_SOCKS5;
}

static bool has_http(const Rule *rule)
{
    return rule->target.proxy == PROXY_HTTP;
}

static bool has_proxy_header(const Rule *rule)
{
    return rule->proxy_header != 0;
}

static const struct {
    bool (*is_used)(const Rule *rule);
    const char *what;
} not_built[] = {
    { has_socks5, "`socks5://` targets are" },
    { has_http, "`http://` targets are" },
    { has_proxy_header, "the PROXY header (`+proxy1`, `+proxy2`) is" },
};

static void check_built(Verifier *v, const Rule *rule)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(not_built); i++) {
        if (not_built[i].is_used(rule) && may_show(v, FOUND_NOT_BUILT, rule)) {
            rule_diags_add_rule(v->diags, false, rule,
                                "%s not built into this version",
                                not_built[i].what);
        }
    }
}

/* Names */

/* scope: a section, family 0 for rules of all instances, or one of the
 * wildcards, under which every rule with such a scope is entered too. */
typedef struct NameKey {
    const char *name;
    IpPrefix scope;
} NameKey;

enum { SCOPE_ANY_V4 = 254, SCOPE_ANY_V6 = 253, SCOPE_ANY = 252 };

static guint name_key_hash(gconstpointer key)
{
    const NameKey *k = key;

    return g_str_hash(k->name) * 31 + ipprefix_hash(&k->scope);
}

static gboolean name_key_equal(gconstpointer a, gconstpointer b)
{
    const NameKey *x = a, *y = b;

    return ipprefix_equal(&x->scope, &y->scope) &&
           g_str_equal(x->name, y->name);
}

static const Rule *find_name(Verifier *v, const char *name, IpPrefix scope)
{
    NameKey key = { name, scope };

    return g_hash_table_lookup(v->names, &key);
}

static void enter_name(Verifier *v, const Rule *rule, IpPrefix scope)
{
    NameKey key = { rule->name, scope };

    if (!g_hash_table_contains(v->names, &key)) {
        g_hash_table_insert(v->names, g_memdup2(&key, sizeof(key)),
                            (gpointer)rule);
    }
}

static IpPrefix wildcard(uint8_t scope)
{
    return (IpPrefix){ { scope, { 0 } }, 0 };
}

/* An instance sees one IPv4 and one IPv6 section: two sections of one family
 * never meet, two of different families may. */
static const Rule *find_same_name(Verifier *v, const Rule *rule)
{
    IpPrefix section = v->net ? wildcard(0) : rule->section;
    bool v4 = section.addr.family == AF_INET;
    const Rule *found;

    if (section.addr.family == 0) {
        return find_name(v, rule->name, wildcard(SCOPE_ANY));
    }
    found = find_name(v, rule->name, section);
    if (!found) {
        found = find_name(v, rule->name, wildcard(0));
    }
    if (!found) {
        found = find_name(v, rule->name,
                          wildcard(v4 ? SCOPE_ANY_V6 : SCOPE_ANY_V4));
    }
    return found;
}

static void check_name(Verifier *v, const Rule *rule)
{
    const Rule *first;
    g_autofree char *where = NULL;

    if (!rule->name) {
        return;
    }
    first = find_same_name(v, rule);
    if (first && may_show(v, FOUND_SAME_NAME, rule)) {
        where = describe(first);
        rule_diags_add_rule(v->diags, false, rule,
                            "the name `%s` is taken already by %s", rule->name,
                            where);
    }
    enter_name(v, rule, v->net ? wildcard(0) : rule->section);
    enter_name(v, rule, wildcard(SCOPE_ANY));
    if (rule->section.addr.family != 0) {
        enter_name(v, rule,
                   wildcard(rule->section.addr.family == AF_INET
                                ? SCOPE_ANY_V4
                                : SCOPE_ANY_V6));
    }
}

/* Rules without effect */

static void check_covered(Verifier *v, const Rule *rule)
{
    const Rule *earlier = cover_index_add(v->cover, rule);
    g_autofree char *where = NULL;

    if (earlier && may_show(v, FOUND_COVERED, rule)) {
        where = describe(earlier);
        rule_diags_add_rule(v->diags, true, rule,
                            "this rule can never match: %s comes first and "
                            "matches all of it",
                            where);
    }
}

/* Targets inside the own network */

/* The target's port as it would stand after ":". */
static char *port_text(const Rule *rule)
{
    const PortMap *map = &rule->target.ports;
    unsigned lo = MAX(rule->ports.lo, 1);

    if (map->kind != PORT_KEEP) {
        return g_strdup_printf("%u%s", map->port,
                               map->kind == PORT_SHIFT ? ".." : "");
    }
    return g_strdup_printf("%u%s", lo, lo == rule->ports.hi ? "" : "..");
}

static void check_own_network(Verifier *v, const Rule *rule)
{
    const IpAddr *addr = &rule->target.addr;
    g_autofree char *ports = NULL;
    char buf[IPADDR_STRLEN];

    if (!v->net || rule->target.kind != TARGET_ADDRESS ||
        (!ipprefix_contains(&v->net->vnet4, addr) &&
         !ipprefix_contains(&v->net->vnet6, addr)) ||
        !may_show(v, FOUND_OWN_NETWORK, rule)) {
        return;
    }
    ports = port_text(rule);
    rule_diags_add_rule(v->diags, true, rule,
                        "%s is inside the guest's own virtual network, which "
                        "the host cannot reach; did you mean `:%s`?",
                        ipaddr_print(addr, buf), ports);
}

/* Loops */

static bool is_any(const IpAddr *addr)
{
    static const uint8_t zeros[16];

    return memcmp(addr->bytes, zeros, sizeof(zeros)) == 0;
}

static bool reaches_addr(const Target *target, const IpAddr *addr)
{
    if (target->kind == TARGET_NAME) {
        return g_str_equal(target->host, "localhost") &&
               (is_any(addr) || ipaddr_is_loopback(addr));
    }
    if (target->kind != TARGET_ADDRESS) {
        return false;
    }
    if (target->addr.family == addr->family && is_any(addr)) {
        return ipaddr_is_loopback(&target->addr) || is_any(&target->addr);
    }
    return ipaddr_equal(&target->addr, addr);
}

/* Can a flow of this rule go to the port? */
static bool reaches_port(const Rule *rule, unsigned port)
{
    const PortMap *map = &rule->target.ports;
    unsigned lo = rule->ports.lo, hi = rule->ports.hi;

    switch (map->kind) {
    case PORT_FIXED:
        return port == map->port;
    case PORT_SHIFT:
        return port >= map->port && port - map->port <= hi - MAX(lo, 1);
    default:
        return port >= lo && port <= hi;
    }
}

static void check_loop(Verifier *v, const Rule *rule)
{
    for (unsigned i = 0; i < v->n_hostfwds; i++) {
        const RuleHostfwd *fwd = &v->hostfwds[i];

        if ((fwd->protocol & rule->protocols) &&
            reaches_addr(&rule->target, &fwd->addr) &&
            reaches_port(rule, fwd->port)) {
            if (may_show(v, FOUND_LOOP, rule)) {
                rule_diags_add_rule(v->diags, true, rule,
                                    "a loop: port %u of the host is forwarded "
                                    "back to this guest (hostfwd)",
                                    fwd->port);
            }
            return;
        }
    }
}

/* The pass */

static Check *const checks[FOUND_N_KINDS] = {
    [FOUND_NOT_BUILT] = check_built, [FOUND_SAME_NAME] = check_name,
    [FOUND_COVERED] = check_covered, [FOUND_OWN_NETWORK] = check_own_network,
    [FOUND_LOOP] = check_loop,
};

static const struct {
    bool warning;
    const char *what;
} more[FOUND_N_KINDS] = {
    [FOUND_NOT_BUILT] = { false, "uses of what is not built in" },
    [FOUND_SAME_NAME] = { false, "rules with a name that is taken" },
    [FOUND_COVERED] = { true, "rules that can never match" },
    [FOUND_OWN_NETWORK] = { true, "targets inside the virtual network" },
    [FOUND_LOOP] = { true, "loops" },
};

static void summarize(Verifier *v)
{
    RulePos pos = { .source = v->last.source };

    for (unsigned i = 0; i < FOUND_N_KINDS; i++) {
        if (v->found[i] > FINDINGS_MAX) {
            rule_diags_add(v->diags, more[i].warning, &pos, "%u more %s",
                           v->found[i] - FINDINGS_MAX, more[i].what);
        }
    }
}

void rules_verify(const GPtrArray *rules, const RuleNet *net,
                  const RuleHostfwd *hostfwds, unsigned n_hostfwds,
                  RuleDiags *diags)
{
    Verifier v = { .net = net, .hostfwds = hostfwds, .n_hostfwds = n_hostfwds };

    v.diags = diags;
    v.cover = cover_index_new(net);
    v.names =
        g_hash_table_new_full(name_key_hash, name_key_equal, g_free, NULL);
    for (unsigned i = 0; i < rules->len; i++) {
        const Rule *rule = g_ptr_array_index(rules, i);

        if (net && !rule_applies_to(rule, net)) {
            continue;
        }
        for (unsigned c = 0; c < G_N_ELEMENTS(checks); c++) {
            checks[c](&v, rule);
        }
    }
    summarize(&v);
    g_hash_table_unref(v.names);
    cover_index_free(v.cover);
}

void rules_find_loops(const GPtrArray *rules, const RuleHostfwd *hostfwds,
                      unsigned n_hostfwds, RuleDiags *diags)
{
    Verifier v = { .hostfwds = hostfwds,
                   .n_hostfwds = n_hostfwds,
                   .diags = diags };

    for (unsigned i = 0; i < rules->len; i++) {
        check_loop(&v, g_ptr_array_index(rules, i));
    }
    summarize(&v);
}
