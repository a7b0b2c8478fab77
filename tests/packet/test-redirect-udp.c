/* SPDX-License-Identifier: BSD-3-Clause */
/* Redirected datagrams: who a reply comes from, and whose an error is. */
#include <arpa/inet.h>
#include <sys/resource.h>

#include "redirect.h"

enum { GUEST_PORT = 5000 };

static const char *const outside[] = { "198.51.100.7", "2001:db8::7" };

static Peer *udp_server(Net *net, PeerMode mode, int family)
{
    return server_new(net, .mode = mode, .type = SOCK_DGRAM, .family = family);
}

static GByteArray *datagram(Guest *guest, const char *dst, uint16_t port,
                            const char *text)
{
    return packet_udp(guest_endpoint(guest, family_of(dst), GUEST_PORT),
                      endpoint(dst, port), text, strlen(text));
}

typedef struct Case {
    const char *name, *rule; /* %u: the server's port */
    int family;              /* of the server */
    const char *dst;
    uint16_t port;
} Case;

static const Case cases[] = {
    { "port-changes", "udp:53-:%u", AF_INET, "198.51.100.7", 53 },
    { "port-changes-v6", "udp:53-[::1]:%u", AF_INET6, "2001:db8::7", 53 },
    { "v4-to-v6", "udp:53-[::1]:%u", AF_INET6, "198.51.100.7", 53 },
    { "v6-to-v4", "udp:53-:%u", AF_INET, "2001:db8::7", 53 },
    { "keep-address", "udp:53-*:%u", AF_INET, "10.0.2.2", 53 },
    { "keep-address-v6", "udp:53-*:%u", AF_INET6, "fec0::2", 53 },
    { "host", "udp:host:53-:%u", AF_INET, "10.0.2.2", 53 },
    { "dns", "udp:dns:53-:%u", AF_INET, "10.0.2.3", 53 },
    { "dns-v6", "udp:dns:53-:%u", AF_INET, "fec0::3", 53 },
    { "any", "any:*-:%u", AF_INET, "198.51.100.7", 7777 },
    { "source", "udp:53@10.0.2.15-:%u", AF_INET, "198.51.100.7", 53 },
    { "source-v6", "udp:53@[fec0::/64]-:%u", AF_INET, "2001:db8::7", 53 },
};

static void set_rule(Guest *guest, const char *rule, uint16_t port)
{
    g_auto(GStrv) parts = g_strsplit(rule, "%u", 2);
    g_autofree char *number = g_strdup_printf("%u", port);
    g_autofree char *text = g_strjoinv(number, parts);

    guest_set_rules(guest, "%s", text);
}

/* Replies come from exactly what the guest wrote to. */
static void test_form(const void *opaque)
{
    const Case *c = opaque;
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = udp_server(net, PEER_ECHO, c->family);
    Endpoint mine = guest_endpoint(guest, family_of(c->dst), GUEST_PORT);

    set_rule(guest, c->rule, peer_port(echo));
    guest_send_text(guest, GUEST_PORT, c->dst, c->port, "hello");
    guest_expect(guest, m_udp(), m_from(c->dst, c->port), m_to_endpoint(mine),
                 m_text("hello"));
    guest_send_text(guest, GUEST_PORT, c->dst, c->port, "again");
    guest_expect(guest, m_udp(), m_from(c->dst, c->port), m_to_endpoint(mine),
                 m_text("again"));
    guest_expect_none(guest, 0, m_udp());
    g_assert_cmpint(guest_count_udp(guest), ==, 1);
    guest_expect_idle(guest);
    guest_expect_counts(guest, 1, 1, 0, 0);
    guest_expect_bytes(guest, 1, 10, 10);
}

/* One socket of the guest, two servers that share a target. */
static void test_two_destinations(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = udp_server(net, PEER_MANUAL, AF_INET);
    Endpoint first;

    guest_set_rules(guest, "udp:53-:%u", peer_port(server));
    guest_send_text(guest, GUEST_PORT, "8.8.8.8", 53, "a");
    peer_expect_text(server, "a");
    first = peer_remote(server);
    peer_send_text(server, "for a, at once");
    guest_expect(guest, m_udp(), m_from("8.8.8.8", 53),
                 m_text("for a, at once"));
    guest_send_text(guest, GUEST_PORT, "1.1.1.1", 53, "b");
    peer_expect_text(server, "b");
    peer_send_text(server, "for b");
    guest_expect(guest, m_udp(), m_from("1.1.1.1", 53), m_text("for b"));
    /* Late, for the first, when the last datagram was for the second. */
    g_assert_cmpint(first.port, !=, peer_remote(server).port);
    {
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(first.port) };

        memcpy(&to.sin_addr, first.addr, 4);
        g_assert_cmpint(sendto(peer_fd(server), "for a", 5, 0,
                               (struct sockaddr *)&to, sizeof(to)),
                        ==, 5);
    }
    guest_expect(guest, m_udp(), m_from("8.8.8.8", 53), m_text("for a"));
    guest_expect_counts(guest, 1, 2, 0, 0);
    guest_expect_idle(guest);
}

