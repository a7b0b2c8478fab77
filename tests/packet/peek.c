/* SPDX-License-Identifier: BSD-3-Clause */
/* The one test file that includes the library's private headers. */
#include "slirp.h"

#include "peek.h"

static void count_sockets(struct socket *head, int *flows, int *listeners)
{
    for (struct socket *so = head->so_next; so != head; so = so->so_next) {
        if (so->so_state & SS_HOSTFWD) {
            (*listeners)++;
        } else {
            (*flows)++;
        }
    }
}

static int count_list(struct slirp_quehead *head)
{
    int n = 0;

    for (struct slirp_quehead *q = head->qh_link; q != head; q = q->qh_link) {
        n++;
    }
    return n;
}

static int count_fragments(Slirp *slirp)
{
    int n = 0;

    for (struct qlink *q = slirp->ipq.ip_link.next; q != &slirp->ipq.ip_link;
         q = q->next) {
        n++;
    }
    return n;
}

void peek_take(Slirp *slirp, Peek *peek)
{
    *peek = (Peek){ 0 };
    count_sockets(&slirp->tcb, &peek->tcp, &peek->listeners);
    count_sockets(&slirp->udb, &peek->udp, &peek->listeners);
    count_sockets(&slirp->icmp, &peek->icmp, &peek->listeners);
    peek->used_mbufs = count_list(&slirp->m_usedlist);
    peek->queued_mbufs =
        count_list(&slirp->if_fastq) + count_list(&slirp->if_batchq);
    peek->fragments = count_fragments(slirp);
}

static void describe_sockets(GString *text, const char *name,
                             struct socket *head)
{
    for (struct socket *so = head->so_next; so != head; so = so->so_next) {
        g_string_append_printf(
            text, "\n  %s: guest port %u, outside port %u, fd %d, state %#x",
            name, ntohs(so->so_lport), ntohs(so->so_fport), so->s,
            (unsigned)so->so_state);
        if (so->so_tcpcb) {
            g_string_append_printf(text, ", t_state %d", so->so_tcpcb->t_state);
        }
    }
}

char *peek_describe(Slirp *slirp)
{
    GString *text = g_string_new(NULL);
    Peek peek;

    peek_take(slirp, &peek);
    g_string_append_printf(text,
                           "%d TCP, %d UDP, %d ICMP sockets, %d buffers used, "
                           "%d queued, %d datagrams in fragments",
                           peek.tcp, peek.udp, peek.icmp, peek.used_mbufs,
                           peek.queued_mbufs, peek.fragments);
    describe_sockets(text, "tcp", &slirp->tcb);
    describe_sockets(text, "udp", &slirp->udb);
    describe_sockets(text, "icmp", &slirp->icmp);
    return g_string_free(text, FALSE);
}
