/* SPDX-License-Identifier: BSD-3-Clause */
/* The event set, on socket pairs. */
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/events.h"

typedef struct Pair {
    EventSet *set;
    EventSource source;
    int near, far;
} Pair;

static void open_pair(int fds[2])
{
    g_assert_cmpint(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
        ==, 0);
}

static void set_up(Pair *pair, G_GNUC_UNUSED const void *data)
{
    int fds[2];

    open_pair(fds);
    pair->near = fds[0];
    pair->far = fds[1];
    pair->set = events_new();
    g_assert_nonnull(pair->set);
}

static void tear_down(Pair *pair, G_GNUC_UNUSED const void *data)
{
    events_forget(pair->set, &pair->source);
    events_free(pair->set);
    close(pair->near);
    close(pair->far);
}

static void want(Pair *pair, unsigned wanted)
{
    g_assert_cmpint(events_want(pair->set, &pair->source, pair->near, wanted),
                    ==, 0);
}

/* What the source gets in one turn. */
static unsigned turn(Pair *pair)
{
    unsigned got = 0;
    EventSource *source;

    if (!events_collect(pair->set)) {
        return 0;
    }
    source = events_take(pair->set, &got);
    g_assert_true(source == NULL || source == &pair->source);
    return source != NULL ? got : 0;
}

static bool is_readable(const Pair *pair)
{
    struct pollfd entry = { events_fd(pair->set), POLLIN, 0 };

    return poll(&entry, 1, 0) == 1;
}

static void send_byte(const Pair *pair)
{
    g_assert_cmpint(write(pair->far, "x", 1), ==, 1);
}

static void test_levels(Pair *pair, G_GNUC_UNUSED const void *data)
{
    want(pair, EVENT_IN);
    g_assert_cmpuint(turn(pair), ==, 0);
    g_assert_false(is_readable(pair));
    send_byte(pair);
    g_assert_true(is_readable(pair));
    g_assert_cmpuint(turn(pair), ==, EVENT_IN);
    g_assert_cmpuint(turn(pair), ==, EVENT_IN); /* until it is read */
    want(pair, EVENT_IN | EVENT_OUT);
    g_assert_cmpuint(turn(pair), ==, EVENT_IN | EVENT_OUT);
}

/* Lost interest costs one turn at most, and never an event. */
static void test_not_wanted(Pair *pair, G_GNUC_UNUSED const void *data)
{
    want(pair, EVENT_IN);
    want(pair, 0);
    send_byte(pair);
    g_assert_cmpuint(turn(pair), ==, 0);
    g_assert_false(is_readable(pair));
    want(pair, EVENT_IN);
    g_assert_cmpuint(turn(pair), ==, EVENT_IN);
    want(pair, EVENT_OUT);
    g_assert_cmpuint(turn(pair), ==, EVENT_OUT);
    want(pair, EVENT_PRI);
    turn(pair);
    g_assert_false(is_readable(pair));
}

/* A hang-up cannot be masked; it must not keep an idle program busy. */
static void test_hang_up(Pair *pair, G_GNUC_UNUSED const void *data)
{
    want(pair, EVENT_IN);
    want(pair, 0);
    shutdown(pair->far, SHUT_RDWR);
    shutdown(pair->near, SHUT_RDWR);
    g_assert_true(is_readable(pair));
    g_assert_cmpuint(turn(pair), ==, 0);
    g_assert_false(is_readable(pair));
    want(pair, EVENT_IN);
    g_assert_cmpuint(turn(pair) & EVENT_HUP, ==, EVENT_HUP);
}

/* The same number, another descriptor. */
static void test_number_again(Pair *pair, G_GNUC_UNUSED const void *data)
{
    int number = pair->near, fds[2];

    want(pair, EVENT_IN);
    send_byte(pair);
    g_assert_true(events_collect(pair->set));
    events_forget(pair->set, &pair->source);
    close(pair->near);
    close(pair->far);
    open_pair(fds);
    g_assert_cmpint(fds[0], ==, number);
    pair->near = fds[0];
    pair->far = fds[1];
    want(pair, EVENT_IN);
    /* The event of the old one, collected before, is not the new one's. */
    g_assert_null(events_take(pair->set, &(unsigned){ 0 }));
    g_assert_cmpuint(turn(pair), ==, 0);
    send_byte(pair);
    g_assert_cmpuint(turn(pair), ==, EVENT_IN);
}

/* A copy keeps the closed descriptor in the kernel's set. */
static void test_copy(Pair *pair, G_GNUC_UNUSED const void *data)
{
    int copy = dup(pair->near);

    want(pair, EVENT_IN);
    send_byte(pair);
    events_forget(pair->set, &pair->source);
    close(pair->near);
    g_assert_cmpuint(turn(pair), ==, 0);
    pair->near = copy;
    want(pair, EVENT_IN);
    for (unsigned i = 0; i < 2; i++) {
        unsigned got;

        g_assert_true(events_collect(pair->set));
        g_assert_true(events_take(pair->set, &got) == &pair->source);
        g_assert_null(events_take(pair->set, &got));
    }
}

static void test_refused(Pair *pair, G_GNUC_UNUSED const void *data)
{
    g_assert_cmpint(events_want(pair->set, &pair->source, INT16_MAX, EVENT_IN),
                    ==, -1);
    want(pair, EVENT_IN);
    send_byte(pair);
    g_assert_cmpuint(turn(pair), ==, EVENT_IN);
}

static void test_many(Pair *pair, G_GNUC_UNUSED const void *data)
{
    enum { MANY = 300 };
    EventSource sources[MANY] = { 0 };
    int fds[MANY][2];
    unsigned got, count = 0;

    for (unsigned i = 0; i < MANY; i++) {
        open_pair(fds[i]);
        events_want(pair->set, &sources[i], fds[i][0], EVENT_OUT);
    }
    /* A batch is bounded, and the rest has its turn next. */
    while (count < MANY && events_collect(pair->set)) {
        EventSource *source;

        while ((source = events_take(pair->set, &got)) != NULL) {
            events_want(pair->set, source, source->fd, 0);
            count++;
        }
    }
    g_assert_cmpuint(count, ==, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        events_forget(pair->set, &sources[i]);
        close(fds[i][0]);
        close(fds[i][1]);
    }
}

static void test_not_inherited(Pair *pair, G_GNUC_UNUSED const void *data)
{
    g_assert_true(fcntl(events_fd(pair->set), F_GETFD) & FD_CLOEXEC);
}

static void add(const char *path, void (*test)(Pair *, const void *))
{
    g_test_add(path, Pair, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/events/levels", test_levels);
    add("/events/not-wanted", test_not_wanted);
    add("/events/hang-up", test_hang_up);
    add("/events/number-again", test_number_again);
    add("/events/copy", test_copy);
    add("/events/refused", test_refused);
    add("/events/many", test_many);
    add("/events/not-inherited", test_not_inherited);
    return g_test_run();
}
