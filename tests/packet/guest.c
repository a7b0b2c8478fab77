/* SPDX-License-Identifier: BSD-3-Clause */
/* The model machine below TCP: link, ARP, NDP, fragments, expectations. */
#include "internal.h"

#include <arpa/inet.h>

#include "fault.h"
#include "peek.h"

enum { ETH_IP = 0x0800, ETH_ARP = 0x0806, ETH_IP6 = 0x86dd };
enum { ARP_REQUEST = 1, ARP_REPLY = 2 };
enum { ND_SOLICIT = 135, ND_ADVERT = 136 };
enum { ICMP4_UNREACH = 3, ICMP6_UNREACH_ = 1 };
enum { DEFAULT_MTU = 1500, KEPT_BYTES = 64 << 20, FIRST_PORT = 40000 };
enum { IDLE_LIMIT_MS = 300000 };

static const uint8_t broadcast[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
static const uint8_t router4[] = { 0x52, 0x55, 0x0a, 0x00, 0x02, 0x02 };
static const uint8_t router6[] = { 0x52, 0x56, 0x00, 0x00, 0x00, 0x02 };
static const uint8_t default_mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

/* Life */

static void guest_addresses(Guest *guest)
{
    const GuestConfig *c = &guest->config;
    uint8_t *ll;

    memcpy(guest->mac, c->mac ? c->mac : default_mac, FRAME_MAC_LEN);
    guest->ip = endpoint(c->ip ? c->ip : "10.0.2.15", 0);
    guest->ip6 = endpoint(c->ip6 ? c->ip6 : "fec0::5054:ff:fe12:3456", 0);
    guest->link_local = endpoint("fe80::ff:fe00:0", 0);
    ll = guest->link_local.addr;
    memcpy(ll + 8, guest->mac, 3);
    ll[8] ^= 2;
    memcpy(ll + 13, guest->mac + 3, 3);
}

Guest *guest_new_config(Net *net, const GuestConfig *config)
{
    Guest *guest = g_new0(Guest, 1);

    guest->net = net;
    guest->config = *config;
    guest->mtu = config->mtu ? config->mtu : DEFAULT_MTU;
    guest->next_port = FIRST_PORT;
    guest->inbox = g_queue_new();
    guest->frames = g_queue_new();
    guest->timers = g_ptr_array_new();
    guest->conns = g_ptr_array_new();
    guest->fragments = g_ptr_array_new_with_free_func(g_free);
    guest->poll_fds = g_hash_table_new(NULL, NULL);
    guest->listening = g_hash_table_new(NULL, NULL);
    guest->raw_ports = g_hash_table_new(NULL, NULL);
    guest_addresses(guest);
    app_config_init(guest);
    app_callbacks_init(guest);
    guest->slirp = slirp_new(&guest->slirp_config, &guest->callbacks, guest);
    g_assert_nonnull(guest->slirp);
    g_ptr_array_add(net->guests, guest);
    net_step(net, 0); /* the stack learns the time from its first poll */
    if (!config->mute) {
        guest_announce(guest);
    }
    return guest;
}

static void free_frames(GQueue *queue)
{
    g_queue_free_full(queue, g_free);
}

void guest_free(Guest *guest)
{
    slirp_cleanup(g_steal_pointer(&guest->slirp));
    app_check_released(guest);
    g_ptr_array_remove(guest->net->guests, guest);
    while (guest->conns->len) {
        conn_free(guest->conns->pdata[0]);
    }
    free_frames(guest->inbox);
    free_frames(guest->frames);
    g_ptr_array_free(guest->timers, TRUE);
    g_ptr_array_free(guest->conns, TRUE);
    g_ptr_array_free(guest->fragments, TRUE);
    g_hash_table_destroy(guest->poll_fds);
    g_hash_table_destroy(guest->listening);
    g_hash_table_destroy(guest->raw_ports);
    g_free(guest);
}

Slirp *guest_slirp(Guest *guest)
{
    return guest->slirp;
}

Net *guest_net(Guest *guest)
{
    return guest->net;
}

Endpoint guest_endpoint(Guest *guest, int family, uint16_t port)
{
    Endpoint ep = family == AF_INET6 ? guest->ip6 : guest->ip;

    ep.port = port;
    return ep;
}

void guest_set_filter(Guest *guest, GuestFilter filter, void *opaque)
{
    guest->filter = filter;
    guest->filter_opaque = opaque;
}

/* Sending */

static void keep_frame(Guest *guest, Frame *f)
{
    g_queue_push_tail(guest->frames, f);
    guest->frames_bytes += f->len;
    while (guest->frames_bytes > KEPT_BYTES) {
        Frame *oldest = g_queue_pop_head(guest->frames);

        guest->frames_bytes -= oldest->len;
        g_free(oldest);
    }
}

static void keep_sent(Guest *guest, const void *data, size_t len)
{
    Frame *f = frame_parse(data, len);

    f->sent = f->taken = true;
    f->time_ms = net_now_ms(guest->net);
    f->number = ++guest->frames_count;
    keep_frame(guest, f);
}

void guest_send_frame(Guest *guest, const void *data, size_t len)
{
    guest->sent = true;
    guest->net->activity = true;
    keep_sent(guest, data, len);
    fault_inside++;
    slirp_input(guest->slirp, data, (int)len);
    fault_inside--;
}

void guest_send_packet(Guest *guest, GByteArray *packet)
{
    bool v4 = packet->data[0] >> 4 == 4;
    GByteArray *frame = frame_ethernet(v4 ? router4 : router6, guest->mac,
                                       v4 ? ETH_IP : ETH_IP6);

    g_byte_array_append(frame, packet->data, packet->len);
    guest_send_frame(guest, frame->data, frame->len);
    g_byte_array_unref(frame);
    g_byte_array_unref(packet);
}

void guest_send_fragments(Guest *guest, GByteArray *packet, size_t size)
{
    static uint32_t id;
    size_t total = packet->len - (packet->data[0] >> 4 == 4 ? 20 : 40);

    g_assert_cmpuint(size % 8, ==, 0);
    id++;
    for (size_t offset = 0; offset < total; offset += size) {
        guest_send_packet(guest, packet_fragment(packet, id, offset, size));
    }
    g_byte_array_unref(packet);
}

void guest_send_udp(Guest *guest, uint16_t sport, const char *addr,
                    uint16_t port, const void *data, size_t len)
{
    Endpoint to = endpoint(addr, port);

    guest_send_packet(guest, packet_udp(guest_endpoint(guest, to.family, sport),
                                        to, data, len));
}

void guest_send_text(Guest *guest, uint16_t sport, const char *addr,
                     uint16_t port, const char *text)
{
    guest_send_udp(guest, sport, addr, port, text, strlen(text));
}

void guest_ping(Guest *guest, const char *addr, uint16_t id, uint16_t seq,
                const void *data, size_t len)
{
    Endpoint to = endpoint(addr, 0);

    guest_send_packet(guest, packet_icmp(guest_endpoint(guest, to.family, 0),
                                         to, to.family == AF_INET6 ? 128 : 8, 0,
                                         (uint32_t)id << 16 | seq, data, len));
}

void guest_send_segment(Guest *guest, TcpSegment segment)
{
    if (!segment.from.family) {
        uint16_t port = segment.from.port;

        segment.from = guest_endpoint(guest, segment.to.family, port);
    }
    g_hash_table_add(guest->raw_ports, GUINT_TO_POINTER(segment.from.port));
    guest_send_packet(guest, packet_tcp(&segment));
}

/* ARP and neighbour discovery */

static void send_arp(Guest *guest, uint16_t op, const uint8_t *mac,
                     const Endpoint *target)
{
    static const uint8_t ethernet_ip4[] = { 0, 1, 8, 0, 6, 4 };
    GByteArray *a = frame_ethernet(mac, guest->mac, ETH_ARP);

    g_byte_array_append(a, ethernet_ip4, sizeof(ethernet_ip4));
    append_be16(a, op);
    g_byte_array_append(a, guest->mac, FRAME_MAC_LEN);
    g_byte_array_append(a, guest->ip.addr, 4);
    g_byte_array_append(a, mac, FRAME_MAC_LEN);
    g_byte_array_append(a, target->addr, 4);
    guest_send_frame(guest, a->data, a->len);
    g_byte_array_unref(a);
}

static void send_nd(Guest *guest, uint8_t type, Endpoint from, Endpoint to,
                    uint32_t flags, const Endpoint *target)
{
    uint8_t body[24] = { 0 };

    memcpy(body, target->addr, 16);
    body[16] = type == ND_SOLICIT ? 1 : 2; /* link-layer address option */
    body[17] = 1;
    memcpy(body + 18, guest->mac, FRAME_MAC_LEN);
    guest_send_packet(
        guest, packet_icmp(from, to, type, 0, flags, body, sizeof(body)));
}

void guest_announce(Guest *guest)
{
    Endpoint all_nodes = endpoint("ff02::1", 0);

    if (!guest->config.no_ipv4) {
        send_arp(guest, ARP_REQUEST, broadcast, &guest->ip);
    }
    if (!guest->config.no_ipv6) {
        send_nd(guest, ND_ADVERT, guest->ip6, all_nodes, 0x20000000,
                &guest->ip6);
    }
}

static void answer_arp(Guest *guest, const Frame *f)
{
    if (f->arp.op == ARP_REQUEST && endpoint_equal(&f->to, &guest->ip)) {
        send_arp(guest, ARP_REPLY, f->arp.mac, &f->from);
    }
}

static void answer_nd(Guest *guest, const Frame *f)
{
    Endpoint target = { .family = AF_INET6 };

    if (f->icmp.type != ND_SOLICIT || f->payload_len < 16) {
        return;
    }
    memcpy(target.addr, f->payload, 16);
    if (endpoint_equal(&target, &guest->ip6) ||
        endpoint_equal(&target, &guest->link_local)) {
        send_nd(guest, ND_ADVERT, target, f->from, 0x60000000, &target);
    }
}

static bool resolve4(Guest *guest, Endpoint target)
{
    bool found;

    guest_forget_frames(guest);
    send_arp(guest, ARP_REQUEST, broadcast, &target);
    net_settle(guest->net);
    found = guest_take(
        guest, m_list(m_arp(), m_arp_op(ARP_REPLY), m_from_endpoint(target)));
    return found;
}

static bool nd_target_is(const Frame *f, void *opaque)
{
    return f->payload_len >= 16 && memcmp(f->payload, opaque, 16) == 0;
}

static bool resolve6(Guest *guest, Endpoint target)
{
    Endpoint group = endpoint("ff02::1:ff00:0", 0);

    memcpy(group.addr + 13, target.addr + 13, 3);
    guest_forget_frames(guest);
    send_nd(guest, ND_SOLICIT, guest->ip6, group, 0, &target);
    net_settle(guest->net);
    return guest_take(guest, m_list(m_icmp6(), m_icmp_type(ND_ADVERT),
                                    m_where(nd_target_is, target.addr)));
}

bool guest_resolve(Guest *guest, const char *addr)
{
    Endpoint target = endpoint(addr, 0);

    return target.family == AF_INET ? resolve4(guest, target)
                                    : resolve6(guest, target);
}

/* Receiving */

/*
 * The start of a datagram, as ICMP errors quote it: of its length fields
 * nothing is believed, for it may be cut.
 */
static bool parse_quote(const Frame *f, Frame *quoted)
{
    bool v4 = f->kind == FRAME_ICMP;
    const uint8_t *h = f->payload;
    size_t hlen = v4 ? 20 : 40, alen = v4 ? 4 : 16, at = v4 ? 12 : 8;

    if (f->payload_len < hlen + 4 || h[v4 ? 9 : 6] != IPPROTO_TCP) {
        return false;
    }
    if (v4) {
        hlen = (h[0] & 15) * 4u;
        if (f->payload_len < hlen + 4) {
            return false;
        }
    }
    quoted->from.family = quoted->to.family = v4 ? AF_INET : AF_INET6;
    memcpy(quoted->from.addr, h + at, alen);
    memcpy(quoted->to.addr, h + at + alen, alen);
    quoted->from.port = get_be16(h + hlen);
    quoted->to.port = get_be16(h + hlen + 2);
    quoted->icmp.type = f->icmp.type;
    quoted->icmp.code = f->icmp.code;
    return true;
}

static void unreachable(Guest *guest, const Frame *f)
{
    Frame quoted = { 0 };

    if (parse_quote(f, &quoted)) {
        conns_unreachable(guest, &quoted);
    }
}

static void dispatch(Guest *guest, const Frame *f)
{
    switch (f->kind) {
    case FRAME_ARP:
        answer_arp(guest, f);
        break;
    case FRAME_TCP:
        conns_input(guest, f);
        break;
    case FRAME_ICMP6:
        answer_nd(guest, f);
        if (f->icmp.type == ICMP6_UNREACH_) {
            unreachable(guest, f);
        }
        break;
    case FRAME_ICMP:
        if (f->icmp.type == ICMP4_UNREACH) {
            unreachable(guest, f);
        }
        break;
    default:
        break;
    }
}

/* Reassembly (RFC 791): collect, and splice once the datagram is whole. */

static bool same_datagram(const Frame *a, const Frame *b)
{
    const uint8_t *x = a->data + a->ip_off, *y = b->data + b->ip_off;

    return memcmp(x + 4, y + 4, 2) == 0 && x[9] == y[9] &&
           memcmp(x + 12, y + 12, 8) == 0;
}

static size_t fragment_offset(const Frame *f)
{
    return (get_be16(f->data + f->ip_off + 6) & 0x1fffu) * 8;
}

static bool fragment_last(const Frame *f)
{
    return !(get_be16(f->data + f->ip_off + 6) & 0x2000);
}

static const Frame *fragment_at(GPtrArray *all, const Frame *like, size_t at)
{
    for (guint i = 0; i < all->len; i++) {
        const Frame *f = all->pdata[i];

        if (same_datagram(f, like) && fragment_offset(f) == at) {
            return f;
        }
    }
    return NULL;
}

static GByteArray *splice(GPtrArray *all, const Frame *like)
{
    const Frame *f = fragment_at(all, like, 0);
    GByteArray *a = g_byte_array_new();
    size_t at = 0;

    for (bool last = false; f && !last; f = fragment_at(all, like, at)) {
        if (at == 0) {
            g_byte_array_append(a, f->data, (guint)f->l4_off);
        }
        g_byte_array_append(a, f->payload, (guint)f->payload_len);
        at += f->payload_len;
        last = fragment_last(f);
        if (last) {
            return a;
        }
    }
    g_byte_array_unref(a);
    return NULL;
}

static Frame *reassemble(Guest *guest, const Frame *f)
{
    Frame *copy = frame_parse(f->data, f->len);
    GByteArray *a;
    Frame *whole;

    g_ptr_array_add(guest->fragments, copy);
    a = splice(guest->fragments, f);
    if (!a) {
        return NULL;
    }
    for (guint i = guest->fragments->len; i-- > 0;) {
        if (same_datagram(guest->fragments->pdata[i], f)) {
            g_ptr_array_remove_index(guest->fragments, i);
        }
    }
    put_be16(a->data + FRAME_ETH_LEN + 2, (uint16_t)(a->len - FRAME_ETH_LEN));
    put_be16(a->data + FRAME_ETH_LEN + 6, 0);
    put_be16(a->data + FRAME_ETH_LEN + 10, 0);
    put_be16(a->data + FRAME_ETH_LEN + 10,
             inet_checksum(0, a->data + FRAME_ETH_LEN, 20));
    whole = frame_parse(a->data, a->len);
    whole->reassembled = true;
    whole->time_ms = f->time_ms;
    whole->number = f->number;
    g_byte_array_unref(a);
    return whole;
}

static void receive(Guest *guest, Frame *f)
{
    if (guest->filter && !guest->filter(f, guest->filter_opaque)) {
        g_free(f);
        return;
    }
    keep_frame(guest, f);
    if (f->fragment && f->from.family == AF_INET) {
        Frame *whole = reassemble(guest, f);

        if (whole) {
            keep_frame(guest, whole);
            dispatch(guest, whole);
        }
        return;
    }
    dispatch(guest, f);
}

bool guest_deliver(Guest *guest)
{
    bool any = guest->inbox->length > 0;
    Frame *f;

    while ((f = g_queue_pop_head(guest->inbox))) {
        receive(guest, f);
    }
    conns_output(guest);
    return any || guest->inbox->length > 0;
}

/* Expectations */

const Frame *guest_take(Guest *guest, const Match *list)
{
    for (GList *l = guest->frames->head; l; l = l->next) {
        Frame *f = l->data;

        if (!f->taken && match_all(list, f)) {
            f->taken = true;
            return f;
        }
    }
    return NULL;
}

void guest_forget_frames(Guest *guest)
{
    net_settle(guest->net);
    for (GList *l = guest->frames->head; l; l = l->next) {
        ((Frame *)l->data)->taken = true;
    }
}

const Frame *guest_expect_list(Guest *guest, const char *where,
                               const Match *list)
{
    gint64 end = net_deadline();
    const Frame *f;

    while (!(f = guest_take(guest, list))) {
        if (g_get_monotonic_time() > end) {
            g_autofree char *text = match_describe(list);

            net_fail(guest->net, "%s: no frame came: %s", where, text);
        }
        net_step(guest->net, 20);
    }
    return f;
}

void guest_expect_none_list(Guest *guest, const char *where, int64_t ms,
                            const Match *list)
{
    const Frame *f;

    net_advance(guest->net, ms);
    f = guest_take(guest, list);
    if (f) {
        g_autofree char *text = frame_describe(f);

        net_fail(guest->net, "%s: unexpected frame: %s", where, text);
    }
}

unsigned guest_count_list(Guest *guest, const Match *list)
{
    unsigned n = 0;

    for (GList *l = guest->frames->head; l; l = l->next) {
        const Frame *f = l->data;

        n += !f->sent && match_all(list, f);
    }
    return n;
}

/* Looks inside */

static bool is_idle(const Peek *p)
{
    return !(p->tcp || p->udp || p->icmp || p->used_mbufs || p->queued_mbufs ||
             p->fragments);
}

static bool has_no_flows(const Peek *p)
{
    return !(p->tcp || p->udp || p->icmp || p->fragments);
}

static void expect_ended(Guest *guest, bool (*ended)(const Peek *p))
{
    int64_t end = net_now_ms(guest->net) + IDLE_LIMIT_MS;
    Peek p;

    net_settle(guest->net);
    while (peek_take(guest->slirp, &p), !ended(&p)) {
        if (net_now_ms(guest->net) >= end) {
            g_autofree char *text = peek_describe(guest->slirp);

            net_fail(guest->net, "not idle: %s", text);
        }
        net_advance(guest->net, 1000);
    }
}

void guest_expect_idle(Guest *guest)
{
    expect_ended(guest, is_idle);
}

void guest_expect_no_flows(Guest *guest)
{
    expect_ended(guest, has_no_flows);
}

int guest_count_tcp(Guest *guest)
{
    Peek p;

    peek_take(guest->slirp, &p);
    return p.tcp;
}

int guest_count_udp(Guest *guest)
{
    Peek p;

    peek_take(guest->slirp, &p);
    return p.udp;
}

int guest_count_icmp(Guest *guest)
{
    Peek p;

    peek_take(guest->slirp, &p);
    return p.icmp;
}

int guest_count_buffers(Guest *guest)
{
    Peek p;

    peek_take(guest->slirp, &p);
    return p.used_mbufs;
}