/* Redirected and other datagrams of one guest port do not mix. */
static void test_beside_others(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *target = udp_server(net, PEER_ECHO, AF_INET);
    Peer *plain = udp_server(net, PEER_ECHO, AF_INET);

    guest_set_rules(guest, "udp:198.51.100.7:53-:%u", peer_port(target));
    for (int i = 0; i < 2; i++) {
        guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "redirected");
        guest_send_text(guest, GUEST_PORT, "10.0.2.2", peer_port(plain),
                        "plain");
        guest_expect(guest, m_udp(), m_from("198.51.100.7", 53),
                     m_text("redirected"));
        guest_expect(guest, m_udp(), m_from("10.0.2.2", peer_port(plain)),
                     m_text("plain"));
    }
    g_assert_cmpint(guest_count_udp(guest), ==, 2);
    guest_expect_idle(guest);
}

/* A stranger, be it on the target's host, does not get through. */
static void test_stranger(const void *opaque)
{
    int family = family_of(opaque);
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *server = udp_server(net, PEER_MANUAL, family);
    Peer *stranger;

    guest_set_rules(guest,
                    family == AF_INET6 ? "udp:53-[::1]:%u" : "udp:53-:%u",
                    peer_port(server));
    guest_send_text(guest, GUEST_PORT, opaque, 53, "hello");
    peer_expect_text(server, "hello");
    stranger = host_udp(net, family, peer_remote(server).port);
    peer_send_text(stranger, "listen to me");
    guest_expect_none(guest, 1000, m_udp());
    peer_send_text(server, "welcome");
    guest_expect(guest, m_udp(), m_from(opaque, 53), m_text("welcome"));
    guest_expect_idle(guest);
}

/* Errors tell of the flow they belong to, and of its original destination. */
static void test_refused(const void *dst)
{
    static const char *const targets[] = { "127.0.0.1", "[::1]" };
    static const int families[] = { AF_INET, AF_INET6 };
    Net *net;

    for (int i = 0; i < 2; i++) {
        Guest *guest;
        Peer *echo;
        GByteArray *packet;

        net = net_new();
        guest = guest_new(net);
        echo = udp_server(net, PEER_ECHO, AF_INET);
        packet = datagram(guest, dst, 53, "anybody?");
        guest_set_rules(guest, "udp:53-%s:%u\nudp:54-:%u", targets[i],
                        net_refused_port(net, families[i], SOCK_DGRAM),
                        peer_port(echo));
        guest_send_text(guest, GUEST_PORT, dst, 53, "anybody?");
        guest_send_text(guest, GUEST_PORT, dst, 54, "hello");
        guest_expect_unreachable(guest, dst, 3, packet);
        guest_expect(guest, m_udp(), m_from(dst, 54), m_text("hello"));
        guest_send_text(guest, GUEST_PORT, dst, 53, "anybody?");
        guest_expect_unreachable(guest, dst, 3, packet);
        guest_expect_none(guest, 0, m_either(m_icmp(), m_icmp6()));
        guest_expect_counts(guest, 1, 1, 0, 2);
        guest_expect_idle(guest);
        g_byte_array_unref(packet);
        net_free(net);
    }
}

/* The host may not even try: a broadcast target. */
static void test_unreachable(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    g_autoptr(GByteArray) packet = datagram(guest, dst, 53, "hello");

    guest_set_rules(guest, "udp:53-127.255.255.255:53");
    guest_send_text(guest, GUEST_PORT, dst, 53, "hello");
    guest_expect_unreachable(guest, dst, 0, packet);
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_expect_idle(guest);
}

static void test_large(void)
{
    enum { LEN = 60000 };
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) data = pattern_new(3, LEN);
    Guest *guest = guest_new(net);
    Peer *echo = udp_server(net, PEER_ECHO, AF_INET6);

    guest_set_rules(guest, "udp:53-[::1]:%u", peer_port(echo));
    guest_send_fragments(guest,
                         packet_udp(guest_endpoint(guest, AF_INET, GUEST_PORT),
                                    endpoint("198.51.100.7", 53), data->data,
                                    data->len),
                         1480);
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 53),
                 m_payload(data->data, LEN));
    guest_expect_idle(guest);
    guest_expect_bytes(guest, 1, LEN, LEN);
}

