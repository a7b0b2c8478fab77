/* SPDX-License-Identifier: BSD-3-Clause */
/* The redirect state of a Slirp: loading rules and swapping tables. */
#include "attach/instance.h"

#include "control/resolve.h"
#include "control/source.h"
#include "table/match.h"

/* Rejects all, multicast and broadcast included, which "*" would not. */
static const char closed_rules[] = "any:0.0.0.0/0:*-reject\n"
                                   "any:[::/0]:*-reject\n";

RedirectInstance *redirect_instance(const struct Slirp *slirp)
{
    return slirp->redirect;
}

static RuleNet net_of(const struct Slirp *slirp)
{
    RuleNet net = { 0 };

    if (slirp->in_enabled) {
        net.vnet4.addr = ipaddr_from_v4(slirp->vnetwork_addr);
        net.vnet4.len = __builtin_popcount(slirp->vnetwork_mask.s_addr);
        net.host4 = ipaddr_from_v4(slirp->vhost_addr);
        net.dns4 = ipaddr_from_v4(slirp->vnameserver_addr);
    }
    if (slirp->in6_enabled) {
        net.vnet6.addr = ipaddr_from_v6(&slirp->vprefix_addr6);
        net.vnet6.len = MIN(slirp->vprefix_len, 128);
        net.vnet6 = ipprefix_masked(&net.vnet6);
        net.host6 = ipaddr_from_v6(&slirp->vhost_addr6);
        net.dns6 = ipaddr_from_v6(&slirp->vnameserver_addr6);
    }
    return net;
}

/* ---- changing the table ---- */

static void entry_free(void *entry)
{
    table_entry_unref(entry);
}

/* Takes over entries. */
static void swap_in(RedirectInstance *instance, GPtrArray *entries,
                    unsigned n_own)
{
    Table *table = entries->len > 0 ? table_new(entries, &instance->net) : NULL;

    g_clear_pointer(&instance->table, table_unref);
    g_ptr_array_unref(instance->entries);
    g_array_unref(instance->served);
    instance->table = table;
    instance->entries = entries;
    instance->served = redirect_served(entries, &instance->net);
    instance->n_own = n_own;
    instance->generation++;
    instance->loops_checked = false;
    redirect_udp_sweep(instance);
}

static TableEntry *entry_new(RedirectInstance *instance, Rule *rule,
                             GArray *addrs)
{
    return table_entry_new(instance->next_id++, rule, addrs);
}

static bool same_addrs(const GArray *a, const GArray *b)
{
    return a->len == b->len &&
           (a->len == 0 ||
            memcmp(a->data, b->data,
                   a->len * sizeof(struct sockaddr_storage)) == 0);
}

static guint hash_rule(gconstpointer rule)
{
    return rule_hash(rule);
}

static gboolean same_rule(gconstpointer a, gconstpointer b)
{
    return rule_equal(a, b);
}

static void free_list(void *list)
{
    g_slist_free(list);
}

/* The entries of today by their rule, which they own, in order: lists of
 * TableEntry *. */
static GHashTable *index_by_rule(const GPtrArray *entries)
{
    GHashTable *index =
        g_hash_table_new_full(hash_rule, same_rule, NULL, free_list);

    for (unsigned i = entries->len; i-- > 0;) {
        TableEntry *entry = g_ptr_array_index(entries, i);
        GSList *list = NULL;

        g_hash_table_steal_extended(index, entry->rule, NULL,
                                    (gpointer *)&list);
        g_hash_table_insert(index, entry->rule, g_slist_prepend(list, entry));
    }
    return index;
}

/* The first entry in the list with these addresses, or NULL. */
static TableEntry *find_same(GSList *list, const GArray *addrs)
{
    for (; list != NULL; list = list->next) {
        TableEntry *entry = list->data;

        if (same_addrs(entry->addrs, addrs)) {
            return entry;
        }
    }
    return NULL;
}

/* An entry for rule, which is consumed: one of the index that means the same
 * and is then taken from it, or a new one. */
static TableEntry *reuse_or_new(RedirectInstance *instance, GHashTable *index,
                                Rule *rule, GArray *addrs)
{
    gpointer key, list;
    TableEntry *old;

    if (!g_hash_table_steal_extended(index, rule, &key, &list)) {
        return entry_new(instance, rule, addrs);
    }
    old = find_same(list, addrs);
    g_hash_table_insert(index, key, g_slist_remove(list, old));
    if (old == NULL) {
        return entry_new(instance, rule, addrs);
    }
    rule_free(rule);
    g_array_unref(addrs);
    return table_entry_ref(old);
}

