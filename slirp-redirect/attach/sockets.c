/* SPDX-License-Identifier: BSD-3-Clause */
/* Lookup, time-outs and events of an instance's sockets. See sockets.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* secure_getenv() */
#endif
#include "src/slirp.h"

#include <stdlib.h>

#include "engine/buffers.h"
#include "engine/siphash.h"

enum {
    LISTS = 3,          /* TCP, UDP, ICMP */
    READY_MAX = 256,    /* sockets checked in one turn */
    RETRY_MS = 100,     /* after the kernel refused to watch a socket */
    CLASSIC_MS = 1000,  /* as upstream: at least one turn in this time */
    FRAGMENTS_MS = 500, /* while fragments wait for the others */
    QUEUED_MS = 1000,   /* while frames wait for the guest's address */
};

typedef struct Ready {
    struct socket *so; /* NULL: freed meanwhile */
    unsigned got;
} Ready;

struct SlirpSockets {
    Slirp *slirp;
    FlowTable tcp, udp, icmp;
    Timers timers;
    Buffers buffers;
    GQueue touched[LISTS];
    uint64_t now_ms;

    EventSet *events; /* NULL: classic */
    bool registered;
    int poll_index;         /* what add_poll() gave for the event set */
    struct socket *filling; /* whose interest is being asked for */
    unsigned wanted;        /* its interest */
    Ready ready[READY_MAX];
    unsigned n_ready, next_ready;

    struct socket *checking;       /* classic: whose events are asked for */
    SlirpGetREventsCb get_revents; /* classic: of the application */
    void *opaque;

    uint64_t promised_ms; /* when the application will be back at last */
    GThread *looping;     /* its thread that polls */
};

typedef struct SlirpSockets SlirpSockets;

static struct socket *socket_of_timer(Timer *timer)
{
    return container_of(timer, struct socket, so_node.timer);
}

static GQueue *queue_of(SlirpSockets *self, const struct socket *head)
{
    unsigned i = head == &self->slirp->tcb   ? 0
                 : head == &self->slirp->udb ? 1
                                             : 2;

    return &self->touched[i];
}

/* ---- the instance ---- */

static bool wants_classic(void)
{
    const char *how = secure_getenv("SLIRP_REDIRECT_POLL");

    return g_strcmp0(how, "classic") == 0 || getenv("SLIRP_FUZZING") != NULL;
}

static void read_clock(SlirpSockets *self)
{
    Slirp *slirp = self->slirp;

    self->now_ms = slirp->cb->clock_get_ns(slirp->opaque) / 1000000;
    curtime = slirp->curtime = self->now_ms;
}

void slirp_sockets_new(Slirp *slirp)
{
    SlirpSockets *self = g_new0(SlirpSockets, 1);

    slirp->sockets = self;
    slirp->tcb.slirp = slirp->udb.slirp = slirp->icmp.slirp = slirp;
    self->slirp = slirp;
    flowtable_init(&self->tcp);
    flowtable_init(&self->udp);
    flowtable_init(&self->icmp);
    timers_init(&self->timers);
    self->events = wants_classic() ? NULL : events_new();
    self->poll_index = -1;
    self->promised_ms = TIMER_NEVER;
}

static void unregister_events(SlirpSockets *self)
{
    const SlirpCb *cb = self->slirp->cb;

    if (self->registered && cb->unregister_poll_fd != NULL) {
        cb->unregister_poll_fd(events_fd(self->events), self->slirp->opaque);
    }
}

void slirp_sockets_cleanup(Slirp *slirp)
{
    SlirpSockets *self = slirp->sockets;

    unregister_events(self);
    events_free(self->events);
    buffers_done(&self->buffers);
    timers_done(&self->timers);
    flowtable_done(&self->icmp);
    flowtable_done(&self->udp);
    flowtable_done(&self->tcp);
    g_free(self);
    slirp->sockets = NULL;
}

/* ---- the life of a socket ---- */

