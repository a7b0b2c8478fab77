/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP echo: stopped by verdicts of "any" with all ports, else untouched. */
#include "redirect.h"

static const char *const host[] = { "10.0.2.2", "fec0::2" };

static unsigned replies(Guest *guest, const char *dst)
{
    bool v6 = family_of(dst) == AF_INET6;

    guest_forget_frames(guest);
    guest_ping(guest, dst, 1, 1, "abcd", 4);
    net_settle(guest_net(guest));
    return guest_take(guest, m_list(v6 ? m_icmp6() : m_icmp(),
                                    m_icmp_type(v6 ? 129 : 0))) != NULL;
}

static void test_reject(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    bool v6 = family_of(dst) == AF_INET6;
    g_autoptr(GByteArray) packet =
        packet_icmp(guest_endpoint(guest, family_of(dst), 0), endpoint(dst, 0),
                    v6 ? 128 : 8, 0, 1 << 16 | 1, "abcd", 4);

    guest_set_rules(guest, "any:*-reject");
    guest_ping(guest, dst, 1, 1, "abcd", 4);
    guest_expect_unreachable(guest, dst, 3, packet);
    guest_expect_counts(guest, 1, 1, 1, 0);
    guest_expect_idle(guest);
}

static void test_drop(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    guest_set_rules(guest, "any:*-drop");
    guest_forget_frames(guest);
    guest_ping(guest, dst, 1, 1, "abcd", 4);
    guest_expect_none(guest, 1000, m_either(m_icmp(), m_icmp6()));
    guest_expect_counts(guest, 1, 1, 1, 0);
    guest_expect_idle(guest);
}

/* Rules that have a protocol or ports, and redirects, are not about echo. */
static void test_untouched(const void *dst)
{
    static const char *const rules[] = {
        "any:*-:1",
        "any:80-reject",
        "tcp:*-reject",
        "udp:*-drop",
        "any:*-*:1",
        "any:1..65535-drop",
        "any:*-unix:/x",
        "any:*-pass\nany:*-reject",
        "any:198.51.100.0/24:*-drop",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        g_autoptr(Net) net = net_new();
        Guest *guest = guest_new(net);

        net_allow_log(net, "*can never match*");
        guest_set_rules(guest, "%s", rules[i]);
        if (replies(guest, dst) != 1) {
            net_fail(net, "%s stops an echo", rules[i]);
        }
        guest_expect_idle(guest);
    }
}

/* A prefix that is denied cannot be pinged, its neighbours can. */
static void test_prefix(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    guest_set_rules(guest, "any:host:*-drop");
    g_assert_cmpuint(replies(guest, "10.0.2.2"), ==, 0);
    g_assert_cmpuint(replies(guest, "fec0::2"), ==, 0);
    g_assert_cmpuint(replies(guest, "10.0.2.3"), ==, 1);
    guest_set_rules(guest, "any:*@192.0.2.1-drop");
    g_assert_cmpuint(replies(guest, "10.0.2.2"), ==, 1);
    guest_expect_idle(guest);
}

static const char *const many[] = { "224.0.0.1", "255.255.255.255",
                                    "10.0.2.255", "ff02::1" };

static void test_reject_multicast(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(many); i++) {
        g_autoptr(Net) net = net_new();
        Guest *guest = guest_new(net);

        guest_set_rules(guest, "any:0.0.0.0/0:*-reject\nany:[::/0]:*-reject");
        guest_forget_frames(guest);
        guest_ping(guest, many[i], 1, 1, "abcd", 4);
        guest_expect_none(guest, 1000, m_either(m_icmp(), m_icmp6()));
        guest_expect_idle(guest);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        GTestDataFunc func;
    } tests[] = { { "reject", test_reject },
                  { "drop", test_drop },
                  { "untouched", test_untouched } };

    packet_test_init(&argc, &argv);
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf(
            "/redirect/echo/%s/ipv%d", tests[i / 2].name, i % 2 ? 6 : 4);

        g_test_add_data_func(path, host[i % 2], tests[i / 2].func);
    }
    g_test_add_func("/redirect/echo/prefix", test_prefix);
    g_test_add_func("/redirect/echo/reject-multicast", test_reject_multicast);
    return g_test_run();
}
