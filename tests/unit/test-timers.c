/* SPDX-License-Identifier: BSD-3-Clause */
/* The timer heap, against an array on random operations. */
#include <glib.h>

#include "engine/timers.h"

enum { TIMERS = 200, STEPS = 50000 };

static uint64_t earliest(const Timer *all)
{
    uint64_t first = TIMER_NEVER;

    for (unsigned i = 0; i < TIMERS; i++) {
        if (all[i].place != 0) {
            first = MIN(first, all[i].at_ms);
        }
    }
    return first;
}

static void take_due(Timers *timers, const Timer *all, uint64_t now)
{
    uint64_t before = 0;
    Timer *timer;

    while ((timer = timers_take(timers, now)) != NULL) {
        g_assert_cmpuint(timer->at_ms, <=, now);
        g_assert_cmpuint(timer->at_ms, >=, before);
        before = timer->at_ms;
    }
    g_assert_cmpuint(earliest(all), >, now);
}

static void test_random(void)
{
    Timer all[TIMERS] = { { 0, 0 } };
    uint64_t now = 1000;
    Timers timers;

    timers_init(&timers);
    for (unsigned step = 0; step < STEPS; step++) {
        Timer *timer = &all[g_test_rand_int_range(0, TIMERS)];

        if (g_test_rand_int_range(0, 4) == 0) {
            timers_cancel(&timers, timer);
        } else {
            timers_set(&timers, timer,
                       now + (uint64_t)g_test_rand_int_range(0, 500));
        }
        g_assert_cmpuint(timers_next(&timers), ==, earliest(all));
        if (step % 50 == 0) {
            now += (uint64_t)g_test_rand_int_range(0, 300);
            take_due(&timers, all, now);
        }
    }
    timers_done(&timers);
    g_assert_cmpuint(earliest(all), ==, TIMER_NEVER);
}

static void test_empty(void)
{
    Timer timer = { 0, 0 };
    Timers timers;

    timers_init(&timers);
    g_assert_cmpuint(timers_next(&timers), ==, TIMER_NEVER);
    g_assert_null(timers_take(&timers, UINT64_MAX));
    timers_cancel(&timers, &timer);
    timers_set(&timers, &timer, 5);
    g_assert_null(timers_take(&timers, 4));
    g_assert_true(timers_take(&timers, 5) == &timer);
    g_assert_null(timers_take(&timers, 5));
    timers_done(&timers);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/timers/random", test_random);
    g_test_add_func("/timers/empty", test_empty);
    return g_test_run();
}
