/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What one guest may take of its host.
 *
 * Theory of operation. The bounds follow from the number of descriptors the
 * process may have (RLIMIT_NOFILE) when the instance is made. A part of them
 * is never touched: descriptors are handed out lowest first, so one with a
 * high number means that few are left, whoever has the others. The rest is
 * shared out by protocol; the shares overlap, since few guests use all.
 *
 * At a bound, a flow that is over or that was idle for the longest time makes
 * room; established TCP connections never do. Nothing is evicted while the
 * poll loop walks the lists of sockets: there, a new flow is refused.
 */
#include "attach/instance.h"

#include <sys/resource.h>

enum {
    FILES_DEFAULT = 1024, /* if the limit cannot be told */
    FILES_MAX = 65536,    /* what is counted of a larger limit */
    RESERVE_MIN = 16,
    RESERVE_MAX = 256,
    SHORT_OF = 4, /* with so few descriptors left, make room in advance */
    SHARE_MIN = 8,
    FRAGMENTS_MAX = 512, /* buffers, of all datagrams together */
    SEGMENTS_MIN = 64,   /* beyond a gap, for any window */
    WAITING_MAX = 128,   /* packets, for the guest's link-layer address */
};

/* so_counted */
enum { COUNT_NONE, COUNT_TCP, COUNT_UDP, COUNT_ICMP, COUNT_KINDS };

struct SlirpLimits {
    unsigned most[COUNT_KINDS]; /* flows */
    unsigned half_open;         /* of TCP */
    unsigned per_guest;         /* UDP flows of one guest address */
    unsigned now[COUNT_KINDS];
    uint64_t evicted[COUNT_KINDS], refused[COUNT_KINDS];
    uint64_t foreign; /* packets with a source outside the network */
    bool any_source;
};

static const char *const kind_names[COUNT_KINDS] = {
    [COUNT_TCP] = "TCP",
    [COUNT_UDP] = "UDP",
    [COUNT_ICMP] = "ICMP",
};

/* ---- descriptors ---- */

static unsigned files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return FILES_DEFAULT;
    }
    return (unsigned)MIN(limit.rlim_cur, (rlim_t)FILES_MAX);
}

static unsigned reserve_of(unsigned n)
{
    return CLAMP(n / 8, RESERVE_MIN, RESERVE_MAX);
}

/* The last descriptor was one of the last there are, in this process. */
static bool descriptors_short;

/* The limit of today: an application may raise it after its start. */
int slirp_limit_descriptor(int fd)
{
    unsigned n;

    if (fd < RESERVE_MIN) {
        return fd; /* an error, or far from any limit */
    }
    n = files();
    if (n == FILES_MAX) {
        return fd;
    }
    descriptors_short = (unsigned)fd + reserve_of(n) + SHORT_OF >= n;
    if ((unsigned)fd + reserve_of(n) >= n) {
        closesocket(fd);
        errno = EMFILE;
        return -1;
    }
    return fd;
}

/* ---- the instance ---- */

static unsigned share(unsigned n, unsigned parts, unsigned of)
{
    return MAX(n / of * parts, SHARE_MIN);
}

void slirp_limit_new(struct Slirp *slirp)
{
    struct SlirpLimits *limits = g_new0(struct SlirpLimits, 1);
    unsigned n = files();

    n -= MIN(n, reserve_of(n));
    limits->most[COUNT_TCP] = share(n, 6, 8);
    limits->most[COUNT_UDP] = share(n, 3, 8);
    limits->most[COUNT_ICMP] = share(n, 1, 16);
    limits->half_open = share(n, 3, 8);
    limits->per_guest = share(n, 2, 8);
    limits->any_source =
        slirp_fuzzing || g_getenv("SLIRP_REDIRECT_ALLOW_FOREIGN_SOURCES");
    slirp->limits = limits;
}

void slirp_limit_cleanup(struct Slirp *slirp)
{
    g_clear_pointer(&slirp->limits, g_free);
}

static unsigned kind_of(int proto)
{
    switch (proto) {
    case IPPROTO_TCP:
        return COUNT_TCP;
    case IPPROTO_UDP:
        return COUNT_UDP;
    default:
        return COUNT_ICMP;
    }
}

