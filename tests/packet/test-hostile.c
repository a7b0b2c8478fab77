/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that tries to exhaust its host. Each case sends 10,000 frames,
 * prints what that took, and then shows that the guest is still served. Memory
 * is not counted under sanitizers.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <time.h>

#include "fault.h"
#include "internal.h"

enum { FRAMES = 10000, FILES = 1024, MEGABYTE = 1 << 20 };
enum { MEMORY_MAX = 48 * MEGABYTE, FILES_FREE = 120, OWN_PORT = 4444 };

typedef struct Peak {
    size_t memory_start, memory;
    guint fds_start, fds;
    double cpu;
} Peak;

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void peak_look(Peak *peak, Guest *guest)
{
    /* What the harness keeps is not the stack's. */
    guest_forget_frames(guest);
    while (!g_queue_is_empty(guest->frames)) {
        g_free(g_queue_pop_head(guest->frames));
    }
    guest->frames_bytes = 0;
    peak->memory = MAX(peak->memory, memory_in_use());
    peak->fds = MAX(peak->fds, descriptors_in_use());
}

typedef void (*Attack)(Guest *guest, unsigned i);

/* Servers for a flow after the attack, made while there are descriptors. */
typedef struct Service {
    Guest *guest;
    Peer *udp, *tcp;
    Conn *conn;
} Service;

static bool datagram_answered(void *opaque)
{
    Service *service = opaque;

    return guest_take(service->guest,
                      m_list(m_udp(), m_to_port(OWN_PORT), m_text("well?")));
}

static bool is_established(void *opaque)
{
    Service *service = opaque;

    return conn_state(service->conn) == CONN_ESTABLISHED;
}

/* Datagrams at once, connections when those that are half open have ended. */
static bool is_served(Service *service)
{
    Guest *guest = service->guest;
    Net *net = guest_net(guest);

    guest_send_text(guest, OWN_PORT, "10.0.2.2", peer_port(service->udp),
                    "well?");
    if (!net_run_until(net, datagram_answered, service)) {
        return false;
    }
    net_advance(net, 80000);
    service->conn = guest_connect(guest, "10.0.2.2", peer_port(service->tcp));
    return net_run_until(net, is_established, service);
}

static void attack_with(Guest *guest, Attack attack, Peak *peak)
{
    peak->memory_start = memory_in_use();
    peak->fds_start = descriptors_in_use();
    peak->cpu = -cpu_seconds();
    for (unsigned i = 0; i < FRAMES; i++) {
        attack(guest, i);
        if (i % 500 == 499) {
            net_step(guest_net(guest), 0);
            peak_look(peak, guest);
        }
    }
    peak->cpu += cpu_seconds();
    peak_look(peak, guest);
}

/* hostile.py reads this. */
static void peak_print(const Peak *peak, const char *name, bool served)
{
    printf("# %-16s %6.1f MiB, %3u descriptors, %6.1f ms CPU, %s\n", name,
           (double)(peak->memory - MIN(peak->memory, peak->memory_start)) /
               MEGABYTE,
           peak->fds - peak->fds_start, peak->cpu * 1000,
           served ? "served" : "not served");
}

/* With PACKET_TEST_MEASURE in the environment nothing is asserted. */
static void run(const char *name, Attack attack)
{
    g_autoptr(Net) net = net_new();
    Guest *guest;
    Service service;
    Peak peak = { 0 };
    bool served;

    net_limit_files(net, FILES);
    net_allow_log(net, "*");
    guest = guest_new(net);
    service = (Service){
        guest,
        .udp = server_new(net, .mode = PEER_ECHO, .type = SOCK_DGRAM),
        .tcp = server_new(net, .mode = PEER_ECHO),
    };
    net_settle(net);
    attack_with(guest, attack, &peak);
    served = is_served(&service);
    peak_print(&peak, name, served);
    if (!g_getenv("PACKET_TEST_MEASURE")) {
        g_assert_cmpuint(peak.fds, <=, FILES - FILES_FREE);
        g_assert_cmpuint(peak.memory, <=, peak.memory_start + MEMORY_MAX);
        g_assert_true(served);
    }
}

static Endpoint spoofed(unsigned i)
{
    g_autofree char *addr = i % 2 ? g_strdup_printf("10.0.2.%u", 16 + i % 200)
                                  : g_strdup_printf("198.51.100.%u", i % 256);

    return endpoint(addr, (uint16_t)(1024 + i));
}

static void udp_sweep(Guest *guest, unsigned i)
{
    guest_send_packet(guest,
                      packet_udp(spoofed(i), endpoint("10.0.2.2", 9), "x", 1));
}

