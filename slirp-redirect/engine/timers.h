/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers in order of their time: a heap, in milliseconds of whatever clock the
 * caller has. Nothing runs by itself; the caller asks for the next time and
 * takes what is due.
 */
#ifndef SLIRP_REDIRECT_ENGINE_TIMERS_H
#define SLIRP_REDIRECT_ENGINE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIMER_NEVER UINT64_MAX

/* A member of what it belongs to; all zero is a timer that is not set. */
typedef struct Timer {
    uint64_t at_ms;
    size_t place; /* in the heap, from 1; 0 = not set */
} Timer;

typedef struct Timers {
    Timer **heap; /* heap[0] is not used */
    size_t count, room;
} Timers;

void timers_init(Timers *timers);
/* Forgets all timers. */
void timers_done(Timers *timers);
/* Sets or moves the timer. */
void timers_set(Timers *timers, Timer *timer, uint64_t at_ms);
/* A timer that is not set is left alone. */
void timers_cancel(Timers *timers, Timer *timer);
/* When the first is due, or TIMER_NEVER. */
uint64_t timers_next(const Timers *timers);
/* Takes the first off if it is due; NULL if none is. */
Timer *timers_take(Timers *timers, uint64_t now_ms);

#endif
