/* SPDX-License-Identifier: BSD-3-Clause */
/* SipHash-2-4 against the vectors of its authors. */
#include "engine/siphash.h"

#include <glib.h>
#include <string.h>

/* Key 00 01 .. 0f, input 00 01 .. of the given length. */
static void expect(size_t len, uint64_t want)
{
    uint8_t bytes[16];
    SipKey key;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    key.k0 = 0x0706050403020100;
    key.k1 = 0x0f0e0d0c0b0a0908;
    g_assert_cmphex(siphash(&key, bytes, len), ==, want);
}

static void test_vectors(void)
{
    expect(0, 0x726fdb47dd0e0e31);
    expect(1, 0x74f839c593dc67fd);
    expect(7, 0xab0200f58b01d137);
    expect(8, 0x93f5f5799a932462);
    expect(15, 0xa129ca6149be45e5);
}

static void test_process_key(void)
{
    const SipKey *key = siphash_process_key();

    g_assert_true(key == siphash_process_key());
    g_assert_true(key->k0 != 0 || key->k1 != 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/siphash/vectors", test_vectors);
    g_test_add_func("/siphash/process-key", test_process_key);
    return g_test_run();
}