void slirp_socket_touch(struct socket *so)
{
    struct SocketNode *node = &so->so_node;

    if (node->head != NULL && node->touched.data == NULL) {
        node->touched.data = so;
        g_queue_push_tail_link(queue_of(so->slirp->sockets, node->head),
                               &node->touched);
    }
}

/* With the first socket, as an application may expect that counts them. */
static void register_events(SlirpSockets *self)
{
    const SlirpCb *cb = self->slirp->cb;

    if (self->events != NULL && !self->registered) {
        self->registered = true;
        if (cb->register_poll_fd != NULL) {
            cb->register_poll_fd(events_fd(self->events), self->slirp->opaque);
        }
    }
}

void slirp_socket_insert(struct socket *so, struct socket *head)
{
    register_events(so->slirp->sockets);
    slirp_insque(so, head);
    so->so_node.head = head;
    slirp_socket_touch(so);
}

static void untouch(SlirpSockets *self, struct SocketNode *node)
{
    if (node->touched.data != NULL) {
        g_queue_unlink(queue_of(self, node->head), &node->touched);
        node->touched.data = NULL;
    }
}

void slirp_socket_forget(struct socket *so)
{
    SlirpSockets *self = so->slirp->sockets;

    if (self->events != NULL) {
        events_forget(self->events, &so->so_node.source);
    }
    slirp_socket_touch(so);
}

static FlowTable *table_of(SlirpSockets *self, const struct socket *head)
{
    return head == &self->slirp->tcb   ? &self->tcp
           : head == &self->slirp->udb ? &self->udp
                                       : &self->icmp;
}

void slirp_socket_removed(struct socket *so)
{
    SlirpSockets *self = so->slirp->sockets;
    struct SocketNode *node = &so->so_node;

    if (node->head == NULL) {
        return;
    }
    if (node->flow.back != NULL) {
        flowtable_remove(table_of(self, node->head), &node->flow);
    }
    timers_cancel(&self->timers, &node->timer);
    if (self->events != NULL) {
        events_forget(self->events, &node->source);
    }
    untouch(self, node);
    if (self->filling == so) {
        self->filling = NULL;
    }
    for (unsigned i = 0; i < self->n_ready; i++) {
        if (self->ready[i].so == so) {
            self->ready[i].so = NULL;
        }
    }
    node->head = NULL;
}

/* ---- lookup ---- */

/* What is hashed; no padding. */
typedef struct FlowEnd {
    uint8_t addr[16];
    uint16_t port;
    uint16_t family;
} FlowEnd;

static void fill_end(FlowEnd *end, const struct sockaddr_storage *ss)
{
    const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;
    const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;

    end->family = ss->ss_family;
    if (ss->ss_family == AF_INET6) {
        memcpy(end->addr, &sin6->sin6_addr, sizeof(sin6->sin6_addr));
        end->port = sin6->sin6_port;
    } else {
        memcpy(end->addr, &sin->sin_addr, sizeof(sin->sin_addr));
        end->port = sin->sin_port;
    }
}

/* All that serve any destination are found by their guest end alone. */
static uint64_t hash_of(const struct sockaddr_storage *lhost,
                        const struct sockaddr_storage *fhost)
{
    FlowEnd ends[2] = { { { 0 }, 0, 0 } };

    fill_end(&ends[0], lhost);
    if (fhost == NULL) {
        return siphash(siphash_process_key(), ends, sizeof(ends[0]));
    }
    fill_end(&ends[1], fhost);
    return siphash(siphash_process_key(), ends, sizeof(ends));
}

void slirp_socket_index(struct socket *so)
{
    SlirpSockets *self = so->slirp->sockets;
    FlowNode *node = &so->so_node.flow;
    FlowTable *table = table_of(self, so->so_node.head);
    bool udp = table == &self->udp;

    /* Dedicated UDP sockets are found by attach/udp.c. */
    if (so->so_node.head == NULL || (udp && so->so_redirect != NULL)) {
        return;
    }
    flowtable_remove(table, node);
    flowtable_add(table, node,
                  hash_of(&so->lhost.ss, udp ? NULL : &so->fhost.ss));
}

