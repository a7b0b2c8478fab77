/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Redirected UDP flows.
 *
 * Theory of operation. A flow that a rule sends somewhere else gets a socket
 * of its own, connected to the target, for each pair of guest source and
 * original destination. So the kernel sorts the replies and the ICMP errors,
 * lets no stranger in, and each reply can be sent to the guest from exactly
 * the address and port it wrote to. Flows without a rule keep upstream's one
 * socket for each guest port, and with it their NAT behaviour. Dedicated
 * sockets stand in slirp->udb like all others, and expire like them.
 *
 * After a change of the table a flow is checked when its next datagram comes,
 * from either side; datagrams on shared sockets are checked against the rules
 * as if the guest spoke to their source.
 *
 * A guest's answer on a UDP hostfwd must not be taken for a flow of its own,
 * but the guest must not get past the rules by sending from such a port
 * either. So the last peers of hostfwd sockets are remembered, and only
 * datagrams to one of them count as answers.
 */
#include "attach/instance.h"

#include <sys/un.h>
#ifdef __linux__
#include <linux/errqueue.h>
#endif

#include "engine/siphash.h"

enum {
    PEERS_MAX = 4096, /* remembered of all hostfwd sockets together */
    BATCH = 16, /* datagrams or errors taken off a socket at one event */
    QUEUED_MAX = 4, /* as upstream: packets waiting for the guest's address */
};

typedef struct HostfwdPeer {
    FlowTuple tuple; /* guest -> peer, as the guest sees it */
    uint32_t seen; /* curtime */
    GList link;
} HostfwdPeer;

/* The source may be as short as its family needs. */
static void copy_address(struct sockaddr_storage *to,
                         const struct sockaddr_storage *from)
{
    memcpy(to, from, sockaddr_size(from));
}

static FlowTuple tuple_of(const struct sockaddr_storage *lhost,
                          const struct sockaddr_storage *fhost)
{
    FlowTuple tuple;

    memset(&tuple, 0, sizeof(tuple));
    tuple.src = ipaddr_from_sockaddr((const struct sockaddr *)lhost,
                                     &tuple.src_port);
    tuple.dst = ipaddr_from_sockaddr((const struct sockaddr *)fhost,
                                     &tuple.dst_port);
    return tuple;
}

static guint tuple_hash(gconstpointer tuple)
{
    return siphash(siphash_process_key(), tuple, sizeof(FlowTuple));
}

static gboolean tuple_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(FlowTuple)) == 0;
}

void redirect_udp_init(RedirectInstance *instance)
{
    instance->udp = g_hash_table_new(tuple_hash, tuple_equal);
    instance->peers =
        g_hash_table_new_full(tuple_hash, tuple_equal, NULL, g_free);
    g_queue_init(&instance->peers_by_age);
}

void redirect_udp_done(RedirectInstance *instance)
{
    g_hash_table_unref(instance->udp);
    g_hash_table_unref(instance->peers);
}

/* ---- hostfwd peers ---- */

static void peer_forget(RedirectInstance *instance, HostfwdPeer *peer)
{
    g_queue_unlink(&instance->peers_by_age, &peer->link);
    g_hash_table_remove(instance->peers, &peer->tuple);
}

static void peer_remember(RedirectInstance *instance, const FlowTuple *tuple)
{
    HostfwdPeer *peer = g_hash_table_lookup(instance->peers, tuple);

    if (peer == NULL) {
        if (instance->peers_by_age.length >= PEERS_MAX) {
            peer_forget(instance, instance->peers_by_age.head->data);
        }
        peer = g_new0(HostfwdPeer, 1);
        peer->tuple = *tuple;
        peer->link.data = peer;
        g_hash_table_insert(instance->peers, &peer->tuple, peer);
    } else {
        g_queue_unlink(&instance->peers_by_age, &peer->link);
    }
    peer->seen = curtime;
    g_queue_push_tail_link(&instance->peers_by_age, &peer->link);
}

static bool peer_is_known(RedirectInstance *instance, const FlowTuple *tuple)
{
    HostfwdPeer *peer = g_hash_table_lookup(instance->peers, tuple);

    return peer != NULL && (uint32_t)(curtime - peer->seen) < SO_EXPIRE;
}

