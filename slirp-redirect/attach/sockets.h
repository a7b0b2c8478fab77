/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What thousands of sockets need beyond upstream's lists: lookup by hash,
 * timers in order of their time, an event set, buffers on demand.
 *
 * Theory of operation. A socket that anything happened to is touched: it goes
 * into a queue. When the queue is worked off, once for each packet of the guest
 * and each turn of the application's loop, the socket's interest in events and
 * its earliest time-out are brought up to date. So nothing that can change
 * them, all over upstream's files, has to say so, and the cost of a turn
 * depends on what happened, not on how many sockets there are.
 *
 * A timer is moved at once when its time comes nearer, but only noticed to be
 * early when it fires; so the time-outs that every packet puts off cost
 * nothing.
 *
 * With an event set the application polls one descriptor, ours. Without
 * (another system, no descriptor left, SLIRP_REDIRECT_POLL=classic, or
 * upstream's fuzzers, which make up events for each descriptor) it polls them
 * all, as with upstream.
 */
#ifndef SLIRP_REDIRECT_ATTACH_SOCKETS_H
#define SLIRP_REDIRECT_ATTACH_SOCKETS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/events.h"
#include "engine/flowtable.h"
#include "engine/timers.h"

struct ip;
struct ipq;
struct sbuf;
struct socket;
struct sockaddr_storage;
struct tcpcb;

/* A member of each struct socket: so_node. */
struct SocketNode {
    struct socket *head; /* the list it is in, or NULL */
    FlowNode flow;
    Timer timer;
    EventSource source;
    GList touched; /* in the queue of its list, if data is not NULL */
};

/* Called by slirp_new(), slirp_cleanup(). */
void slirp_sockets_new(struct Slirp *slirp);
void slirp_sockets_cleanup(struct Slirp *slirp);

/* ---- the life of a socket ---- */

/* Puts the socket into the list and touches it. */
void slirp_socket_insert(struct socket *so, struct socket *head);
/* Called when lhost, or fhost of a TCP or ICMP socket, is known or has
 * changed. The port of an ICMP socket's lhost is the identifier. */
void slirp_socket_index(struct socket *so);
/* Called before so->s is closed or replaced. */
void slirp_socket_forget(struct socket *so);
/* Called by sofree(). */
void slirp_socket_removed(struct socket *so);
/* Something happened to the socket. */
void slirp_socket_touch(struct socket *so);

/*
 * The socket of that list with these ends, or NULL. Without fhost, one that
 * serves all destinations.
 */
struct socket *slirp_socket_lookup(struct socket *head,
                                   const struct sockaddr_storage *lhost,
                                   const struct sockaddr_storage *fhost);

/* ---- fragments: fragments.c ---- */

/* The datagram that the packet is a fragment of, if others wait; or NULL. */
struct ipq *slirp_fragments_find(struct Slirp *slirp, const struct ip *ip);
/* Enters a datagram under its addresses, protocol and identification, into
 * slirp->fragments. */
void slirp_fragments_add(struct Slirp *slirp, struct ipq *q);

/* ---- buffers ---- */

/* Gives the buffer its memory, if it has none. Without slirp, for the saved
 * state, it is all zero. */
void slirp_sbuf_need(struct Slirp *slirp, struct sbuf *sb);
/* Takes the memory of an empty buffer back; errno stays. */
void slirp_sbuf_release(struct Slirp *slirp, struct sbuf *sb);

/* With fewer bytes in so_snd the socket is to be read again. */
uint32_t slirp_socket_refill(const struct socket *so);

/* ---- TCP timers: tcp-timers.c ---- */

/* Sets the timer TCPT_*, or with 0 ms stops it. */
void tcp_set_timer(struct tcpcb *tp, int timer, int ms);
/* The curtime value when the first goes off; false if none is set. */
bool tcp_next_timer(const struct tcpcb *tp, uint32_t *at);
/* Runs what is due. May free the socket. */
void tcp_run_timers(struct tcpcb *tp);
/* To and from the units of the saved state. */
void tcp_save_timers(struct tcpcb *tp);
void tcp_load_timers(struct tcpcb *tp);

/* ---- the loop (slirp.c) ---- */

/* Sets curtime. */
void slirp_sockets_clock(struct Slirp *slirp);
/* Called by slirp_input() last: takes care of the sockets that were touched. */
void slirp_sockets_input_done(struct Slirp *slirp);

/*
 * Called by slirp_pollfds_fill(), which fills in one socket after the other
 * with slirp_fill_sockets().
 */
void slirp_sockets_fill(struct Slirp *slirp, uint32_t *timeout,
                        SlirpAddPollCb add_poll, void *opaque);
/* Upstream's loops over the sockets to fill. */
void slirp_fill_sockets(struct Slirp *slirp, SlirpAddPollCb add_poll,
                        void *opaque);
/* In those loops: the first and the next; head at the end. after: the next one
 * in the list, noted before the socket could be freed. */
struct socket *slirp_sockets_first(struct socket *head);
struct socket *slirp_sockets_next(struct socket *head, struct socket *after);

/*
 * Called by slirp_pollfds_poll(): runs the time-outs, and learns which sockets
 * are ready. False if none is, or nobody knows. The pointers are replaced by
 * those that tell the events of a socket.
 */
bool slirp_sockets_poll(struct Slirp *slirp, int select_error,
                        SlirpGetREventsCb *get_revents, void **opaque);
/* In the loops over the sockets to check; like those to fill. */
struct socket *slirp_sockets_first_ready(struct socket *head);
struct socket *slirp_sockets_next_ready(struct socket *head,
                                        struct socket *after);

#endif
