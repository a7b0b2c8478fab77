/* SPDX-License-Identifier: BSD-3-Clause */
/* Prints socket addresses and parses flows. */
#include "control/endpoint.h"

#include <string.h>
#include <sys/un.h>

#include "control/control.h"
#include "rules/parse.h"

enum { GUEST_NUMBER = 15 }; /* of the first guest in its network: 10.0.2.15 */

static char *print_unix(const struct sockaddr_un *sun)
{
    GString *text = g_string_new("unix:");

    print_escaped(text, sun->sun_path, "");
    return g_string_free(text, FALSE);
}

char *endpoint_print(const struct sockaddr_storage *ss)
{
    char text[IPADDR_STRLEN];
    uint16_t port;
    IpAddr addr;

    if (ss->ss_family == AF_UNIX) {
        return print_unix((const struct sockaddr_un *)ss);
    }
    if (ss->ss_family == 0) {
        return g_strdup("-");
    }
    addr = ipaddr_from_sockaddr((const struct sockaddr *)ss, &port);
    ipaddr_print(&addr, text);
    return g_strdup_printf(addr.family == AF_INET6 ? "[%s]:%u" : "%s:%u", text,
                           port);
}

/* ---- flows ---- */

static const char *const proto_names[] = {
    [FLOW_TCP] = "tcp",
    [FLOW_UDP] = "udp",
    [FLOW_ICMP] = "icmp",
};
G_STATIC_ASSERT(G_N_ELEMENTS(proto_names) == FLOW_N_PROTOS);

const char *control_proto(FlowProto proto)
{
    return proto_names[proto];
}

static bool is_no(char **error, const char *word, const char *wanted)
{
    *error = g_strdup_printf("'%s' is no %s", word, wanted);
    return false;
}

static bool parse_proto(const char *word, FlowProto *proto, char **error)
{
    for (unsigned i = 0; i < FLOW_N_PROTOS; i++) {
        if (strcmp(word, proto_names[i]) == 0) {
            *proto = i;
            return true;
        }
    }
    return is_no(error, word, "protocol; write tcp, udp or icmp");
}

/* An address, an IPv6 one with or without brackets. */
static bool parse_addr(const char *word, IpAddr *addr, char **error)
{
    size_t len = strlen(word);
    g_autofree char *inner = NULL;

    if (len > 2 && word[0] == '[' && word[len - 1] == ']') {
        word = inner = g_strndup(word + 1, len - 2);
    }
    return ipaddr_parse(word, addr) || is_no(error, word, "address");
}

static bool parse_dst(const char *word, FlowKey *key, char **error)
{
    const char *colon = strrchr(word, ':');
    g_autofree char *addr = NULL;
    guint64 port;

    if (key->proto == FLOW_ICMP) {
        return parse_addr(word, &key->dst, error);
    }
    if (colon == NULL ||
        !g_ascii_string_to_unsigned(colon + 1, 10, 1, 65535, &port, NULL) ||
        (memchr(word, ':', colon - word) != NULL && word[0] != '[')) {
        return is_no(error, word,
                     "destination; write ADDR:PORT, [ADDR]:PORT for IPv6");
    }
    addr = g_strndup(word, colon - word);
    key->dst_port = port;
    return parse_addr(addr, &key->dst, error);
}

static bool parse_src(const char *const *words, const RuleNet *net,
                      FlowKey *key, char **error)
{
    if (words[0] == NULL) {
        const IpPrefix *prefix =
            key->dst.family == AF_INET ? &net->vnet4 : &net->vnet6;

        key->src = prefix->addr;
        key->src.family = key->dst.family; /* the network may lack it */
        key->src.bytes[ipaddr_bits(&key->src) / 8 - 1] |= GUEST_NUMBER;
        return true;
    }
    if (strcmp(words[0], "from") != 0 || words[1] == NULL || words[2] != NULL) {
        return is_no(error, words[0], "source; write from ADDR");
    }
    if (!parse_addr(words[1], &key->src, error)) {
        return false;
    }
    return key->src.family == key->dst.family ||
           is_no(error, words[1],
                 "source for a destination of the other family");
}

bool endpoint_parse_flow(const char *const *words, const RuleNet *net,
                         FlowKey *key, char **error)
{
    *key = (FlowKey){ 0 };
    if (words[0] == NULL || words[1] == NULL) {
        *error = g_strdup("needs PROTO ADDR:PORT [from SRC]");
        return false;
    }
    return parse_proto(words[0], &key->proto, error) &&
           parse_dst(words[1], key, error) &&
           parse_src(words + 2, net, key, error);
}