static bool same_end(const struct sockaddr_storage *a,
                     const struct sockaddr_storage *b)
{
    return b == NULL || sockaddr_equal((struct sockaddr_storage *)a,
                                       (struct sockaddr_storage *)b);
}

struct socket *slirp_socket_lookup(struct socket *head,
                                   const struct sockaddr_storage *lhost,
                                   const struct sockaddr_storage *fhost)
{
    FlowTable *table = table_of(head->slirp->sockets, head);
    FlowNode *node = flowtable_first(table, hash_of(lhost, fhost));

    for (; node != NULL; node = flowtable_next(node)) {
        struct socket *so = container_of(node, struct socket, so_node.flow);

        if (same_end(&so->lhost.ss, lhost) && same_end(&so->fhost.ss, fhost)) {
            return so;
        }
    }
    return NULL;
}

/* ---- buffers ---- */

void slirp_sbuf_need(Slirp *slirp, struct sbuf *sb)
{
    Buffers none = { 0 };

    if (sb->sb_data != NULL) {
        return;
    }
    if (slirp != NULL) {
        sb->sb_data = buffers_get(&slirp->sockets->buffers, sb->sb_datalen);
    } else {
        sb->sb_data = buffers_get(&none, sb->sb_datalen);
        memset(sb->sb_data, 0, sb->sb_datalen);
    }
    sb->sb_wptr = sb->sb_rptr = sb->sb_data;
}

void slirp_sbuf_release(Slirp *slirp, struct sbuf *sb)
{
    int err = errno;

    if (sb->sb_cc == 0 && sb->sb_data != NULL) {
        buffers_put(&slirp->sockets->buffers, sb->sb_data, sb->sb_datalen);
        sb->sb_data = sb->sb_wptr = sb->sb_rptr = NULL;
    }
    errno = err;
}

/*
 * Few large reads cost less than many, so the buffer may run low, as long as
 * the guest has a segment to wait for. sbdrop(), which wakes the application's
 * loop for the classic way, knows of the half only.
 */
uint32_t slirp_socket_refill(const struct socket *so)
{
    uint32_t half = so->so_snd.sb_datalen / 2;

    if (so->slirp->sockets->events == NULL) {
        return half;
    }
    return MIN(half, MAX(half / 4, so->so_tcpcb->t_maxseg));
}

/* ---- time-outs ---- */

/* A curtime value, of the last or the next 24 days, on our clock. */
static uint64_t at_clock(const SlirpSockets *self, uint32_t at)
{
    int32_t left = (int32_t)(at - (uint32_t)self->now_ms);

    return self->now_ms + MAX(left, 0);
}

static uint64_t deadline(const SlirpSockets *self, const struct socket *so)
{
    uint64_t first = TIMER_NEVER;
    uint32_t at;

    if (so->so_expire != 0) {
        first = at_clock(self, so->so_expire);
    }
    if (so->so_tcpcb != NULL && tcp_next_timer(so->so_tcpcb, &at)) {
        first = MIN(first, at_clock(self, at));
    }
    return first;
}

static void set_timer(SlirpSockets *self, struct socket *so, uint64_t at_ms)
{
    Timer *timer = &so->so_node.timer;

    if (at_ms != TIMER_NEVER && (timer->place == 0 || at_ms < timer->at_ms)) {
        timers_set(&self->timers, timer, at_ms);
    }
}

static void detach(SlirpSockets *self, struct socket *so)
{
    if (so->so_node.head == &self->slirp->udb) {
        udp_detach(so);
    } else {
        icmp_detach(so);
    }
}

static void timed_out(SlirpSockets *self, struct socket *so)
{
    slirp_socket_touch(so); /* sets the next time-out */
    if (so->so_tcpcb != NULL) {
        tcp_run_timers(so->so_tcpcb);
    } else if (so->so_expire != 0 && (int32_t)(curtime - so->so_expire) >= 0) {
        detach(self, so);
    }
}

