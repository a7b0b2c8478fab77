/* SPDX-License-Identifier: BSD-3-Clause */
/* A redirected flow: its life, its targets, and connecting over TCP. */
#include "attach/instance.h"

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
    flow->id = ++instance->last_flow;
    flow->start_us = g_get_monotonic_time();
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
    redirect_log_end(flow, so);
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

void slirp_redirect_dropped(struct socket *so, int err)
{
    so->so_redirect->error = g_strerror(err);
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

/* Addresses that mean this host, whatever they look like. */
static bool is_own_loopback(const IpAddr *addr)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    static const uint8_t zeros[16];
    IpAddr v4 = { .family = AF_INET };

    if (addr->family == AF_INET6 &&
        memcmp(addr->bytes, mapped, sizeof(mapped)) == 0) {
        memcpy(v4.bytes, addr->bytes + sizeof(mapped), 4);
        return is_own_loopback(&v4);
    }
    return ipaddr_is_loopback(addr) ||
           memcmp(addr->bytes, zeros, sizeof(zeros)) == 0;
}

/* The original address with another port. The addresses of the virtual host
 * and name server mean what they mean without a rule, and like there they are
 * no way to the host's loopback if the application does not want that. */
static bool kept_address(const struct socket *so, uint16_t port,
                         struct sockaddr_storage *ss)
{
    uint16_t asked;
    IpAddr addr =
        ipaddr_from_sockaddr((const struct sockaddr *)&so->fhost.ss, &asked);

    if (so->slirp->disable_host_loopback && is_own_loopback(&addr)) {
        return false;
    }
    ipaddr_to_sockaddr(&addr, asked, ss);
    if (sotranslate_out((struct socket *)so, ss) < 0) {
        return false;
    }
    set_port(ss, port);
    return true;
}

/* The target's nth address, or false. */
static bool nth_target(const struct RedirectFlow *flow, const struct socket *so,
                       unsigned nth, struct sockaddr_storage *ss,
                       socklen_t *len)
{
    const Target *target = &flow->entry->rule->target;
    const GArray *addrs = flow->entry->addrs;
    uint16_t port = rule_target_port(flow->entry->rule, asked_port(so));

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
        *len = sockaddr_size(&so->fhost.ss);
        return nth == 0 && kept_address(so, port, ss);
    case TARGET_UNIX:
        *len = unix_address(target->path, ss);
        return nth == 0;
    default:
        return false;
    }
}

bool redirect_next_target(struct RedirectFlow *flow, const struct socket *so)
{
    struct sockaddr_storage ss;
    socklen_t len;

    if (!nth_target(flow, so, flow->tried, &ss, &len)) {
        return false;
    }
    flow->tried++;
    flow->target = ss;
    flow->target_len = len;
    return true;
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

int redirect_errno(const struct sockaddr_storage *target, int err)
{
    if (target->ss_family != AF_UNIX) {
        return err;
    }
    switch (err) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EMSGSIZE:
    case EAGAIN:
    case ETIMEDOUT: /* busy all the time */
        return err;
    default:
        /* To the guest a unix socket that cannot be reached is a port that
         * nobody listens on, whether it is missing, stale or forbidden. */
        return ECONNREFUSED;
    }
}

void redirect_watch(struct socket *so, int s)
{
    so->s = s;
    /* What the application found out was about an earlier descriptor. */
    so->pollfds_idx = -1;
    slirp_socket_touch(so);
    so->slirp->cb->register_poll_fd(s, so->slirp->opaque);
}

void redirect_read_clock(struct Slirp *slirp)
{
    slirp->curtime = slirp->cb->clock_get_ns(slirp->opaque) / SCALE_MS;
    curtime = slirp->curtime;
}

static int start_connect(struct RedirectFlow *flow, struct socket *so)
{
    const struct sockaddr_storage *target = &flow->target;
    int s = redirect_socket(flow, SOCK_STREAM, target);
    int one = 1;

    if (s < 0) {
        return errno;
    }
    setsockopt(s, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
    if (target->ss_family != AF_UNIX) {
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
        return redirect_errno(target, err);
    }
    redirect_watch(so, s);
    return 0;
}

/* Goes through the addresses not tried yet, from the errno of the last. */
static int connect_any(struct RedirectFlow *flow, struct socket *so, int err)
{
    while (redirect_next_target(flow, so)) {
        err = start_connect(flow, so);
        if (err == 0) {
            flow->attempt_ends =
                curtime + (flow->flow_ends - curtime) / targets_left(flow);
            return 0;
        }
    }
    flow->entry->counters.failed++;
    flow->error = g_strerror(err);
    return err;
}

static void begin_connecting(struct RedirectFlow *flow, struct socket *so)
{
    unsigned timeout_s = flow->entry->rule->timeout_s;

    if (timeout_s == 0) {
        timeout_s = RULE_TIMEOUT_DEFAULT_S;
    }
    redirect_read_clock(so->slirp);
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
    soclose(so);
    return connect_any(flow, so, redirect_errno(&flow->target, err));
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
        redirect_log_open(so->so_redirect, so);
    }
}

static void try_again(struct RedirectFlow *flow)
{
    int err = start_connect(flow, flow->so);

    if (err != 0) {
        tcp_fconnect_failed(flow->so, err);
    }
}

/* The loop may have stood still: what has happened meanwhile comes before any
 * time-out. */
static bool has_outcome(const struct socket *so)
{
    GPollFD fd = { .fd = so->s, .events = G_IO_OUT };

    return so->s != -1 && g_poll(&fd, 1, 0) > 0;
}

static void time_out(struct RedirectFlow *flow)
{
    if (has_outcome(flow->so)) {
        flow->so->pollfds_idx = -1; /* the outcome, not to be taken twice */
        tcp_fconnect_done(flow->so);
        return;
    }
    if (passed(flow->flow_ends)) {
        flow->tried = UINT_MAX; /* no other address has any time left */
    }
    tcp_fconnect_failed(flow->so, ETIMEDOUT);
}

/* One connecting flow at a tick of the clock. */
static void check_connecting(struct RedirectFlow *flow)
{
    if (passed(flow->attempt_ends)) {
        time_out(flow);
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
    if (!instance->loops_checked) {
        instance->loops_checked = true;
        redirect_check_loops(instance);
    }
    if (instance->control != NULL) {
        redirect_control_poll(instance, select_error, get_revents, opaque);
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
    if (instance->control != NULL) {
        redirect_control_fill(instance, timeout, add_poll, opaque);
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
    uint16_t port;
    IpAddr dst;

    *flow = NULL;
    if (instance->table == NULL || is_guestfwd(slirp, fhost)) {
        return SLIRP_REDIRECT_NONE;
    }
    entry = redirect_match(instance, FLOW_TCP, lhost, fhost);
    if (entry == NULL) {
        return SLIRP_REDIRECT_NONE;
    }
    redirect_count_flow(entry);
    dst = ipaddr_from_sockaddr((const struct sockaddr *)fhost, &port);
    verdict = redirect_verdict(instance, entry, &dst);
    if (verdict == SLIRP_REDIRECT_TARGET) {
        *flow = redirect_flow_new(instance, entry);
    } else {
        redirect_log_verdict(instance, entry, FLOW_TCP, lhost, fhost);
    }
    return verdict;
}
