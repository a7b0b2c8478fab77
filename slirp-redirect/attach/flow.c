/* SPDX-License-Identifier: BSD-3-Clause */
/* A redirected flow: its life, its targets, and connecting over TCP. */
#include "attach/instance.h"

#include <fcntl.h>
#include <sys/un.h>

/* How long a unix target with a full backlog is left alone, in ms. */
enum { RETRY_MS = 10 };

/* True if the curtime value at has passed; right across its wrap. */
static bool passed(uint32_t at)
{
    return (int32_t)(curtime - at) >= 0;
}

struct RedirectFlow *redirect_flow_new(RedirectInstance *instance,
                                       TableEntry *entry)
{
    struct RedirectFlow *flow = g_new0(struct RedirectFlow, 1);

    flow->instance = instance;
    flow->entry = table_entry_ref(entry);
    flow->link.data = flow;
    flow->generation = instance->generation;
    return flow;
}

static void stop_connecting(struct RedirectFlow *flow)
{
    if (flow->connecting) {
        g_queue_unlink(&flow->instance->connecting, &flow->link);
        flow->connecting = false;
    }
}

void slirp_redirect_sofree(struct socket *so)
{
    struct RedirectFlow *flow = so->so_redirect;

    if (flow == NULL) {
        return;
    }
    so->so_redirect = NULL;
    stop_connecting(flow);
    if (so->so_type == IPPROTO_UDP) {
        g_hash_table_remove(flow->instance->udp, &flow->tuple);
    }
    table_entry_unref(flow->entry);
    g_free(flow);
}

void slirp_redirect_count(struct socket *so, size_t out, size_t in)
{
    struct RedirectFlow *flow = so->so_redirect;

    flow->bytes_out += out;
    flow->bytes_in += in;
    flow->entry->counters.bytes_out += out;
    flow->entry->counters.bytes_in += in;
}

ssize_t slirp_redirect_send(struct socket *so, const void *buf, size_t len,
                            int flags)
{
    ssize_t n;

    if (so->so_redirect->target.ss_family == AF_UNIX) {
        flags &= ~MSG_OOB; /* not every kernel has it there */
    }
    n = send(so->s, buf, len, flags | MSG_NOSIGNAL);
    if (n > 0) {
        slirp_redirect_count(so, n, 0);
    }
    return n;
}

/* ---- targets ---- */

static uint16_t asked_port(const struct socket *so)
{
    return ntohs(so->so_ffamily == AF_INET6 ? so->so_fport6 : so->so_fport);
}

static socklen_t set_port(struct sockaddr_storage *ss, uint16_t port)
{
    if (ss->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)ss)->sin6_port = htons(port);
        return sizeof(struct sockaddr_in6);
    }
    ((struct sockaddr_in *)ss)->sin_port = htons(port);
    return sizeof(struct sockaddr_in);
}

static socklen_t unix_address(const char *path, struct sockaddr_storage *ss)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)ss;

    sun->sun_family = AF_UNIX;
    g_strlcpy(sun->sun_path, path, sizeof(sun->sun_path));
    return offsetof(struct sockaddr_un, sun_path) + strlen(sun->sun_path) + 1;
}

/* The original address with another port; the virtual host's own addresses
 * mean what they mean without a rule. */
static bool kept_address(const struct socket *so, uint16_t port,
                         struct sockaddr_storage *ss, socklen_t *len)
{
    *ss = so->fhost.ss;
    if (sotranslate_out((struct socket *)so, ss) < 0) {
        return false;
    }
    *len = set_port(ss, port);
    return true;
}

bool redirect_next_target(struct RedirectFlow *flow, const struct socket *so,
                          struct sockaddr_storage *ss, socklen_t *len)
{
    const Target *target = &flow->entry->rule->target;
    const GArray *addrs = flow->entry->addrs;
    uint16_t port = rule_target_port(flow->entry->rule, asked_port(so));
    unsigned nth = flow->tried++;

    memset(ss, 0, sizeof(*ss));
    switch (target->kind) {
    case TARGET_ADDRESS:
    case TARGET_NAME:
        if (nth >= addrs->len) {
            return false;
        }
        *ss = g_array_index(addrs, struct sockaddr_storage, nth);
        *len = set_port(ss, port);
        return true;
    case TARGET_KEEP:
        return nth == 0 && kept_address(so, port, ss, len);
    case TARGET_UNIX:
        *len = unix_address(target->path, ss);
        return nth == 0;
    default:
        return false;
    }
}

