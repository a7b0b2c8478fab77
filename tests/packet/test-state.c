/* SPDX-License-Identifier: BSD-3-Clause */
/* Saving an instance and loading it into another one (migration). */
#include <arpa/inet.h>

#include "harness.h"

typedef struct Stream {
    GByteArray *bytes;
    size_t at;
} Stream;

static slirp_ssize_t stream_write(const void *data, size_t len, void *opaque)
{
    Stream *stream = opaque;

    g_byte_array_append(stream->bytes, data, (guint)len);
    return (slirp_ssize_t)len;
}

static slirp_ssize_t stream_read(void *data, size_t len, void *opaque)
{
    Stream *stream = opaque;

    len = MIN(len, stream->bytes->len - stream->at);
    memcpy(data, stream->bytes->data + stream->at, len);
    stream->at += len;
    return (slirp_ssize_t)len;
}

static void test_round_trip(void)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    Guest *source = guest_new(net), *target = guest_new(net);
    Stream stream = { bytes, 0 };
    Peer *echo = server_new(net, .mode = PEER_ECHO);
    Conn *conn;

    slirp_state_save(guest_slirp(source), stream_write, &stream);
    g_assert_cmpuint(bytes->len, >, 0);
    g_assert_cmpint(slirp_state_load(guest_slirp(target), slirp_state_version(),
                                     stream_read, &stream),
                    ==, 0);
    g_assert_cmpuint(stream.at, ==, bytes->len);
    guest_free(source);
    conn = guest_connect(target, "10.0.2.2", peer_port(echo));
    conn_expect_established(conn);
    conn_close(conn);
    guest_expect_idle(target);
}

/* A guest forward is the one flow that survives. */
static void test_guestfwd_survives(void)
{
    g_autoptr(Net) net = net_new();
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GByteArray) got = g_byte_array_new();
    Guest *source = guest_new(net), *target = guest_new(net);
    Stream stream = { bytes, 0 };
    Conn *conn;

    guest_add_guestfwd(source, "10.0.2.100", 1234, got);
    guest_add_guestfwd(target, "10.0.2.100", 1234, got);
    conn = guest_connect(source, "10.0.2.100", 1234, .port = 4321);
    conn_send_text(conn, "before ");
    net_await(net, got->len == 7);
    slirp_state_save(guest_slirp(source), stream_write, &stream);
    g_assert_cmpint(slirp_state_load(guest_slirp(target), slirp_state_version(),
                                     stream_read, &stream),
                    ==, 0);
    guest_send_tcp(
        target, .from.port = 4321, .to = endpoint("10.0.2.100", 1234),
        .seq = conn_snd_nxt(conn), .ack = conn_rcv_nxt(conn),
        .flags = TCP_ACK | TCP_PSH, .window = 65535, .data = "after", .len = 5);
    net_await(net, got->len == 12);
    g_assert_cmpmem(got->data, got->len, "before after", 12);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/state/round-trip", test_round_trip);
    g_test_add_func("/state/guestfwd-survives", test_guestfwd_survives);
    return g_test_run();
}
