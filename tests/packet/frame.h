/* SPDX-License-Identifier: BSD-3-Clause */
/* Ethernet frames as values: built, parsed, checked, matched and printed. */
#ifndef TEST_PACKET_FRAME_H
#define TEST_PACKET_FRAME_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* TCP control bits (RFC 9293, 3.1) */
enum {
    TCP_FIN = 0x01,
    TCP_SYN = 0x02,
    TCP_RST = 0x04,
    TCP_PSH = 0x08,
    TCP_ACK = 0x10,
    TCP_URG = 0x20,
};

enum { FRAME_ETH_LEN = 14, FRAME_MAC_LEN = 6 };

typedef enum FrameKind {
    FRAME_OTHER,
    FRAME_ARP,
    FRAME_TCP,
    FRAME_UDP,
    FRAME_ICMP,
    FRAME_ICMP6,
    FRAME_KINDS,
} FrameKind;

/* An address and a port; family 0 stands for "none given". */
typedef struct Endpoint {
    int family;
    uint8_t addr[16];
    uint16_t port;
} Endpoint;

/* A numeric address; anything else fails the test. */
Endpoint endpoint(const char *addr, uint16_t port);
/* The family of a numeric address. */
int family_of(const char *addr);
bool endpoint_equal(const Endpoint *a, const Endpoint *b);
char *endpoint_print(const Endpoint *ep);

/* A parsed frame.  Fields outside its kind are zero. */
typedef struct Frame {
    FrameKind kind;
    int64_t time_ms;   /* virtual time of reception */
    uint64_t number;   /* in order of reception */
    bool taken;        /* an expectation has consumed it */
    bool sent;         /* by the model guest */
    Endpoint from, to; /* ARP: sender and target protocol address */
    uint16_t ethertype;
    uint8_t ttl;
    bool fragment;              /* carries a part of a datagram */
    bool reassembled;           /* made by the model guest out of fragments */
    size_t ip_off, l4_off, end; /* offsets into data; end excludes padding */
    struct {
        uint32_t seq, ack;
        uint8_t flags;
        uint16_t window;
        uint16_t mss; /* 0: option absent */
        int wscale;   /* -1: option absent */
        bool sack_permitted;
    } tcp;
    struct {
        uint8_t type, code;
        uint16_t id, seq;
    } icmp;
    struct {
        uint16_t op;
        uint8_t mac[FRAME_MAC_LEN]; /* sender hardware address */
    } arp;
    const uint8_t *payload;
    size_t payload_len;
    size_t len;
    uint8_t data[];
} Frame;

Frame *frame_parse(const void *data, size_t len);
/* What is wrong with a frame the stack emitted, or NULL; g_free() it. */
char *frame_problem(const Frame *frame, size_t mtu);
char *frame_describe(const Frame *frame);

/*
 * Matchers: a list of Match values is a conjunction.
 *   m_tcp(), m_from("198.51.100.7", 80), m_flags(TCP_SYN | TCP_ACK)
 * m_not() negates one, m_either() is a disjunction, m_where() calls back.
 */
typedef struct Match Match;
struct Match {
    bool (*test)(const Match *match, const Frame *frame);
    const char *name;
    bool negate;
    Endpoint ep;
    uint64_t a, b;
    const void *data;
    bool (*where)(const Frame *frame, void *opaque);
    void *opaque;
    const Match *list;
};

Match m_kind(FrameKind kind);
Match m_from(const char *addr, uint16_t port); /* port 0: any */
Match m_to(const char *addr, uint16_t port);
Match m_from_endpoint(Endpoint ep);
Match m_to_endpoint(Endpoint ep);
Match m_from_port(uint16_t port);
Match m_to_port(uint16_t port);
Match m_flags(uint8_t flags);     /* exactly these, PSH aside */
Match m_flags_set(uint8_t flags); /* at least these */
Match m_seq(uint32_t seq);
Match m_ack(uint32_t ack);
Match m_window(uint16_t window);
Match m_icmp_type(uint8_t type);
Match m_icmp_code(uint8_t code);
Match m_arp_op(uint16_t op);
Match m_payload(const void *data, size_t len);
Match m_text(const char *text);
Match m_has_payload(void);
Match m_not(Match match);
Match m_any_of(const Match *list);
Match m_where(bool (*where)(const Frame *frame, void *opaque), void *opaque);

#define m_any() m_not(m_kind(FRAME_KINDS))
#define m_tcp() m_kind(FRAME_TCP)
#define m_udp() m_kind(FRAME_UDP)
#define m_icmp() m_kind(FRAME_ICMP)
#define m_icmp6() m_kind(FRAME_ICMP6)
#define m_arp() m_kind(FRAME_ARP)
#define m_list(...) ((const Match[]){ __VA_ARGS__, { 0 } })
#define m_either(...) m_any_of(m_list(__VA_ARGS__))

/* Does the frame satisfy every matcher of the list? */
bool match_all(const Match *list, const Frame *frame);
char *match_describe(const Match *list);

/* Building: every function returns a new GByteArray. */
typedef struct TcpSegment {
    Endpoint from, to;
    uint32_t seq, ack;
    uint8_t flags;
    uint16_t window;
    uint16_t urgent;
    const void *options; /* already padded to a multiple of four */
    size_t options_len;
    const void *data;
    size_t len;
    bool corrupt; /* send a wrong checksum */
} TcpSegment;

GByteArray *frame_ethernet(const uint8_t dst[FRAME_MAC_LEN],
                           const uint8_t src[FRAME_MAC_LEN], uint16_t type);
/* Wrap an L4 payload into IPv4 or IPv6, without an Ethernet header. */
GByteArray *packet_ip(Endpoint from, Endpoint to, uint8_t proto, uint8_t ttl,
                      const void *data, size_t len);
GByteArray *packet_tcp(const TcpSegment *segment);
GByteArray *packet_udp(Endpoint from, Endpoint to, const void *data,
                       size_t len);
GByteArray *packet_icmp(Endpoint from, Endpoint to, uint8_t type, uint8_t code,
                        uint32_t rest, const void *data, size_t len);
/* One fragment of an IP packet: [offset, offset + len) of its payload. */
GByteArray *packet_fragment(const GByteArray *packet, uint32_t id,
                            size_t offset, size_t len);

/* Network byte order access without alignment demands. */
uint16_t get_be16(const void *p);
uint32_t get_be32(const void *p);
void put_be16(void *p, uint16_t value);
void put_be32(void *p, uint32_t value);
void append_be16(GByteArray *array, uint16_t value);
void append_be32(GByteArray *array, uint32_t value);

/* Internet checksum (RFC 1071): 0 over data that includes a right checksum. */
uint16_t inet_checksum(uint32_t sum, const void *data, size_t len);
uint32_t pseudo_header_sum(const Endpoint *from, const Endpoint *to,
                           uint8_t proto, size_t len);

void pcap_begin(FILE *file);
void pcap_write(FILE *file, int64_t time_ns, const void *data, size_t len);

#endif
