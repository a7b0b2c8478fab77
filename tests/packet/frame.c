/* SPDX-License-Identifier: BSD-3-Clause */
/* Parses, builds, checks and prints Ethernet frames for the packet tests. */
#include "frame.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { ETH_IP = 0x0800, ETH_ARP = 0x0806, ETH_IP6 = 0x86dd };
enum { IP_LEN = 20, IP6_LEN = 40, TCP_LEN = 20, UDP_LEN = 8, ICMP_LEN = 8 };
enum { ARP_LEN = 28 };

uint16_t get_be16(const void *p)
{
    const uint8_t *b = p;

    return (uint16_t)(b[0] << 8 | b[1]);
}

uint32_t get_be32(const void *p)
{
    return (uint32_t)get_be16(p) << 16 | get_be16((const uint8_t *)p + 2);
}

void put_be16(void *p, uint16_t value)
{
    uint8_t *b = p;

    b[0] = (uint8_t)(value >> 8);
    b[1] = (uint8_t)value;
}

void put_be32(void *p, uint32_t value)
{
    put_be16(p, (uint16_t)(value >> 16));
    put_be16((uint8_t *)p + 2, (uint16_t)value);
}

void append_be16(GByteArray *array, uint16_t value)
{
    uint8_t b[2];

    put_be16(b, value);
    g_byte_array_append(array, b, sizeof(b));
}

void append_be32(GByteArray *array, uint32_t value)
{
    uint8_t b[4];

    put_be32(b, value);
    g_byte_array_append(array, b, sizeof(b));
}

/* Endpoints */

Endpoint endpoint(const char *addr, uint16_t port)
{
    Endpoint ep = { .port = port };

    if (inet_pton(AF_INET, addr, ep.addr) == 1) {
        ep.family = AF_INET;
    } else if (inet_pton(AF_INET6, addr, ep.addr) == 1) {
        ep.family = AF_INET6;
    } else {
        g_error("not a numeric address: %s", addr);
    }
    return ep;
}

static size_t address_len(int family)
{
    return family == AF_INET ? 4 : 16;
}

static bool address_equal(const Endpoint *a, const Endpoint *b)
{
    return a->family == b->family &&
           memcmp(a->addr, b->addr, address_len(a->family)) == 0;
}

int family_of(const char *addr)
{
    return endpoint(addr, 0).family;
}

bool endpoint_equal(const Endpoint *a, const Endpoint *b)
{
    return address_equal(a, b) && a->port == b->port;
}

char *endpoint_print(const Endpoint *ep)
{
    char text[INET6_ADDRSTRLEN] = "?";

    if (ep->family) {
        inet_ntop(ep->family, ep->addr, text, sizeof(text));
    }
    return g_strdup_printf(ep->family == AF_INET6 ? "[%s]:%u" : "%s:%u", text,
                           ep->port);
}

/* Checksums */

