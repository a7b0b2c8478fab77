/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and prefixes of both families as plain values. */
#ifndef SLIRP_REDIRECT_RULES_ADDR_H
#define SLIRP_REDIRECT_RULES_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * One IP address. family is AF_INET or AF_INET6, or 0 for "none". bytes is in
 * network order; an IPv4 address fills the first four and leaves the rest
 * zero, so two equal addresses are equal byte for byte.
 */
typedef struct IpAddr {
    uint8_t family;
    uint8_t bytes[16];
} IpAddr;

/* An address block (RFC 4632, RFC 4291 section 2.3); no bit set beyond len. */
typedef struct IpPrefix {
    IpAddr addr;
    uint8_t len; /* 0..32 or 0..128 */
} IpPrefix;

/* Room for any printed IpPrefix without brackets, terminator included. */
enum { IPADDR_STRLEN = INET6_ADDRSTRLEN, IPPREFIX_STRLEN = IPADDR_STRLEN + 4 };

/* Address length in bits: 32, 128, or 0 for "none". */
unsigned ipaddr_bits(const IpAddr *addr);
bool ipaddr_equal(const IpAddr *a, const IpAddr *b);
/* Parses a numeric address without brackets or zone; false leaves *addr. */
bool ipaddr_parse(const char *text, IpAddr *addr);
/* Prints without brackets (RFC 5952 for IPv6); returns buf. */
char *ipaddr_print(const IpAddr *addr, char buf[IPADDR_STRLEN]);
/* IPv4 multicast, limited broadcast, or IPv6 multicast. */
bool ipaddr_is_multicast(const IpAddr *addr);
/* 127.0.0.0/8 or ::1. */
bool ipaddr_is_loopback(const IpAddr *addr);

IpAddr ipaddr_from_v4(struct in_addr addr);
IpAddr ipaddr_from_v6(const struct in6_addr *addr);
/* The address and port of an AF_INET or AF_INET6 socket address. */
IpAddr ipaddr_from_sockaddr(const struct sockaddr *sa, uint16_t *port);
/* Fills *ss, scope 0; returns its length. port is in host order. */
socklen_t ipaddr_to_sockaddr(const IpAddr *addr, uint16_t port,
                             struct sockaddr_storage *ss);

/* True if no address bit is set beyond the prefix length. */
bool ipprefix_is_canonical(const IpPrefix *prefix);
/* The same prefix with the bits beyond its length cleared. */
IpPrefix ipprefix_masked(const IpPrefix *prefix);
bool ipprefix_equal(const IpPrefix *a, const IpPrefix *b);
/* For hash tables, with ipprefix_equal(). */
unsigned ipprefix_hash(const IpPrefix *prefix);
bool ipprefix_contains(const IpPrefix *prefix, const IpAddr *addr);
/* True if every address of inner is in outer. */
bool ipprefix_covers(const IpPrefix *outer, const IpPrefix *inner);
/* A.B.C.D[/n] or [v6[/n]]; /32 and /128 are not printed; returns buf. */
char *ipprefix_print(const IpPrefix *prefix, char buf[IPPREFIX_STRLEN + 2]);

#endif
