/* SPDX-License-Identifier: BSD-3-Clause */
/* The model guest's TCP (RFC 9293): honest by default, raw on request. */
#include "internal.h"

#include <arpa/inet.h>

enum { TCP4_OVERHEAD = 40, TCP6_OVERHEAD = 60, DEFAULT_MSS = 536 };
enum { DEFAULT_WINDOW = 65535, ISS_STEP = 0x01000193 };
enum { RTO_FIRST_MS = 1000, RTO_TRIES = 8 };

struct Conn {
    Guest *guest;
    ConnOptions options;
    ConnState state;
    Endpoint local, remote;
    bool accepted; /* handed out by guest_accept() */
    bool passive;
    bool frozen;
    bool raw; /* the test sent segments of its own making */
    /* Sending: byte i of the stream has sequence number iss + 1 + i */
    uint32_t iss;
    GByteArray *tx;
    size_t tx_sent, tx_acked;
    bool fin_queued, fin_sent, fin_acked;
    bool syn_sent;
    uint64_t snd_wnd;
    uint16_t mss, peer_mss;
    int peer_wscale;
    /* Receiving */
    uint32_t rcv_nxt;
    GByteArray *rx;
    size_t rx_expected; /* consumed by conn_expect() */
    size_t rx_len, rx_held;
    uint64_t digest;
    bool eof, paused, need_ack;
    uint8_t icmp_type, icmp_code;
    /* Retransmission */
    int64_t rto_at_ms;
    int rto_count;
};

static const char *const state_names[] = {
    [CONN_SYN_SENT] = "SYN-SENT",
    [CONN_SYN_RECEIVED] = "SYN-RECEIVED",
    [CONN_ESTABLISHED] = "ESTABLISHED",
    [CONN_FIN_SENT] = "FIN-SENT",
    [CONN_FIN_ACKED] = "FIN-ACKED",
    [CONN_CLOSED] = "CLOSED",
    [CONN_RESET] = "RESET",
    [CONN_UNREACHABLE] = "UNREACHABLE",
    [CONN_ABORTED] = "ABORTED",
};

const char *conn_state_name(ConnState state)
{
    return state_names[state];
}

static bool is_final(ConnState state)
{
    return state >= CONN_CLOSED;
}

static bool seq_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

/* Segments */

uint32_t conn_snd_nxt(const Conn *c)
{
    return c->iss + c->syn_sent + (uint32_t)c->tx_sent + c->fin_sent;
}

uint32_t conn_rcv_nxt(const Conn *c)
{
    return c->rcv_nxt;
}

static bool scaling(const Conn *c)
{
    return c->options.wscale > 0 && c->peer_wscale >= 0;
}

static uint16_t window_field(const Conn *c, bool syn)
{
    uint64_t space = c->options.window - MIN(c->rx_held, c->options.window);

    if (!syn && scaling(c)) {
        space >>= c->options.wscale;
    }
    return (uint16_t)MIN(space, 65535);
}

static void transmit(Conn *c, uint32_t seq, uint8_t flags, const void *options,
                     size_t options_len, const void *data, size_t len)
{
    TcpSegment segment = {
        .from = c->local,
        .to = c->remote,
        .seq = seq,
        .ack = flags & TCP_ACK ? c->rcv_nxt : 0,
        .flags = flags,
        .window = window_field(c, flags & TCP_SYN),
        .options = options,
        .options_len = options_len,
        .data = data,
        .len = len,
    };

    c->need_ack = false;
    guest_send_packet(c->guest, packet_tcp(&segment));
}

static void arm_rto(Conn *c)
{
    if (c->options.retransmit && c->rto_at_ms < 0) {
        c->rto_at_ms =
            net_now_ms(c->guest->net) + ((int64_t)RTO_FIRST_MS << c->rto_count);
    }
}

