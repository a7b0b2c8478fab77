/* SPDX-License-Identifier: BSD-3-Clause */
/* The timers of a TCP connection, in milliseconds. */
#include "src/slirp.h"

enum {
    TIMERS = TCPT_DELACK + 1,
    SAVED_MS = 500, /* the unit of the saved state */
};

void tcp_set_timer(struct tcpcb *tp, int timer, int ms)
{
    tp->t_timer[timer] = ms;
    tp->t_due[timer] = curtime + ms;
}

static bool is_set(const struct tcpcb *tp, int timer)
{
    /* An ACK that was sent meanwhile does not stop the timer. */
    return tp->t_timer[timer] != 0 &&
           (timer != TCPT_DELACK || (tp->t_flags & TF_DELACK) != 0);
}

bool tcp_next_timer(const struct tcpcb *tp, uint32_t *at)
{
    bool any = false;

    for (int i = 0; i < TIMERS; i++) {
        if (is_set(tp, i) && (!any || (int32_t)(tp->t_due[i] - *at) < 0)) {
            *at = tp->t_due[i];
            any = true;
        }
    }
    return any;
}

void tcp_run_timers(struct tcpcb *tp)
{
    for (int i = 0; i < TIMERS && tp != NULL; i++) {
        if (is_set(tp, i) && (int32_t)(curtime - tp->t_due[i]) >= 0) {
            tp->t_timer[i] = 0;
            tp = tcp_timers(tp, i);
        }
    }
}

static int16_t to_saved(int ms)
{
    return CLAMP((ms + SAVED_MS - 1) / SAVED_MS, 1, INT16_MAX);
}

/* A library without our timers, or ours, starts its estimate of the round-trip
 * time anew. */
void tcp_save_timers(struct tcpcb *tp)
{
    tp->t_saved = (struct tcp_saved){
        .rxtcur = to_saved(tp->t_rxtcur),
        .idle = to_saved(MIN(curtime - tp->t_rcvtime, INT16_MAX * SAVED_MS)),
        .rttvar = to_saved(3000) << TCP_RTTVAR_SHIFT,
        .rttmin = to_saved(1000),
    };
    for (int i = 0; i < TCPT_NTIMERS; i++) {
        if (tp->t_timer[i] != 0) {
            int left = tp->t_due[i] - curtime;

            tp->t_saved.timer[i] = to_saved(MAX(left, 0));
        }
    }
}

/* What tcp_newtcpcb() set of the estimate stays. */
void tcp_load_timers(struct tcpcb *tp)
{
    for (int i = 0; i < TCPT_NTIMERS; i++) {
        tcp_set_timer(tp, i, MAX(tp->t_saved.timer[i], 0) * SAVED_MS);
    }
    tp->t_rcvtime = curtime - MAX(tp->t_saved.idle, 0) * SAVED_MS;
}
