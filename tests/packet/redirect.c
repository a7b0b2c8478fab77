/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules for a guest, and what their counters say. */
#include "redirect.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

void guest_set_rules(Guest *guest, const char *format, ...)
{
    g_autofree char *rules = NULL;
    g_autofree char *errmsg = NULL;
    va_list args;

    va_start(args, format);
    rules = g_strdup_vprintf(format, args);
    va_end(args);
    if (slirp_set_redirects(guest_slirp(guest), rules, &errmsg) < 0) {
        net_fail(guest_net(guest), "refused: %s", errmsg);
    }
}

static bool parse_line(const char *line, int id, RuleCounts *c)
{
    char hit[32];
    int found;

    if (sscanf(line,
               " %d %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
               " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
               " %31s",
               &found, &c->flows, &c->refused, &c->failed, &c->bytes_out,
               &c->bytes_in, hit) != 7 ||
        found != id) {
        return false;
    }
    c->hit = strcmp(hit, "never") != 0;
    return true;
}

RuleCounts guest_rule_counts(Guest *guest, int id)
{
    g_autofree char *info = slirp_redirect_info(guest_slirp(guest));
    g_auto(GStrv) lines = g_strsplit(info, "\n", -1);
    RuleCounts counts = { 0 };

    for (char **line = lines; *line; line++) {
        if (parse_line(*line, id, &counts)) {
            return counts;
        }
    }
    net_fail(guest_net(guest), "no rule %d in:\n%s", id, info);
}

void guest_expect_counts(Guest *guest, int id, uint64_t flows, uint64_t refused,
                         uint64_t failed)
{
    RuleCounts counts = guest_rule_counts(guest, id);

    g_assert_cmpuint(counts.flows, ==, flows);
    g_assert_cmpuint(counts.refused, ==, refused);
    g_assert_cmpuint(counts.failed, ==, failed);
    g_assert_cmpint(counts.hit, ==, flows > 0);
}

void guest_expect_bytes(Guest *guest, int id, uint64_t out, uint64_t in)
{
    RuleCounts counts = guest_rule_counts(guest, id);

    g_assert_cmpuint(counts.bytes_out, ==, out);
    g_assert_cmpuint(counts.bytes_in, ==, in);
}

bool guest_info_has(Guest *guest, const char *text)
{
    g_autofree char *info = slirp_redirect_info(guest_slirp(guest));

    return strstr(info, text) != NULL;
}

static uint8_t code_for(int family, uint8_t code4)
{
    static const uint8_t codes6[] = { [0] = 0, [1] = 3, [3] = 4 };

    return family == AF_INET6 ? codes6[code4] : code4;
}

/* The identification, which differs between two packets made from the same
 * values, and with it the header checksum. */
static bool is_fresh_in_ip4(size_t at)
{
    return at == 4 || at == 5 || at == 10 || at == 11;
}

static void expect_quote(Guest *guest, const Frame *f, const GByteArray *packet)
{
    bool v4 = packet->data[0] >> 4 == 4;

    g_assert_cmpuint(f->payload_len, >=, MIN(packet->len, v4 ? 28u : 48u));
    for (size_t i = 0; i < MIN(packet->len, f->payload_len); i++) {
        if (f->payload[i] != packet->data[i] && !(v4 && is_fresh_in_ip4(i))) {
            net_fail(guest_net(guest),
                     "byte %zu of the quote is %02x, not %02x", i,
                     f->payload[i], packet->data[i]);
        }
    }
}

void guest_expect_unreachable(Guest *guest, const char *source, uint8_t code,
                              const GByteArray *packet)
{
    bool v6 = packet->data[0] >> 4 == 6;
    const Frame *f =
        guest_expect(guest, v6 ? m_icmp6() : m_icmp(), m_icmp_type(v6 ? 1 : 3),
                     m_icmp_code(code_for(v6 ? AF_INET6 : AF_INET, code)),
                     m_from(source, 0));

    expect_quote(guest, f, packet);
}