static void send_syn(Conn *c)
{
    uint8_t options[8] = { 0 };
    size_t n = 0;

    if (!c->options.no_mss) {
        options[n++] = 2;
        options[n++] = 4;
        put_be16(options + n, c->options.mss);
        n += 2;
    }
    if (c->options.wscale > 0) {
        const uint8_t wscale[] = { 1, 3, 3, (uint8_t)c->options.wscale };

        memcpy(options + n, wscale, sizeof(wscale));
        n += sizeof(wscale);
    }
    c->syn_sent = true;
    arm_rto(c);
    transmit(c, c->iss, c->passive ? TCP_SYN | TCP_ACK : TCP_SYN, options, n,
             NULL, 0);
}

void conn_send_segment(Conn *c, TcpSegment segment)
{
    if (!segment.from.family) {
        segment.from = c->local;
    }
    if (!segment.to.family) {
        segment.to = c->remote;
    }
    if (!segment.seq) {
        segment.seq = conn_snd_nxt(c);
    }
    if (!segment.ack && segment.flags & TCP_ACK) {
        segment.ack = c->rcv_nxt;
    }
    if (!segment.window) {
        segment.window = window_field(c, false);
    }
    c->raw = true;
    guest_send_packet(c->guest, packet_tcp(&segment));
}

/* Making connections */

static Conn *conn_new(Guest *guest, Endpoint local, Endpoint remote,
                      const ConnOptions *options)
{
    static uint32_t iss = 0x10000000;
    Conn *c = g_new0(Conn, 1);
    size_t overhead = remote.family == AF_INET6 ? TCP6_OVERHEAD : TCP4_OVERHEAD;

    c->guest = guest;
    c->options = *options;
    c->local = local;
    c->remote = remote;
    c->iss = options->iss ? options->iss : (iss += ISS_STEP);
    c->mss = DEFAULT_MSS;
    c->peer_wscale = -1;
    c->rto_at_ms = -1;
    c->tx = g_byte_array_new();
    c->rx = g_byte_array_new();
    if (!c->options.mss) {
        c->options.mss = (uint16_t)MIN(guest->mtu - overhead, 65535);
    }
    if (!c->options.window) {
        c->options.window = DEFAULT_WINDOW;
    }
    g_ptr_array_add(guest->conns, c);
    return c;
}

void conn_free(Conn *c)
{
    g_ptr_array_remove(c->guest->conns, c);
    g_byte_array_unref(c->tx);
    g_byte_array_unref(c->rx);
    g_free(c);
}

Conn *guest_connect_options(Guest *guest, const char *addr, uint16_t port,
                            const ConnOptions *options)
{
    Endpoint remote = endpoint(addr, port);
    Endpoint local = options->from ? endpoint(options->from, 0)
                                   : guest_endpoint(guest, remote.family, 0);
    Conn *c;

    local.port = options->port ? options->port : guest->next_port++;
    c = conn_new(guest, local, remote, options);
    c->state = CONN_SYN_SENT;
    send_syn(c);
    return c;
}

void guest_listen(Guest *guest, uint16_t port)
{
    g_hash_table_add(guest->listening, GUINT_TO_POINTER(port));
}

void guest_unlisten(Guest *guest, uint16_t port)
{
    g_hash_table_remove(guest->listening, GUINT_TO_POINTER(port));
}

static Conn *next_passive(Guest *guest, uint16_t port)
{
    for (guint i = 0; i < guest->conns->len; i++) {
        Conn *c = guest->conns->pdata[i];

        if (c->passive && !c->accepted && c->local.port == port &&
            c->state != CONN_SYN_RECEIVED) {
            return c;
        }
    }
    return NULL;
}

Conn *guest_accept(Guest *guest, uint16_t port)
{
    Conn *c;

    net_await(guest->net, next_passive(guest, port) != NULL);
    c = next_passive(guest, port);
    c->accepted = true;
    return c;
}

/* Input */

static void set_peer_options(Conn *c, const Frame *f)
{
    c->peer_mss = f->tcp.mss;
    c->peer_wscale = f->tcp.wscale;
    c->mss = c->options.mss;
    c->mss = MIN(c->mss, f->tcp.mss ? f->tcp.mss : DEFAULT_MSS);
    c->rcv_nxt = f->tcp.seq + 1;
    c->snd_wnd = f->tcp.window;
}

