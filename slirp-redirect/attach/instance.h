/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The redirect state of one Slirp, and of one redirected flow.
 *
 * Theory of operation. A RedirectInstance owns the ordered entries of its
 * Slirp and the table compiled from them; every change builds a new list and a
 * new table and swaps them in at once. The order of the entries is that of
 * their sources, the special before the general: rules of this instance (the
 * carrier in dnssearch=, the API), then SLIRP_REDIRECT, then the rule file.
 *
 * If the carrier or the environment holds a broken set, the instance is
 * closed: its table rejects whatever the guest begins, until
 * slirp_set_redirects() installs a good one.
 *
 * A RedirectFlow belongs to the struct socket whose so_redirect it is, and is
 * freed with it. The socket's fhost stays the destination the guest wrote;
 * where the flow really goes is known here alone. A TCP flow keeps its entry
 * until it ends. A UDP flow ends with the first table that sends it elsewhere.
 */
#ifndef SLIRP_REDIRECT_ATTACH_INSTANCE_H
#define SLIRP_REDIRECT_ATTACH_INSTANCE_H

#include "src/slirp.h"

#include "attach/hooks.h"
#include "attach/tuples.h"
#include "table/table.h"

struct RedirectFlow {
    struct RedirectInstance *instance;
    TableEntry *entry;
    struct socket *so;
    unsigned tried;                 /* addresses of the target tried so far */
    struct sockaddr_storage target; /* the one in use; ss_family 0 = none yet */
    socklen_t target_len;
    uint64_t bytes_out, bytes_in;
    uint64_t id;       /* within the instance, from 1 */
    int64_t start_us;  /* g_get_monotonic_time() */
    bool open;         /* the target was reached */
    const char *error; /* static text: why it ended, or was never open */

    /* TCP, while connecting (instance->connecting): curtime values. */
    GList link;
    bool connecting;
    uint32_t attempt_ends; /* give up on this address */
    uint32_t flow_ends;    /* give up on the target */
    uint32_t retry_at;     /* if so->s is -1: the target was busy */

    /* UDP (instance->udp) */
    FlowTuple tuple;
    bool answered; /* the address in use works */
};

typedef struct RedirectInstance {
    struct Slirp *slirp;
    RuleNet net;
    GPtrArray *entries;  /* TableEntry *, owned references */
    unsigned n_own;      /* how many of them, the first, are of this instance */
    Table *table;        /* NULL while there are no rules */
    GArray *served;      /* IpPrefix: on-link addresses that rules name */
    uint64_t generation; /* counts tables, from 1 */
    uint64_t last_flow;  /* id of the newest flow */
    struct RedirectControl *control; /* NULL = nobody asked for it */
    int next_id;
    char *closed;       /* why everything is rejected, or NULL */
    bool loops_checked; /* since the rules or the hostfwds changed */
    char *loops;        /* the loops that were warned of last, or NULL */
    GQueue connecting;  /* RedirectFlow, linked by their link member */
    GHashTable *udp;    /* FlowTuple * -> RedirectFlow *, which holds the key */
    TupleSet peers;     /* guest -> the clients of its UDP hostfwds */
    TupleSet passed;    /* UDP flows under a pass rule; mark: its entry's id */
} RedirectInstance;

/* The instance of slirp; never NULL between slirp_new and slirp_cleanup. */
RedirectInstance *redirect_instance(const struct Slirp *slirp);

/* A flow on entry, which gets a reference. */
struct RedirectFlow *redirect_flow_new(RedirectInstance *instance,
                                       TableEntry *entry);
/*
 * The entry that decides a new flow, or NULL; without the counting. lhost and
 * fhost are of one family.
 */
TableEntry *redirect_match(RedirectInstance *instance, FlowProto proto,
                           const struct sockaddr_storage *lhost,
                           const struct sockaddr_storage *fhost);
/* What entry, which matched, means for a packet to dst. */
enum slirp_redirect_verdict redirect_verdict(const RedirectInstance *instance,
                                             const TableEntry *entry,
                                             const IpAddr *dst);
/* Counts a flow that entry decided. */
void redirect_count_flow(TableEntry *entry);
/* Frames may come long after the last poll, which is when upstream looks at
 * the clock: brings curtime up to date before a time-out is set. */
void redirect_read_clock(struct Slirp *slirp);
/*
 * Moves flow->target to the next address that was not tried yet; false if
 * there is none, and then it stays. so tells the original destination.
 */
bool redirect_next_target(struct RedirectFlow *flow, const struct socket *so);
/* A non-blocking, close-on-exec socket bound as the application wants; -1 with
 * errno. Loopback and unix targets are never bound. */
int redirect_socket(struct RedirectFlow *flow, int type,
                    const struct sockaddr_storage *target);
/* What err, met on the way to target, means to a guest. */
int redirect_errno(const struct sockaddr_storage *target, int err);
/* Gives so the descriptor s and has the application watch it. */
void redirect_watch(struct socket *so, int s);

/* udp.c: what the instance remembers of UDP flows and hostfwd peers. */
void redirect_udp_init(RedirectInstance *instance);
void redirect_udp_done(RedirectInstance *instance);
/* Ends the flows that the table now sends elsewhere. */
void redirect_udp_sweep(RedirectInstance *instance);

/* loops.c: warns of targets that a hostfwd leads back to this guest, once for
 * each set of them. */
void redirect_check_loops(RedirectInstance *instance);

/* neighbour.c: the on-link destinations of entries; g_array_unref(). */
GArray *redirect_served(const GPtrArray *entries, const RuleNet *net);

/*
 * control.c: what SLIRP_REDIRECT_CONTROL, SLIRP_REDIRECT_LOG and
 * SLIRP_REDIRECT_RELOAD ask for. init comes before the rules are loaded.
 */
void redirect_control_init(RedirectInstance *instance);
void redirect_control_done(RedirectInstance *instance);
/* That the first n_own of rules, all good or not, did not make a table. */
void redirect_control_closed(RedirectInstance *instance, const GPtrArray *rules,
                             unsigned n_own, bool own_good);
void redirect_control_fill(RedirectInstance *instance, uint32_t *timeout,
                           SlirpAddPollCb add_poll, void *opaque);
void redirect_control_poll(RedirectInstance *instance, int select_error,
                           SlirpGetREventsCb get_revents, void *opaque);

/* log.c: lines of the flow log, for rules with +log. */
void redirect_log_open(struct RedirectFlow *flow, const struct socket *so);
void redirect_log_end(struct RedirectFlow *flow, const struct socket *so);
/* What a rule without target says of a flow; an echo has port 0. */
void redirect_log_verdict(RedirectInstance *instance, const TableEntry *entry,
                          FlowProto proto, const struct sockaddr_storage *lhost,
                          const struct sockaddr_storage *fhost);

/* info.c: the text of slirp_redirect_info(), empty without rules; g_free() */
char *redirect_info(RedirectInstance *instance);

/*
 * Makes rules (Rule *, of which the n_own first are of this instance) the whole
 * table. Entries of the current table that mean the same live on, with their
 * identity and counters. On failure nothing changes and diags tells why. The
 * rules are consumed either way.
 */
bool redirect_replace(RedirectInstance *instance, GPtrArray *rules,
                      unsigned n_own, RuleDiags *diags);
/* Inserts one rule at that position; its id, or -1. Up to position n_own it is
 * one of this instance's own. */
int redirect_add(RedirectInstance *instance, Rule *rule, unsigned at,
                 RuleDiags *diags);
/* False if there is no entry with that id. */
bool redirect_remove(RedirectInstance *instance, int id);

#endif
