/* SPDX-License-Identifier: BSD-3-Clause */
/* slirp_connection_info(): upstream's lines, and the section behind them. */
#include <arpa/inet.h>

#include "redirect.h"

enum { GUEST_PORT = 5000 };

static const char head[] = "  Protocol[State]    FD  Source Address  Port   "
                           "Dest. Address  Port RecvQ SendQ\n";

static void expect_match(const char *text, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

static void expect_match(const char *text, const char *format, ...)
{
    g_autofree char *pattern = NULL;
    va_list args;

    va_start(args, format);
    pattern = g_strdup_vprintf(format, args);
    va_end(args);
    if (!g_regex_match_simple(pattern, text, 0, 0)) {
        g_error("no match for\n%s\nin\n%s", pattern, text);
    }
}

/* Without rules not a byte is added. */
static void test_plain(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *tcp = server_new(net, .mode = PEER_ECHO);
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM);
    g_autofree char *empty = slirp_connection_info(guest_slirp(guest));
    g_autofree char *rules = slirp_redirect_info(guest_slirp(guest));
    g_autofree char *text = NULL;
    Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(tcp));

    g_assert_cmpstr(empty, ==, head);
    g_assert_cmpstr(rules, ==, "");
    conn_expect_established(conn);
    guest_send_text(guest, GUEST_PORT, "10.0.2.2", peer_port(udp), "hello");
    guest_expect(guest, m_udp());
    text = slirp_connection_info(guest_slirp(guest));
    expect_match(text,
                 "^.*\n  TCP\\[ESTABLISHED\\]  +\\d+       10\\.0\\.2\\.15 %5u "
                 "       10\\.0\\.2\\.2 %5u     0     0\n"
                 "  UDP\\[240 sec\\]      +\\d+       10\\.0\\.2\\.15  5000 "
                 "       10\\.0\\.2\\.2 %5u     0     0\n$",
                 conn_local(conn).port, peer_port(tcp), peer_port(udp));
    conn_close(conn);
    guest_expect_idle(guest);
}

static void test_ipv6(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *tcp = server_new(net, .mode = PEER_ECHO, .family = AF_INET6);
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM,
                           .family = AF_INET6);
    Conn *conn = guest_connect(guest, "fec0::2", peer_port(tcp));
    g_autofree char *text = NULL;

    conn_expect_established(conn);
    guest_send_text(guest, GUEST_PORT, "fec0::2", peer_port(udp), "hello");
    guest_expect(guest, m_udp());
    text = slirp_connection_info(guest_slirp(guest));
    expect_match(text,
                 "  TCP\\[ESTABLISHED\\]  +\\d+ fec0::5054:ff:fe12:3456 %5u "
                 "        fec0::2 %5u     0     0\n"
                 "  UDP\\[240 sec\\]      +\\d+ fec0::5054:ff:fe12:3456  5000 "
                 "        fec0::2 %5u     0     0\n",
                 conn_local(conn).port, peer_port(tcp), peer_port(udp));
    conn_close(conn);
    guest_expect_idle(guest);
}

/* Tools look for the port of a hostfwd in the fourth field of a line that has
 * the field TCP[HOST_FORWARD], and must find it with rules as without. */
static void test_hostfwd(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    uint16_t port = net_refused_port(net, AF_INET, SOCK_STREAM);
    uint16_t port6 = net_refused_port(net, AF_INET6, SOCK_STREAM);
    struct in_addr host = { inet_addr("127.0.0.1") }, any = { 0 };
    struct sockaddr_in6 host6 = { .sin6_family = AF_INET6,
                                  .sin6_port = htons(port6),
                                  .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    struct sockaddr_in6 to6 = { .sin6_family = AF_INET6,
                                .sin6_port = htons(22) };
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    unsigned found = 0;

    inet_pton(AF_INET6, "fec0::15", &to6.sin6_addr);
    slirp_add_hostfwd(guest_slirp(guest), 0, host, port, any, 22);
    g_assert_cmpint(slirp_add_hostxfwd(guest_slirp(guest),
                                       (struct sockaddr *)&host6, sizeof(host6),
                                       (struct sockaddr *)&to6, sizeof(to6), 0),
                    ==, 0);
    guest_set_rules(guest, "tcp:22-:2222+name=TCP_HOST_FORWARD\n"
                           "tcp:23-unix:/TCP%%5bHOST_FORWARD%%5d%%2022");
    text = slirp_connection_info(guest_slirp(guest));
    expect_match(text,
                 "  TCP\\[HOST_FORWARD\\] +\\d+       127\\.0\\.0\\.1 %5u "
                 "      10\\.0\\.2\\.15    22     0     0\n",
                 port);
    expect_match(text,
                 "  TCP\\[HOST_FORWARD\\] +\\d+             ::1 %5u "
                 "       fec0::15    22     0     0\n",
                 port6);
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        found += g_regex_match_simple("(^|\\s)TCP\\[HOST_FORWARD\\](\\s|$)",
                                      *line, 0, 0);
    }
    g_assert_cmpuint(found, ==, 2);
    slirp_remove_hostfwd(guest_slirp(guest), 0, host, port);
    slirp_remove_hostxfwd(guest_slirp(guest), (struct sockaddr *)&host6,
                          sizeof(host6), 0);
}

