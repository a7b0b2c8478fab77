/* SPDX-License-Identifier: BSD-3-Clause */
/* Changes of the table while flows run, and where rules are read again. */
#include "client.h"

enum { REPLACES = 10000, CONNS = 4 };

/* The rules as a list shows them, separated by blanks; g_free(). */
static char *rules_of(Client *client)
{
    g_autoptr(JsonParser) parser = client_ask_json(client, "list --json");
    JsonObject *root = json_node_get_object(json_parser_get_root(parser));
    JsonArray *rules = json_object_get_array_member(root, "rules");
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < json_array_get_length(rules); i++) {
        JsonObject *rule = json_array_get_object_element(rules, i);

        g_string_append_printf(text, "%s%s", i > 0 ? " " : "",
                               json_object_get_string_member(rule, "rule"));
    }
    return g_string_free(text, FALSE);
}

#define assert_rules(client, expected)                                         \
    do {                                                                       \
        g_autofree char *rules_ = rules_of(client);                            \
        g_assert_cmpstr(rules_, ==, expected);                                 \
    } while (0)

static gint64 stat_of(Client *client, const char *name)
{
    g_autoptr(JsonParser) parser = client_ask_json(client, "stats --json");
    JsonObject *root = json_node_get_object(json_parser_get_root(parser));

    return json_object_get_int_member(root, name);
}

static void do_ask(Client *client, const char *line)
{
    g_free(client_ask(client, line));
}

static void do_refused(Client *client, const char *code, const char *line)
{
    g_free(client_refused(client, code, line));
}

/* ---- commands ---- */

static void test_commands(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    Guest *guest = guest_new(net);
    g_autoptr(Client) client = client_new(net, path);
    g_autofree char *info = NULL;

    do_ask(client, "add tcp:80-:8080+name=web");
    do_ask(client, "add any:private:*-reject");
    do_ask(client, "add tcp:443-10.0.0.5 before 2");
    do_ask(client, "  add\ttcp:22-pass  before web ");
    assert_rules(client, "tcp:22-pass tcp:80-127.0.0.1:8080+name=web "
                         "tcp:443-10.0.0.5 any:private:*-reject");
    info = slirp_connection_info(guest_slirp(guest));
    g_assert_nonnull(strstr(info, "tcp:443-10.0.0.5"));
    do_ask(client, "del web");
    do_ask(client, "del 4");
    assert_rules(client, "tcp:443-10.0.0.5 any:private:*-reject");
    do_refused(client, "missing", "del web");
    do_refused(client, "missing", "del 4");
    do_refused(client, "missing", "flush web");
    do_refused(client, "missing", "add tcp:80-:8080 before nobody");
    do_refused(client, "rules", "add tcp:80-8080");
    do_refused(client, "rules", "replace <<E\ntcp:1-:2\ntcp:80\nE");
    do_refused(client, "syntax", "replace");
    do_refused(client, "syntax", "list <<E\nE");
    do_refused(client, "syntax", "add");
    do_refused(client, "syntax", "list --xml");
    do_refused(client, "syntax", "flows --openmetrics");
    do_refused(client, "syntax", "explain tcp nowhere");
    do_refused(client, "syntax", "explain sctp 1.2.3.4:80");
    do_refused(client, "syntax", "explain tcp 1.2.3.4:80 from ::1");
    do_refused(client, "syntax", "frobnicate");
    do_refused(client, "failed", "reload");
    do_refused(client, "failed", "reopen-log");
    assert_rules(client, "tcp:443-10.0.0.5 any:private:*-reject");
    do_ask(client, "replace <<E F\n\ntcp:1-:2\nE F");
    assert_rules(client, "tcp:1-127.0.0.1:2");
    do_ask(client, "replace <<E\nE"); /* an empty table is one, too */
    assert_rules(client, "");
    do_refused(client, "syntax", "replace <<\n\nlist");
    client_expect_closed(client);
}