static bool is_hostfwd_reply(RedirectInstance *instance,
                             const struct sockaddr_storage *lhost,
                             const FlowTuple *tuple)
{
    struct Slirp *slirp = instance->slirp;
    struct sockaddr_storage guest;
    struct socket *so;

    if (!peer_is_known(instance, tuple)) {
        return false;
    }
    copy_address(&guest, lhost);
    so = solookup(&slirp->udp_last_so, &slirp->udb, &guest, NULL);
    return so != NULL && (so->so_state & SS_HOSTFWD) != 0;
}

/* ---- dedicated sockets ---- */

static void want_errors(int s, int af)
{
#ifdef __linux__
    int one = 1;

    if (af == AF_INET) {
        setsockopt(s, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
    } else if (af == AF_INET6) {
        setsockopt(s, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof(one));
    }
#endif
}

/* A unix server can answer only a socket that has a name (unix(7)). */
static int autobind(int s)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };

    return bind(s, (struct sockaddr *)&sun, sizeof(sa_family_t));
}

static int open_socket(struct RedirectFlow *flow)
{
    const struct sockaddr_storage *target = &flow->target;
    int s = redirect_socket(flow, SOCK_DGRAM, target);

    if (s < 0) {
        return -1;
    }
    want_errors(s, target->ss_family);
    if ((target->ss_family == AF_UNIX && autobind(s) < 0) ||
        connect(s, (const struct sockaddr *)target, flow->target_len) < 0) {
        int err = errno;

        closesocket(s);
        errno = err;
        return -1;
    }
    return s;
}

/* The first address of the target that a socket can be connected to. */
static int open_any(struct RedirectFlow *flow, const struct socket *so)
{
    while (redirect_next_target(flow, so, &flow->target, &flow->target_len)) {
        int s = open_socket(flow);

        if (s >= 0) {
            return s;
        }
    }
    return -1;
}

static struct socket *flow_socket_new(RedirectInstance *instance,
                                      TableEntry *entry,
                                      const struct sockaddr_storage *lhost,
                                      const struct sockaddr_storage *fhost)
{
    struct socket *so = socreate(instance->slirp, IPPROTO_UDP);
    struct RedirectFlow *flow = redirect_flow_new(instance, entry);

    flow->so = so;
    flow->tuple = tuple_of(lhost, fhost);
    so->so_redirect = flow;
    copy_address(&so->lhost.ss, lhost);
    copy_address(&so->fhost.ss, fhost);
    so->s = open_any(flow, so);
    if (so->s < 0) {
        sofree(so);
        return NULL;
    }
    so->so_expire = curtime + SO_EXPIRE;
    so->so_state = SS_ISFCONNECTED;
    slirp_socket_insert(so, &so->slirp->udb);
    so->slirp->cb->register_poll_fd(so->s, so->slirp->opaque);
    g_hash_table_insert(instance->udp, &flow->tuple, flow);
    return so;
}

/* True if the rules of today still send the flow where it goes. */
static bool is_current(struct RedirectFlow *flow)
{
    RedirectInstance *instance = flow->instance;

    if (flow->generation != instance->generation) {
        if (redirect_match(instance, FLOW_UDP, &flow->so->lhost.ss,
                           &flow->so->fhost.ss) != flow->entry) {
            return false;
        }
        flow->generation = instance->generation;
    }
    return true;
}

static struct socket *current_socket(RedirectInstance *instance,
                                     const FlowTuple *tuple)
{
    struct RedirectFlow *flow = g_hash_table_lookup(instance->udp, tuple);

    if (flow != NULL && !is_current(flow)) {
        udp_detach(flow->so);
        flow = NULL;
    }
    return flow != NULL ? flow->so : NULL;
}

enum slirp_redirect_verdict
slirp_redirect_datagram(struct Slirp *slirp,
                        const struct sockaddr_storage *lhost,
                        const struct sockaddr_storage *fhost,
                        struct socket **so)
{
    RedirectInstance *instance = redirect_instance(slirp);
    enum slirp_redirect_verdict verdict;
    TableEntry *entry;
    FlowTuple tuple;

