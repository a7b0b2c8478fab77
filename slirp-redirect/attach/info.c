/* SPDX-License-Identifier: BSD-3-Clause */
/* The redirect section of slirp_connection_info(): rules, counters, flows. */
#include "attach/instance.h"

#include "control/endpoint.h"

/* How long ago, to the second. */
static char *last_hit(const TableCounters *c)
{
    if (c->last_hit_us == 0) {
        return g_strdup("never");
    }
    return g_strdup_printf("%" G_GINT64_FORMAT " s ago",
                           MAX(g_get_real_time() - c->last_hit_us, 0) /
                               G_USEC_PER_SEC);
}

static void append_rule(GString *str, const TableEntry *entry)
{
    const TableCounters *c = &entry->counters;
    g_autofree char *rule = rule_print_masked(entry->rule);
    g_autofree char *hit = last_hit(c);

    g_string_append_printf(str,
                           "  %4d %10" G_GUINT64_FORMAT " %7" G_GUINT64_FORMAT
                           " %7" G_GUINT64_FORMAT " %13" G_GUINT64_FORMAT
                           " %13" G_GUINT64_FORMAT " %12s  %s\n",
                           entry->id, c->flows, c->refused, c->failed,
                           c->bytes_out, c->bytes_in, hit, rule);
}

static void append_rules(GString *str, const RedirectInstance *instance)
{
    g_string_append(str, "  Redirects (the first match decides):\n"
                         "    ID      Flows Refused  Failed     "
                         "Bytes out      Bytes in     Last hit  Rule\n");
    for (unsigned i = 0; i < instance->entries->len; i++) {
        append_rule(str, g_ptr_array_index(instance->entries, i));
    }
    if (instance->closed != NULL) {
        g_string_append_printf(
            str,
            "  Everything is rejected, the configured rules are broken:\n%s\n",
            instance->closed);
    }
}

static void append_flow(GString *str, const char *proto,
                        const struct socket *so)
{
    const struct RedirectFlow *flow = so->so_redirect;
    g_autofree char *guest = endpoint_print(&so->lhost.ss);
    g_autofree char *asked = endpoint_print(&so->fhost.ss);
    g_autofree char *target = endpoint_print(&flow->target);

    g_string_append_printf(str, "  %4d %-5s %s > %s > %s\n", flow->entry->id,
                           proto, guest, asked, target);
}

static void append_flows(GString *str, const char *proto,
                         const struct socket *head, bool *any)
{
    for (const struct socket *so = head->so_next; so != head;
         so = so->so_next) {
        if (so->so_redirect == NULL) {
            continue;
        }
        if (!*any) {
            g_string_append(str, "  Redirected flows (rule, guest > "
                                 "asked for > target):\n");
            *any = true;
        }
        append_flow(str, proto, so);
    }
}

char *redirect_info(RedirectInstance *instance)
{
    GString *str = g_string_new(NULL);
    bool any = false;

    if (instance->entries->len > 0) {
        append_rules(str, instance);
    }
    append_flows(str, "tcp", &instance->slirp->tcb, &any);
    append_flows(str, "udp", &instance->slirp->udb, &any);
    return g_string_free(str, FALSE);
}