static void test_explain(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);

    net_setenv(net, "SLIRP_REDIRECT", "udp:53-:5353 tcp:80-:8080 tcp:1-:1");
    guest_new(net);
    g_autoptr(Client) client = client_new(net, path);
    g_autofree char *text = client_ask(client, "explain tcp 1.2.3.4:80");
    g_assert_cmpstr(text, ==,
                    "tcp from 10.0.2.15 to 1.2.3.4 port 80\n"
                    "1. udp:53-127.0.0.1:5353\n"
                    "   no: udp only\n"
                    "2. tcp:80-127.0.0.1:8080\n"
                    "   this rule decides: to port 8080 of its target\n");
    g_autofree char *none = client_ask(client, "explain tcp 1.2.3.4:81");
    g_assert_nonnull(strstr(none, "no rule decides"));
    g_autofree char *json =
        client_ask(client, "explain udp [2001:db8::1]:53 --json");
    g_assert_nonnull(strstr(json, "\"decides\":true"));
}

/* ---- a storm of changes ---- */

typedef struct Storm {
    Net *net;
    Guest *guest;
    Client *client;
    Peer *echo, *servers[2];
    Conn *conns[CONNS];
} Storm;

static void storm_init(Storm *s, Net *net)
{
    g_autofree char *path = control_path(net);

    s->net = net;
    s->guest = guest_new(net);
    s->client = client_new(net, path);
    s->echo = server_new(net, .mode = PEER_ECHO);
    for (int i = 0; i < 2; i++) {
        s->servers[i] = server_new(net, .mode = PEER_SINK, .type = SOCK_DGRAM);
    }
}

/* Datagrams go to server 0 or 1; the TCP rule is there or not. */
static void storm_replace(Storm *s, unsigned n)
{
    unsigned port = peer_port(s->servers[n % 2]);
    g_autofree char *tcp = g_strdup_printf("tcp:80-:%u\n", peer_port(s->echo));
    g_autofree char *whole = g_strdup_printf("replace <<E\nudp:53-:%u\n%sE",
                                             port, n % 4 < 2 ? tcp : "");

    do_ask(s->client, whole);
}

/* A datagram sent after a change goes where the new table says. */
static void storm_datagram(Storm *s, unsigned n)
{
    Peer *right = s->servers[n % 2], *wrong = s->servers[1 - n % 2];
    unsigned had = peer_datagrams(right), other = peer_datagrams(wrong);

    guest_send_text(s->guest, 5000, "198.51.100.1", 53, "question");
    net_await(s->net, peer_datagrams(right) == had + 1);
    g_assert_cmpuint(peer_datagrams(wrong), ==, other);
}

static void storm_talk(Storm *s)
{
    for (int i = 0; i < CONNS; i++) {
        conn_send_text(s->conns[i], "echo");
        conn_expect_text(s->conns[i], "echo");
    }
}

static void test_storm(void)
{
    g_autoptr(Net) net = net_new();
    Storm s;
    gint64 start;

    storm_init(&s, net);
    storm_replace(&s, 0);
    for (int i = 0; i < CONNS; i++) {
        s.conns[i] = guest_connect(s.guest, "198.51.100.1", 80);
        conn_expect_established(s.conns[i]);
    }
    start = g_get_monotonic_time();
    for (unsigned n = 1; n <= REPLACES; n++) {
        storm_replace(&s, n);
        if (n % 7 == 0) {
            storm_datagram(&s, n);
        }
        if (n % 50 == 0) {
            storm_talk(&s);
        }
    }
    g_test_message("%d replaces with flows: %.0f a second", REPLACES,
                   REPLACES * 1e6 / (g_get_monotonic_time() - start));
    g_assert_cmpint(stat_of(s.client, "tables"), ==, REPLACES + 1);
    g_assert_cmpint(stat_of(s.client, "tcp_flows"), ==, CONNS);
    /* The last change has ended the flow of the rule before it. */
    g_assert_cmpint(stat_of(s.client, "udp_flows"), ==, 0);
    for (int i = 0; i < CONNS; i++) {
        conn_close(s.conns[i]);
    }
    guest_expect_idle(s.guest);
    client_free(s.client);
}

/* ---- flows ---- */