void slirp_limit_created(struct socket *so)
{
    so->so_counted = (uint8_t)kind_of(so->so_type);
    so->slirp->limits->now[so->so_counted]++;
}

void slirp_limit_freed(struct socket *so)
{
    so->slirp->limits->now[so->so_counted]--;
}

/* ---- making room ---- */

static bool same_guest(const struct socket *so,
                       const struct sockaddr_storage *lhost)
{
    uint16_t port;
    IpAddr a = ipaddr_from_sockaddr(&so->lhost.sa, &port);
    IpAddr b = ipaddr_from_sockaddr((const struct sockaddr *)lhost, &port);

    return ipaddr_equal(&a, &b);
}

/* The flow of that kind that expires first, which is the one idle for the
 * longest time; of the guest address lhost, if that is not NULL. */
static struct socket *idlest(struct socket *head, unsigned kind,
                             const struct sockaddr_storage *lhost,
                             unsigned *count)
{
    struct socket *found = NULL;

    *count = 0;
    for (struct socket *so = head->so_next; so != head; so = so->so_next) {
        if (so->so_expire == 0 || so->so_counted != kind ||
            (lhost != NULL && !same_guest(so, lhost))) {
            continue;
        }
        (*count)++;
        if (found == NULL || (int)(so->so_expire - found->so_expire) < 0) {
            found = so;
        }
    }
    return found;
}

static bool limit_udp(struct Slirp *slirp, const struct sockaddr_storage *lhost)
{
    struct SlirpLimits *limits = slirp->limits;
    struct socket *so = NULL;
    unsigned n;

    if (limits->now[COUNT_UDP] >= limits->most[COUNT_UDP]) {
        so = idlest(&slirp->udb, COUNT_UDP, NULL, &n);
    } else if (limits->now[COUNT_UDP] >= limits->per_guest) {
        so = idlest(&slirp->udb, COUNT_UDP, lhost, &n);
        so = n >= limits->per_guest ? so : NULL;
    }
    if (so != NULL) {
        limits->evicted[COUNT_UDP]++;
        udp_detach(so);
    }
    return true;
}

/* Where there are no sockets for ICMP, echo requests use UDP. */
static void evict_echo(struct Slirp *slirp)
{
    unsigned n;
    struct socket *so = idlest(&slirp->icmp, COUNT_ICMP, NULL, &n);

    if (so != NULL) {
        icmp_detach(so);
    } else if ((so = idlest(&slirp->udb, COUNT_ICMP, NULL, &n)) != NULL) {
        udp_detach(so);
    }
}

static bool limit_icmp(struct Slirp *slirp)
{
    struct SlirpLimits *limits = slirp->limits;

    if (limits->now[COUNT_ICMP] >= limits->most[COUNT_ICMP]) {
        limits->evicted[COUNT_ICMP]++;
        evict_echo(slirp);
    }
    return true;
}

/* Nobody waits for what is left of such a connection. */
static bool is_over(const struct socket *so)
{
    const struct tcpcb *tp = so->so_tcpcb;

    return !(so->so_state & SS_FACCEPTCONN) && tp != NULL &&
           (tp->t_state == TCPS_TIME_WAIT || tp->t_state == TCPS_CLOSING ||
            tp->t_state == TCPS_LAST_ACK || tp->t_state == TCPS_FIN_WAIT_2 ||
            (tp->t_state == TCPS_FIN_WAIT_1 && (so->so_state & SS_NOFDREF)));
}

static bool was_idle_longer(const struct socket *so, const struct socket *other)
{
    return (int)(so->so_tcpcb->t_rcvtime - other->so_tcpcb->t_rcvtime) < 0;
}

static struct socket *oldest_over(struct Slirp *slirp, unsigned *half_open)
{
    struct socket *found = NULL;
    struct socket *head = &slirp->tcb;

    *half_open = 0;
    for (struct socket *so = head->so_next; so != head; so = so->so_next) {
        if (so->so_tcpcb != NULL &&
            so->so_tcpcb->t_state == TCPS_SYN_RECEIVED) {
            (*half_open)++;
        }
        if (is_over(so) && (found == NULL || was_idle_longer(so, found))) {
            found = so;
        }
    }
    return found;
}

