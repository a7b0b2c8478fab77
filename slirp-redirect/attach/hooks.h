/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The call-outs of the patched libslirp: all that upstream's files know of the
 * redirect table.
 *
 * Each hook is called in the application's thread, under its lock. None of
 * them blocks, and none keeps a pointer it is handed beyond the call unless it
 * says so. A Slirp without rules takes the first return of every hook.
 */
#ifndef SLIRP_REDIRECT_ATTACH_HOOKS_H
#define SLIRP_REDIRECT_ATTACH_HOOKS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* Included by upstream's slirp.h, behind libslirp.h. */
struct Slirp;
struct socket;
struct mbuf;
struct RedirectFlow;
struct RedirectInstance;

/* What the table says of a new flow of the guest. */
enum slirp_redirect_verdict {
    SLIRP_REDIRECT_NONE,   /* no rule, or pass: go on as upstream does */
    SLIRP_REDIRECT_TARGET, /* to the rule's target */
    SLIRP_REDIRECT_REJECT, /* refuse: RST or ICMP port unreachable */
    SLIRP_REDIRECT_DROP,   /* say nothing */
};

/* ---- the instance (slirp.c, misc.c) ---- */

/*
 * Called by slirp_new() once the virtual network is known: loads the rules of
 * the dnssearch= carrier and of the environment. names is the configured
 * search list or NULL; returns the list without the carrier's entries, to be
 * freed with g_free() (the strings stay the caller's), or NULL if it is empty.
 */
const char **slirp_redirect_new(struct Slirp *slirp, const char **names);
/* Called by slirp_cleanup() when all sockets are gone. */
void slirp_redirect_cleanup(struct Slirp *slirp);
/* True if the instance has rules, so that restrict leaves a way out. */
bool slirp_redirect_active(const struct Slirp *slirp);
/* Called at the end of slirp_pollfds_fill(): may shorten *timeout (ms) and add
 * descriptors of its own with the application's callback. */
void slirp_redirect_fill(struct Slirp *slirp, uint32_t *timeout,
                         SlirpAddPollCb add_poll, void *opaque);
/* Called when a hostfwd was added. */
void slirp_redirect_hostfwd(struct Slirp *slirp);
/* Called by slirp_pollfds_poll() after the clock was read: time-outs and
 * retries of flows that are connecting. May close sockets. The last three
 * arguments are those of slirp_pollfds_poll(). */
void slirp_redirect_poll(struct Slirp *slirp, int select_error,
                         SlirpGetREventsCb get_revents, void *opaque);

/* ---- every flow ---- */

/* Called by sofree(): gives up so->so_redirect, which may be NULL. */
void slirp_redirect_sofree(struct socket *so);
/* Counts payload bytes handed to the target or received from it. */
void slirp_redirect_count(struct socket *so, size_t out, size_t in);
/* Called by tcp_drop(): err, an errno, ends the flow; for the flow log. */
void slirp_redirect_dropped(struct socket *so, int err);

/* ---- TCP (tcp_input.c, tcp_subr.c, slirp.c) ---- */

/*
 * Called by tcp_input() for a SYN that belongs to no socket, before the
 * restrict test. A destination that a guestfwd owns has no rule. On
 * SLIRP_REDIRECT_TARGET *flow is a new flow for the socket's so_redirect;
 * otherwise it is NULL. A SYN to a multicast or broadcast address is dropped
 * where another one would be rejected.
 */
enum slirp_redirect_verdict
slirp_redirect_syn(struct Slirp *slirp, const struct sockaddr_storage *lhost,
                   const struct sockaddr_storage *fhost,
                   struct RedirectFlow **flow);
/*
 * Called by tcp_fconnect() for a socket with so_redirect: starts to connect
 * it to the flow's target, a next one if the target has several addresses.
 * Returns 0 if connected or in progress, or -1 with errno.
 */
int slirp_redirect_connect(struct socket *so);
/*
 * Called when a connect in progress failed with err: tries the flow's next
 * address. Returns 0 if that is in progress, or the errno to report.
 */
int slirp_redirect_connect_next(struct socket *so, int err);
/*
 * Called when a connect was begun and the guest's SYN is kept: if the target
 * is on this host, the outcome is known already. May free the socket.
 */