static void run_timers(SlirpSockets *self)
{
    Timer *timer;

    while ((timer = timers_take(&self->timers, self->now_ms)) != NULL) {
        timed_out(self, socket_of_timer(timer));
    }
}

/* ---- interest ---- */

static int add_interest(int fd, int events, void *opaque)
{
    SlirpSockets *self = opaque;

    self->wanted = (events & SLIRP_POLL_IN ? EVENT_IN : 0) |
                   (events & SLIRP_POLL_OUT ? EVENT_OUT : 0) |
                   (events & SLIRP_POLL_PRI ? EVENT_PRI : 0);
    return 0;
}

/* The socket being filled in has told what it wants. */
static void fill_end_of_socket(SlirpSockets *self)
{
    struct socket *so = self->filling;

    self->filling = NULL;
    if (so == NULL) {
        return;
    }
    set_timer(self, so, deadline(self, so));
    if (self->events != NULL && events_want(self->events, &so->so_node.source,
                                            so->s, self->wanted) < 0) {
        set_timer(self, so, self->now_ms + RETRY_MS);
    }
}

static struct socket *next_touched(SlirpSockets *self, struct socket *head)
{
    GList *link = g_queue_pop_head_link(queue_of(self, head));
    struct socket *so;

    if (link == NULL) {
        return head;
    }
    so = link->data;
    link->data = NULL;
    self->filling = so;
    self->wanted = 0;
    return so;
}

struct socket *slirp_sockets_first(struct socket *head)
{
    SlirpSockets *self = head->slirp->sockets;

    return self->events == NULL ? head->so_next : next_touched(self, head);
}

struct socket *slirp_sockets_next(struct socket *head, struct socket *after)
{
    SlirpSockets *self = head->slirp->sockets;

    if (self->events == NULL) {
        return after;
    }
    fill_end_of_socket(self);
    return next_touched(self, head);
}

static void set_touched_timers(SlirpSockets *self, struct socket *head)
{
    while (next_touched(self, head) != head) {
        fill_end_of_socket(self);
    }
}

static void work_off_touched(SlirpSockets *self)
{
    if (self->events != NULL) {
        slirp_fill_sockets(self->slirp, add_interest, self);
    } else {
        set_touched_timers(self, &self->slirp->tcb);
        set_touched_timers(self, &self->slirp->udb);
        set_touched_timers(self, &self->slirp->icmp);
    }
}

/* ---- the loop ---- */

void slirp_sockets_clock(Slirp *slirp)
{
    read_clock(slirp->sockets);
}

void slirp_sockets_input_done(Slirp *slirp)
{
    SlirpSockets *self = slirp->sockets;
    uint64_t next;

    work_off_touched(self);
    /* Another thread may be asleep for longer than that. */
    next = timers_next(&self->timers);
    if (next < self->promised_ms && self->looping != NULL &&
        self->looping != g_thread_self()) {
        self->promised_ms = next;
        slirp->cb->notify(slirp->opaque);
    }
}

static uint64_t next_turn(const SlirpSockets *self)
{
    const Slirp *slirp = self->slirp;
    uint64_t next = timers_next(&self->timers);

    if (slirp->ipq.ip_link.next != &slirp->ipq.ip_link) {
        next = MIN(next, self->now_ms + FRAGMENTS_MS);
    }
    if (slirp->if_fastq.qh_link != &slirp->if_fastq ||
        slirp->if_batchq.qh_link != &slirp->if_batchq) {
        next = MIN(next, self->now_ms + QUEUED_MS);
    }
    return self->events != NULL ? next : MIN(next, self->now_ms + CLASSIC_MS);
}

static void shorten(SlirpSockets *self, uint32_t *timeout)
{
    uint64_t next = next_turn(self);
    uint64_t left = next > self->now_ms ? next - self->now_ms : 0;

    *timeout = MIN(*timeout, left);
    self->promised_ms = self->now_ms + *timeout;
    self->looping = g_thread_self();
}

