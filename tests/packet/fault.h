/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes chosen system calls of the library fail. */
#ifndef TEST_PACKET_FAULT_H
#define TEST_PACKET_FAULT_H

#include <stdbool.h>

/*
 * The functions of the C library that the stack calls are defined again in
 * the test, which comes first in the order of symbols.  They count, fail or
 * shorten only calls made while the stack runs (fault_inside), so that the
 * harness' own sockets are not touched.
 */
typedef enum FaultCall {
    FAULT_SOCKET,
    FAULT_CONNECT,
    FAULT_BIND,
    FAULT_LISTEN,
    FAULT_ACCEPT,
    FAULT_SEND,    /* send, sendto, sendmsg, writev */
    FAULT_RECV,    /* recv, recvfrom, read, readv */
    FAULT_RECVMSG, /* the error queue */
    FAULT_SETSOCKOPT,
    FAULT_GETSOCKOPT,
    FAULT_NAME,     /* getsockname, getpeername */
    FAULT_NAMEINFO, /* getnameinfo, of numeric addresses */
    FAULT_FCNTL,
    FAULT_IOCTL,
    FAULT_SHUTDOWN,
    FAULT_OPEN, /* open, fopen, stat */
    FAULT_GETRANDOM,
    FAULT_EPOLL, /* epoll_create1, epoll_ctl, epoll_wait */
    FAULT_CALLS,
    FAULT_ANY = FAULT_CALLS,
} FaultCall;

typedef enum FaultKind {
    FAULT_NONE,
    FAULT_ERRNO, /* fails with an errno, and does nothing */
    FAULT_SHORT, /* moves one byte only */
    FAULT_LOST,  /* sending does nothing, and reports success */
} FaultKind;

/* Depth of calls into the stack. */
extern int fault_inside;

/* From now on the nth call (1 is the next) and the times - 1 after it. */
void fault_arm(FaultCall call, FaultKind kind, int err, unsigned nth,
               unsigned times);
void fault_disarm(void);
/* getsockopt(SO_ERROR) answers err; 0 ends that. */
void fault_so_error(int err);
/* Sockets for echo requests are refused, as to most users of some systems, and
 * so are raw ones, as to all users but root. */
void fault_no_icmp(bool datagram, bool raw);
/* Calls since fault_disarm() or fault_arm(), and how many were made to fail. */
unsigned fault_calls(FaultCall call);
unsigned fault_hits(void);
const char *fault_name(FaultCall call);
/* The last descriptor that socket() or accept() gave the stack. */
int fault_last_socket(void);

#endif