static void test_empty(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = udp_server(net, PEER_ECHO, AF_INET);

    guest_set_rules(guest, "udp:53-:%u", peer_port(echo));
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "");
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 53), m_text(""));
    g_assert_cmpuint(peer_datagrams(echo), ==, 1);
    guest_expect_idle(guest);
}

static void test_many(void)
{
    enum { PORTS = 2000, FIRST = 10000 };
    struct rlimit limit;
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = udp_server(net, PEER_ECHO, AF_INET);

    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    if (limit.rlim_max < PORTS + 100) {
        g_test_skip("not enough descriptors");
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    guest_set_rules(guest, "udp:53-:%u", peer_port(echo));
    for (int i = 0; i < PORTS; i++) {
        g_autofree char *text = g_strdup_printf("from %d", FIRST + i);
        Endpoint mine = guest_endpoint(guest, AF_INET, FIRST + i);

        guest_send_text(guest, FIRST + i, "198.51.100.7", 53, text);
        if (i % 100 == 99) { /* not more than a socket's buffer holds */
            net_await(net, peer_datagrams(echo) == (unsigned)i + 1);
        }
        guest_expect(guest, m_udp(), m_from("198.51.100.7", 53),
                     m_to_endpoint(mine), m_text(text));
    }
    g_assert_cmpint(guest_count_udp(guest), ==, PORTS);
    guest_expect_counts(guest, 1, PORTS, 0, 0);
    guest_expect_idle(guest);
}

/* No descriptor left: the guest is told, as of other flows, and no harm. */
static void test_no_descriptors(void)
{
    struct rlimit limit, none = { 0 };
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = udp_server(net, PEER_ECHO, AF_INET);

    guest_set_rules(guest, "udp:53-:%u", peer_port(echo));
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    none.rlim_max = limit.rlim_max;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "hello");
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
    guest_expect(guest, m_icmp(), m_icmp_type(3), m_icmp_code(1),
                 m_from("198.51.100.7", 0));
    guest_expect_counts(guest, 1, 1, 0, 1);
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "hello");
    guest_expect(guest, m_udp(), m_text("hello"));
    guest_expect_idle(guest);
}

static void test_expires(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = udp_server(net, PEER_ECHO, AF_INET);
    Peer *sink = udp_server(net, PEER_SINK, AF_INET);

    guest_set_rules(guest, "udp:1000..1001-:%u\nudp:53-:%u\nudp:54-:%u",
                    peer_port(sink), peer_port(echo), peer_port(echo));
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 1000, "no answer");
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "name?");
    guest_expect(guest, m_udp(), m_text("name?"));
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 54, "other");
    guest_expect(guest, m_udp(), m_text("other"));
    net_advance(net, 9000);
    g_assert_cmpint(guest_count_udp(guest), ==, 3);
    net_advance(net, 2000);
    g_assert_cmpint(guest_count_udp(guest), ==, 2);
    net_advance(net, 228000);
    g_assert_cmpint(guest_count_udp(guest), ==, 2);
    net_advance(net, 2000);
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
    net_stall(net, 300000); /* an idle application, then a datagram */
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "later");
    guest_expect(guest, m_udp(), m_text("later"));
    guest_expect_idle(guest);
}

static const char *const many[] = { "224.0.0.251", "255.255.255.255",
                                    "10.0.2.255", "ff02::fb" };

/* Multicast and broadcast are not for "*", but for a rule that says so. */
static void test_multicast(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .restricted = true);
    Peer *echo = udp_server(net, PEER_ECHO, AF_INET);
    bool v6 = family_of(dst) == AF_INET6;

    guest_set_rules(guest, "udp:*-:%u", peer_port(echo));
    guest_send_text(guest, GUEST_PORT, dst, 5353, "anybody?");
    guest_expect_none(guest, 100, m_udp());
    guest_expect_counts(guest, 1, 0, 0, 0);
    guest_set_rules(guest, v6 ? "udp:[%s]:5353-:%u" : "udp:%s:5353-:%u",
                    (const char *)dst, peer_port(echo));
    guest_send_text(guest, GUEST_PORT, dst, 5353, "anybody?");
    net_await(net, peer_datagrams(echo) == 1);
    guest_expect_counts(guest, 2, 1, 0, 0);
    guest_expect_idle(guest);
}

/* Its rejection is silent: no ICMP error answers a multicast. */
static void test_multicast_rejected(const void *dst)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    bool v6 = family_of(dst) == AF_INET6;

    guest_set_rules(guest, v6 ? "udp:[%s]:*-reject" : "udp:%s:*-reject",
                    (const char *)dst);
    guest_send_text(guest, GUEST_PORT, dst, 5353, "anybody?");
    guest_expect_none(guest, 100, m_either(m_icmp(), m_icmp6()));
    guest_expect_counts(guest, 1, 1, 1, 0);
    guest_expect_idle(guest);
}

