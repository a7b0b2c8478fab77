/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Round trips beside idle flows inside this process, for counting instructions:
 *
 *   valgrind --tool=callgrind --toggle-collect=round_trips \
 *       bench-stack FLOWS ROUNDS
 *
 * counts what the stack and the model guest do for ROUNDS round trips of one
 * byte, beside FLOWS idle flows, and nothing else.
 */
#include <stdlib.h>
#include <sys/resource.h>

#include "harness.h"

static G_GNUC_NO_INLINE void round_trips(Conn *conn, unsigned rounds);

static void round_trips(Conn *conn, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        conn_send_text(conn, "x");
        conn_expect_text(conn, "x");
    }
}

static void raise_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    g_autoptr(Net) net = NULL;
    Guest *guest;
    Peer *echo;
    Conn *conn;

    raise_limit();
    packet_test_init(&argc, &argv);
    if (argc != 3) {
        g_printerr("usage: bench-stack FLOWS ROUNDS\n");
        return 2;
    }
    net = net_new();
    guest = guest_new(net);
    echo = server_new(net, .mode = PEER_ECHO);
    for (int i = atoi(argv[1]); i > 0; i--) {
        conn_expect_established(
            guest_connect(guest, "10.0.2.2", peer_port(echo)));
    }
    conn = guest_connect(guest, "10.0.2.2", peer_port(echo));
    conn_expect_established(conn);
    round_trips(conn, (unsigned)atoi(argv[2]));
    return 0;
}
