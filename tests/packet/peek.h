/* SPDX-License-Identifier: BSD-3-Clause */
/* Read-only looks into the library's private state. */
#ifndef TEST_PACKET_PEEK_H
#define TEST_PACKET_PEEK_H

typedef struct Slirp Slirp;

typedef struct Peek {
    int tcp, udp, icmp; /* sockets, listeners of host forwards aside */
    int listeners;      /* of host forwards */
    int used_mbufs;     /* outside every queue */
    int queued_mbufs;   /* in the interface queues */
    int fragments;      /* datagrams in the IPv4 reassembly queue */
} Peek;

void peek_take(Slirp *slirp, Peek *peek);
char *peek_describe(Slirp *slirp);

#endif
