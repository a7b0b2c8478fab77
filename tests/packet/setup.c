/* SPDX-License-Identifier: BSD-3-Clause */
/* What many tests begin with. */
#include <arpa/inet.h>

#include "fault.h"
#include "internal.h"

enum { DHCP_LEN = 300, DHCP_MAC_AT = 28, DHCP_OPTIONS_AT = 240 };
enum { DHCP_TYPE = 53, DHCP_END = 255 };

Conn *guest_link_to(Guest *guest, Peer *server, const char *dst, uint16_t port,
                    Peer **peer)
{
    Conn *conn = guest_connect(guest, dst, port);

    *peer = server_accept(server);
    conn_expect_established(conn);
    return conn;
}

Conn *guest_link(Guest *guest, const char *host, Peer **peer)
{
    Peer *server = server_new(guest_net(guest), .family = family_of(host));

    return guest_link_to(guest, server, host, peer_port(server), peer);
}

uint16_t guest_add_hostfwd(Guest *guest, int type, uint16_t port)
{
    struct in_addr loopback = { htonl(INADDR_LOOPBACK) }, inside = { 0 };
    uint16_t outside = net_refused_port(guest_net(guest), AF_INET, type);

    int added;

    memcpy(&inside, guest->ip.addr, sizeof(inside));
    fault_inside++;
    added = slirp_add_hostfwd(guest_slirp(guest), type == SOCK_DGRAM, loopback,
                              outside, inside, port);
    fault_inside--;
    g_assert_cmpint(added, ==, 0);
    return outside;
}

static slirp_ssize_t collect(const void *data, size_t len, void *opaque)
{
    if (opaque) {
        g_byte_array_append(opaque, data, (guint)len);
    }
    return (slirp_ssize_t)len;
}

void guest_add_guestfwd(Guest *guest, const char *addr, uint16_t port,
                        GByteArray *got)
{
    struct in_addr at = { inet_addr(addr) };

    g_assert_cmpint(
        slirp_add_guestfwd(guest_slirp(guest), collect, got, &at, port), ==, 0);
}

void guest_send_dhcp(Guest *guest, uint8_t type, uint32_t client)
{
    uint8_t m[DHCP_LEN] = { 1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef };
    uint8_t options[] = {
        0x63, 0x82, 0x53, 0x63, DHCP_TYPE, 1, type, DHCP_END
    };

    put_be16(m + DHCP_MAC_AT, 0x5254);
    put_be32(m + DHCP_MAC_AT + 2, client);
    memcpy(m + DHCP_OPTIONS_AT - 4, options, sizeof(options));
    guest_send_packet(guest,
                      packet_udp(endpoint("0.0.0.0", DHCP_CLIENT),
                                 endpoint("255.255.255.255", DHCP_SERVER), m,
                                 sizeof(m)));
}

const uint8_t *frame_dhcp_option(const Frame *f, uint8_t code)
{
    size_t at = DHCP_OPTIONS_AT;

    while (at + 1 < f->payload_len && f->payload[at] != DHCP_END) {
        if (f->payload[at] == code) {
            return f->payload + at + 1;
        }
        at += f->payload[at] ? 2u + f->payload[at + 1] : 1u;
    }
    return NULL;
}

void packet_test_add_both(const char *path, const char *const addrs[2],
                          GTestDataFunc test)
{
    for (unsigned i = 0; i < 2; i++) {
        g_autofree char *full = g_strdup_printf(
            "%s/ipv%d", path, family_of(addrs[i]) == AF_INET6 ? 6 : 4);

        g_test_add_data_func(full, addrs[i], test);
    }
}