/* Leaves out the rules of other instances' sections. */
static void keep_own_sections(GPtrArray *rules, unsigned *n_own,
                              const RuleNet *net)
{
    unsigned kept = 0, kept_own = 0;

    for (unsigned i = 0; i < rules->len; i++) {
        Rule *rule = g_steal_pointer(&g_ptr_array_index(rules, i));

        if (rule_applies_to(rule, net)) {
            g_ptr_array_index(rules, kept++) = rule;
            kept_own += i < *n_own;
        } else {
            rule_free(rule);
        }
    }
    g_ptr_array_set_size(rules, kept);
    *n_own = kept_own;
}

/* The target addresses of each rule, in order; NULL after an error. */
static GPtrArray *resolve_all(const GPtrArray *rules, RuleDiags *diags)
{
    GPtrArray *all =
        g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);

    for (unsigned i = 0; i < rules->len; i++) {
        GArray *addrs = resolve_target(g_ptr_array_index(rules, i), diags);

        if (addrs != NULL) {
            g_ptr_array_add(all, addrs);
        }
    }
    if (diags->errors > 0) {
        g_clear_pointer(&all, g_ptr_array_unref);
    }
    return all;
}

bool redirect_replace(RedirectInstance *instance, GPtrArray *rules,
                      unsigned n_own, RuleDiags *diags)
{
    g_autoptr(GPtrArray) addrs = NULL;
    GHashTable *index;
    GPtrArray *entries;

    rules_verify(rules, &instance->net, NULL, 0, diags);
    keep_own_sections(rules, &n_own, &instance->net);
    if (diags->errors == 0) {
        addrs = resolve_all(rules, diags);
    }
    if (addrs == NULL) {
        g_ptr_array_unref(rules);
        return false;
    }
    index = index_by_rule(instance->entries);
    entries = g_ptr_array_new_with_free_func(entry_free);
    for (unsigned i = 0; i < rules->len; i++) {
        g_ptr_array_add(
            entries, reuse_or_new(instance, index,
                                  g_steal_pointer(&g_ptr_array_index(rules, i)),
                                  g_array_ref(g_ptr_array_index(addrs, i))));
    }
    g_hash_table_unref(index);
    g_ptr_array_unref(rules);
    swap_in(instance, entries, n_own);
    g_clear_pointer(&instance->closed, g_free);
    return true;
}

static GPtrArray *copy_entries(const GPtrArray *entries)
{
    GPtrArray *copy = g_ptr_array_new_with_free_func(entry_free);

    for (unsigned i = 0; i < entries->len; i++) {
        g_ptr_array_add(copy, table_entry_ref(g_ptr_array_index(entries, i)));
    }
    return copy;
}

/* The whole table as it would be with one more rule, for the verifier. */
static void verify_with(RedirectInstance *instance, Rule *rule, unsigned at,
                        RuleDiags *diags)
{
    g_autoptr(GPtrArray) rules = g_ptr_array_new();

    for (unsigned i = 0; i < instance->entries->len; i++) {
        TableEntry *entry = g_ptr_array_index(instance->entries, i);
        g_ptr_array_add(rules, entry->rule);
    }
    g_ptr_array_insert(rules, at, rule);
    rules_verify(rules, &instance->net, NULL, 0, diags);
}

int redirect_add(RedirectInstance *instance, Rule *rule, unsigned at,
                 RuleDiags *diags)
{
    GArray *addrs = NULL;
    GPtrArray *entries;
    TableEntry *entry;

    verify_with(instance, rule, at, diags);
    if (diags->errors == 0) {
        addrs = resolve_target(rule, diags);
    }
    if (addrs == NULL) {
        rule_free(rule);
        return -1;
    }
    entry = entry_new(instance, rule, addrs);
    entries = copy_entries(instance->entries);
    g_ptr_array_insert(entries, at, entry);
    swap_in(instance, entries, instance->n_own + (at <= instance->n_own));
    return entry->id;
}

bool redirect_remove(RedirectInstance *instance, int id)
{
    for (unsigned i = 0; i < instance->entries->len; i++) {
        TableEntry *entry = g_ptr_array_index(instance->entries, i);

        if (entry->id == id) {
            GPtrArray *entries = copy_entries(instance->entries);

            g_ptr_array_remove_index(entries, i);
            swap_in(instance, entries, instance->n_own - (i < instance->n_own));
            return true;
        }
    }
    return false;
}

/* ---- a new instance ---- */

/* Splits the search list: carried rules go to rules, names to the result. */
static const char **take_carried(const char **names, GPtrArray *rules,
                                 RuleDiags *diags)
{
    GPtrArray *left = g_ptr_array_new();

    for (; names != NULL && *names != NULL; names++) {
        if (g_str_has_prefix(*names, SOURCE_CARRIER_PREFIX)) {
            g_autoptr(GPtrArray) words =
                rules_parse_words(*names + strlen(SOURCE_CARRIER_PREFIX),
                                  "dnssearch=" SOURCE_CARRIER_PREFIX, diags);
            g_ptr_array_extend_and_steal(rules, g_steal_pointer(&words));
        } else {
            g_ptr_array_add(left, (void *)*names);
        }
    }
    if (left->len == 0) {
        g_ptr_array_unref(left);
        return NULL;
    }
    g_ptr_array_add(left, NULL);
    return (const char **)g_ptr_array_free(left, FALSE);
}

