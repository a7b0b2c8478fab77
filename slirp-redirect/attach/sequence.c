/* SPDX-License-Identifier: BSD-3-Clause */
/* Initial sequence numbers that nobody can guess (RFC 6528). */
#include "attach/instance.h"

#include "engine/siphash.h"

/* Nanoseconds for each step of the clock part (RFC 9293, section 3.4.1). */
enum { STEP_NS = 4000 };

uint32_t slirp_redirect_iss(struct socket *so)
{
    struct Slirp *slirp = so->slirp;
    uint64_t now = (uint64_t)slirp->cb->clock_get_ns(slirp->opaque);
    FlowTuple tuple = tuple_of(&so->lhost.ss, &so->fhost.ss);

    return (uint32_t)(siphash(siphash_process_key(), &tuple, sizeof(tuple)) +
                      now / STEP_NS);
}