static bool limit_tcp(struct Slirp *slirp)
{
    struct SlirpLimits *limits = slirp->limits;
    struct socket *over;
    unsigned half_open;

    if (limits->now[COUNT_TCP] < limits->half_open) {
        return true;
    }
    over = oldest_over(slirp, &half_open);
    if (half_open >= limits->half_open) {
        return false;
    }
    if (limits->now[COUNT_TCP] < limits->most[COUNT_TCP]) {
        return true;
    }
    if (over == NULL) {
        return false;
    }
    limits->evicted[COUNT_TCP]++;
    tcp_close(sototcpcb(over));
    return true;
}

/* Whatever the new flow is, what is over or idle gives up its descriptor. */
static void free_descriptor(struct Slirp *slirp)
{
    unsigned n;
    struct socket *so = oldest_over(slirp, &n);

    descriptors_short = false;
    if (so != NULL) {
        slirp->limits->evicted[COUNT_TCP]++;
        tcp_close(sototcpcb(so));
        return;
    }
    so = idlest(&slirp->udb, COUNT_UDP, NULL, &n);
    if (so != NULL) {
        slirp->limits->evicted[COUNT_UDP]++;
        udp_detach(so);
    }
}

bool slirp_limit_flow(struct Slirp *slirp, int proto,
                      const struct sockaddr_storage *lhost)
{
    unsigned kind = kind_of(proto);
    bool ok;

    if (descriptors_short) {
        free_descriptor(slirp);
    }
    switch (kind) {
    case COUNT_TCP:
        ok = limit_tcp(slirp);
        break;
    case COUNT_UDP:
        ok = limit_udp(slirp, lhost);
        break;
    default:
        ok = limit_icmp(slirp);
        break;
    }
    slirp->limits->refused[kind] += !ok;
    return ok;
}

bool slirp_limit_reached(struct Slirp *slirp, int proto)
{
    struct SlirpLimits *limits = slirp->limits;
    unsigned kind = kind_of(proto);
    bool reached = limits->now[kind] >= limits->most[kind];

    limits->refused[kind] += reached;
    return reached;
}

/* ---- packets ---- */

static bool is_own4(const struct Slirp *slirp, const struct in_addr *addr)
{
    return addr->s_addr == 0 || /* DHCP */
           (addr->s_addr & slirp->vnetwork_mask.s_addr) ==
               slirp->vnetwork_addr.s_addr;
}

static bool is_own6(const struct Slirp *slirp, const struct in6_addr *addr)
{
    return in6_zero(addr) || IN6_IS_ADDR_LINKLOCAL(addr) ||
           in6_equal_net(addr, &slirp->vprefix_addr6, slirp->vprefix_len);
}

bool slirp_limit_source(struct Slirp *slirp, const void *addr, int af)
{
    struct SlirpLimits *limits = slirp->limits;
    bool own = af == AF_INET ? is_own4(slirp, addr) : is_own6(slirp, addr);

    if (!own && !limits->any_source) {
        limits->foreign++;
        return false;
    }
    return true;
}

unsigned slirp_limit_fragments(void)
{
    return FRAGMENTS_MAX;
}

unsigned slirp_limit_segments(const struct socket *so)
{
    return SEGMENTS_MIN +
           so->so_rcv.sb_datalen / MAX(so->so_tcpcb->t_maxseg, 1);
}

unsigned slirp_limit_waiting(void)
{
    return WAITING_MAX;
}

/* ---- counters ---- */

void slirp_limit_info(struct Slirp *slirp, GString *text)
{
    const struct SlirpLimits *limits = slirp->limits;

    for (unsigned i = COUNT_TCP; i < COUNT_KINDS; i++) {
        if (limits->evicted[i] || limits->refused[i]) {
            g_string_append_printf(
                text,
                "  %s at its limit of %u flows: %" G_GUINT64_FORMAT
                " evicted, %" G_GUINT64_FORMAT " refused\n",
                kind_names[i], limits->most[i], limits->evicted[i],
                limits->refused[i]);
        }
    }
    if (limits->foreign) {
        g_string_append_printf(text,
                               "  %" G_GUINT64_FORMAT
                               " packets from outside the network dropped\n",
                               limits->foreign);
    }
}
