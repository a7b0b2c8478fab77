/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads rules and virtual networks from words and files, and verifies them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum {
    FILE_MAX_BYTES = 16 << 20,
    HOST_NUMBER = 2, /* of the virtual host in its network, as QEMU has it */
    DNS_NUMBER = 3,
    NUMBER_BITS = 2, /* what these two need */
};

IpAddr cli_net_nth(const IpPrefix *prefix, uint8_t n)
{
    IpAddr addr = prefix->addr;

    if (addr.family)
        addr.bytes[ipaddr_bits(&addr) / 8 - 1] |= n;
    return addr;
}

static bool prefix_parse(const char *text, int family, IpPrefix *prefix,
                         GError **error)
{
    const char *slash = strchr(text, '/');
    g_autofree char *addr = g_strndup(text, slash ? slash - text : 0);
    unsigned max = family == AF_INET ? 32 : 128;
    guint64 len;

    if (!slash || !ipaddr_parse(addr, &prefix->addr) ||
        prefix->addr.family != family ||
        !g_ascii_string_to_unsigned(slash + 1, 10, 1, max - NUMBER_BITS, &len,
                                    NULL)) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "'%s' is no %s network; write it as %s", text,
                    family == AF_INET ? "IPv4" : "IPv6",
                    family == AF_INET ? "10.0.2.0/24" : "fec0::/64");
        return false;
    }
    prefix->len = len;
    *prefix = ipprefix_masked(prefix); /* QEMU takes 10.0.2.1/24 as well */
    return true;
}

bool cli_net_set4(RuleNet *net, const char *text, GError **error)
{
    if (!prefix_parse(text, AF_INET, &net->vnet4, error))
        return false;
    net->host4 = cli_net_nth(&net->vnet4, HOST_NUMBER);
    net->dns4 = cli_net_nth(&net->vnet4, DNS_NUMBER);
    return true;
}

bool cli_net_set6(RuleNet *net, const char *text, GError **error)
{
    if (!prefix_parse(text, AF_INET6, &net->vnet6, error))
        return false;
    net->host6 = cli_net_nth(&net->vnet6, HOST_NUMBER);
    net->dns6 = cli_net_nth(&net->vnet6, DNS_NUMBER);
    return true;
}

RuleNet cli_net_default(void)
{
    RuleNet net = { 0 };

    cli_net_set4(&net, "10.0.2.0/24", NULL);
    cli_net_set6(&net, "fec0::/64", NULL);
    return net;
}

/* Reads fd to its end; the result ends with a NUL of its own. */
static GByteArray *read_all(int fd, const char *path, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t buf[16384];
    ssize_t n;

    while ((n = read(fd, buf, sizeof(buf))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "%s: %s", path,
                        g_strerror(errno));
            return NULL;
        }
        if (bytes->len + n > FILE_MAX_BYTES) {
            g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                        "%s: larger than %d MiB, so no rule file", path,
                        FILE_MAX_BYTES >> 20);
            return NULL;
        }
        g_byte_array_append(bytes, buf, n);
    }
    g_byte_array_append(bytes, (const uint8_t *)"", 1);
    return g_steal_pointer(&bytes);
}

char *cli_read_file(const char *path, gsize *length, GError **error)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "%s: %s", path,
                    g_strerror(errno));
        return NULL;
    }
    GByteArray *bytes = read_all(fd, path, error);
    if (!standard)
        close(fd);
    if (!bytes)
        return NULL;
    *length = bytes->len - 1;
    return (char *)g_byte_array_free(bytes, FALSE);
}

GPtrArray *cli_rules_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)rule_free);
}

bool cli_add_file(GPtrArray *rules, const char *path, RuleDiags *diags,
                  GError **error)
{
    gsize length;
    g_autofree char *text = cli_read_file(path, &length, error);
    const char *source = strcmp(path, "-") ? path : "standard input";

    if (!text)
        return false;
    g_ptr_array_extend_and_steal(
        rules, rules_parse_lines(text, length, g_intern_string(source), diags));
    return true;
}

void cli_add_rule(GPtrArray *rules, const char *text, const char *source,
                  RuleDiags *diags)
{
    RulePos pos = { .source = source, .column = 1 };
    Rule *rule = rule_parse(text, &pos, diags);

    if (rule)
        g_ptr_array_add(rules, rule);
}

void cli_add_words(GPtrArray *rules, const char *text, const char *source,
                   RuleDiags *diags)
{
    g_ptr_array_extend_and_steal(rules, rules_parse_words(text, source, diags));
}

bool cli_verify(const GPtrArray *rules, const RuleNet *net,
                const GArray *hostfwds, RuleDiags *diags)
{
    if (diags->errors == 0)
        rules_verify(rules, net,
                     hostfwds ? (const RuleHostfwd *)hostfwds->data : NULL,
                     hostfwds ? hostfwds->len : 0, diags);
    if (diags->list->len > 0) {
        g_autofree char *text = rule_diags_print(diags);
        fprintf(stderr, "%s\n", text);
    }
    return diags->errors == 0;
}