/* Connections to where nobody answers. */
static void syn_flood(Guest *guest, unsigned i)
{
    static uint16_t port;

    if (i == 0) {
        port = peer_port(server_new_busy(guest_net(guest), AF_INET, 0));
    }
    guest_send_tcp(
        guest, .from = guest_endpoint(guest, AF_INET, (uint16_t)(1024 + i)),
        .to = endpoint("10.0.2.2", port), .flags = TCP_SYN, .seq = i);
}

static void ping_flood(Guest *guest, unsigned i)
{
    fault_arm(FAULT_SEND, FAULT_LOST, 0, 1, 1);
    guest_ping(guest, "192.0.2.1", (uint16_t)i, 1, "x", 1);
    fault_disarm();
}

/* The same without sockets for ICMP. */
static void echo_flood(Guest *guest, unsigned i)
{
    fault_no_icmp(true, true);
    ping_flood(guest, i);
    fault_no_icmp(false, false);
}

/* A datagram to take fragments from, made once: that is not to be measured. */
static const GByteArray *whole_datagram(Guest *guest, size_t len)
{
    static const uint8_t data[60000];
    static GByteArray *packet;

    if (packet == NULL || packet->len < len) {
        g_clear_pointer(&packet, g_byte_array_unref);
        packet = packet_udp(guest_endpoint(guest, AF_INET, 9),
                            endpoint("10.0.2.2", 9), data, len);
    }
    return packet;
}

static void fragment_flood(Guest *guest, unsigned i)
{
    guest_send_packet(guest,
                      packet_fragment(whole_datagram(guest, 1400), i, 8, 1200));
}

static void tiny_fragments(Guest *guest, unsigned i)
{
    guest_send_packet(guest, packet_fragment(whole_datagram(guest, 60000),
                                             i / 3000, 16 + i % 3000 * 16, 8));
}

static void dhcp_flood(Guest *guest, unsigned i)
{
    guest_send_dhcp(guest, DHCP_DISCOVER, i);
}

static void arp_flood(Guest *guest, unsigned i)
{
    uint8_t frame[42] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54,
                          0,    0,    0,    0,    0x08, 0x06, 0,    1,
                          8,    0,    6,    4,    0,    1,    0x52, 0x54 };

    put_be32(frame + 28, 0x0a000300 + i);
    put_be32(frame + 38, i % 2 ? 0x0a000202 : 0x0a000300 + i);
    guest_send_frame(guest, frame, sizeof(frame));
}

/* Answers to a guest address that nobody has pile up for a second. */
static void unresolved(Guest *guest, unsigned i)
{
    g_autofree char *addr = g_strdup_printf("10.0.2.%u", 100 + i % 100);

    guest_send_packet(guest,
                      packet_icmp(endpoint(addr, 0), endpoint("10.0.2.2", 0), 8,
                                  0, i, "x", 1));
}

static Conn *victim;

static void out_of_order(Guest *guest, unsigned i)
{
    if (i == 0) {
        Peer *sink = server_new(guest_net(guest), .mode = PEER_SINK);

        victim = guest_connect(guest, "10.0.2.2", peer_port(sink));
        conn_expect_established(victim);
    }
    conn_send_raw(victim, .seq = conn_snd_nxt(victim) + 2 + i * 2 % 60000,
                  .flags = TCP_ACK, .data = "x", .len = 1);
}

/* Connections that the guest leaves half closed. */
static void half_closed(Guest *guest, unsigned i)
{
    static Peer *server;

    if (i == 0) {
        server =
            server_new(guest_net(guest), .mode = PEER_SOURCE, .source_len = 10);
    }
    if (i % 100 == 0) {
        Conn *conn = guest_connect(guest, "10.0.2.2", peer_port(server));

        net_settle(guest_net(guest));
        conn_freeze(conn);
    }
}

static const struct {
    const char *name;
    Attack attack;
} attacks[] = {
    { "udp-sweep", udp_sweep },           { "syn-flood", syn_flood },
    { "ping-flood", ping_flood },         { "echo-flood", echo_flood },
    { "fragment-flood", fragment_flood }, { "tiny-fragments", tiny_fragments },
    { "out-of-order", out_of_order },     { "half-closed", half_closed },
    { "dhcp-flood", dhcp_flood },         { "arp-flood", arp_flood },
    { "unresolved", unresolved },
};

static void test_attack(const void *opaque)
{
    unsigned i = GPOINTER_TO_UINT(opaque);

    run(attacks[i].name, attacks[i].attack);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    for (unsigned i = 0; i < G_N_ELEMENTS(attacks); i++) {
        g_autofree char *path = g_strdup_printf("/hostile/%s", attacks[i].name);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_attack);
    }
    return g_test_run();
}
