/* SPDX-License-Identifier: BSD-3-Clause */
/* Composable predicates over frames, for expectations that read as prose. */
#include "frame.h"

#include <string.h>

static bool test_kind(const Match *m, const Frame *f)
{
    return f->kind == (FrameKind)m->a;
}

static bool test_endpoint(const Match *m, const Endpoint *ep)
{
    Endpoint want = m->ep;

    if (want.port == 0) {
        want.port = ep->port;
    }
    return endpoint_equal(&want, ep);
}

static bool test_from(const Match *m, const Frame *f)
{
    return test_endpoint(m, &f->from);
}

static bool test_to(const Match *m, const Frame *f)
{
    return test_endpoint(m, &f->to);
}

static bool test_from_port(const Match *m, const Frame *f)
{
    return f->from.port == m->a;
}

static bool test_to_port(const Match *m, const Frame *f)
{
    return f->to.port == m->a;
}

static bool test_flags(const Match *m, const Frame *f)
{
    return f->kind == FRAME_TCP && (f->tcp.flags & m->b) == m->a;
}

static bool test_seq(const Match *m, const Frame *f)
{
    return f->kind == FRAME_TCP && f->tcp.seq == m->a;
}

static bool test_ack(const Match *m, const Frame *f)
{
    return f->kind == FRAME_TCP && f->tcp.ack == m->a;
}

static bool test_window(const Match *m, const Frame *f)
{
    return f->kind == FRAME_TCP && f->tcp.window == m->a;
}

static bool is_icmp(const Frame *f)
{
    return f->kind == FRAME_ICMP || f->kind == FRAME_ICMP6;
}

static bool test_icmp_type(const Match *m, const Frame *f)
{
    return is_icmp(f) && f->icmp.type == m->a;
}

static bool test_icmp_code(const Match *m, const Frame *f)
{
    return is_icmp(f) && f->icmp.code == m->a;
}

static bool test_arp_op(const Match *m, const Frame *f)
{
    return f->kind == FRAME_ARP && f->arp.op == m->a;
}

static bool test_payload(const Match *m, const Frame *f)
{
    return f->payload_len == m->a && memcmp(f->payload, m->data, m->a) == 0;
}

static bool test_has_payload(const Match *m, const Frame *f)
{
    (void)m;
    return f->payload_len > 0;
}

static bool test_where(const Match *m, const Frame *f)
{
    return m->where(f, m->opaque);
}

static bool match_one(const Match *m, const Frame *f)
{
    return m->test(m, f) != m->negate;
}

static bool test_any_of(const Match *m, const Frame *f)
{
    for (const Match *one = m->list; one->test; one++) {
        if (match_one(one, f)) {
            return true;
        }
    }
    return false;
}

bool match_all(const Match *list, const Frame *f)
{
    for (; list->test; list++) {
        if (!match_one(list, f)) {
            return false;
        }
    }
    return true;
}

static void describe_one(GString *text, const Match *m)
{
    g_string_append_printf(text, "%s%s%s", text->len ? ", " : "",
                           m->negate ? "not " : "", m->name);
    if (m->ep.family) {
        g_autofree char *ep = endpoint_print(&m->ep);

        g_string_append_printf(text, "(%s)", ep);
    } else if (m->list) {
        g_autofree char *inner = match_describe(m->list);

        g_string_append_printf(text, "(%s)", inner);
    } else {
        g_string_append_printf(text, "(%" G_GUINT64_FORMAT ")", m->a);
    }
}

char *match_describe(const Match *list)
{
    GString *text = g_string_new(NULL);

    for (; list->test; list++) {
        describe_one(text, list);
    }
    return g_string_free(text, FALSE);
}

Match m_kind(FrameKind kind)
{
    return (Match){ .test = test_kind, .name = "kind", .a = kind };
}

Match m_from_endpoint(Endpoint ep)
{
    return (Match){ .test = test_from, .name = "from", .ep = ep };
}

Match m_to_endpoint(Endpoint ep)
{
    return (Match){ .test = test_to, .name = "to", .ep = ep };
}

Match m_from(const char *addr, uint16_t port)
{
    return m_from_endpoint(endpoint(addr, port));
}

Match m_to(const char *addr, uint16_t port)
{
    return m_to_endpoint(endpoint(addr, port));
}

Match m_from_port(uint16_t port)
{
    return (Match){ .test = test_from_port, .name = "from port", .a = port };
}

Match m_to_port(uint16_t port)
{
    return (Match){ .test = test_to_port, .name = "to port", .a = port };
}

Match m_flags(uint8_t flags)
{
    uint8_t mask = (uint8_t)~TCP_PSH | flags;

    return (
        Match){ .test = test_flags, .name = "flags", .a = flags, .b = mask };
}

Match m_flags_set(uint8_t flags)
{
    return (Match){
        .test = test_flags, .name = "flags set", .a = flags, .b = flags
    };
}

Match m_seq(uint32_t seq)
{
    return (Match){ .test = test_seq, .name = "seq", .a = seq };
}

Match m_ack(uint32_t ack)
{
    return (Match){ .test = test_ack, .name = "ack", .a = ack };
}

Match m_window(uint16_t window)
{
    return (Match){ .test = test_window, .name = "window", .a = window };
}

Match m_icmp_type(uint8_t type)
{
    return (Match){ .test = test_icmp_type, .name = "ICMP type", .a = type };
}

Match m_icmp_code(uint8_t code)
{
    return (Match){ .test = test_icmp_code, .name = "ICMP code", .a = code };
}

Match m_arp_op(uint16_t op)
{
    return (Match){ .test = test_arp_op, .name = "ARP op", .a = op };
}

Match m_payload(const void *data, size_t len)
{
    return (Match){
        .test = test_payload, .name = "payload of", .a = len, .data = data
    };
}

Match m_text(const char *text)
{
    return m_payload(text, strlen(text));
}

Match m_has_payload(void)
{
    return (Match){ .test = test_has_payload, .name = "some payload" };
}

Match m_not(Match match)
{
    match.negate = !match.negate;
    return match;
}

Match m_any_of(const Match *list)
{
    return (Match){ .test = test_any_of, .name = "any of", .list = list };
}

Match m_where(bool (*where)(const Frame *frame, void *opaque), void *opaque)
{
    return (Match){
        .test = test_where, .name = "where", .where = where, .opaque = opaque
    };
}
