/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules for a guest, and what their counters say. */
#ifndef TEST_PACKET_REDIRECT_H
#define TEST_PACKET_REDIRECT_H

#include "harness.h"

/* Replaces the guest's rules, one a line; a set that is refused fails the
 * test. Ids count from 1 over all rules of the instance. */
void guest_set_rules(Guest *guest, const char *format, ...) G_GNUC_PRINTF(2, 3);

typedef struct RuleCounts {
    uint64_t flows, refused, failed, bytes_out, bytes_in;
    bool hit; /* ever */
} RuleCounts;

/* As slirp_redirect_info() prints them; fails the test if there is no rule of
 * that id. */
RuleCounts guest_rule_counts(Guest *guest, int id);
/* Flows, refused and failed, the three that do not count bytes. */
void guest_expect_counts(Guest *guest, int id, uint64_t flows, uint64_t refused,
                         uint64_t failed);
void guest_expect_bytes(Guest *guest, int id, uint64_t out, uint64_t in);
/* Does the list have a line with this text? */
bool guest_info_has(Guest *guest, const char *text);

/* Await an ICMP error of the code about the packet, in the name of source; the
 * quote must be the start of the packet. IPv4 codes; family as the packet's. */
void guest_expect_unreachable(Guest *guest, const char *source, uint8_t code,
                              const GByteArray *packet);

/* The one name that resolves from now on, and its answers in order; second may
 * be NULL. */
void resolver_set(const char *name, const char *first, const char *second);
/* How often the resolver was asked. */
unsigned resolver_questions(void);

#endif
