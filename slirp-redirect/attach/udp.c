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
 * A change of the table ends the flows that it sends elsewhere. Datagrams on
 * shared sockets are checked against the rules in both directions, those for
 * the guest as if it spoke to their source.
 *
 * A target with several addresses is tried in order: an address that refuses
 * before any answer has come is left for the next one.
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

enum {
    BATCH = 16,     /* datagrams or errors taken off a socket at one event */
    QUEUED_MAX = 4, /* as upstream: packets waiting for the guest's address */
};

/* What upstream leaves unset in an IPv6 address is cleared. */
static void copy_address(struct sockaddr_storage *to,
                         const struct sockaddr_storage *from)
{
    uint16_t port;
    IpAddr addr = ipaddr_from_sockaddr((const struct sockaddr *)from, &port);

    ipaddr_to_sockaddr(&addr, port, to);
}

void redirect_udp_init(RedirectInstance *instance)
{
    instance->udp = g_hash_table_new(tuple_hash, tuple_equal);
    tuple_set_init(&instance->peers);
    tuple_set_init(&instance->passed);
}

void redirect_udp_done(RedirectInstance *instance)
{
    g_hash_table_unref(instance->udp);
    tuple_set_done(&instance->peers);
    tuple_set_done(&instance->passed);
}

/* ---- ICMP errors ---- */

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

/* About m, a packet of the guest to fhost; unreach is a code of family af. */
static void send_unreachable(struct mbuf *m,
                             const struct sockaddr_storage *fhost, int af,
                             uint8_t unreach)
{
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)fhost;
    struct sockaddr_in *sin = (struct sockaddr_in *)fhost;

    if (fhost->ss_family == AF_INET) {
        icmp_forward_error(m, ICMP_UNREACH,
                           af == AF_INET ? unreach : unreach_to_v4(unreach), 0,
                           NULL, &sin->sin_addr);
    } else {
        icmp6_forward_error(m, ICMP6_UNREACH,
                            af == AF_INET6 ? unreach : unreach_to_v6(unreach),
                            &sin6->sin6_addr);
    }
}

/* The ICMP code that tells a guest of err, or -1 if nothing should: the fault
 * is not the network's, and another datagram may well get through. */
static int unreach_of_errno(int err)
{
    switch (err) {
    case ENOBUFS:
    case ENOMEM:
    case EAGAIN:
    case EMSGSIZE:
        return -1;
    case ECONNREFUSED:
        return ICMP_UNREACH_PORT;
    case EMFILE: /* a limit: refused, not lost */
    case ENFILE:
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ETIMEDOUT:
        return ICMP_UNREACH_HOST;
    default:
        return ICMP_UNREACH_NET;
    }
}

void slirp_redirect_unreachable(struct mbuf *m,
                                const struct sockaddr_storage *fhost, int err)
{
    int unreach = unreach_of_errno(err);

    if (unreach >= 0) {
        send_unreachable(m, fhost, AF_INET, unreach);
    }
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

/* A socket connected to the flow's current address, or -1 with errno. */
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
        int err = redirect_errno(target, errno);

        closesocket(s);
        errno = err;
        return -1;
    }
    return s;
}

/* The first address not tried yet that a socket can be connected to. */
static int open_any(struct RedirectFlow *flow, const struct socket *so)
{
    errno = EHOSTUNREACH;
    while (redirect_next_target(flow, so)) {
        int s = open_socket(flow);

        if (s >= 0) {
            return s;
        }
    }
    return -1;
}

/* NULL with errno if no address of the target will do. */
static struct socket *flow_socket_new(RedirectInstance *instance,
                                      TableEntry *entry,
                                      const struct sockaddr_storage *lhost,
                                      const struct sockaddr_storage *fhost)
{
    struct RedirectFlow *flow = redirect_flow_new(instance, entry);
    struct socket *so;
    int s;

    slirp_limit_flow(instance->slirp, IPPROTO_UDP, lhost);
    so = socreate(instance->slirp, IPPROTO_UDP);
    flow->so = so;
    flow->tuple = tuple_of(lhost, fhost);
    so->so_redirect = flow;
    copy_address(&so->lhost.ss, lhost);
    copy_address(&so->fhost.ss, fhost);
    s = open_any(flow, so);
    if (s < 0) {
        int err = errno;

        flow->error = g_strerror(err);
        sofree(so);
        errno = err;
        return NULL;
    }
    so->so_expire = curtime + SO_EXPIRE;
    so->so_state = SS_ISFCONNECTED;
    slirp_socket_insert(so, &so->slirp->udb);
    redirect_watch(so, s);
    g_hash_table_insert(instance->udp, &flow->tuple, flow);
    redirect_log_open(flow, so);
    return so;
}

