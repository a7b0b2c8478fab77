/* SPDX-License-Identifier: BSD-3-Clause */
/* Resolves the names and interfaces of rule targets. */
#include "resolve.h"

#include <net/if.h>
#include <netdb.h>
#include <string.h>

static bool resolve_literal(const Rule *rule, GArray *addrs, RuleDiags *diags)
{
    const Target *target = &rule->target;
    struct sockaddr_storage ss;

    ipaddr_to_sockaddr(&target->addr, 0, &ss);
    if (target->zone != NULL) {
        unsigned index = if_nametoindex(target->zone);

        if (index == 0) {
            rule_diags_add(diags, false, &rule->pos,
                           "no network interface is named `%s`", target->zone);
            return false;
        }
        ((struct sockaddr_in6 *)&ss)->sin6_scope_id = index;
    }
    g_array_append_val(addrs, ss);
    return true;
}

static bool resolve_name(const Rule *rule, GArray *addrs, RuleDiags *diags)
{
    const char *host = rule->target.host;
    struct addrinfo hints = { .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL;
    int err = getaddrinfo(host, NULL, &hints, &list);

    if (err != 0) {
        rule_diags_add(diags, false, &rule->pos,
                       "cannot resolve `%s`: %s; names are resolved once, "
                       "when the rules are loaded",
                       host, gai_strerror(err));
        return false;
    }
    for (struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        struct sockaddr_storage ss = { 0 };

        if (ai->ai_family == AF_INET || ai->ai_family == AF_INET6) {
            memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
            g_array_append_val(addrs, ss);
        }
    }
    freeaddrinfo(list);
    return true;
}

GArray *resolve_target(const Rule *rule, RuleDiags *diags)
{
    GArray *addrs = g_array_new(FALSE, TRUE, sizeof(struct sockaddr_storage));
    bool ok = true;

    if (rule->target.kind == TARGET_ADDRESS) {
        ok = resolve_literal(rule, addrs, diags);
    } else if (rule->target.kind == TARGET_NAME) {
        ok = resolve_name(rule, addrs, diags);
    }
    if (!ok) {
        g_array_unref(addrs);
        return NULL;
    }
    return addrs;
}
