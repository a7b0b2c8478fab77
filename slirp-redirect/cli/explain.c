/* SPDX-License-Identifier: BSD-3-Clause */
/* `slirp-redirect explain`: which rule decides a flow, and why. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "table/table.h"

enum { GUEST_NUMBER = 15 }; /* of the first guest in its network: 10.0.2.15 */

typedef struct Explain {
    RuleNet net;
    GPtrArray *rules;
    RuleDiags *diags;
    FlowKey key;
} Explain;

static const char *const proto_names[] = {
    [FLOW_TCP] = "tcp",
    [FLOW_UDP] = "udp",
    [FLOW_ICMP] = "icmp",
};
G_STATIC_ASSERT(G_N_ELEMENTS(proto_names) == FLOW_N_PROTOS);

static bool set_rules(void *state, const char *value, GError **error)
{
    Explain *e = state;
    return cli_add_file(e->rules, value, e->diags, error);
}

static bool set_redirect(void *state, const char *value,
                         GError **error G_GNUC_UNUSED)
{
    Explain *e = state;
    cli_add_rule(e->rules, value, "--redirect", e->diags);
    return true;
}

static bool set_net(void *state, const char *value, GError **error)
{
    return cli_net_set4(&((Explain *)state)->net, value, error);
}

static bool set_net6(void *state, const char *value, GError **error)
{
    return cli_net_set6(&((Explain *)state)->net, value, error);
}

static const CliOption explain_options[] = {
    { "--rules", true, set_rules }, { "--redirect", true, set_redirect },
    { "--net", true, set_net },     { "--net6", true, set_net6 },
    { "--help", false, NULL },      { NULL, false, NULL },
};

static bool usage_error(GError **error, const char *word, const char *wanted)
{
    g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "'%s' is no %s", word,
                wanted);
    return false;
}

static bool parse_proto(const char *word, FlowProto *proto, GError **error)
{
    for (unsigned i = 0; i < FLOW_N_PROTOS; i++) {
        if (strcmp(word, proto_names[i]) == 0) {
            *proto = i;
            return true;
        }
    }
    return usage_error(error, word, "protocol; write tcp, udp or icmp");
}

/* An address, an IPv6 one with or without brackets. */
static bool parse_addr(const char *word, IpAddr *addr, GError **error)
{
    size_t len = strlen(word);
    g_autofree char *inner = NULL;

    if (word[0] == '[' && word[len - 1] == ']')
        word = inner = g_strndup(word + 1, len - 2);
    return ipaddr_parse(word, addr) || usage_error(error, word, "address");
}

static bool parse_dst(const char *word, FlowKey *key, GError **error)
{
    const char *colon = strrchr(word, ':');
    guint64 port;

    if (key->proto == FLOW_ICMP)
        return parse_addr(word, &key->dst, error);
    if (!colon ||
        !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL) ||
        (memchr(word, ':', colon - word) && (word[0] != '[')))
        return usage_error(
            error, word, "destination; write ADDR:PORT, [ADDR]:PORT for IPv6");
    g_autofree char *addr = g_strndup(word, colon - word);
    key->dst_port = port;
    return parse_addr(addr, &key->dst, error);
}

static bool parse_src(char **words, Explain *e, GError **error)
{
    bool v4 = e->key.dst.family == AF_INET;

    if (!words[0]) {
        e->key.src =
            cli_net_nth(v4 ? &e->net.vnet4 : &e->net.vnet6, GUEST_NUMBER);
        return true;
    }
    if (strcmp(words[0], "from") != 0 || !words[1] || words[2])
        return usage_error(error, words[0], "source; write from ADDR");
    if (!parse_addr(words[1], &e->key.src, error))
        return false;
    if (e->key.src.family != e->key.dst.family)
        return usage_error(error, words[1],
                           "source for a destination of the other family");
    return true;
}

static bool parse_flow(char **words, Explain *e, GError **error)
{
    if (!words[0] || !words[1]) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "needs PROTO ADDR:PORT [from SRC]");
        return false;
    }
    return parse_proto(words[0], &e->key.proto, error) &&
           parse_dst(words[1], &e->key, error) &&
           parse_src(words + 2, e, error);
}

static GPtrArray *entries_new(const GPtrArray *rules)
{
    GPtrArray *entries =
        g_ptr_array_new_with_free_func((GDestroyNotify)table_entry_unref);

    for (unsigned i = 0; i < rules->len; i++)
        g_ptr_array_add(
            entries, table_entry_new(i + 1, rule_copy(rules->pdata[i]), NULL));
    return entries;
}

static void print_flow(const FlowKey *key)
{
    char src[IPADDR_STRLEN], dst[IPADDR_STRLEN];

    printf("%s from %s to %s", proto_names[key->proto],
           ipaddr_print(&key->src, src), ipaddr_print(&key->dst, dst));
    if (key->proto != FLOW_ICMP)
        printf(" port %u", key->dst_port);
    putchar('\n');
}

/* Why this rule is passed over. */
static char *reason(const TableEntry *entry, const Explain *e)
{
    if (!rule_applies_to(entry->rule, &e->net))
        return g_strdup("its section is for another network");
    char *why = table_explain(entry, &e->net, &e->key);
    return why ? why : g_strdup("it does not apply to this flow");
}

static void print_decision(const Rule *rule, const FlowKey *key)
{
    unsigned port = rule_target_port(rule, key->dst_port);

    fputs("this rule decides", stdout);
    if (rule->target.kind == TARGET_PASS)
        fputs(": as without any rule", stdout);
    else if (rule->target.kind == TARGET_REJECT)
        fputs(": refused", stdout);
    else if (rule->target.kind == TARGET_DROP)
        fputs(": dropped in silence", stdout);
    else if (rule->target.kind != TARGET_UNIX && !rule->target.proxy)
        printf(": to port %u of its target", port);
    putchar('\n');
}

static int explain(Explain *e)
{
    g_autoptr(GPtrArray) entries = entries_new(e->rules);
    Table *table = table_new(entries, &e->net);
    const TableEntry *decides = table_lookup(table, &e->key);

    print_flow(&e->key);
    for (unsigned i = 0; i < entries->len; i++) {
        const TableEntry *entry = entries->pdata[i];
        g_autofree char *text = rule_print_masked(entry->rule);
        printf("%d. %s\n   ", entry->id, text);
        if (entry == decides) {
            print_decision(entry->rule, &e->key);
            break;
        }
        g_autofree char *why = reason(entry, e);
        printf("no: %s\n", why);
    }
    if (!decides)
        puts("no rule decides: libslirp does what it does without rules");
    table_unref(table);
    return decides ? CLI_OK : CLI_NO;
}

static int explain_words(char **words, Explain *e)
{
    GError *error = NULL;
    g_autofree char **operands =
        cli_options_parse(words, explain_options, CLI_ORDER_ANY, e, &error);

    if (!operands || !parse_flow(operands, e, &error))
        return cli_options_failed("explain", error);
    if (!cli_verify(e->rules, &e->net, NULL, e->diags))
        return CLI_USAGE;
    if (e->rules->len == 0) {
        cli_complain("explain: no rules; give --rules FILE or --redirect RULE");
        return CLI_USAGE;
    }
    return explain(e);
}

int cmd_explain(char **words)
{
    Explain e = {
        .net = cli_net_default(),
        .rules = cli_rules_new(),
        .diags = rule_diags_new(),
    };
    int status = explain_words(words, &e);

    g_ptr_array_unref(e.rules);
    rule_diags_free(e.diags);
    return status;
}
