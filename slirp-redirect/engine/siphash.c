/* SPDX-License-Identifier: BSD-3-Clause */
/* SipHash-2-4 over byte strings. */
#include "siphash.h"

#include <glib.h>
#include <string.h>
#include <sys/random.h>

typedef struct SipState {
    uint64_t v0, v1, v2, v3;
} SipState;

static uint64_t rotate_left(uint64_t x, unsigned n)
{
    return (x << n) | (x >> (64 - n));
}

static void sip_round(SipState *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 = rotate_left(s->v2, 32);
}

static void sip_absorb(SipState *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

static uint64_t load_le64(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return GUINT64_FROM_LE(word);
}

uint64_t siphash(const SipKey *key, const void *data, size_t len)
{
    const uint8_t *p = data;
    SipState s = { key->k0 ^ 0x736f6d6570736575, key->k1 ^ 0x646f72616e646f6d,
                   key->k0 ^ 0x6c7967656e657261, key->k1 ^ 0x7465646279746573 };
    uint64_t last = (uint64_t)len << 56;
    size_t i = 0;

    for (; i + 8 <= len; i += 8) {
        sip_absorb(&s, load_le64(p + i));
    }
    for (size_t shift = 0; i < len; i++, shift += 8) {
        last |= (uint64_t)p[i] << shift;
    }
    sip_absorb(&s, last);
    s.v2 ^= 0xff;
    for (unsigned n = 0; n < 4; n++) {
        sip_round(&s);
    }
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

const SipKey *siphash_process_key(void)
{
    static SipKey key;
    static gsize ready;

    if (g_once_init_enter(&ready)) {
        if (getrandom(&key, sizeof(key), GRND_NONBLOCK) != sizeof(key)) {
            /* Early boot: the clock is all there is. */
            key.k0 = g_random_int() | (uint64_t)g_random_int() << 32;
            key.k1 = (uint64_t)g_get_monotonic_time();
        }
        g_once_init_leave(&ready, 1);
    }
    return &key;
}