void redirect_udp_sweep(RedirectInstance *instance)
{
    g_autoptr(GPtrArray) stale = g_ptr_array_new();
    GHashTableIter iter;
    gpointer flow;

    g_hash_table_iter_init(&iter, instance->udp);
    while (g_hash_table_iter_next(&iter, NULL, &flow)) {
        const struct RedirectFlow *f = flow;

        if (redirect_match(instance, FLOW_UDP, &f->so->lhost.ss,
                           &f->so->fhost.ss) != f->entry) {
            g_ptr_array_add(stale, f->so);
        }
    }
    for (unsigned i = 0; i < stale->len; i++) {
        struct socket *so = g_ptr_array_index(stale, i);

        so->so_redirect->error = "its rule has changed";
        udp_detach(so);
    }
}

/* ---- from the guest to the target ---- */

/* The socket of the hostfwd on which what this datagram answers came in; or
 * NULL. */
static struct socket *answered_hostfwd(RedirectInstance *instance,
                                       const struct sockaddr_storage *lhost,
                                       const FlowTuple *tuple)
{
    struct Slirp *slirp = instance->slirp;
    struct sockaddr_storage guest;
    struct socket *so;

    if (!tuple_set_has(&instance->peers, tuple, 0, curtime, SO_EXPIRE)) {
        return NULL;
    }
    copy_address(&guest, lhost);
    so = solookup(&slirp->udp_last_so, &slirp->udb, &guest, NULL);
    if (so == NULL || !(so->so_state & SS_HOSTFWD)) {
        return NULL;
    }
    tuple_set_note(&instance->peers, tuple, 0, curtime);
    return so;
}

/* Datagrams of one flow under a pass rule count as one flow; true for the
 * first one. */
static bool count_passed(RedirectInstance *instance, const FlowTuple *tuple,
                         TableEntry *entry)
{
    bool first =
        !tuple_set_has(&instance->passed, tuple, entry->id, curtime, SO_EXPIRE);

    if (first) {
        redirect_count_flow(entry);
    }
    tuple_set_note(&instance->passed, tuple, entry->id, curtime);
    return first;
}

/* What a rule says of a datagram that belongs to no flow yet. */
static enum slirp_redirect_verdict
first_datagram(RedirectInstance *instance, const FlowTuple *tuple,
               const struct sockaddr_storage *lhost,
               const struct sockaddr_storage *fhost, struct socket **so)
{
    TableEntry *entry = redirect_match(instance, FLOW_UDP, lhost, fhost);
    enum slirp_redirect_verdict verdict;

    if (entry == NULL) {
        return SLIRP_REDIRECT_NONE;
    }
    verdict = redirect_verdict(instance, entry, &tuple->dst);
    if (verdict == SLIRP_REDIRECT_NONE) {
        if (count_passed(instance, tuple, entry)) {
            redirect_log_verdict(instance, entry, FLOW_UDP, lhost, fhost);
        }
        return verdict;
    }
    redirect_count_flow(entry);
    if (verdict != SLIRP_REDIRECT_TARGET) {
        redirect_log_verdict(instance, entry, FLOW_UDP, lhost, fhost);
    }
    errno = ECONNREFUSED;
    if (verdict == SLIRP_REDIRECT_TARGET) {
        *so = flow_socket_new(instance, entry, lhost, fhost);
        if (*so == NULL) {
            entry->counters.failed++;
            return SLIRP_REDIRECT_REJECT;
        }
    }
    return verdict;
}

enum slirp_redirect_verdict slirp_redirect_datagram(
    struct Slirp *slirp, const struct sockaddr_storage *lhost,
    const struct sockaddr_storage *fhost, struct socket **so)
{
    RedirectInstance *instance = redirect_instance(slirp);
    struct RedirectFlow *flow;
    FlowTuple tuple;

    if (instance->table == NULL) {
        return SLIRP_REDIRECT_NONE;
    }
    redirect_read_clock(slirp);
    tuple = tuple_of(lhost, fhost);
    flow = g_hash_table_lookup(instance->udp, &tuple);
    if (flow != NULL) {
        *so = flow->so;
        slirp_socket_touch(*so);
        return SLIRP_REDIRECT_TARGET;
    }
    *so = answered_hostfwd(instance, lhost, &tuple);
    if (*so != NULL) {
        slirp_socket_touch(*so);
        return SLIRP_REDIRECT_TARGET;
    }
    return first_datagram(instance, &tuple, lhost, fhost, so);
}

/* A server behind a unix socket may have come back under the same name. */
static bool reconnect(struct socket *so)
{
    struct RedirectFlow *flow = so->so_redirect;

    return flow->target.ss_family != AF_UNIX ||
           connect(so->s, (struct sockaddr *)&flow->target, flow->target_len) ==
               0;
}

/* As send(2), but not for an error that an earlier datagram met: such errors
 * are reported once in the place of sending, and come by the error queue. */