static void test_flows(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    g_autofree char *add =
        g_strdup_printf("add tcp:80-:%u+name=web", peer_port(echo));
    g_autoptr(Client) client = client_new(net, path);
    Conn *conn;

    do_ask(client, add);
    conn = guest_connect(guest, "198.51.100.1", 80);
    conn_send_text(conn, "hello");
    conn_expect_text(conn, "hello");
    do_ask(client, "del web");
    g_autoptr(JsonParser) parser = client_ask_json(client, "flows --json");
    JsonObject *flow = json_array_get_object_element(
        json_object_get_array_member(
            json_node_get_object(json_parser_get_root(parser)), "flows"),
        0);
    g_assert_cmpint(json_object_get_int_member(flow, "bytes_out"), ==, 5);
    g_assert_cmpint(json_object_get_int_member(flow, "bytes_in"), ==, 5);
    g_assert_cmpint(json_object_get_int_member(flow, "rule"), ==, 1);
    g_assert_false(json_object_get_boolean_member(flow, "rule_in_table"));
    g_assert_cmpstr(json_object_get_string_member(flow, "state"), ==,
                    "established");
    g_assert_cmpstr(json_object_get_string_member(flow, "destination"), ==,
                    "198.51.100.1:80");
    conn_abort(conn);
    guest_expect_idle(guest);
}

/* Three flows of three rules and states; flushed by name, ID and all. */
static void test_flush(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    Guest *guest = guest_new(net);
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Peer *sink = server_new(net, .mode = PEER_SINK, .type = SOCK_DGRAM);
    Peer *silent = server_new_busy(net, AF_INET, 0);
    g_autofree char *replace = g_strdup_printf(
        "replace <<E\ntcp:80-:%u+name=web\nudp:53-:%u\ntcp:81-:%u\nE",
        peer_port(echo), peer_port(sink), peer_port(silent));
    g_autoptr(Client) client = client_new(net, path);
    g_autofree char *n = NULL, *one = NULL, *all = NULL;
    Conn *conn, *other, *waiting;

    do_ask(client, replace);
    conn = guest_connect(guest, "198.51.100.1", 80);
    other = guest_connect(guest, "198.51.100.2", 80);
    waiting = guest_connect(guest, "198.51.100.2", 81);
    conn_expect_established(conn);
    conn_expect_established(other);
    guest_send_text(guest, 5000, "198.51.100.1", 53, "question");
    net_await(net, peer_datagrams(sink) == 1);
    g_assert_cmpint(stat_of(client, "connecting"), ==, 1);
    n = client_ask(client, "flush web");
    g_assert_cmpstr(n, ==, "2\n");
    conn_expect_reset(conn);
    conn_expect_reset(other);
    one = client_ask(client, "flush 2");
    g_assert_cmpstr(one, ==, "1\n");
    g_assert_cmpint(guest_count_udp(guest), ==, 0);
    all = client_ask(client, "flush");
    g_assert_cmpstr(all, ==, "1\n");
    conn_expect_reset(waiting);
    guest_expect_idle(guest);
}

/* ---- rule files ---- */

static char *rule_file(Net *net, const char *text)
{
    char *path = g_build_filename(net_tmpdir(net), "rules", NULL);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    net_setenv(net, "SLIRP_REDIRECT_FILE", path);
    return path;
}

static void test_reload(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    g_autofree char *file = rule_file(net, "tcp:3-:3\n");
    const char *carried[] = { "redirect=tcp:1-:1", NULL };

    net_setenv(net, "SLIRP_REDIRECT", "tcp:2-:2");
    guest_new(net, .dnssearch = carried);
    g_autoptr(Client) client = client_new(net, path);
    g_file_set_contents(file, "tcp:4-:4\n", -1, NULL);
    do_ask(client, "reload");
    assert_rules(client,
                 "tcp:1-127.0.0.1:1 tcp:2-127.0.0.1:2 tcp:4-127.0.0.1:4");
    do_ask(client, "add tcp:5-:5");
    do_ask(client, "add tcp:6-:6 before 4");
    assert_rules(client, "tcp:1-127.0.0.1:1 tcp:5-127.0.0.1:5 "
                         "tcp:2-127.0.0.1:2 tcp:6-127.0.0.1:6 "
                         "tcp:4-127.0.0.1:4");
    g_file_set_contents(file, "tcp:4-4\n", -1, NULL);
    do_refused(client, "rules", "reload");
    g_assert_cmpint(stat_of(client, "reloads_refused"), ==, 1);
    g_autofree char *stats = client_ask(client, "stats");
    g_assert_nonnull(strstr(stats, "tcp:4-4"));
    g_assert_cmpint(stat_of(client, "rules"), ==, 5);
    do_ask(client, "replace <<E\ntcp:9-:9\nE");
    g_file_set_contents(file, "tcp:7-:7\n", -1, NULL);
    do_ask(client, "reload");
    assert_rules(client, "tcp:1-127.0.0.1:1 tcp:5-127.0.0.1:5 "
                         "tcp:2-127.0.0.1:2 tcp:7-127.0.0.1:7");
    g_assert_cmpint(stat_of(client, "reloads"), ==, 2);
}

