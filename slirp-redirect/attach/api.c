/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls of node SLIRP_REDIRECT_1.0. */
#include "attach/instance.h"

/* Hands the findings to the caller, or warnings alone to the log. */
static void report(const RuleDiags *diags, char **errmsg)
{
    g_autofree char *text = NULL;

    if (diags->list->len == 0) {
        return;
    }
    text = rule_diags_print(diags);
    if (diags->errors == 0) {
        g_warning("redirect: %s", text);
    } else if (errmsg != NULL) {
        *errmsg = g_steal_pointer(&text);
    }
}

static int fail(int err, char **errmsg, const char *message)
{
    if (errmsg != NULL) {
        *errmsg = g_strdup(message);
    }
    errno = err;
    return -1;
}

int slirp_add_redirect(Slirp *slirp, const char *rule, char **errmsg)
{
    static const RulePos pos = { .source = "redirect=" };
    RedirectInstance *instance = redirect_instance(slirp);
    g_autoptr(RuleDiags) diags = rule_diags_new();
    Rule *parsed;
    int id = -1;

    if (instance->closed != NULL) {
        return fail(EPERM, errmsg,
                    "redirect=: everything is rejected because the configured "
                    "rules are broken; correct them, or replace the whole "
                    "table");
    }
    parsed = rule_parse(rule, &pos, diags);
    if (parsed != NULL) {
        id = redirect_add(instance, parsed, instance->n_own, diags);
    }
    report(diags, errmsg);
    if (id < 0) {
        errno = EINVAL;
    }
    return id;
}

int slirp_redirect_id(Slirp *slirp, const char *name)
{
    const GPtrArray *entries = redirect_instance(slirp)->entries;

    for (unsigned i = 0; i < entries->len; i++) {
        const TableEntry *entry = g_ptr_array_index(entries, i);

        if (entry->rule->name != NULL && strcmp(entry->rule->name, name) == 0) {
            return entry->id;
        }
    }
    errno = ENOENT;
    return -1;
}

int slirp_remove_redirect(Slirp *slirp, int id)
{
    RedirectInstance *instance = redirect_instance(slirp);

    if (instance->closed != NULL) {
        errno = EPERM;
        return -1;
    }
    if (!redirect_remove(instance, id)) {
        errno = ENOENT;
        return -1;
    }
    return 0;
}

int slirp_set_redirects(Slirp *slirp, const char *rules, char **errmsg)
{
    RedirectInstance *instance = redirect_instance(slirp);
    g_autoptr(RuleDiags) diags = rule_diags_new();
    GPtrArray *parsed = rules_parse_lines(rules, -1, "redirects", diags);
    bool good = false;

    if (diags->errors > 0) {
        g_ptr_array_unref(parsed);
    } else {
        good = redirect_replace(instance, parsed, parsed->len, diags);
    }
    report(diags, errmsg);
    if (!good) {
        errno = EINVAL;
        return -1;
    }
    return 0;
}

char *slirp_redirect_info(Slirp *slirp)
{
    return redirect_info(redirect_instance(slirp));
}
