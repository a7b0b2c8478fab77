/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and prefixes of both families: text, sockets, containment. */
#include "addr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

unsigned ipaddr_bits(const IpAddr *addr)
{
    switch (addr->family) {
    case AF_INET:
        return 32;
    case AF_INET6:
        return 128;
    default:
        return 0;
    }
}

bool ipaddr_equal(const IpAddr *a, const IpAddr *b)
{
    return a->family == b->family &&
           memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool ipaddr_parse(const char *text, IpAddr *addr)
{
    IpAddr parsed = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

    if (inet_pton(parsed.family, text, parsed.bytes) != 1) {
        return false;
    }
    *addr = parsed;
    return true;
}

char *ipaddr_print(const IpAddr *addr, char buf[IPADDR_STRLEN])
{
    buf[0] = '\0';
    if (ipaddr_bits(addr) != 0) {
        inet_ntop(addr->family, addr->bytes, buf, IPADDR_STRLEN);
    }
    return buf;
}

bool ipaddr_is_multicast(const IpAddr *addr)
{
    static const uint8_t broadcast[4] = { 255, 255, 255, 255 };

    switch (addr->family) {
    case AF_INET:
        return (addr->bytes[0] & 0xf0) == 0xe0 ||
               memcmp(addr->bytes, broadcast, sizeof(broadcast)) == 0;
    case AF_INET6:
        return addr->bytes[0] == 0xff;
    default:
        return false;
    }
}

bool ipaddr_is_loopback(const IpAddr *addr)
{
    switch (addr->family) {
    case AF_INET:
        return addr->bytes[0] == 127;
    case AF_INET6:
        return memcmp(addr->bytes, &in6addr_loopback, 16) == 0;
    default:
        return false;
    }
}

IpAddr ipaddr_from_v4(struct in_addr addr)
{
    IpAddr value = { .family = AF_INET };

    memcpy(value.bytes, &addr, sizeof(addr));
    return value;
}

IpAddr ipaddr_from_v6(const struct in6_addr *addr)
{
    IpAddr value = { .family = AF_INET6 };

    memcpy(value.bytes, addr, sizeof(*addr));
    return value;
}

/* Copies out of the argument, which need not be aligned for its family. */
IpAddr ipaddr_from_sockaddr(const struct sockaddr *sa, uint16_t *port)
{
    struct sockaddr_in sin;
    struct sockaddr_in6 sin6;

    switch (sa->sa_family) {
    case AF_INET:
        memcpy(&sin, sa, sizeof(sin));
        if (port) {
            *port = ntohs(sin.sin_port);
        }
        return ipaddr_from_v4(sin.sin_addr);
    case AF_INET6:
        memcpy(&sin6, sa, sizeof(sin6));
        if (port) {
            *port = ntohs(sin6.sin6_port);
        }
        return ipaddr_from_v6(&sin6.sin6_addr);
    default:
        if (port) {
            *port = 0;
        }
        return (IpAddr){ 0 };
    }
}

socklen_t ipaddr_to_sockaddr(const IpAddr *addr, uint16_t port,
                             struct sockaddr_storage *ss)
{
    struct sockaddr_in *sin = (struct sockaddr_in *)ss;
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;

    memset(ss, 0, sizeof(*ss));
    ss->ss_family = addr->family;
    switch (addr->family) {
    case AF_INET:
        sin->sin_port = htons(port);
        memcpy(&sin->sin_addr, addr->bytes, sizeof(sin->sin_addr));
        return sizeof(*sin);
    case AF_INET6:
        sin6->sin6_port = htons(port);
        memcpy(&sin6->sin6_addr, addr->bytes, sizeof(sin6->sin6_addr));
        return sizeof(*sin6);
    default:
        return 0;
    }
}

IpPrefix ipprefix_masked(const IpPrefix *prefix)
{
    IpPrefix masked = *prefix;
    unsigned whole = prefix->len / 8, rest = prefix->len % 8;

    if (whole < sizeof(masked.addr.bytes)) {
        masked.addr.bytes[whole] &= (uint8_t)(0xff00 >> rest);
        memset(masked.addr.bytes + whole + 1, 0,
               sizeof(masked.addr.bytes) - whole - 1);
    }
    return masked;
}

bool ipprefix_is_canonical(const IpPrefix *prefix)
{
    IpPrefix masked = ipprefix_masked(prefix);

    return ipprefix_equal(prefix, &masked);
}

bool ipprefix_equal(const IpPrefix *a, const IpPrefix *b)
{
    return a->len == b->len && ipaddr_equal(&a->addr, &b->addr);
}

unsigned ipprefix_hash(const IpPrefix *prefix)
{
    unsigned hash = prefix->addr.family * 31 + prefix->len;

    for (unsigned i = 0; i < sizeof(prefix->addr.bytes); i++) {
        hash = hash * 31 + prefix->addr.bytes[i];
    }
    return hash;
}

bool ipprefix_contains(const IpPrefix *prefix, const IpAddr *addr)
{
    unsigned whole = prefix->len / 8, rest = prefix->len % 8;

    if (addr->family == 0 || prefix->addr.family != addr->family ||
        memcmp(prefix->addr.bytes, addr->bytes, whole) != 0) {
        return false;
    }
    /* A length of 128 has no rest, so bytes[16] is never looked at. */
    return rest == 0 ||
           (prefix->addr.bytes[whole] ^ addr->bytes[whole]) >> (8 - rest) == 0;
}

bool ipprefix_covers(const IpPrefix *outer, const IpPrefix *inner)
{
    return outer->len <= inner->len && ipprefix_contains(outer, &inner->addr);
}

char *ipprefix_print(const IpPrefix *prefix, char buf[IPPREFIX_STRLEN + 2])
{
    char addr[IPADDR_STRLEN], len[8] = "";
    bool v6 = prefix->addr.family == AF_INET6;

    if (prefix->len != ipaddr_bits(&prefix->addr)) {
        snprintf(len, sizeof(len), "/%u", prefix->len);
    }
    snprintf(buf, IPPREFIX_STRLEN + 2, "%s%s%s%s", v6 ? "[" : "",
             ipaddr_print(&prefix->addr, addr), len, v6 ? "]" : "");
    return buf;
}
