/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rewrites the network options of a QEMU command line.
 *
 * Theory of operation. A QEMU without redirects refuses the key redirect=, but
 * hands every dnssearch= of a user network to libslirp as it is, in order, and
 * libslirp takes entries that begin with "redirect=" as rules. So the key is
 * replaced where it stands and the rest of the option is left byte for byte,
 * the doubled commas of QEMU's option syntax included. A QEMU that knows
 * redirect= is left alone. Nothing is hidden: the rewritten option is what ps
 * shows.
 */
#include <string.h>

#include "qemu.h"

static const char *const net_options[] = { "-netdev", "-nic", "-net" };

RuleText *rule_text_new(const char *text, const char *source)
{
    RuleText *rt = g_new0(RuleText, 1);

    rt->text = g_strdup(text);
    rt->source = source;
    return rt;
}

void rule_text_free(RuleText *text)
{
    g_free(text->text);
    g_free(text);
}

QemuNet *qemu_net_new(void)
{
    QemuNet *net = g_new0(QemuNet, 1);

    net->rules = g_ptr_array_new_with_free_func((GDestroyNotify)rule_text_free);
    net->hostfwds = g_array_new(FALSE, TRUE, sizeof(RuleHostfwd));
    return net;
}

void qemu_net_free(QemuNet *net)
{
    g_ptr_array_unref(net->rules);
    g_array_unref(net->hostfwds);
    g_free(net->net);
    g_free(net);
}

/* PROTO:[ADDR]:PORT-..., where no PROTO is tcp and no ADDR is every one. */
void qemu_net_add_hostfwd(QemuNet *net, const char *text)
{
    g_autofree char *host = g_strndup(text, strcspn(text, "-"));
    g_auto(GStrv) parts = g_strsplit(host, ":", 3);
    RuleHostfwd fwd = { .protocol = RULE_TCP, .addr.family = AF_INET };
    guint64 port;

    if (g_strv_length(parts) != 3 ||
        !g_ascii_string_to_unsigned(parts[2], 10, 1, 65535, &port, NULL) ||
        (*parts[1] && !ipaddr_parse(parts[1], &fwd.addr)))
        return;
    if (strcmp(parts[0], "udp") == 0)
        fwd.protocol = RULE_UDP;
    fwd.port = port;
    g_array_append_val(net->hostfwds, fwd);
}

const char *qemu_source(const char *option, const char *id, const char *key)
{
    g_autofree char *source =
        id ? g_strdup_printf("%s id=%s: %s", option, id, key)
           : g_strdup_printf("%s: %s", option, key);

    return g_intern_string(source);
}

bool qemu_is_name(const char *program)
{
    g_autofree char *base = g_path_get_basename(program);

    return g_str_has_prefix(base, "qemu-system-") ||
           g_str_has_prefix(base, "qemu-kvm") || strcmp(base, "kvm") == 0;
}

/* End of the element at text: a comma that is not doubled, or the end. */
static const char *element_end(const char *text)
{
    for (; *text; text++) {
        if (*text != ',')
            continue;
        if (text[1] != ',')
            break;
        text++;
    }
    return text;
}

/* The elements of an option list as they stand. */
static GPtrArray *split_elements(const char *text)
{
    GPtrArray *elements = g_ptr_array_new_with_free_func(g_free);

    for (;;) {
        const char *end = element_end(text);
        g_ptr_array_add(elements, g_strndup(text, end - text));
        if (!*end)
            return elements;
        text = end + 1;
    }
}

/* QEMU's ",," for "," undone. */
static char *unescape(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",,", -1);
    return g_strjoinv(",", parts);
}

static char *escape(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    return g_strjoinv(",,", parts);
}

/* The value of element if its key is this one, still escaped; or NULL. */
static const char *element_value(const char *element, const char *key)
{
    size_t len = strlen(key);

    return strncmp(element, key, len) == 0 && element[len] == '='
               ? element + len + 1
               : NULL;
}

/* The last value of key; with implied, the first element may be a bare one. */
static char *list_get(const GPtrArray *elements, const char *key, bool implied)
{
    const char *first = elements->pdata[0];
    const char *value =
        implied && first[strcspn(first, "=,")] != '=' ? first : NULL;

    for (unsigned i = 0; i < elements->len; i++) {
        const char *found = element_value(elements->pdata[i], key);
        if (found)
            value = found;
    }
    return value ? unescape(value) : NULL;
}

/* One option that is being rewritten. */
typedef struct OptionRewrite {
    const char *option; /* its name, for messages */
    char *id;
    bool user; /* of type user */
    QemuNet *net;
    const QemuRewrite *rewrite;
} OptionRewrite;