/* Targets that are left after the current one, itself included. */
static unsigned targets_left(const struct RedirectFlow *flow)
{
    unsigned total = MAX(flow->entry->addrs->len, 1);

    return total - MIN(flow->tried, total) + 1;
}

static bool is_local(const struct sockaddr_storage *ss)
{
    uint16_t port;
    IpAddr addr;

    if (ss->ss_family == AF_UNIX) {
        return true;
    }
    addr = ipaddr_from_sockaddr((const struct sockaddr *)ss, &port);
    return ipaddr_is_loopback(&addr);
}

static int bind_outbound(const Slirp *slirp, int s, int af)
{
    if (af == AF_INET && slirp->outbound_addr != NULL) {
        return bind(s, (struct sockaddr *)slirp->outbound_addr,
                    sizeof(struct sockaddr_in));
    }
    if (af == AF_INET6 && slirp->outbound_addr6 != NULL) {
        return bind(s, (struct sockaddr *)slirp->outbound_addr6,
                    sizeof(struct sockaddr_in6));
    }
    return 0;
}

int redirect_socket(struct RedirectFlow *flow, int type,
                    const struct sockaddr_storage *target)
{
    int s = slirp_socket(target->ss_family, type | SLIRP_SOCK_NONBLOCK, 0);

    if (s < 0) {
        return -1;
    }
    if (!SLIRP_SOCK_NONBLOCK) {
        slirp_set_nonblock(s);
    }
    if (!is_local(target) &&
        bind_outbound(flow->instance->slirp, s, target->ss_family) < 0) {
        int err = errno;

        closesocket(s);
        errno = err;
        return -1;
    }
    return s;
}

/* ---- connecting over TCP ---- */

static int connect_errno(const struct sockaddr_storage *target, int err)
{
    /* To the guest a unix socket that cannot be reached is a port that
     * nobody listens on, whether it is missing, stale or forbidden. */
    return target->ss_family == AF_UNIX ? ECONNREFUSED : err;
}