static void warn_of(const RuleDiags *diags)
{
    if (diags->list->len > 0) {
        g_autofree char *text = rule_diags_print(diags);
        g_warning("redirect: %s", text);
    }
}

/* A broken set must not leave the guest with the whole network. */
static void close_table(RedirectInstance *instance, const RuleDiags *diags)
{
    g_autoptr(RuleDiags) none = rule_diags_new();
    char *why = rule_diags_print(diags);

    redirect_replace(
        instance, rules_parse_lines(closed_rules, -1, "closed", none), 0, none);
    instance->closed = why;
    g_warning("redirect: all connections of the guest are rejected until the "
              "rules are corrected");
}

static void load_rules(RedirectInstance *instance, GPtrArray *rules,
                       RuleDiags *diags)
{
    unsigned n_own = rules->len;
    bool own_good = diags->errors == 0;

    source_load_environment(rules, diags);
    if (rules->len > 0 || diags->errors > 0) {
        bool good =
            diags->errors == 0 &&
            redirect_replace(instance, g_ptr_array_ref(rules), n_own, diags);
        warn_of(diags);
        if (!good) {
            close_table(instance, diags);
            redirect_control_closed(instance, rules, n_own, own_good);
        }
    }
}

const char **slirp_redirect_new(struct Slirp *slirp, const char **names)
{
    RedirectInstance *instance = g_new0(RedirectInstance, 1);
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) rules =
        g_ptr_array_new_with_free_func((GDestroyNotify)rule_free);

    slirp->redirect = instance;
    instance->slirp = slirp;
    instance->net = net_of(slirp);
    instance->entries = g_ptr_array_new_with_free_func(entry_free);
    instance->served = redirect_served(instance->entries, &instance->net);
    instance->next_id = 1;
    g_queue_init(&instance->connecting);
    redirect_udp_init(instance);
    redirect_control_init(instance);
    instance->loops_checked = true; /* there are no rules */

    names = take_carried(names, rules, diags);
    load_rules(instance, rules, diags);
    return names;
}

bool slirp_redirect_active(const struct Slirp *slirp)
{
    return redirect_instance(slirp)->table != NULL;
}

void slirp_redirect_cleanup(struct Slirp *slirp)
{
    RedirectInstance *instance = slirp->redirect;

    redirect_control_done(instance);
    redirect_udp_done(instance);
    g_clear_pointer(&instance->table, table_unref);
    g_ptr_array_unref(instance->entries);
    g_array_unref(instance->served);
    g_free(instance->closed);
    g_free(instance->loops);
    g_free(instance);
    slirp->redirect = NULL;
}

/* ---- lookup ---- */

TableEntry *redirect_match(RedirectInstance *instance, FlowProto proto,
                           const struct sockaddr_storage *lhost,
                           const struct sockaddr_storage *fhost)
{
    FlowKey key = { .proto = proto };
    uint16_t ignored;

    if (instance->table == NULL) {
        return NULL;
    }
    key.src = ipaddr_from_sockaddr((const struct sockaddr *)lhost, &ignored);
    key.dst =
        ipaddr_from_sockaddr((const struct sockaddr *)fhost, &key.dst_port);
    return table_lookup(instance->table, &key);
}

void redirect_count_flow(TableEntry *entry)
{
    TargetKind kind = entry->rule->target.kind;

    entry->counters.flows++;
    entry->counters.refused += kind == TARGET_REJECT || kind == TARGET_DROP;
    entry->counters.last_hit_us = g_get_real_time();
}

/* Nothing answers what was sent to many (RFC 1122, sections 3.2.2 and
 * 4.2.3.10). */
static bool is_for_many(const RedirectInstance *instance, const IpAddr *dst)
{
    IpAddr broadcast = match_broadcast(&instance->net.vnet4);

    return !match_any_covers(dst, &broadcast);
}

enum slirp_redirect_verdict redirect_verdict(const RedirectInstance *instance,
                                             const TableEntry *entry,
                                             const IpAddr *dst)
{
    switch (entry->rule->target.kind) {
    case TARGET_PASS:
        return SLIRP_REDIRECT_NONE;
    case TARGET_REJECT:
        return is_for_many(instance, dst) ? SLIRP_REDIRECT_DROP
                                          : SLIRP_REDIRECT_REJECT;
    case TARGET_DROP:
        return SLIRP_REDIRECT_DROP;
    default:
        return SLIRP_REDIRECT_TARGET;
    }
}
