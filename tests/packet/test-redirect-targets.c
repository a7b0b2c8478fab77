/* SPDX-License-Identifier: BSD-3-Clause */
/* Every form of a target and of a destination, over TCP. */
#include "redirect.h"

typedef struct Case {
    const char *name;
    const char *rule; /* %u: the server's port */
    int family;       /* of the server */
    const char *dst;
    uint16_t port; /* 0: the server's */
} Case;

static const Case cases[] = {
    { "literal", "tcp:80-127.0.0.1:%u", AF_INET, "198.51.100.7", 80 },
    { "shorthand", "tcp:80-:%u", AF_INET, "198.51.100.7", 80 },
    { "address-keeps-port", "tcp:*-127.0.0.1", AF_INET, "198.51.100.7", 0 },
    { "keep-address", "tcp:80-*:%u", AF_INET, "10.0.2.2", 80 },
    { "keep-address-v6", "tcp:80-*:%u", AF_INET6, "fec0::2", 80 },
    { "name", "tcp:80-one.test:%u", AF_INET, "198.51.100.7", 80 },
    { "v6", "tcp:80-[::1]:%u", AF_INET6, "2001:db8::7", 80 },
    { "v4-to-v6", "tcp:80-[::1]:%u", AF_INET6, "198.51.100.7", 80 },
    { "v6-to-v4", "tcp:80-127.0.0.1:%u", AF_INET, "2001:db8::7", 80 },
    { "other-loopback", "tcp:80-127.0.0.1:%u", AF_INET, "127.0.0.1", 80 },
    { "prefix", "tcp:198.51.100.0/24:80-:%u", AF_INET, "198.51.100.7", 80 },
    { "prefix-v6", "tcp:[2001:db8::/32]:80-:%u", AF_INET, "2001:db8::7", 80 },
    { "family", "tcp6:*:80-:%u", AF_INET, "2001:db8::7", 80 },
    { "any", "any:80-:%u", AF_INET, "198.51.100.7", 80 },
    { "host", "tcp:host:80-:%u", AF_INET, "10.0.2.2", 80 },
    { "host-v6", "tcp:host:80-:%u", AF_INET, "fec0::2", 80 },
    { "host-literal", "tcp:10.0.2.2:80-:%u", AF_INET, "10.0.2.2", 80 },
    { "host-literal-v6", "tcp:[fec0::2]:80-:%u", AF_INET, "fec0::2", 80 },
    { "dns", "tcp:dns:53-:%u", AF_INET, "10.0.2.3", 53 },
    { "dns-v6", "tcp:dns:53-:%u", AF_INET, "fec0::3", 53 },
    { "dns-literal", "tcp:10.0.2.3:53-:%u", AF_INET, "10.0.2.3", 53 },
    { "dns-literal-v6", "tcp:[fec0::3]:53-:%u", AF_INET, "fec0::3", 53 },
    { "private", "tcp:private:80-:%u", AF_INET, "192.168.7.7", 80 },
    { "meta", "tcp:meta:80-:%u", AF_INET, "169.254.169.254", 80 },
    { "source", "tcp:80@10.0.2.15-:%u", AF_INET, "198.51.100.7", 80 },
    { "options", "tcp:80-:%u+log+name=web+timeout=5", AF_INET, "198.51.100.7",
      80 },
    { "second-rule", "tcp:81-reject\ntcp:80-:%u", AF_INET, "198.51.100.7", 80 },
};

static char *rules_for(const Case *c, uint16_t port)
{
    g_auto(GStrv) parts = g_strsplit(c->rule, "%u", 2);
    g_autofree char *number = g_strdup_printf("%u", port);

    return g_strjoinv(number, parts);
}

/* The guest sees nobody but the destination it asked for. */
static void test_form(const void *opaque)
{
    const Case *c = opaque;
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO, .family = c->family);
    g_autofree char *rules = rules_for(c, peer_port(echo));
    uint16_t port = c->port ? c->port : peer_port(echo);
    int id = strchr(c->rule, '\n') ? 2 : 1;
    Conn *conn;

    guest_set_rules(guest, "%s", rules);
    conn = guest_connect(guest, c->dst, port);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    guest_expect(guest, m_tcp(), m_from(c->dst, port),
                 m_flags(TCP_SYN | TCP_ACK));
    guest_expect_none(guest, 0, m_tcp(), m_not(m_from(c->dst, port)));
    g_assert_cmpuint(server_accepted(echo), ==, 1);
    conn_close(conn);
    guest_expect_idle(guest);
    guest_expect_counts(guest, id, 1, 0, 0);
    guest_expect_bytes(guest, id, 5, 5);
}

static void expect_echo(Guest *guest, uint16_t port)
{
    Conn *conn = guest_connect(guest, "198.51.100.7", port);

    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
}

static void test_shifted_range(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);

    guest_set_rules(guest, "tcp:8000..8010-:%u..", peer_port(echo) - 3);
    expect_echo(guest, 8003);
    guest_set_rules(guest, "tcp:8000..8003-:%u..%u", peer_port(echo) - 3,
                    peer_port(echo));
    expect_echo(guest, 8003);
    guest_expect_idle(guest);
}

static void test_collapsed_range(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);

    guest_set_rules(guest, "tcp:8000..8010-:%u", peer_port(echo));
    expect_echo(guest, 8000);
    expect_echo(guest, 8010);
    guest_expect_counts(guest, 1, 2, 0, 0);
    guest_expect_idle(guest);
}

/* A rule for one source leaves the others alone. */
static void test_source(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .restricted = true);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *mine, *other;

    guest_set_rules(guest, "tcp:80@10.0.2.15-:%u", peer_port(echo));
    mine = guest_connect(guest, "198.51.100.7", 80);
    other = guest_connect(guest, "198.51.100.7", 80, .from = "10.0.2.77");
    conn_expect_established(mine);
    conn_close(mine);
    net_advance(net, 1000);
    g_assert_cmpint(conn_state(other), !=, CONN_ESTABLISHED);
    g_assert_cmpuint(server_accepted(echo), ==, 1);
    guest_expect_idle(guest);
}

/* The original destination would have been reachable, and is left alone. */
static void test_destination_untouched(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *asked = server_new(net, .mode = PEER_ECHO);
    Peer *target = server_new(net, .mode = PEER_ECHO);
    Conn *conn;

    guest_set_rules(guest, "tcp:10.0.2.2:%u-:%u", peer_port(asked),
                    peer_port(target));
    conn = guest_connect(guest, "10.0.2.2", peer_port(asked));
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    conn_close(conn);
    g_assert_cmpuint(server_accepted(asked), ==, 0);
    g_assert_cmpuint(server_accepted(target), ==, 1);
    guest_expect_idle(guest);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    resolver_set("one.test", "127.0.0.1", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path =
            g_strdup_printf("/redirect/targets/form/%s", cases[i].name);

        g_test_add_data_func(path, &cases[i], test_form);
    }
    g_test_add_func("/redirect/targets/shifted-range", test_shifted_range);
    g_test_add_func("/redirect/targets/collapsed-range", test_collapsed_range);
    g_test_add_func("/redirect/targets/source", test_source);
    g_test_add_func("/redirect/targets/destination-untouched",
                    test_destination_untouched);
    return g_test_run();
}