/* True, with error set, if redirect= can not stand here as it is. */
static bool redirect_refused(const OptionRewrite *o, const char *element,
                             GError **error)
{
    const char *why = NULL;

    if (!o->user)
        why = "belongs to type user";
    else if (strcmp(element, "redirect") == 0)
        why = "needs a rule: redirect=RULE";
    if (why)
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "%s %s",
                    qemu_source(o->option, o->id, "redirect="), why);
    return why;
}

/* What a network does beside redirects, as far as rules can be wrong by it. */
static void note_element(OptionRewrite *o, const char *element)
{
    const char *hostfwd = element_value(element, "hostfwd");

    if (hostfwd) {
        g_autofree char *text = unescape(hostfwd);
        qemu_net_add_hostfwd(o->net, text);
    }
}

/* Appends the element to out, rewritten if it is a rule. */
static bool rewrite_element(OptionRewrite *o, const char *element, GString *out,
                            GError **error)
{
    const char *rule = element_value(element, "redirect");
    const char *carried = element_value(element, "dnssearch");
    const char *key = "redirect=";

    if (rule || strcmp(element, "redirect") == 0) {
        if (redirect_refused(o, element, error))
            return false;
        g_string_append(out, o->rewrite->native ? "redirect=" : QEMU_CARRIER);
        g_string_append(out, rule);
    } else {
        note_element(o, element);
        g_string_append(out, element);
        if (o->user && carried)
            rule = element_value(carried, "redirect");
        key = QEMU_CARRIER;
    }
    if (rule) {
        g_autofree char *text = unescape(rule);
        g_ptr_array_add(
            o->net->rules,
            rule_text_new(text, qemu_source(o->option, o->id, key)));
    }
    return true;
}

static void append_extra(OptionRewrite *o, GString *out)
{
    for (const char *const *rule = o->rewrite->extra; *rule; rule++) {
        g_autofree char *text = escape(*rule);
        g_string_append_printf(out, ",%s%s",
                               o->rewrite->native ? "redirect=" : QEMU_CARRIER,
                               text);
        g_ptr_array_add(o->net->rules, rule_text_new(*rule, "--redirect"));
    }
}

static bool rewrite_elements(OptionRewrite *o, const GPtrArray *elements,
                             GString *out, GError **error)
{
    for (unsigned i = 0; i < elements->len; i++) {
        if (i > 0)
            g_string_append_c(out, ',');
        if (!rewrite_element(o, elements->pdata[i], out, error))
            return false;
    }
    if (o->user)
        append_extra(o, out);
    return true;
}

/* The key=value form. */
static char *rewrite_list(const char *option, const char *text,
                          QemuRewrite *rewrite, GError **error)
{
    g_autoptr(GPtrArray) elements = split_elements(text);
    g_autofree char *type = list_get(elements, "type", true);
    OptionRewrite o = {
        .option = option,
        .id = list_get(elements, "id", false),
        .user = g_strcmp0(type, "user") == 0,
        .net = qemu_net_new(),
        .rewrite = rewrite,
    };
    GString *out = g_string_new(NULL);
    bool ok = rewrite_elements(&o, elements, out, error);

    o.net->net = list_get(elements, "net", false);
    g_free(o.id);
    if (ok && o.user)
        g_ptr_array_add(rewrite->nets, o.net);
    else
        qemu_net_free(o.net);
    return g_string_free(out, !ok);
}

/* The name of a network option without a doubled dash; NULL for others. */
static const char *net_option(const char *word)
{
    if (g_str_has_prefix(word, "--"))
        word++;
    for (unsigned i = 0; i < G_N_ELEMENTS(net_options); i++) {
        if (strcmp(word, net_options[i]) == 0)
            return net_options[i];
    }
    return NULL;
}

static char *rewrite_word(const char *option, const char *word,
                          QemuRewrite *rewrite, GError **error)
{
    if (word[0] == '{' && strcmp(option, "-netdev") == 0)
        return qemu_rewrite_json(option, word, rewrite, error);
    return rewrite_list(option, word, rewrite, error);
}

char **qemu_rewrite(char **argv, QemuRewrite *rewrite, GError **error)
{
    g_autoptr(GPtrArray) out = g_ptr_array_new_with_free_func(g_free);
    const char *option = NULL;

    for (; *argv; argv++) {
        char *word = option ? rewrite_word(option, *argv, rewrite, error)
                            : g_strdup(*argv);
        if (!word)
            return NULL;
        option = option || out->len == 0 ? NULL : net_option(*argv);
        g_ptr_array_add(out, word);
    }
    g_ptr_array_add(out, NULL);
    g_ptr_array_set_free_func(out, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&out), FALSE);
}