    if (instance->table == NULL &&
        g_hash_table_size(instance->udp) == 0) {
        return SLIRP_REDIRECT_NONE;
    }
    tuple = tuple_of(lhost, fhost);
    *so = current_socket(instance, &tuple);
    if (*so != NULL) {
        slirp_socket_touch(*so);
        return SLIRP_REDIRECT_TARGET;
    }
    if (is_hostfwd_reply(instance, lhost, &tuple)) {
        return SLIRP_REDIRECT_NONE;
    }
    entry = redirect_match(instance, FLOW_UDP, lhost, fhost);
    verdict = redirect_judge(entry);
    if (verdict == SLIRP_REDIRECT_REJECT && ipaddr_is_multicast(&tuple.dst)) {
        /* No ICMP error answers a multicast (RFC 1122, section 3.2.2). */
        return SLIRP_REDIRECT_DROP;
    }
    if (verdict == SLIRP_REDIRECT_TARGET) {
        *so = flow_socket_new(instance, entry, lhost, fhost);
        if (*so == NULL) {
            entry->counters.failed++;
            return SLIRP_REDIRECT_REJECT;
        }
    }
    return verdict;
}

/* A server behind a unix socket may have come back under the same name. */
static bool reconnect(struct socket *so)
{
    struct RedirectFlow *flow = so->so_redirect;

    return flow->target.ss_family == AF_UNIX &&
           connect(so->s, (struct sockaddr *)&flow->target,
                   flow->target_len) == 0;
}

int slirp_redirect_sendto(struct socket *so, struct mbuf *m)
{
    ssize_t n = send(so->s, m->m_data, m->m_len, MSG_NOSIGNAL);

    /* An error that an earlier datagram met is reported once, in the place of
     * sending this one; what it says reaches the guest from the error queue. */
    if (n < 0 && (errno == ECONNREFUSED || errno == EHOSTUNREACH ||
                  errno == ENETUNREACH)) {
        if (so->so_redirect->target.ss_family != AF_UNIX || reconnect(so)) {
            n = send(so->s, m->m_data, m->m_len, MSG_NOSIGNAL);
        }
    }
    if (n >= 0) {
        slirp_redirect_count(so, n, 0);
        return 0;
    }
    /* A full queue loses datagrams, as on any network. */
    return errno == EAGAIN || errno == ENOBUFS ? 0 : -1;
}

/* ---- from the target to the guest ---- */

/* The same fault in the other family's terms (RFC 7915, section 5.2). */
static uint8_t unreach_to_v4(uint8_t code6)
{
    switch (code6) {
    case ICMP6_UNREACH_PORT:
        return ICMP_UNREACH_PORT;
    case 1: /* administratively prohibited */
        return 10;
    default:
        return ICMP_UNREACH_HOST;
    }
}

static uint8_t unreach_to_v6(uint8_t code4)
{
    switch (code4) {
    case ICMP_UNREACH_PORT:
        return ICMP6_UNREACH_PORT;
    case 9: /* network, host or communication prohibited */
    case 10:
    case 13:
        return 1;
    case ICMP_UNREACH_HOST:
        return ICMP6_UNREACH_ADDRESS;
    default:
        return ICMP6_UNREACH_NO_ROUTE;
    }
}

/* Tells the guest, in the name of the destination it wrote to. unreach is of
 * the family from. */
static void tell_unreachable(struct socket *so, int from, uint8_t unreach)
{
    so->so_redirect->entry->counters.failed++;
    if (so->so_m == NULL) {
        return;
    }
    if (so->so_ffamily == AF_INET) {
        icmp_forward_error(so->so_m, ICMP_UNREACH,
                           from == AF_INET ? unreach : unreach_to_v4(unreach),
                           0, NULL, &so->so_faddr);
    } else {
        icmp6_forward_error(so->so_m, ICMP6_UNREACH,
                            from == AF_INET6 ? unreach
                                             : unreach_to_v6(unreach),
                            &so->so_faddr6);
    }
}

static void tell_errno(struct socket *so, int err)
{
    switch (err) {
    case EHOSTUNREACH:
        tell_unreachable(so, AF_INET, ICMP_UNREACH_HOST);
        break;
    case ENETUNREACH:
        tell_unreachable(so, AF_INET, ICMP_UNREACH_NET);
        break;
    default:
        tell_unreachable(so, AF_INET, ICMP_UNREACH_PORT);
        break;
    }
}

#ifdef __linux__
static void forward_error(struct socket *so, const struct cmsghdr *cmsg)
{
    struct sock_extended_err ee;

    if (cmsg->cmsg_len < CMSG_LEN(sizeof(ee))) {
        return;
    }
    memcpy(&ee, CMSG_DATA(cmsg), sizeof(ee));
    if (ee.ee_origin == SO_EE_ORIGIN_ICMP && ee.ee_type == ICMP_UNREACH) {
        tell_unreachable(so, AF_INET, ee.ee_code);
    } else if (ee.ee_origin == SO_EE_ORIGIN_ICMP6 &&
               ee.ee_type == ICMP6_UNREACH) {
        tell_unreachable(so, AF_INET6, ee.ee_code);
    } else if (ee.ee_origin == SO_EE_ORIGIN_LOCAL) {
        tell_errno(so, ee.ee_errno);
    }
}