static void input_syn_sent(Conn *c, const Frame *f)
{
    if (!(f->tcp.flags & TCP_ACK) || f->tcp.ack != c->iss + 1) {
        return;
    }
    if (f->tcp.flags & TCP_RST) {
        c->state = CONN_RESET;
    } else if (f->tcp.flags & TCP_SYN) {
        set_peer_options(c, f);
        c->rto_at_ms = -1;
        c->state = CONN_ESTABLISHED;
        c->need_ack = true;
    }
}

static void input_rst(Conn *c, const Frame *f)
{
    if (f->tcp.seq == c->rcv_nxt) { /* RFC 5961: exact match only */
        c->state = CONN_RESET;
    }
}

static void update_window(Conn *c, const Frame *f)
{
    c->snd_wnd = f->tcp.window;
    if (scaling(c) && !(f->tcp.flags & TCP_SYN)) {
        c->snd_wnd <<= c->peer_wscale;
    }
}

static void all_acked(Conn *c)
{
    if (c->state == CONN_SYN_RECEIVED) {
        c->state = CONN_ESTABLISHED;
    }
    if (c->fin_sent && c->fin_acked) {
        c->state = c->eof ? CONN_CLOSED : CONN_FIN_ACKED;
    }
}

static void input_ack(Conn *c, const Frame *f)
{
    uint32_t una = c->iss + 1 + (uint32_t)c->tx_acked;
    uint32_t acked = f->tcp.ack - una;
    size_t outstanding = c->tx_sent - c->tx_acked;

    if (!(f->tcp.flags & TCP_ACK) || seq_before(f->tcp.ack, una)) {
        return;
    }
    if (acked > outstanding + c->fin_sent) {
        if (c->raw) {
            return;
        }
        net_fail(c->guest->net, "the stack acknowledges what was never sent");
    }
    if (acked > 0) {
        c->rto_at_ms = -1;
        c->rto_count = 0;
    }
    c->fin_acked |= acked > outstanding;
    c->tx_acked += MIN(acked, outstanding);
    update_window(c, f);
    all_acked(c);
}

static void keep_data(Conn *c, const uint8_t *data, size_t len)
{
    c->rcv_nxt += (uint32_t)len;
    c->rx_len += len;
    c->digest = digest_update(c->digest, data, len);
    if (!c->options.discard) {
        g_byte_array_append(c->rx, data, (guint)len);
    }
    if (c->paused) {
        c->rx_held += len;
    }
}

static void input_data(Conn *c, const Frame *f)
{
    uint32_t skip = c->rcv_nxt - f->tcp.seq;
    size_t space = c->options.window - MIN(c->rx_held, c->options.window);

    if (f->payload_len == 0 && !(f->tcp.flags & TCP_FIN)) {
        return;
    }
    c->need_ack = true;
    if (c->eof || skip > f->payload_len) {
        return; /* old, or ahead of what we have: acknowledge only */
    }
    if (f->payload_len - skip > space) {
        keep_data(c, f->payload + skip, space);
        return;
    }
    keep_data(c, f->payload + skip, f->payload_len - skip);
    if (f->tcp.flags & TCP_FIN) {
        c->rcv_nxt++;
        c->eof = true;
        all_acked(c);
    }
}

static void conn_input(Conn *c, const Frame *f)
{
    if (c->frozen) {
        return;
    }
    if (c->state == CONN_SYN_SENT) {
        input_syn_sent(c, f);
        return;
    }
    if (c->state == CONN_CLOSED) { /* TIME-WAIT */
        c->need_ack |= f->payload_len || f->tcp.flags & TCP_FIN;
        return;
    }
    if (f->tcp.flags & TCP_RST) {
        input_rst(c, f);
    } else if (f->tcp.flags & TCP_SYN) {
        if (c->state == CONN_SYN_RECEIVED) {
            send_syn(c);
        }
        c->need_ack = true;
    } else {
        input_ack(c, f);
        input_data(c, f);
    }
}