uint16_t inet_checksum(uint32_t start, const void *data, size_t len)
{
    const uint8_t *p = data;
    uint64_t sum = start;

    for (; len >= 2; p += 2, len -= 2) {
        sum += get_be16(p);
    }
    if (len) {
        sum += (uint32_t)p[0] << 8;
    }
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

uint32_t pseudo_header_sum(const Endpoint *from, const Endpoint *to,
                           uint8_t proto, size_t len)
{
    uint32_t sum = proto + (uint32_t)(len >> 16) + (len & 0xffff);

    for (size_t i = 0; i < address_len(from->family); i += 2) {
        sum += get_be16(from->addr + i) + (uint32_t)get_be16(to->addr + i);
    }
    return sum;
}

/* Parsing */

static void parse_tcp_option(Frame *f, const uint8_t *opt, size_t len)
{
    if (opt[0] == 2 && len == 4) {
        f->tcp.mss = get_be16(opt + 2);
    } else if (opt[0] == 3 && len == 3) {
        f->tcp.wscale = opt[2];
    } else if (opt[0] == 4 && len == 2) {
        f->tcp.sack_permitted = true;
    }
}

static void parse_tcp_options(Frame *f, const uint8_t *opt, size_t left)
{
    while (left > 0 && opt[0] != 0) {
        size_t len = opt[0] == 1 ? 1 : left >= 2 ? opt[1] : 0;

        if (len == 0 || len > left || (opt[0] != 1 && len < 2)) {
            return; /* frame_problem() reports it */
        }
        parse_tcp_option(f, opt, len);
        opt += len;
        left -= len;
    }
}

static void set_payload(Frame *f, size_t offset)
{
    f->payload = f->data + offset;
    f->payload_len = f->end - offset;
}

static void parse_tcp(Frame *f)
{
    const uint8_t *h = f->data + f->l4_off;
    size_t len = f->end - f->l4_off, hlen;

    if (len < TCP_LEN || (hlen = (h[12] >> 4) * 4u) < TCP_LEN || hlen > len) {
        return;
    }
    f->kind = FRAME_TCP;
    f->from.port = get_be16(h);
    f->to.port = get_be16(h + 2);
    f->tcp.seq = get_be32(h + 4);
    f->tcp.ack = get_be32(h + 8);
    f->tcp.flags = h[13] & 0x3f;
    f->tcp.window = get_be16(h + 14);
    f->tcp.wscale = -1;
    parse_tcp_options(f, h + TCP_LEN, hlen - TCP_LEN);
    set_payload(f, f->l4_off + hlen);
}

static void parse_udp(Frame *f)
{
    const uint8_t *h = f->data + f->l4_off;

    if (f->end - f->l4_off < UDP_LEN) {
        return;
    }
    f->kind = FRAME_UDP;
    f->from.port = get_be16(h);
    f->to.port = get_be16(h + 2);
    set_payload(f, f->l4_off + UDP_LEN);
}

static void parse_icmp(Frame *f, FrameKind kind)
{
    const uint8_t *h = f->data + f->l4_off;

    if (f->end - f->l4_off < 4) {
        return;
    }
    f->kind = kind;
    f->icmp.type = h[0];
    f->icmp.code = h[1];
    if (f->end - f->l4_off >= ICMP_LEN) {
        f->icmp.id = get_be16(h + 4);
        f->icmp.seq = get_be16(h + 6);
        set_payload(f, f->l4_off + ICMP_LEN);
    }
}

static void parse_l4(Frame *f, uint8_t proto)
{
    set_payload(f, f->l4_off);
    if (f->fragment) {
        return;
    }
    switch (proto) {
    case IPPROTO_TCP:
        parse_tcp(f);
        break;
    case IPPROTO_UDP:
        parse_udp(f);
        break;
    case IPPROTO_ICMP:
        parse_icmp(f, FRAME_ICMP);
        break;
    case IPPROTO_ICMPV6:
        parse_icmp(f, FRAME_ICMP6);
        break;
    default:
        break;
    }
}

static void set_address(Endpoint *ep, int family, const uint8_t *addr)
{
    ep->family = family;
    memcpy(ep->addr, addr, address_len(family));
}

static void parse_ip4(Frame *f)
{
    const uint8_t *h = f->data + f->ip_off;
    size_t room = f->len - f->ip_off, hlen, total;

    if (room < IP_LEN || (h[0] >> 4) != 4) {
        return;
    }
    hlen = (h[0] & 15) * 4u;
    total = get_be16(h + 2);
    if (hlen < IP_LEN || total < hlen || total > room) {
        return;
    }
    f->ttl = h[8];
    f->fragment = (get_be16(h + 6) & 0x3fff) != 0;
    set_address(&f->from, AF_INET, h + 12);
    set_address(&f->to, AF_INET, h + 16);
    f->l4_off = f->ip_off + hlen;
    f->end = f->ip_off + total;
    parse_l4(f, h[9]);
}

static void parse_ip6(Frame *f)
{
    const uint8_t *h = f->data + f->ip_off;
    size_t room = f->len - f->ip_off;

    if (room < IP6_LEN || (h[0] >> 4) != 6 ||
        IP6_LEN + (size_t)get_be16(h + 4) > room) {
        return;
    }
    f->ttl = h[7];
    f->fragment = h[6] == IPPROTO_FRAGMENT;
    set_address(&f->from, AF_INET6, h + 8);
    set_address(&f->to, AF_INET6, h + 24);
    f->l4_off = f->ip_off + IP6_LEN;
    f->end = f->l4_off + get_be16(h + 4);
    parse_l4(f, h[6]);
}

static void parse_arp(Frame *f)
{
    const uint8_t *h = f->data + f->ip_off;

    if (f->len - f->ip_off < ARP_LEN) {
        return;
    }
    f->kind = FRAME_ARP;
    f->arp.op = get_be16(h + 6);
    memcpy(f->arp.mac, h + 8, FRAME_MAC_LEN);
    set_address(&f->from, AF_INET, h + 14);
    set_address(&f->to, AF_INET, h + 24);
}

Frame *frame_parse(const void *data, size_t len)
{
    Frame *f = g_malloc0(sizeof(*f) + len);

    f->len = f->end = len;
    memcpy(f->data, data, len);
    f->payload = f->data;
    if (len < FRAME_ETH_LEN) {
        return f;
    }
    f->ethertype = get_be16(f->data + 12);
    f->ip_off = FRAME_ETH_LEN;
    if (f->ethertype == ETH_IP) {
        parse_ip4(f);
    } else if (f->ethertype == ETH_IP6) {
        parse_ip6(f);
    } else if (f->ethertype == ETH_ARP) {
        parse_arp(f);
    }
    return f;
}

/* Checks of what the stack emits */

static const char *problem_l4(const Frame *f, uint8_t proto)
{
    const uint8_t *h = f->data + f->l4_off;
    size_t len = f->end - f->l4_off;
    uint32_t sum = proto == IPPROTO_ICMP
                       ? 0
                       : pseudo_header_sum(&f->from, &f->to, proto, len);

    if (proto == IPPROTO_UDP) {
        if (len < UDP_LEN || get_be16(h + 4) != len) {
            return "UDP length disagrees with IP";
        }
        if (f->from.family == AF_INET && get_be16(h + 6) == 0) {
            return NULL; /* RFC 768: no checksum */
        }
    }
    if (proto == IPPROTO_TCP && f->kind != FRAME_TCP) {
        return "TCP header is cut short";
    }
    if (inet_checksum(sum, h, len) != 0) {
        return "wrong transport checksum";
    }
    return NULL;
}

static const char *problem_ip4(const Frame *f)
{
    const uint8_t *h = f->data + f->ip_off;

    if (f->from.family != AF_INET) {
        return "malformed IPv4 header";
    }
    if (inet_checksum(0, h, f->l4_off - f->ip_off) != 0) {
        return "wrong IPv4 header checksum";
    }
    if (f->ttl == 0) {
        return "TTL is zero";
    }
    return f->fragment ? NULL : problem_l4(f, h[9]);
}

static const char *problem_ip6(const Frame *f)
{
    if (f->from.family != AF_INET6) {
        return "malformed IPv6 header";
    }
    if (f->ttl == 0) {
        return "hop limit is zero";
    }
    return f->fragment ? NULL : problem_l4(f, f->data[f->ip_off + 6]);
}

static const char *problem_arp(const Frame *f)
{
    static const uint8_t ethernet_ip4[] = { 0, 1, 8, 0, 6, 4 };

    if (f->kind != FRAME_ARP) {
        return "ARP is cut short";
    }
    if (memcmp(f->data + f->ip_off, ethernet_ip4, sizeof(ethernet_ip4)) != 0) {
        return "ARP is not for IPv4 over Ethernet";
    }
    return NULL;
}

static const char *problem_layers(const Frame *f)
{
    switch (f->ethertype) {
    case ETH_IP:
        return problem_ip4(f);
    case ETH_IP6:
        return problem_ip6(f);
    case ETH_ARP:
        return problem_arp(f);
    default:
        return NULL; /* NC-SI and the like: no opinion */
    }
}

char *frame_problem(const Frame *f, size_t mtu)
{
    const char *problem = NULL;

    if (f->len < FRAME_ETH_LEN) {
        return g_strdup("shorter than an Ethernet header");
    }
    if (f->data[FRAME_MAC_LEN] & 1) {
        problem = "multicast source MAC";
    } else if (f->end - FRAME_ETH_LEN > mtu && f->ethertype != ETH_ARP) {
        problem = "larger than the MTU";
    } else {
        problem = problem_layers(f);
    }
    return g_strdup(problem);
}

/* Printing */

static char *describe_tcp(const Frame *f)
{
    static const char letters[] = "FSRPAU";
    char flags[sizeof(letters)];
    int n = 0;

    for (int i = 0; letters[i]; i++) {
        if (f->tcp.flags & 1 << i) {
            flags[n++] = letters[i];
        }
    }
    flags[n] = '\0';
    return g_strdup_printf(" [%s] seq %u ack %u win %u", flags, f->tcp.seq,
                           f->tcp.ack, f->tcp.window);
}

static char *describe_details(const Frame *f)
{
    switch (f->kind) {
    case FRAME_TCP:
        return describe_tcp(f);
    case FRAME_ICMP:
    case FRAME_ICMP6:
        return g_strdup_printf(" type %u code %u", f->icmp.type, f->icmp.code);
    case FRAME_ARP:
        return g_strdup_printf(" op %u", f->arp.op);
    case FRAME_OTHER:
        return g_strdup_printf(" ethertype %04x%s", f->ethertype,
                               f->fragment ? " fragment" : "");
    default:
        return g_strdup("");
    }
}

char *frame_describe(const Frame *f)
{
    static const char *const names[] = {
        [FRAME_OTHER] = "frame", [FRAME_ARP] = "ARP",
        [FRAME_TCP] = "TCP",     [FRAME_UDP] = "UDP",
        [FRAME_ICMP] = "ICMP",   [FRAME_ICMP6] = "ICMPv6",
    };
    g_autofree char *from = endpoint_print(&f->from);
    g_autofree char *to = endpoint_print(&f->to);
    g_autofree char *details = describe_details(f);

    G_STATIC_ASSERT(G_N_ELEMENTS(names) == FRAME_KINDS);
    return g_strdup_printf("#%" G_GUINT64_FORMAT " %" G_GINT64_FORMAT
                           " ms %s %s > %s%s len %zu",
                           f->number, f->time_ms, names[f->kind], from, to,
                           details, f->payload_len);
}

/* Building */

GByteArray *frame_ethernet(const uint8_t dst[FRAME_MAC_LEN],
                           const uint8_t src[FRAME_MAC_LEN], uint16_t type)
{
    GByteArray *a = g_byte_array_sized_new(1600);

    g_byte_array_append(a, dst, FRAME_MAC_LEN);
    g_byte_array_append(a, src, FRAME_MAC_LEN);
    append_be16(a, type);
    return a;
}

static void append_ip4(GByteArray *a, Endpoint from, Endpoint to, uint8_t proto,
                       uint8_t ttl, size_t len)
{
    static uint16_t next_id;
    uint8_t h[IP_LEN] = { 0x45 };

    put_be16(h + 2, (uint16_t)(IP_LEN + len));
    put_be16(h + 4, ++next_id);
    h[8] = ttl;
    h[9] = proto;
    memcpy(h + 12, from.addr, 4);
    memcpy(h + 16, to.addr, 4);
    put_be16(h + 10, inet_checksum(0, h, sizeof(h)));
    g_byte_array_append(a, h, sizeof(h));
}

static void append_ip6(GByteArray *a, Endpoint from, Endpoint to, uint8_t proto,
                       uint8_t ttl, size_t len)
{
    uint8_t h[IP6_LEN] = { 0x60 };

    put_be16(h + 4, (uint16_t)len);
    h[6] = proto;
    h[7] = ttl;
    memcpy(h + 8, from.addr, 16);
    memcpy(h + 24, to.addr, 16);
    g_byte_array_append(a, h, sizeof(h));
}

GByteArray *packet_ip(Endpoint from, Endpoint to, uint8_t proto, uint8_t ttl,
                      const void *data, size_t len)
{
    GByteArray *a = g_byte_array_sized_new((guint)(IP6_LEN + len));

    g_assert_cmpint(from.family, ==, to.family);
    if (from.family == AF_INET) {
        append_ip4(a, from, to, proto, ttl, len);
    } else {
        append_ip6(a, from, to, proto, ttl, len);
    }
    g_byte_array_append(a, data, (guint)len);
    return a;
}

GByteArray *packet_tcp(const TcpSegment *s)
{
    size_t hlen = TCP_LEN + s->options_len, len = hlen + s->len;
    g_autofree uint8_t *l4 = g_malloc0(len);
    uint16_t sum;

    put_be16(l4, s->from.port);
    put_be16(l4 + 2, s->to.port);
    put_be32(l4 + 4, s->seq);
    put_be32(l4 + 8, s->ack);
    l4[12] = (uint8_t)(hlen / 4 << 4);
    l4[13] = s->flags;
    put_be16(l4 + 14, s->window);
    put_be16(l4 + 18, s->urgent);
    if (s->options_len) {
        memcpy(l4 + TCP_LEN, s->options, s->options_len);
    }
    if (s->len) {
        memcpy(l4 + hlen, s->data, s->len);
    }
    sum = inet_checksum(pseudo_header_sum(&s->from, &s->to, IPPROTO_TCP, len),
                        l4, len);
    put_be16(l4 + 16, s->corrupt ? sum ^ 0x5555 : sum);
    return packet_ip(s->from, s->to, IPPROTO_TCP, 64, l4, len);
}

GByteArray *packet_udp(Endpoint from, Endpoint to, const void *data,
                       size_t data_len)
{
    size_t len = UDP_LEN + data_len;
    g_autofree uint8_t *l4 = g_malloc0(len);
    uint16_t sum;

    put_be16(l4, from.port);
    put_be16(l4 + 2, to.port);
    put_be16(l4 + 4, (uint16_t)len);
    if (data_len) {
        memcpy(l4 + UDP_LEN, data, data_len);
    }
    sum =
        inet_checksum(pseudo_header_sum(&from, &to, IPPROTO_UDP, len), l4, len);
    put_be16(l4 + 6, sum ? sum : 0xffff);
    return packet_ip(from, to, IPPROTO_UDP, 64, l4, len);
}

GByteArray *packet_icmp(Endpoint from, Endpoint to, uint8_t type, uint8_t code,
                        uint32_t rest, const void *data, size_t data_len)
{
    bool v6 = from.family == AF_INET6;
    uint8_t proto = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    size_t len = ICMP_LEN + data_len;
    g_autofree uint8_t *l4 = g_malloc0(len);

    l4[0] = type;
    l4[1] = code;
    put_be32(l4 + 4, rest);
    if (data_len) {
        memcpy(l4 + ICMP_LEN, data, data_len);
    }
    put_be16(l4 + 2,
             inet_checksum(v6 ? pseudo_header_sum(&from, &to, proto, len) : 0,
                           l4, len));
    return packet_ip(from, to, proto, 255, l4, len);
}

static GByteArray *fragment_ip4(const GByteArray *packet, uint32_t id,
                                size_t offset, size_t len, bool more)
{
    GByteArray *a = g_byte_array_new();

    g_byte_array_append(a, packet->data, IP_LEN);
    g_byte_array_append(a, packet->data + IP_LEN + offset, (guint)len);
    put_be16(a->data + 2, (uint16_t)(IP_LEN + len));
    put_be16(a->data + 4, (uint16_t)id);
    put_be16(a->data + 6, (uint16_t)((more ? 0x2000 : 0) | offset / 8));
    put_be16(a->data + 10, 0);
    put_be16(a->data + 10, inet_checksum(0, a->data, IP_LEN));
    return a;
}

static GByteArray *fragment_ip6(const GByteArray *packet, uint32_t id,
                                size_t offset, size_t len, bool more)
{
    GByteArray *a = g_byte_array_new();
    uint8_t ext[8] = { packet->data[6] };

    put_be16(ext + 2, (uint16_t)(offset | (more ? 1 : 0)));
    put_be32(ext + 4, id);
    g_byte_array_append(a, packet->data, IP6_LEN);
    g_byte_array_append(a, ext, sizeof(ext));
    g_byte_array_append(a, packet->data + IP6_LEN + offset, (guint)len);
    a->data[6] = IPPROTO_FRAGMENT;
    put_be16(a->data + 4, (uint16_t)(sizeof(ext) + len));
    return a;
}

GByteArray *packet_fragment(const GByteArray *packet, uint32_t id,
                            size_t offset, size_t len)
{
    bool v4 = packet->data[0] >> 4 == 4;
    size_t total = packet->len - (v4 ? IP_LEN : IP6_LEN);

    g_assert_cmpuint(offset, <, total);
    len = MIN(len, total - offset);
    return v4 ? fragment_ip4(packet, id, offset, len, offset + len < total)
              : fragment_ip6(packet, id, offset, len, offset + len < total);
}

/* Captures */

void pcap_begin(FILE *file)
{
    static const struct {
        uint32_t magic;
        uint16_t major, minor;
        uint32_t zone, accuracy, snaplen, linktype;
    } header = { 0xa1b23c4d, 2, 4, 0, 0, 262144, 1 };

    fwrite(&header, sizeof(header), 1, file);
}

void pcap_write(FILE *file, int64_t time_ns, const void *data, size_t len)
{
    uint32_t record[4] = { (uint32_t)(time_ns / 1000000000),
                           (uint32_t)(time_ns % 1000000000), (uint32_t)len,
                           (uint32_t)len };

    fwrite(record, sizeof(record), 1, file);
    fwrite(data, 1, len, file);
}