static bool take_error(struct socket *so)
{
    char control[512];
    char data[1];
    struct iovec iov = { .iov_base = data, .iov_len = sizeof(data) };
    struct msghdr msg = { .msg_iov = &iov,
                          .msg_iovlen = 1,
                          .msg_control = control,
                          .msg_controllen = sizeof(control) };
    struct cmsghdr *cmsg;

    if (so->so_redirect->target.ss_family == AF_UNIX ||
        recvmsg(so->s, &msg, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
        return false;
    }
    for (cmsg = CMSG_FIRSTHDR(&msg); cmsg; cmsg = CMSG_NXTHDR(&msg, cmsg)) {
        if ((cmsg->cmsg_level == IPPROTO_IP &&
             cmsg->cmsg_type == IP_RECVERR) ||
            (cmsg->cmsg_level == IPPROTO_IPV6 &&
             cmsg->cmsg_type == IPV6_RECVERR)) {
            forward_error(so, cmsg);
        }
    }
    return true;
}
#else
static bool take_error(struct socket *so)
{
    return false;
}
#endif

static size_t header_room(const struct socket *so)
{
    return IF_MAXLINKHDR +
           (so->so_ffamily == AF_INET6
                ? sizeof(struct ip6) + sizeof(struct udphdr)
                : sizeof(struct udpiphdr));
}

/* An mbuf with room for n bytes of payload behind the headers. */
static struct mbuf *reply_mbuf(struct socket *so, size_t n)
{
    struct mbuf *m = m_get(so->slirp);

    m->m_data += header_room(so);
    if (M_FREEROOM(m) < (int)n) {
        m_inc(m, (m->m_data - m->m_dat) + n + 1);
    }
    return m;
}

static void send_to_guest(struct socket *so, struct mbuf *m)
{
    if (so->so_ffamily == AF_INET) {
        udp_output(so, m, &so->fhost.sin, &so->lhost.sin, so->so_iptos);
    } else {
        udp6_output(so, m, &so->fhost.sin6, &so->lhost.sin6);
    }
}

static uint32_t expiry(const struct socket *so)
{
    bool dns = so->so_redirect->tuple.dst_port == 53;

    return curtime + (dns ? SO_EXPIREFAST : SO_EXPIRE);
}

/* False if there was none. */
static bool take_datagram(struct socket *so)
{
    ssize_t n = recv(so->s, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    struct mbuf *m;

    if (n >= 0) {
        m = reply_mbuf(so, n);
        n = recv(so->s, m->m_data, n, MSG_DONTWAIT);
        if (n >= 0) {
            m->m_len = n;
            slirp_redirect_count(so, 0, n);
            so->so_expire = expiry(so);
            send_to_guest(so, m);
            return true;
        }
        m_free(m);
    }
    if (errno != EAGAIN && errno != EINTR && !take_error(so)) {
        tell_errno(so, errno);
    }
    return false;
}

void slirp_redirect_recvfrom(struct socket *so)
{
    if (!is_current(so->so_redirect)) {
        udp_detach(so);
        return;
    }
    for (unsigned i = 0; i < BATCH && take_error(so); i++) {
    }
    for (unsigned i = 0; i < BATCH && so->so_queued <= QUEUED_MAX; i++) {
        if (!take_datagram(so)) {
            break;
        }
    }
}

bool slirp_redirect_inbound(struct socket *so,
                            const struct sockaddr_storage *source)
{
    RedirectInstance *instance = redirect_instance(so->slirp);
    TableEntry *entry;

    if (instance->table == NULL ||
        so->lhost.ss.ss_family != source->ss_family) {
        return true;
    }
    if (so->so_state & SS_HOSTFWD) {
        FlowTuple tuple = tuple_of(&so->lhost.ss, source);

        peer_remember(instance, &tuple);
        return true;
    }
    entry = redirect_match(instance, FLOW_UDP, &so->lhost.ss, source);
    return entry == NULL || entry->rule->target.kind == TARGET_PASS;
}