/* Rules with their counters, then flows: rule, guest, original, target. */
static void test_section(void)
{
    g_autoptr(Net) net = net_new();
    Guest *guest = guest_new(net);
    Peer *tcp = server_new(net, .mode = PEER_ECHO);
    Peer *udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM,
                           .family = AF_UNIX);
    g_autofree char *text = NULL, *own = NULL;
    Conn *conn;

    guest_set_rules(guest, "udp:53-unix:%s\ntcp:80-:%u+log\nany:*-reject",
                    peer_path(udp), peer_port(tcp));
    conn = guest_connect(guest, "2001:db8::7", 80);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    guest_send_text(guest, GUEST_PORT, "198.51.100.7", 53, "abc");
    guest_expect(guest, m_udp());
    text = slirp_connection_info(guest_slirp(guest));
    own = slirp_redirect_info(guest_slirp(guest));
    g_assert_true(g_str_has_prefix(text, head));
    g_assert_true(g_str_has_suffix(text, own));
    expect_match(text, /* upstream's lines show the original destination */
                 "  TCP\\[ESTABLISHED\\]  +\\d+ fec0::5054:ff:fe12:3456 %5u "
                 "    2001:db8::7    80     0     0\n",
                 conn_local(conn).port);
    expect_match(
        own,
        "^  Redirects \\(the first match decides\\):\n"
        "    ID      Flows Refused  Failed     Bytes out      Bytes in"
        "     Last hit  Rule\n"
        "     1          1       0       0             3             3 "
        "     \\d s ago  udp:53-unix:%s\n"
        "     2          1       0       0             5             5 "
        "     \\d s ago  tcp:80-127\\.0\\.0\\.1:%u\\+log\n"
        "     3          0       0       0             0             0 "
        "       never  any:\\*-reject\n"
        "  Redirected flows \\(rule, guest > asked for > target\\):\n"
        "     2 tcp   \\[fec0::5054:ff:fe12:3456\\]:%u > "
        "\\[2001:db8::7\\]:80 > 127\\.0\\.0\\.1:%u\n"
        "     1 udp   10\\.0\\.2\\.15:5000 > 198\\.51\\.100\\.7:53 > "
        "unix:%s\n$",
        peer_path(udp), peer_port(tcp), conn_local(conn).port, peer_port(tcp),
        peer_path(udp));
    conn_close(conn);
    guest_expect_idle(guest);
}

/* A path cannot make lines of its own. */
static void test_odd_path(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = g_strdup_printf("%s/a\nb c", net_tmpdir(net));
    g_autofree char *escaped =
        g_strdup_printf("%s/a%%0Ab%%20c", net_tmpdir(net));
    Guest *guest = guest_new(net);
    Peer *echo =
        server_new(net, .mode = PEER_ECHO, .family = AF_UNIX, .path = path);
    g_autofree char *text = NULL;
    Conn *conn;

    guest_set_rules(guest, "tcp:80-unix:%s", escaped);
    conn = guest_connect(guest, "198.51.100.7", 80);
    conn_expect_established(conn);
    text = slirp_redirect_info(guest_slirp(guest));
    g_assert_nonnull(strstr(text, " > unix:"));
    expect_match(text, " > unix:%s\n$", escaped);
    conn_close(conn);
    guest_expect_idle(guest);
    peer_close(echo);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/redirect/info/plain", test_plain);
    g_test_add_func("/redirect/info/ipv6", test_ipv6);
    g_test_add_func("/redirect/info/hostfwd", test_hostfwd);
    g_test_add_func("/redirect/info/section", test_section);
    g_test_add_func("/redirect/info/odd-path", test_odd_path);
    return g_test_run();
}
