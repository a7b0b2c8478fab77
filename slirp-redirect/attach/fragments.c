/* SPDX-License-Identifier: BSD-3-Clause */
/* Lookup of the datagrams that wait for more of their fragments. */
#include "src/slirp.h"

#include "engine/siphash.h"

/* What fragments of one datagram have in common (RFC 791 section 3.2). */
typedef struct DatagramKey {
    struct in_addr src, dst;
    uint16_t id;
    uint16_t protocol; /* as wide as that: no padding */
} DatagramKey;

static uint64_t hash_of(const DatagramKey *key)
{
    return siphash(siphash_process_key(), key, sizeof(*key));
}

static DatagramKey key_of(const struct ipq *q)
{
    return (DatagramKey){ q->ipq_src, q->ipq_dst, q->ipq_id, q->ipq_p };
}

void slirp_fragments_add(struct Slirp *slirp, struct ipq *q)
{
    DatagramKey key = key_of(q);

    q->ipq_node.back = NULL; /* its memory was used before */
    flowtable_add(&slirp->fragments, &q->ipq_node, hash_of(&key));
}

struct ipq *slirp_fragments_find(struct Slirp *slirp, const struct ip *ip)
{
    DatagramKey key = { ip->ip_src, ip->ip_dst, ip->ip_id, ip->ip_p };
    FlowNode *node = flowtable_first(&slirp->fragments, hash_of(&key));

    for (; node != NULL; node = flowtable_next(node)) {
        struct ipq *q = container_of(node, struct ipq, ipq_node);
        DatagramKey other = key_of(q);

        if (memcmp(&key, &other, sizeof(key)) == 0) {
            return q;
        }
    }
    return NULL;
}