/* hostfwd */

static uint16_t add_forward(Guest *guest)
{
    uint16_t port = net_refused_port(guest_net(guest), AF_INET, SOCK_DGRAM);
    struct in_addr host = { inet_addr("127.0.0.1") }, any = { 0 };

    g_assert_cmpint(
        slirp_add_hostfwd(guest_slirp(guest), 1, host, port, any, GUEST_PORT),
        ==, 0);
    return port;
}

static void remove_forward(Guest *guest, uint16_t port)
{
    struct in_addr host = { inet_addr("127.0.0.1") };

    g_assert_cmpint(slirp_remove_hostfwd(guest_slirp(guest), 1, host, port), ==,
                    0);
}

/* An answer goes to the client, whatever the rules and restrict say about new
 * flows; what else the guest sends from that port is a new flow. */
static void test_hostfwd(const void *restricted)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net, .restricted = restricted != NULL);
    uint16_t port = add_forward(guest);
    Peer *target = udp_server(net, PEER_ECHO, AF_INET);
    Peer *client = host_udp(net, AF_INET, port);
    const Frame *f;
    Endpoint from;

    guest_set_rules(guest, "udp:*-:%u", peer_port(target));
    peer_send_text(client, "ping");
    f = guest_expect(guest, m_udp(), m_to_port(GUEST_PORT), m_text("ping"));
    from = f->from;
    guest_send_packet(guest, packet_udp(f->to, from, "pong", 4));
    peer_expect_text(client, "pong");
    guest_expect_counts(guest, 1, 0, 0, 0);
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "escape?");
    guest_expect(guest, m_udp(), m_from("198.51.100.7", 53), m_text("escape?"));
    from.port ^= 1;
    guest_send_packet(guest,
                      packet_udp(guest_endpoint(guest, AF_INET, GUEST_PORT),
                                 from, "other port", 10));
    guest_expect(guest, m_udp(), m_from_endpoint(from), m_text("other port"));
    guest_expect_counts(guest, 1, 2, 0, 0);
    remove_forward(guest, port);
    guest_expect_idle(guest);
}

/* Rules may come after the client's datagram; answers keep it alive. */
static void test_hostfwd_before_rules(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = add_forward(guest);
    Peer *client = host_udp(net, AF_INET, port);
    Endpoint to, from;
    const Frame *f;

    peer_send_text(client, "subscribe");
    f = guest_expect(guest, m_udp(), m_to_port(GUEST_PORT));
    to = f->to;
    from = f->from;
    guest_set_rules(guest, "any:*-reject");
    for (int i = 0; i < 3; i++) {
        guest_send_packet(guest, packet_udp(to, from, "news", 4));
        peer_expect_text(client, "news");
        net_advance(net, 200000);
    }
    net_advance(net, 100000); /* silent for too long */
    guest_send_packet(guest, packet_udp(to, from, "old", 3));
    guest_expect(guest, m_icmp(), m_icmp_type(3), m_icmp_code(3));
    remove_forward(guest, port);
    guest_expect_idle(guest);
}

static void add_all(const char *name, const char *const *dsts, size_t n,
                    GTestDataFunc func)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *path =
            g_strdup_printf("/redirect/udp/%s/%s", name, dsts[i]);

        g_test_add_data_func(path, dsts[i], func);
    }
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path =
            g_strdup_printf("/redirect/udp/form/%s", cases[i].name);

        g_test_add_data_func(path, &cases[i], test_form);
    }
    g_test_add_func("/redirect/udp/two-destinations", test_two_destinations);
    g_test_add_func("/redirect/udp/beside-others", test_beside_others);
    add_all("stranger", outside, 2, test_stranger);
    add_all("refused", outside, 2, test_refused);
    add_all("unreachable", outside, 2, test_unreachable);
    g_test_add_func("/redirect/udp/large", test_large);
    g_test_add_func("/redirect/udp/empty", test_empty);
    g_test_add_func("/redirect/udp/many", test_many);
    g_test_add_func("/redirect/udp/no-descriptors", test_no_descriptors);
    g_test_add_func("/redirect/udp/expires", test_expires);
    add_all("multicast", many, G_N_ELEMENTS(many), test_multicast);
    add_all("multicast-rejected", many, G_N_ELEMENTS(many),
            test_multicast_rejected);
    g_test_add_data_func("/redirect/udp/hostfwd/open", NULL, test_hostfwd);
    g_test_add_data_func("/redirect/udp/hostfwd/restricted", "restrict",
                         test_hostfwd);
    g_test_add_func("/redirect/udp/hostfwd-before-rules",
                    test_hostfwd_before_rules);
    return g_test_run();
}