/* RFC 9293, 3.10.7.1: what a closed port answers */
static void refuse(Guest *guest, const Frame *f)
{
    TcpSegment rst = { .from = f->to, .to = f->from, .flags = TCP_RST };

    if (f->tcp.flags & TCP_RST) {
        return;
    }
    if (f->tcp.flags & TCP_ACK) {
        rst.seq = f->tcp.ack;
    } else {
        rst.flags |= TCP_ACK;
        rst.ack = f->tcp.seq + (uint32_t)f->payload_len +
                  !!(f->tcp.flags & TCP_SYN) + !!(f->tcp.flags & TCP_FIN);
    }
    guest_send_packet(guest, packet_tcp(&rst));
}

static void accept_syn(Guest *guest, const Frame *f)
{
    Conn *c = conn_new(guest, f->to, f->from, &(ConnOptions){ 0 });

    c->passive = true;
    c->state = CONN_SYN_RECEIVED;
    set_peer_options(c, f);
    send_syn(c);
}

static Conn *find(Guest *guest, const Endpoint *local, const Endpoint *remote)
{
    for (guint i = guest->conns->len; i-- > 0;) {
        Conn *c = guest->conns->pdata[i];

        if (endpoint_equal(&c->local, local) &&
            endpoint_equal(&c->remote, remote)) {
            return c;
        }
    }
    return NULL;
}

