/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of descriptors of which only the ready ones are visited (epoll).
 *
 * Theory of operation. The set is level-triggered: what is ready and not dealt
 * with is reported again. Interest that is lost is not withdrawn from the
 * kernel until it gets in the way, that is, when an event comes that nobody
 * wants; so a source that changes its mind back and forth costs nothing.
 *
 * epoll reports errors and hang-ups whether asked or not. A source that wants
 * nothing is therefore taken out of the set at its first event.
 *
 * The kernel drops a descriptor from the set when its last copy is closed. A
 * copy in a process that was forked meanwhile keeps it in; its events carry a
 * serial number that no source has any more, and are ignored.
 */
#ifndef SLIRP_REDIRECT_ENGINE_EVENTS_H
#define SLIRP_REDIRECT_ENGINE_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a source wants, or got; the last two always come unasked. */
enum {
    EVENT_IN = 1 << 0,
    EVENT_OUT = 1 << 1,
    EVENT_PRI = 1 << 2,
    EVENT_ERR = 1 << 3,
    EVENT_HUP = 1 << 4,
};

/* A member of what it belongs to; all zero is a source outside of the set. */
typedef struct EventSource {
    int fd;
    uint32_t serial;       /* 0 = not in the set */
    uint8_t wanted, armed; /* armed: what the kernel was told */
} EventSource;

typedef struct EventSet EventSet;

/* NULL with errno set if the system has no such thing, or no more of them. */
EventSet *events_new(void);
void events_free(EventSet *set);
/* Readable while a source is ready; to be polled by whoever owns the set. */
int events_fd(const EventSet *set);
/*
 * From now on the source, which is about the descriptor fd, wants these
 * events. -1 with errno if the kernel refuses.
 */
int events_want(EventSet *set, EventSource *source, int fd, unsigned wanted);
/* The descriptor is about to be closed, or the source to go. */
void events_forget(EventSet *set, EventSource *source);
/* Asks the kernel, without waiting, for a batch of ready sources. False if
 * there is none. */
bool events_collect(EventSet *set);
/*
 * Takes the next source of the batch, with what it got of what it wants now.
 * Sources that were forgotten meanwhile are left out. NULL at the end.
 */
EventSource *events_take(EventSet *set, unsigned *got);

#endif
