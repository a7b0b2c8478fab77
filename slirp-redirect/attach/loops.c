/* SPDX-License-Identifier: BSD-3-Clause */
/* Warns of redirects into this guest's own hostfwds. */
#include "attach/instance.h"

/* Applications add their hostfwds after the instance, and rules at any time,
 * so the check waits for the poll that follows a change of either. */
void slirp_redirect_hostfwd(struct Slirp *slirp)
{
    redirect_instance(slirp)->loops_checked = false;
}

static void append_hostfwds(GArray *fwds, const struct socket *head,
                            uint8_t protocol)
{
    for (const struct socket *so = head->so_next; so != head;
         so = so->so_next) {
        RuleHostfwd fwd = { .protocol = protocol };
        struct sockaddr_storage ss;
        socklen_t len = sizeof(ss);

        if (!(so->so_state & SS_HOSTFWD) ||
            getsockname(so->s, (struct sockaddr *)&ss, &len) < 0) {
            continue;
        }
        fwd.addr = ipaddr_from_sockaddr((struct sockaddr *)&ss, &fwd.port);
        if (fwd.addr.family != 0) {
            g_array_append_val(fwds, fwd);
        }
    }
}

static void find_loops(RedirectInstance *instance, RuleDiags *diags)
{
    g_autoptr(GArray) fwds = g_array_new(FALSE, FALSE, sizeof(RuleHostfwd));
    g_autoptr(GPtrArray) rules = g_ptr_array_new();

    append_hostfwds(fwds, &instance->slirp->tcb, RULE_TCP);
    append_hostfwds(fwds, &instance->slirp->udb, RULE_UDP);
    for (unsigned i = 0; fwds->len > 0 && i < instance->entries->len; i++) {
        TableEntry *entry = g_ptr_array_index(instance->entries, i);

        g_ptr_array_add(rules, entry->rule);
    }
    rules_find_loops(rules, (RuleHostfwd *)(void *)fwds->data, fwds->len,
                     diags);
}

void redirect_check_loops(RedirectInstance *instance)
{
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autofree char *text = NULL;

    find_loops(instance, diags);
    if (diags->list->len > 0) {
        text = rule_diags_print(diags);
    }
    if (text != NULL && g_strcmp0(text, instance->loops) != 0) {
        g_warning("redirect: %s", text);
    }
    g_free(instance->loops);
    instance->loops = g_steal_pointer(&text);
}
