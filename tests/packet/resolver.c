/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A resolver with answers of the test's own. Programs that call resolver_set()
 * are linked with this file, and its getaddrinfo() then takes the place of the
 * C library's in the library under test too.
 */
#include <netdb.h>
#include <netinet/in.h>

#include "redirect.h"

enum { ANSWERS_MAX = 4 };

static const char *known_name, *known_addrs[ANSWERS_MAX];
static unsigned questions;

void resolver_set(const char *name, const char *first, const char *second)
{
    known_name = name;
    known_addrs[0] = first;
    known_addrs[1] = second;
}

unsigned resolver_questions(void)
{
    return questions;
}

static struct addrinfo *answer_new(const char *text)
{
    struct addrinfo *ai = g_new0(struct addrinfo, 1);
    Endpoint ep = endpoint(text, 0);

    ai->ai_family = ep.family;
    ai->ai_socktype = SOCK_STREAM;
    if (ep.family == AF_INET6) {
        struct sockaddr_in6 *sin6 = g_new0(struct sockaddr_in6, 1);

        sin6->sin6_family = AF_INET6;
        memcpy(&sin6->sin6_addr, ep.addr, 16);
        ai->ai_addr = (struct sockaddr *)sin6;
        ai->ai_addrlen = sizeof(*sin6);
    } else {
        struct sockaddr_in *sin = g_new0(struct sockaddr_in, 1);

        sin->sin_family = AF_INET;
        memcpy(&sin->sin_addr, ep.addr, 4);
        ai->ai_addr = (struct sockaddr *)sin;
        ai->ai_addrlen = sizeof(*sin);
    }
    return ai;
}

int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **list)
{
    struct addrinfo **end = list;

    (void)service, (void)hints;
    questions++;
    if (g_strcmp0(name, known_name) != 0) {
        return EAI_NONAME;
    }
    for (int i = 0; i < ANSWERS_MAX && known_addrs[i]; i++) {
        *end = answer_new(known_addrs[i]);
        end = &(*end)->ai_next;
    }
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;

        g_free(list->ai_addr);
        g_free(list);
        list = next;
    }
}
