/* SPDX-License-Identifier: BSD-3-Clause */
/* A binary heap of timers, each of which knows its place. */
#include "engine/timers.h"

#include <glib.h>

enum { ROOM_MIN = 16 };

void timers_init(Timers *timers)
{
    *timers = (Timers){ .heap = NULL };
}

void timers_done(Timers *timers)
{
    for (size_t i = 1; i <= timers->count; i++) {
        timers->heap[i]->place = 0;
    }
    g_free(timers->heap);
    timers_init(timers);
}

static void put(Timers *timers, size_t place, Timer *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

static void sift_up(Timers *timers, Timer *timer)
{
    size_t place = timer->place;

    while (place > 1 && timers->heap[place / 2]->at_ms > timer->at_ms) {
        put(timers, place, timers->heap[place / 2]);
        place /= 2;
    }
    put(timers, place, timer);
}

static void sift_down(Timers *timers, Timer *timer)
{
    size_t place = timer->place, child;

    while ((child = 2 * place) <= timers->count) {
        if (child < timers->count &&
            timers->heap[child + 1]->at_ms < timers->heap[child]->at_ms) {
            child++;
        }
        if (timers->heap[child]->at_ms >= timer->at_ms) {
            break;
        }
        put(timers, place, timers->heap[child]);
        place = child;
    }
    put(timers, place, timer);
}

static void append(Timers *timers, Timer *timer)
{
    if (timers->count + 1 >= timers->room) {
        timers->room = MAX(ROOM_MIN, 2 * timers->room);
        timers->heap = g_renew(Timer *, timers->heap, timers->room);
    }
    put(timers, ++timers->count, timer);
}

void timers_set(Timers *timers, Timer *timer, uint64_t at_ms)
{
    timer->at_ms = at_ms;
    if (timer->place == 0) {
        append(timers, timer);
    }
    sift_up(timers, timer);
    sift_down(timers, timer);
}

void timers_cancel(Timers *timers, Timer *timer)
{
    size_t place = timer->place;
    Timer *last;

    if (place == 0) {
        return;
    }
    last = timers->heap[timers->count--];
    timer->place = 0;
    if (last != timer) {
        put(timers, place, last);
        sift_up(timers, last);
        sift_down(timers, last);
    }
}

uint64_t timers_next(const Timers *timers)
{
    return timers->count > 0 ? timers->heap[1]->at_ms : TIMER_NEVER;
}

Timer *timers_take(Timers *timers, uint64_t now_ms)
{
    Timer *first;

    if (timers_next(timers) > now_ms || timers->count == 0) {
        return NULL;
    }
    first = timers->heap[1];
    timers_cancel(timers, first);
    return first;
}