void slirp_sockets_fill(Slirp *slirp, uint32_t *timeout,
                        SlirpAddPollCb add_poll, void *opaque)
{
    SlirpSockets *self = slirp->sockets;

    read_clock(self);
    work_off_touched(self);
    if (self->events != NULL) {
        self->poll_index = self->registered ? add_poll(events_fd(self->events),
                                                       SLIRP_POLL_IN, opaque)
                                            : -1;
    } else {
        slirp_fill_sockets(slirp, add_poll, opaque);
    }
    shorten(self, timeout);
}

/* ---- ready sockets ---- */

static int get_ready(int index, void *opaque)
{
    SlirpSockets *self = opaque;
    unsigned got = self->ready[self->next_ready - 1].got;

    return (got & EVENT_IN ? SLIRP_POLL_IN : 0) |
           (got & EVENT_OUT ? SLIRP_POLL_OUT : 0) |
           (got & EVENT_PRI ? SLIRP_POLL_PRI : 0) |
           (got & EVENT_ERR ? SLIRP_POLL_ERR : 0) |
           (got & EVENT_HUP ? SLIRP_POLL_HUP : 0);
}

/* The application's answer; a socket with events is touched. */
static int get_classic(int index, void *opaque)
{
    SlirpSockets *self = opaque;
    int revents = self->get_revents(index, self->opaque);

    if (revents != 0) {
        slirp_socket_touch(self->checking);
    }
    return revents;
}

static bool poll_classic(SlirpSockets *self, int select_error,
                         SlirpGetREventsCb *get_revents, void **opaque)
{
    self->get_revents = *get_revents;
    self->opaque = *opaque;
    *get_revents = get_classic;
    *opaque = self;
    return !select_error;
}

static void collect(SlirpSockets *self)
{
    EventSource *source;
    unsigned got;

    self->n_ready = 0;
    if (!events_collect(self->events)) {
        return;
    }
    while (self->n_ready < READY_MAX &&
           (source = events_take(self->events, &got)) != NULL) {
        self->ready[self->n_ready++] =
            (Ready){ container_of(source, struct socket, so_node.source), got };
    }
}

bool slirp_sockets_poll(Slirp *slirp, int select_error,
                        SlirpGetREventsCb *get_revents, void **opaque)
{
    SlirpSockets *self = slirp->sockets;

    run_timers(self);
    if (self->events == NULL) {
        return poll_classic(self, select_error, get_revents, opaque);
    }
    /* select_error decides nothing: slirp4netns says that poll() failed
     * whenever the guest has sent something. What a poll() that did fail could
     * not tell, the next one will. */
    if (*get_revents == NULL ||
        (self->poll_index >= 0 &&
         (*get_revents)(self->poll_index, *opaque) == 0)) {
        self->n_ready = 0;
        return false;
    }
    work_off_touched(self);
    collect(self);
    *get_revents = get_ready;
    *opaque = self;
    return true;
}

static struct socket *next_ready(SlirpSockets *self, struct socket *head)
{
    while (self->next_ready < self->n_ready) {
        struct socket *so = self->ready[self->next_ready++].so;

        if (so != NULL && so->so_node.head == head) {
            slirp_socket_touch(so);
            return so;
        }
    }
    if (head == &self->slirp->icmp) {
        self->n_ready = 0; /* it was the last list */
    }
    return head;
}

struct socket *slirp_sockets_first_ready(struct socket *head)
{
    SlirpSockets *self = head->slirp->sockets;

    if (self->events == NULL) {
        return self->checking = head->so_next;
    }
    self->next_ready = 0;
    return next_ready(self, head);
}

struct socket *slirp_sockets_next_ready(struct socket *head,
                                        struct socket *after)
{
    SlirpSockets *self = head->slirp->sockets;

    if (self->events == NULL) {
        return self->checking = after;
    }
    return next_ready(self, head);
}