void conns_input(Guest *guest, const Frame *f)
{
    Conn *c = find(guest, &f->to, &f->from);
    gpointer port = GUINT_TO_POINTER(f->to.port);
    bool syn = (f->tcp.flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;

    if (c && is_final(c->state) && c->state != CONN_CLOSED && !c->frozen) {
        refuse(guest, f);
    } else if (c && !(c->state == CONN_CLOSED && syn)) {
        conn_input(c, f);
    } else if (syn && g_hash_table_contains(guest->listening, port)) {
        accept_syn(guest, f);
    } else if (!g_hash_table_contains(guest->raw_ports, port)) {
        refuse(guest, f);
    }
}

void conns_unreachable(Guest *guest, const Frame *quoted)
{
    Conn *c = find(guest, &quoted->from, &quoted->to);

    if (c && c->state == CONN_SYN_SENT && !c->frozen) {
        c->state = CONN_UNREACHABLE;
        c->icmp_type = quoted->icmp.type;
        c->icmp_code = quoted->icmp.code;
    }
}

/* Output */

static bool may_send(const Conn *c)
{
    return !c->frozen &&
           (c->state == CONN_ESTABLISHED || c->state == CONN_FIN_SENT);
}

static size_t sendable(const Conn *c)
{
    size_t in_flight = c->tx_sent - c->tx_acked;
    size_t window = c->snd_wnd > in_flight ? c->snd_wnd - in_flight : 0;

    return MIN(MIN(c->tx->len - c->tx_sent, window), c->mss);
}

static void send_data(Conn *c)
{
    size_t len;

    while ((len = sendable(c)) > 0) {
        uint32_t seq = conn_snd_nxt(c);
        size_t at = c->tx_sent;
        bool last = at + len == c->tx->len;

        c->tx_sent += len;
        arm_rto(c);
        transmit(c, seq, last ? TCP_ACK | TCP_PSH : TCP_ACK, NULL, 0,
                 c->tx->data + at, len);
    }
}

static void send_fin(Conn *c)
{
    uint32_t seq = conn_snd_nxt(c);

    c->fin_sent = true;
    arm_rto(c);
    transmit(c, seq, TCP_FIN | TCP_ACK, NULL, 0, NULL, 0);
}

static void conn_output(Conn *c)
{
    if (may_send(c)) {
        send_data(c);
        if (c->fin_queued && !c->fin_sent && c->tx_sent == c->tx->len) {
            send_fin(c);
        }
    }
    if (c->need_ack && !c->frozen) {
        transmit(c, conn_snd_nxt(c), TCP_ACK, NULL, 0, NULL, 0);
    }
}

void conns_output(Guest *guest)
{
    for (guint i = 0; i < guest->conns->len; i++) {
        conn_output(guest->conns->pdata[i]);
    }
}

static void retransmit(Conn *c)
{
    c->rto_at_ms = -1;
    if (++c->rto_count > RTO_TRIES) {
        return;
    }
    if (c->state == CONN_SYN_SENT || c->state == CONN_SYN_RECEIVED) {
        send_syn(c);
        return;
    }
    c->tx_sent = c->tx_acked;
    c->fin_sent = false;
    conn_output(c);
}

void conns_timers(Guest *guest)
{
    for (guint i = 0; i < guest->conns->len; i++) {
        Conn *c = guest->conns->pdata[i];

        if (c->rto_at_ms >= 0 && c->rto_at_ms <= net_now_ms(guest->net) &&
            !is_final(c->state) && !c->frozen) {
            retransmit(c);
        }
    }
}

/* What tests do with a connection */

ConnState conn_state(const Conn *c)
{
    return c->state;
}

void conn_expect_state(Conn *c, ConnState state)
{
    gint64 end = net_deadline();

    net_settle(c->guest->net);
    while (c->state != state) {
        if (g_get_monotonic_time() > end || is_final(c->state)) {
            net_fail(c->guest->net, "connection is %s, expected %s",
                     state_names[c->state], state_names[state]);
        }
        net_step(c->guest->net, 20);
    }
}

Endpoint conn_local(const Conn *c)
{
    return c->local;
}

Endpoint conn_remote(const Conn *c)
{
    return c->remote;
}

uint16_t conn_peer_mss(const Conn *c)
{
    return c->peer_mss;
}

int conn_peer_wscale(const Conn *c)
{
    return c->peer_wscale;
}

uint8_t conn_icmp_type(const Conn *c)
{
    return c->icmp_type;
}

uint8_t conn_icmp_code(const Conn *c)
{
    return c->icmp_code;
}

void conn_send(Conn *c, const void *data, size_t len)
{
    g_assert_false(c->fin_queued);
    g_byte_array_append(c->tx, data, (guint)len);
    conn_output(c);
}

void conn_send_text(Conn *c, const char *text)
{
    conn_send(c, text, strlen(text));
}

size_t conn_unsent(const Conn *c)
{
    return c->tx->len - c->tx_acked;
}

size_t conn_len(const Conn *c)
{
    return c->rx_len;
}

const uint8_t *conn_data(const Conn *c)
{
    return c->rx->data;
}

uint64_t conn_digest(const Conn *c)
{
    return c->digest;
}

bool conn_eof(const Conn *c)
{
    return c->eof;
}

void conn_expect(Conn *c, const void *data, size_t len)
{
    net_await(c->guest->net,
              c->rx->len - c->rx_expected >= len || is_final(c->state));
    g_assert_cmpmem(c->rx->data + c->rx_expected,
                    MIN(len, c->rx->len - c->rx_expected), data, len);
    c->rx_expected += len;
}

void conn_expect_text(Conn *c, const char *text)
{
    conn_expect(c, text, strlen(text));
}

void conn_expect_eof(Conn *c)
{
    net_await(c->guest->net, c->eof || is_final(c->state));
    g_assert_true(c->eof);
}

void conn_pause(Conn *c, bool pause)
{
    c->paused = pause;
    if (!pause) {
        c->rx_held = 0;
        c->need_ack = true;
        conn_output(c);
    }
}

void conn_shutdown(Conn *c)
{
    c->fin_queued = true;
    if (c->state == CONN_ESTABLISHED) {
        c->state = CONN_FIN_SENT;
    }
    conn_output(c);
}

void conn_abort(Conn *c)
{
    c->state = CONN_ABORTED;
    transmit(c, conn_snd_nxt(c), TCP_RST | TCP_ACK, NULL, 0, NULL, 0);
}

void conn_close(Conn *c)
{
    conn_shutdown(c);
    conn_expect_state(c, CONN_CLOSED);
}

void conn_freeze(Conn *c)
{
    c->frozen = true;
}