/* A broken file at the start closes the instance; a good one opens it. */
static void test_reload_opens(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    g_autofree char *file = rule_file(net, "tcp:3-3\n");
    const char *carried[] = { "redirect=tcp:1-:1", NULL };

    net_allow_log(net, "*");
    guest_new(net, .dnssearch = carried);
    g_autoptr(Client) client = client_new(net, path);
    do_refused(client, "closed", "add tcp:2-:2");
    do_refused(client, "closed", "del 1");
    do_refused(client, "rules", "reload");
    g_assert_cmpint(stat_of(client, "rules"), ==, 2);
    g_file_set_contents(file, "tcp:3-:3\n", -1, NULL);
    do_ask(client, "reload");
    assert_rules(client, "tcp:1-127.0.0.1:1 tcp:3-127.0.0.1:3");
}

/* The instance's own rules were wrong: the file alone can not open it. */
static void test_reload_stays_closed(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    const char *carried[] = { "redirect=tcp:1-1", NULL };

    g_free(rule_file(net, "tcp:3-:3\n"));
    net_allow_log(net, "*");
    guest_new(net, .dnssearch = carried);
    g_autoptr(Client) client = client_new(net, path);
    do_refused(client, "closed", "reload");
    do_ask(client, "replace <<E\ntcp:1-:1\nE");
    assert_rules(client, "tcp:1-127.0.0.1:1");
}

static void write_and_await(Net *net, Client *client, const char *file,
                            const char *text, const char *stat)
{
    gint64 before = stat_of(client, stat), end = net_deadline();
    FILE *f = fopen(file, "w"); /* in place, as an editor may do */

    g_assert_nonnull(f);
    g_assert_cmpint(stat_of(client, stat), ==, before);
    fputs(text, f);
    fclose(f);
    while (stat_of(client, stat) == before) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        net_advance(net, 50);
    }
}

static void test_reload_by_itself(void)
{
    g_autoptr(Net) net = net_new();
    g_autofree char *path = control_path(net);
    g_autofree char *file = rule_file(net, "tcp:3-:3\n");

    net_setenv(net, "SLIRP_REDIRECT_RELOAD", "1");
    guest_new(net);
    g_autoptr(Client) client = client_new(net, path);
    write_and_await(net, client, file, "tcp:4-:4\n", "reloads");
    assert_rules(client, "tcp:4-127.0.0.1:4");
    net_expect_log(net, "*the rules of before stay in force*tcp:5*");
    write_and_await(net, client, file, "tcp:5\n", "reloads_refused");
    assert_rules(client, "tcp:4-127.0.0.1:4");
    g_assert_true(g_file_set_contents(file, "tcp:6-:6", -1, NULL)); /* rename */
    net_await_virtual(net, 60000, stat_of(client, "reloads") == 2);
    assert_rules(client, "tcp:6-127.0.0.1:6");
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/live/commands", test_commands);
    g_test_add_func("/live/explain", test_explain);
    g_test_add_func("/live/storm", test_storm);
    g_test_add_func("/live/flows", test_flows);
    g_test_add_func("/live/flush", test_flush);
    g_test_add_func("/live/reload/command", test_reload);
    g_test_add_func("/live/reload/opens", test_reload_opens);
    g_test_add_func("/live/reload/stays-closed", test_reload_stays_closed);
    g_test_add_func("/live/reload/by-itself", test_reload_by_itself);
    return g_test_run();
}
