/* SPDX-License-Identifier: BSD-3-Clause */
/* The event set on top of epoll; elsewhere there is none. */
#include "engine/events.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#ifdef __linux__
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 256 };

struct EventSet {
    int epfd;
    uint32_t last_serial;
    EventSource **by_fd;
    size_t room; /* of by_fd */
    struct epoll_event batch[BATCH];
    int next, count; /* in the batch */
};

static const struct {
    unsigned event;
    uint32_t epoll;
} names[] = {
    { EVENT_IN, EPOLLIN },   { EVENT_OUT, EPOLLOUT }, { EVENT_PRI, EPOLLPRI },
    { EVENT_ERR, EPOLLERR }, { EVENT_HUP, EPOLLHUP },
};

static uint32_t to_epoll(unsigned events)
{
    uint32_t mask = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        mask |= events & names[i].event ? names[i].epoll : 0;
    }
    return mask;
}

static unsigned from_epoll(uint32_t mask)
{
    unsigned events = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        events |= mask & names[i].epoll ? names[i].event : 0;
    }
    return events;
}

EventSet *events_new(void)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    EventSet *set;

    if (epfd < 0) {
        return NULL;
    }
    set = g_new0(EventSet, 1);
    set->epfd = epfd;
    return set;
}

void events_free(EventSet *set)
{
    if (set == NULL) {
        return;
    }
    close(set->epfd);
    g_free(set->by_fd);
    g_free(set);
}

int events_fd(const EventSet *set)
{
    return set->epfd;
}

static void remember(EventSet *set, EventSource *source, int fd)
{
    if ((size_t)fd >= set->room) {
        size_t room = MAX((size_t)fd + 1, 2 * set->room);

        set->by_fd = g_renew(EventSource *, set->by_fd, room);
        memset(set->by_fd + set->room, 0,
               (room - set->room) * sizeof(*set->by_fd));
        set->room = room;
    }
    source->fd = fd;
    source->serial = ++set->last_serial;
    if (source->serial == 0) { /* all of them used up, after years */
        source->serial = ++set->last_serial;
    }
    set->by_fd[fd] = source;
}

static int control(EventSet *set, int op, const EventSource *source)
{
    struct epoll_event event = {
        .events = to_epoll(source->armed),
        .data.u64 = (uint64_t)source->serial << 32 | (uint32_t)source->fd,
    };

    return epoll_ctl(set->epfd, op, source->fd, &event);
}

static int arm_new(EventSet *set, EventSource *source, int fd)
{
    remember(set, source, fd);
    source->armed = source->wanted;
    if (control(set, EPOLL_CTL_ADD, source) < 0) {
        int err = errno;

        events_forget(set, source);
        errno = err;
        return -1;
    }
    return 0;
}

static int rearm(EventSet *set, EventSource *source)
{
    source->armed = source->wanted;
    return control(set, EPOLL_CTL_MOD, source);
}

int events_want(EventSet *set, EventSource *source, int fd, unsigned wanted)
{
    if (source->serial != 0 && source->fd != fd) {
        events_forget(set, source);
    }
    source->wanted = wanted;
    if ((wanted & ~source->armed) == 0) {
        return 0;
    }
    return source->serial == 0 ? arm_new(set, source, fd) : rearm(set, source);
}

void events_forget(EventSet *set, EventSource *source)
{
    if (source->serial == 0) {
        return;
    }
    if (set->by_fd[source->fd] == source) {
        set->by_fd[source->fd] = NULL;
    }
    source->serial = 0;
    source->armed = 0;
    source->wanted = 0;
}

bool events_collect(EventSet *set)
{
    int count = epoll_wait(set->epfd, set->batch, BATCH, 0);

    set->next = 0;
    set->count = MAX(count, 0);
    return count > 0;
}

static EventSource *find(const EventSet *set, uint64_t data)
{
    uint32_t fd = (uint32_t)data;
    EventSource *source = fd < set->room ? set->by_fd[fd] : NULL;

    return source != NULL && source->serial == data >> 32 ? source : NULL;
}

/* An event came that is not wanted: the kernel must hear of it now. */
static void disarm(EventSet *set, EventSource *source)
{
    if (source->wanted == 0) {
        control(set, EPOLL_CTL_DEL, source);
        events_forget(set, source);
    } else {
        rearm(set, source);
    }
}

EventSource *events_take(EventSet *set, unsigned *got)
{
    while (set->next < set->count) {
        const struct epoll_event *event = &set->batch[set->next++];
        EventSource *source = find(set, event->data.u64);
        unsigned events = from_epoll(event->events);

        if (source == NULL) {
            continue;
        }
        *got = events & (source->wanted | EVENT_ERR | EVENT_HUP);
        if (events & ~*got || source->wanted == 0) {
            disarm(set, source);
        }
        if (*got != 0 && source->wanted != 0) {
            return source;
        }
    }
    return NULL;
}

#else

EventSet *events_new(void)
{
    errno = ENOSYS;
    return NULL;
}

void events_free(EventSet *set)
{
}

int events_fd(const EventSet *set)
{
    return -1;
}

int events_want(EventSet *set, EventSource *source, int fd, unsigned wanted)
{
    errno = ENOSYS;
    return -1;
}

void events_forget(EventSet *set, EventSource *source)
{
}

bool events_collect(EventSet *set)
{
    return false;
}

EventSource *events_take(EventSet *set, unsigned *got)
{
    return NULL;
}

#endif