void slirp_connect_probe(struct socket *so);
/* Called when the host side is connected, before the SYN is answered. */
void slirp_redirect_connected(struct socket *so);

/* Called by slirp_send() for a redirected socket, as send(2). */
ssize_t slirp_redirect_send(struct socket *so, const void *buf, size_t len,
                            int flags);

/* Called for each handshake: the initial sequence number towards the guest. */
uint32_t slirp_redirect_iss(struct socket *so);

/* ---- UDP (udp.c, udp6.c, socket.c) ---- */

/*
 * Called for each datagram of the guest after DHCP and TFTP, before the
 * restrict test. On SLIRP_REDIRECT_TARGET *so is the dedicated socket of
 * (lhost, fhost), in slirp->udb and connected to the target; or, for a reply
 * of the guest on a UDP hostfwd, which needs no rule, that of the hostfwd. A
 * target that cannot be reached is SLIRP_REDIRECT_REJECT; then, and for a rule
 * that rejects, errno is what to tell the guest by
 * slirp_redirect_unreachable().
 */
enum slirp_redirect_verdict slirp_redirect_datagram(
    struct Slirp *slirp, const struct sockaddr_storage *lhost,
    const struct sockaddr_storage *fhost, struct socket **so);
/* Called by sosendto() for a dedicated socket; -1 with errno on failure. */
int slirp_redirect_sendto(struct socket *so, struct mbuf *m);
/* Reports err to the guest, in the name of fhost; m is the packet to fhost as
 * the guest sent it, and stays the caller's. Some errors are not reported. */
void slirp_redirect_unreachable(struct mbuf *m,
                                const struct sockaddr_storage *fhost, int err);
/* Called by sorecvfrom() for a dedicated socket: takes errors and datagrams
 * off it and sends them to the guest. */
void slirp_redirect_recvfrom(struct socket *so);
/*
 * Called by sorecvfrom() for a datagram from the host side on a shared or
 * hostfwd socket, with its source as the guest will see it. False if the
 * rules of today would not have let the guest speak to that source.
 */
bool slirp_redirect_inbound(struct socket *so,
                            const struct sockaddr_storage *source);

/* ---- ICMP, ARP and NDP ---- */

/* Called for an echo request, before the built-in addresses are served. */
enum slirp_redirect_verdict slirp_redirect_echo(struct Slirp *slirp,
                                                const void *src,
                                                const void *dst, int af);
/* True if a rule serves this on-link address, so that the guest's ARP request
 * or neighbour solicitation for it must be answered. addr: struct in_addr or
 * struct in6_addr. */
bool slirp_redirect_owns(struct Slirp *slirp, const void *addr, int af);

/* ---- limits of what a guest can take (limits.c) ---- */

/* Called by slirp_new(), before anything else is made, and at the end of
 * slirp_cleanup(). */
void slirp_limit_new(struct Slirp *slirp);
void slirp_limit_cleanup(struct Slirp *slirp);
/* Called by socreate() and sofree(). */
void slirp_limit_created(struct socket *so);
void slirp_limit_freed(struct socket *so);
/*
 * Called with what socket() or accept() returned: the same, or -1 with EMFILE,
 * and fd closed, if it is one that the application keeps in reserve.
 */
int slirp_limit_descriptor(int fd);
/*
 * Called before a flow of proto from the guest address lhost is made. May free
 * an idle socket of that protocol to make room. False if the flow has to be
 * refused, which UDP and ICMP never are.
 */
bool slirp_limit_flow(struct Slirp *slirp, int proto,
                      const struct sockaddr_storage *lhost);
/* The same from within the poll loop, where nothing may be freed: true if
 * there are too many. */
bool slirp_limit_reached(struct Slirp *slirp, int proto);
/* Called for each packet: true if the guest may have sent it from addr, a
 * struct in_addr or struct in6_addr. */
bool slirp_limit_source(struct Slirp *slirp, const void *addr, int af);
/* How many buffers may wait: for other fragments; for an earlier segment of
 * so; for the guest's link-layer address. */
unsigned slirp_limit_fragments(void);
unsigned slirp_limit_segments(const struct socket *so);
unsigned slirp_limit_waiting(void);
/* Called by slirp_connection_info(): what was evicted, refused and dropped, a
 * line for each; nothing if nothing was. */
void slirp_limit_info(struct Slirp *slirp, GString *text);

#endif