static ssize_t send_datagram(struct socket *so, const void *data, size_t len)
{
    ssize_t n = send(so->s, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && errno != EAGAIN && reconnect(so)) {
        n = send(so->s, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return n;
}

int slirp_redirect_sendto(struct socket *so, struct mbuf *m)
{
    struct RedirectFlow *flow = so->so_redirect;
    ssize_t n = send_datagram(so, m->m_data, m->m_len);

    if (n >= 0) {
        slirp_redirect_count(so, n, 0);
        return 0;
    }
    if (errno == EAGAIN || errno == ENOBUFS) {
        return 0; /* a full queue loses datagrams, as on any network */
    }
    flow->entry->counters.failed++;
    errno = redirect_errno(&flow->target, errno);
    return -1;
}

/* ---- errors that come back ---- */

/* The payload of the guest's last datagram, to the flow's new address. */
static void send_again(struct socket *so)
{
    const struct mbuf *m = so->so_m;
    int headers = sizeof(struct udphdr);

    if (m == NULL) {
        return;
    }
    headers +=
        so->so_ffamily == AF_INET6 ? sizeof(struct ip6) : sizeof(struct ip);
    if (m->m_len >= headers) {
        send_datagram(so, m->m_data + headers, m->m_len - headers);
    }
}

/* Leaves an address that was never heard of for the target's next one. */
static bool move_on(struct socket *so)
{
    struct RedirectFlow *flow = so->so_redirect;
    int s;

    if (flow->answered) {
        return false;
    }
    s = open_any(flow, so);
    if (s < 0) {
        return false;
    }
    soclose(so);
    redirect_watch(so, s);
    send_again(so);
    return true;
}

/* Tells the guest, in the name of the destination it wrote to. unreach is of
 * the family af. */
static void tell_unreachable(struct socket *so, int af, uint8_t unreach)
{
    if (move_on(so)) {
        return;
    }
    so->so_redirect->entry->counters.failed++;
    if (so->so_m != NULL) {
        send_unreachable(so->so_m, &so->fhost.ss, af, unreach);
    }
}

static void tell_errno(struct socket *so, int err)
{
    int unreach =
        unreach_of_errno(redirect_errno(&so->so_redirect->target, err));

    if (unreach >= 0) {
        tell_unreachable(so, AF_INET, unreach);
    }
}

#ifdef __linux__
/* A datagram that is too large for the path concerns the host alone: its
 * kernel sends the next ones in fragments. */
enum { UNREACH_TOO_LARGE = 4 };

static void forward_error(struct socket *so, const struct cmsghdr *cmsg)
{
    struct sock_extended_err ee;

    if (cmsg->cmsg_len < CMSG_LEN(sizeof(ee))) {
        return;
    }
    memcpy(&ee, CMSG_DATA(cmsg), sizeof(ee));
    if (ee.ee_origin == SO_EE_ORIGIN_ICMP && ee.ee_type == ICMP_UNREACH &&
        ee.ee_code != UNREACH_TOO_LARGE) {
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
        if ((cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_RECVERR) ||
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

/* ---- from the target to the guest ---- */

static size_t header_len(const struct socket *so)
{
    return so->so_ffamily == AF_INET6
               ? sizeof(struct ip6) + sizeof(struct udphdr)
               : sizeof(struct udpiphdr);
}

/* The largest payload that the guest's protocol can carry; a unix socket can
 * send more. */
static size_t payload_max(const struct socket *so)
{
    return so->so_ffamily == AF_INET6 ? UINT16_MAX - sizeof(struct udphdr)
                                      : UINT16_MAX - header_len(so);
}

/* An mbuf with room for n bytes of payload behind the headers. */
static struct mbuf *reply_mbuf(struct socket *so, size_t n)
{
    struct mbuf *m = m_get(so->slirp);

    m->m_data += IF_MAXLINKHDR + header_len(so);
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

/* Receives the datagram of n bytes that is next and passes it on; -1 with
 * errno. */
static ssize_t forward_datagram(struct socket *so, size_t n)
{
    struct mbuf *m = reply_mbuf(so, n);
    ssize_t got = recv(so->s, m->m_data, n, MSG_DONTWAIT);

    if (got < 0) {
        int err = errno;

        m_free(m);
        errno = err;
        return -1;
    }
    m->m_len = got;
    slirp_redirect_count(so, 0, got);
    so->so_expire = expiry(so);
    so->so_redirect->answered = true;
    send_to_guest(so, m);
    return got;
}

/* False if there was none. */
static bool take_datagram(struct socket *so)
{
    ssize_t n = recv(so->s, NULL, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);

    if (n > (ssize_t)payload_max(so)) {
        n = recv(so->s, NULL, 0, MSG_DONTWAIT); /* nobody could read it */
    } else if (n >= 0) {
        n = forward_datagram(so, n);
    }
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        int err = errno;

        if (!take_error(so)) {
            tell_errno(so, err);
        }
    }
    return n >= 0;
}

void slirp_redirect_recvfrom(struct socket *so)
{
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

    if (so->lhost.ss.ss_family != source->ss_family) {
        return true;
    }
    if (so->so_state & SS_HOSTFWD) {
        FlowTuple tuple = tuple_of(&so->lhost.ss, source);

        tuple_set_note(&instance->peers, &tuple, 0, curtime);
        return true;
    }
    entry = redirect_match(instance, FLOW_UDP, &so->lhost.ss, source);
    return entry == NULL || entry->rule->target.kind == TARGET_PASS;
}
