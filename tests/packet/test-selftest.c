/* SPDX-License-Identifier: BSD-3-Clause */
/* The harness itself: its checks fail when they should. */
#include <fcntl.h>
#include <unistd.h>

#include "harness.h"

/* Run a test that must fail in a process of its own, with this message. */
static void must_fail(const char *path, const char *message)
{
    g_test_trap_subprocess(path, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr(message);
}

static void leak_descriptor(void)
{
    g_autoptr(Net) net = net_new();

    guest_new(net);
    g_assert_cmpint(open("/dev/null", O_RDONLY | O_CLOEXEC), >=, 0);
}

static void leak_flow(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(echo));

    conn_expect_established(conn);
    guest_expect_idle(guest);
}

static void unexpected_frame(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);

    guest_ping(guest, "10.0.2.2", 1, 1, "x", 1);
    guest_expect_none(guest, 10, m_icmp());
}

static void unexpected_log(void)
{
    Net *net = net_new();

    g_critical("something is wrong");
    net_free(net);
}

static void missing_log(void)
{
    g_autoptr(Net) net = net_new();

    net_expect_log(net, "*never*");
}

static void wrong_data(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(echo));

    conn_send_text(conn, "abc");
    conn_expect_text(conn, "abd");
}

static void wrong_state(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = net_refused_port(net, AF_INET, SOCK_STREAM);

    conn_expect_established(guest_connect(guest, "10.0.2.2", port));
}

static const struct {
    const char *path;
    GTestFunc func;
    const char *message;
} failures[] = {
    { "leaked-descriptor", leak_descriptor, "*leaked descriptor*/dev/null*" },
    { "leaked-flow", leak_flow, "*not idle: 1 TCP*" },
    { "unexpected-frame", unexpected_frame, "*unexpected frame: *ICMP*" },
    { "unexpected-log", unexpected_log, "*unexpected message: something*" },
    { "missing-log", missing_log, "*message did not come: *never*" },
    { "wrong-data", wrong_data, "*assertion failed*" },
    { "wrong-state", wrong_state, "*is RESET, expected ESTABLISHED*" },
};

static void test_failure(const void *opaque)
{
    gsize i = GPOINTER_TO_SIZE(opaque);
    g_autofree char *path =
        g_strdup_printf("/selftest/%s/subprocess", failures[i].path);

    must_fail(path, failures[i].message);
}

static void test_expected_log(void)
{
    g_autoptr(Net) net = net_new();

    net_expect_log(net, "*is wrong");
    g_critical("something is wrong");
}

static void test_setenv(void)
{
    Net *net = net_new();

    net_setenv(net, "PACKET_SELFTEST", "1");
    g_assert_cmpstr(g_getenv("PACKET_SELFTEST"), ==, "1");
    net_free(net);
    g_assert_null(g_getenv("PACKET_SELFTEST"));
}

/* A good frame around the packet, with one byte changed; at 0: none. */
static char *problem_of(GByteArray *packet, size_t at)
{
    static const uint8_t dst[6] = { 2 }, src[6] = { 2, 1 };
    bool v4 = packet->data[0] >> 4 == 4;
    g_autoptr(GByteArray) bytes =
        frame_ethernet(dst, src, v4 ? 0x0800 : 0x86dd);
    g_autofree Frame *frame = NULL;

    g_byte_array_append(bytes, packet->data, packet->len);
    g_byte_array_unref(packet);
    if (at) {
        bytes->data[at] ^= 0x40;
    }
    frame = frame_parse(bytes->data, bytes->len);
    return frame_problem(frame, 1500);
}

static void assert_problem(GByteArray *packet, size_t at, const char *want)
{
    g_autofree char *problem = problem_of(packet, at);

    g_assert_cmpstr(problem, ==, want);
}

static GByteArray *sample_udp(const char *from, const char *to, size_t len)
{
    g_autoptr(GByteArray) data = pattern_new(1, len);

    return packet_udp(endpoint(from, 1), endpoint(to, 2), data->data, len);
}

static GByteArray *sample_tcp(bool corrupt)
{
    TcpSegment segment = { .from = endpoint("fec0::2", 1),
                           .to = endpoint("fec0::3", 2),
                           .flags = TCP_SYN,
                           .corrupt = corrupt };

    return packet_tcp(&segment);
}

static void test_frame_checks(void)
{
    assert_problem(sample_udp("10.0.2.2", "10.0.2.15", 5), 0, NULL);
    assert_problem(sample_udp("fec0::2", "fec0::3", 5), 0, NULL);
    assert_problem(sample_udp("10.0.2.2", "10.0.2.15", 5), 44,
                   "wrong transport checksum");
    assert_problem(sample_udp("fec0::2", "fec0::3", 5), 63,
                   "wrong transport checksum");
    assert_problem(sample_udp("10.0.2.2", "10.0.2.15", 5), 22,
                   "wrong IPv4 header checksum");
    assert_problem(sample_udp("10.0.2.2", "10.0.2.15", 5), 39,
                   "UDP length disagrees with IP");
    assert_problem(sample_udp("10.0.2.2", "10.0.2.15", 1473), 0,
                   "larger than the MTU");
    assert_problem(sample_tcp(false), 0, NULL);
    assert_problem(sample_tcp(true), 0, "wrong transport checksum");
}

static void test_matchers(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    const Frame *f;

    guest_ping(guest, "10.0.2.2", 1, 1, "x", 1);
    f = guest_expect(guest, m_either(m_tcp(), m_icmp()), m_text("x"));
    g_assert_true(match_all(m_list(m_any()), f));
    g_assert_true(match_all(m_list(m_not(m_udp()), m_icmp_type(0)), f));
    g_assert_false(match_all(m_list(m_icmp(), m_icmp_type(8)), f));
    g_assert_false(match_all(m_list(m_not(m_has_payload())), f));
    g_assert_null(guest_take(guest, m_list(m_icmp()))); /* taken already */
    g_assert_cmpuint(guest_count_frames(guest, m_icmp()), ==, 1);
}

static bool lose_data(const Frame *frame, void *opaque)
{
    int *left = opaque;

    return frame->kind != FRAME_TCP || frame->payload_len == 0 ||
           (*left)-- <= 0;
}

/* Losses on the way to the guest are repaired on the virtual clock. */
static void test_loss(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *source = server_new(net, .mode = PEER_SOURCE, .source_len = 5000);
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(source));
    int losses = 1;

    guest_set_filter(guest, lose_data, &losses);
    conn_expect_established(conn);
    net_await_virtual(net, 10000, conn_eof(conn));
    g_assert_cmpuint(conn_len(conn), ==, 5000);
    conn_close(conn);
    guest_expect_idle(guest);
}

static void add_failure(gsize i)
{
    g_autofree char *path = g_strdup_printf("/selftest/%s", failures[i].path);
    g_autofree char *inner = g_strdup_printf("%s/subprocess", path);

    g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_failure);
    g_test_add_func(inner, failures[i].func);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    for (gsize i = 0; i < G_N_ELEMENTS(failures); i++) {
        add_failure(i);
    }
    g_test_add_func("/selftest/expected-log", test_expected_log);
    g_test_add_func("/selftest/setenv", test_setenv);
    g_test_add_func("/selftest/frame-checks", test_frame_checks);
    g_test_add_func("/selftest/matchers", test_matchers);
    g_test_add_func("/selftest/loss", test_loss);
    return g_test_run();
}