static int start_connect(struct RedirectFlow *flow, struct socket *so)
{
    const struct sockaddr_storage *target = &flow->target;
    int s = redirect_socket(flow, SOCK_STREAM, target);
    int one = 1;

    if (s < 0) {
        return errno;
    }
    if (target->ss_family != AF_UNIX) {
        setsockopt(s, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
        slirp_socket_set_nodelay(s);
    }
    if (connect(s, (const struct sockaddr *)target, flow->target_len) < 0 &&
        errno != EINPROGRESS) {
        int err = errno;

        closesocket(s);
        if (err == EAGAIN) {
            /* A unix socket with a full backlog: nothing will tell when it
             * has room, so poll for it. */
            flow->retry_at = curtime + RETRY_MS;
            return 0;
        }
        return connect_errno(target, err);
    }
    so->s = s;
    slirp_socket_touch(so);
    so->slirp->cb->register_poll_fd(s, so->slirp->opaque);
    return 0;
}

/* Goes through the addresses not tried yet, from the errno of the last. */
static int connect_any(struct RedirectFlow *flow, struct socket *so, int err)
{
    while (redirect_next_target(flow, so, &flow->target, &flow->target_len)) {
        err = start_connect(flow, so);
        if (err == 0) {
            flow->attempt_ends =
                curtime + (flow->flow_ends - curtime) / targets_left(flow);
            return 0;
        }
    }
    flow->entry->counters.failed++;
    return err;
}

static void begin_connecting(struct RedirectFlow *flow, struct socket *so)
{
    unsigned timeout_s = flow->entry->rule->timeout_s;

    if (timeout_s == 0) {
        timeout_s = RULE_TIMEOUT_DEFAULT_S;
    }
    flow->so = so;
    flow->flow_ends = curtime + timeout_s * 1000;
    flow->connecting = true;
    g_queue_push_tail_link(&flow->instance->connecting, &flow->link);
}

int slirp_redirect_connect(struct socket *so)
{
    struct RedirectFlow *flow = so->so_redirect;
    int err;

    begin_connecting(flow, so);
    err = connect_any(flow, so, EHOSTUNREACH);
    if (err != 0) {
        stop_connecting(flow);
        errno = err;
        return -1;
    }
    soisfconnecting(so);
    return 0;
}

int slirp_redirect_connect_next(struct socket *so, int err)
{
    struct RedirectFlow *flow = so->so_redirect;

    if (flow == NULL) {
        return err;
    }
    if (so->s != -1) {
        slirp_socket_forget(so);
        so->slirp->cb->unregister_poll_fd(so->s, so->slirp->opaque);
        closesocket(so->s);
        so->s = -1;
    }
    return connect_any(flow, so, connect_errno(&flow->target, err));
}

static bool connect_target(struct socket *so, struct sockaddr_storage *ss,
                           socklen_t *len)
{
    if (so->so_redirect != NULL) {
        *ss = so->so_redirect->target;
        *len = so->so_redirect->target_len;
        return true;
    }
    *ss = so->fhost.ss;
    *len = sockaddr_size(ss);
    return sotranslate_out(so, ss) >= 0;
}

void slirp_connect_probe(struct socket *so)
{
    struct sockaddr_storage target;
    socklen_t len;

    if (so->s < 0 || !connect_target(so, &target, &len) || !is_local(&target)) {
        return;
    }
    /* Asking again tells how the first attempt went. */
    if (connect(so->s, (struct sockaddr *)&target, len) == 0 ||
        errno == EISCONN) {
        tcp_fconnected(so);
    } else if (errno != EALREADY && errno != EINPROGRESS && errno != EAGAIN &&
               errno != EINTR) {
        tcp_fconnect_failed(so, errno);
    }
}

void slirp_redirect_connected(struct socket *so)
{
    if (so->so_redirect != NULL) {
        stop_connecting(so->so_redirect);
    }
}

static void try_again(struct RedirectFlow *flow)
{
    int err = start_connect(flow, flow->so);

    if (err != 0) {
        tcp_fconnect_failed(flow->so, err);
    }
}

/* One connecting flow at a tick of the clock. */
static void check_connecting(struct RedirectFlow *flow)
{
    if (passed(flow->flow_ends)) {
        flow->tried = G_MAXINT; /* no other address has any time left */
        tcp_fconnect_failed(flow->so, ETIMEDOUT);
    } else if (passed(flow->attempt_ends)) {
        tcp_fconnect_failed(flow->so, ETIMEDOUT);
    } else if (flow->so->s == -1 && passed(flow->retry_at)) {
        try_again(flow);
    }
}

void slirp_redirect_poll(struct Slirp *slirp, int select_error,
                         SlirpGetREventsCb get_revents, void *opaque)
{
    RedirectInstance *instance = redirect_instance(slirp);
    GList *link = instance->connecting.head;

    while (link != NULL) {
        struct RedirectFlow *flow = link->data;

        link = link->next; /* the flow may end here */
        check_connecting(flow);
    }
}

void slirp_redirect_fill(struct Slirp *slirp, uint32_t *timeout,
                         SlirpAddPollCb add_poll, void *opaque)
{
    RedirectInstance *instance = redirect_instance(slirp);

    for (GList *l = instance->connecting.head; l != NULL; l = l->next) {
        const struct RedirectFlow *flow = l->data;
        uint32_t at = flow->so->s == -1 ? flow->retry_at : flow->attempt_ends;

        *timeout = MIN(*timeout, passed(at) ? 0 : at - curtime);
    }
}

/* ---- a new TCP flow ---- */

/* A guestfwd on that address and port comes before any rule. */
static bool is_guestfwd(const Slirp *slirp, const struct sockaddr_storage *dst)
{
    const struct sockaddr_in *sin = (const struct sockaddr_in *)dst;
    const struct gfwd_list *fwd = slirp->guestfwd_list;

    if (dst->ss_family != AF_INET) {
        return false;
    }
    while (fwd != NULL && (fwd->ex_addr.s_addr != sin->sin_addr.s_addr ||
                           fwd->ex_fport != sin->sin_port)) {
        fwd = fwd->ex_next;
    }
    return fwd != NULL;
}

enum slirp_redirect_verdict
slirp_redirect_syn(struct Slirp *slirp, const struct sockaddr_storage *lhost,
                   const struct sockaddr_storage *fhost,
                   struct RedirectFlow **flow)
{
    RedirectInstance *instance = redirect_instance(slirp);
    enum slirp_redirect_verdict verdict;
    TableEntry *entry;

    *flow = NULL;
    if (instance->table == NULL || is_guestfwd(slirp, fhost)) {
        return SLIRP_REDIRECT_NONE;
    }
    entry = redirect_match(instance, FLOW_TCP, lhost, fhost);
    verdict = redirect_judge(entry);
    if (verdict == SLIRP_REDIRECT_TARGET) {
        *flow = redirect_flow_new(instance, entry);
    }
    return verdict;
}
