/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses and prefixes: text, sockets, containment. */
#include <arpa/inet.h>
#include <glib.h>
#include <string.h>

#include "rules/addr.h"

static IpAddr addr(const char *text)
{
    IpAddr value;

    g_assert_true(ipaddr_parse(text, &value));
    return value;
}

static IpPrefix prefix(const char *text, unsigned len)
{
    return (IpPrefix){ addr(text), (uint8_t)len };
}

static void test_parse(void)
{
    static const char *const bad[] = { "",          "1.2.3",    "1.2.3.4.5",
                                       "256.1.1.1", "01.2.3.4", "1.2.3.4 ",
                                       "::1%lo",    "[::1]",    "1::2::3",
                                       ":",         "name" };
    static const char *const good[] = { "0.0.0.0",      "255.255.255.255",
                                        "::",           "::1",
                                        "2001:db8::1",  "::ffff:1.2.3.4",
                                        "fe80::1:0:0:1" };
    char buf[IPADDR_STRLEN];

    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        IpAddr value = { .family = 99 };

        g_assert_false(ipaddr_parse(bad[i], &value));
        g_assert_cmpuint(value.family, ==, 99);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        IpAddr value = addr(good[i]);

        g_assert_cmpstr(ipaddr_print(&value, buf), ==, good[i]);
    }
    g_assert_cmpstr(ipaddr_print(&(IpAddr){ 0 }, buf), ==, "");
}

static void test_kinds(void)
{
    IpAddr a;

    g_assert_true((a = addr("224.0.0.1"), ipaddr_is_multicast(&a)));
    g_assert_true((a = addr("239.255.255.255"), ipaddr_is_multicast(&a)));
    g_assert_true((a = addr("255.255.255.255"), ipaddr_is_multicast(&a)));
    g_assert_true((a = addr("ff02::1"), ipaddr_is_multicast(&a)));
    g_assert_false((a = addr("223.255.255.255"), ipaddr_is_multicast(&a)));
    g_assert_false((a = addr("240.0.0.1"), ipaddr_is_multicast(&a)));
    g_assert_false((a = addr("feff::1"), ipaddr_is_multicast(&a)));
    g_assert_true((a = addr("127.255.0.1"), ipaddr_is_loopback(&a)));
    g_assert_true((a = addr("::1"), ipaddr_is_loopback(&a)));
    g_assert_false((a = addr("::2"), ipaddr_is_loopback(&a)));
    g_assert_false((a = addr("128.0.0.1"), ipaddr_is_loopback(&a)));
}

static void test_sockaddr(void)
{
    static const char *const texts[] = { "192.0.2.1", "2001:db8::1" };
    struct sockaddr_storage ss;
    uint16_t port;

    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        IpAddr a = addr(texts[i]), b;
        socklen_t len = ipaddr_to_sockaddr(&a, 8080, &ss);

        g_assert_cmpuint(len, ==,
                         i == 0 ? sizeof(struct sockaddr_in)
                                : sizeof(struct sockaddr_in6));
        b = ipaddr_from_sockaddr((struct sockaddr *)&ss, &port);
        g_assert_true(ipaddr_equal(&a, &b));
        g_assert_cmpuint(port, ==, 8080);
        ipaddr_from_sockaddr((struct sockaddr *)&ss, NULL);
    }
    ss.ss_family = AF_UNIX;
    g_assert_cmpuint(ipaddr_from_sockaddr((struct sockaddr *)&ss, &port).family,
                     ==, 0);
    g_assert_cmpuint(port, ==, 0);
}

static void test_prefix(void)
{
    IpPrefix ten = prefix("10.0.0.0", 8), all4 = prefix("0.0.0.0", 0);
    IpPrefix all6 = prefix("::", 0), one = prefix("10.1.2.3", 32);
    IpPrefix odd = prefix("10.1.2.3", 12), six = prefix("2001:db8::", 33);
    IpPrefix host6 = prefix("2001:db8:7fff::1", 128), none = { { 0 }, 0 };
    char buf[IPPREFIX_STRLEN + 2];

    g_assert_true(ipprefix_covers(&ten, &one));
    g_assert_false(ipprefix_covers(&one, &ten));
    g_assert_true(ipprefix_covers(&all4, &ten));
    g_assert_false(ipprefix_covers(&all6, &ten));
    g_assert_false(ipprefix_covers(&all4, &none));
    g_assert_false(ipprefix_covers(&none, &none));
    g_assert_true(ipprefix_covers(&six, &host6));
    host6.addr.bytes[4] = 0x80;
    g_assert_false(ipprefix_covers(&six, &host6));
    g_assert_true(ipprefix_covers(&host6, &host6));
    g_assert_true(ipprefix_is_canonical(&ten));
    g_assert_false(ipprefix_is_canonical(&odd));
    odd = ipprefix_masked(&odd);
    g_assert_cmpstr(ipprefix_print(&odd, buf), ==, "10.0.0.0/12");
    g_assert_cmpstr(ipprefix_print(&one, buf), ==, "10.1.2.3");
    g_assert_cmpstr(ipprefix_print(&six, buf), ==, "[2001:db8::/33]");
    g_assert_cmpstr(ipprefix_print(&all6, buf), ==, "[::/0]");
    host6 = prefix("1111:2222:3333:4444:5555:6666:7777:8888", 127);
    g_assert_cmpstr(ipprefix_print(&host6, buf), ==,
                    "[1111:2222:3333:4444:5555:6666:7777:8888/127]");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/addr/parse", test_parse);
    g_test_add_func("/addr/kinds", test_kinds);
    g_test_add_func("/addr/sockaddr", test_sockaddr);
    g_test_add_func("/addr/prefix", test_prefix);
    return g_test_run();
}
