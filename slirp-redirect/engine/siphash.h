/* SPDX-License-Identifier: BSD-3-Clause */
/* SipHash-2-4: a keyed hash, so that a guest cannot choose collisions. */
#ifndef SLIRP_REDIRECT_ENGINE_SIPHASH_H
#define SLIRP_REDIRECT_ENGINE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct SipKey {
    uint64_t k0, k1;
} SipKey;

/* Hash of len bytes under key (Aumasson and Bernstein, 2012). */
uint64_t siphash(const SipKey *key, const void *data, size_t len);
/* The random key of this process, drawn from the kernel at first use. */
const SipKey *siphash_process_key(void);

#endif
