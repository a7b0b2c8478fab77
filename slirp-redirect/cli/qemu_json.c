/* SPDX-License-Identifier: BSD-3-Clause */
/* The JSON form of a QEMU user network: {"redirect": [{"str": RULE}...]}. */
#include <json-glib/json-glib.h>
#include <string.h>

#include "qemu.h"

static const char *string_member(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);

    return node && json_node_get_value_type(node) == G_TYPE_STRING
               ? json_node_get_string(node)
               : NULL;
}

/* The string of one {"str": "..."} element; NULL if it is something else. */
static const char *element_string(JsonNode *node)
{
    return JSON_NODE_HOLDS_OBJECT(node)
               ? string_member(json_node_get_object(node), "str")
               : NULL;
}

static void array_add(JsonArray *array, const char *prefix, const char *text)
{
    JsonObject *object = json_object_new();
    g_autofree char *joined = g_strconcat(prefix, text, NULL);

    json_object_set_string_member(object, "str", joined);
    json_array_add_object_element(array, object);
}

/* The array member of that name, made if absent; NULL if it is no array. */
static JsonArray *array_member(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);

    if (!node)
        json_object_set_array_member(object, name, json_array_new());
    node = json_object_get_member(object, name);
    return JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

typedef void (*NoteString)(QemuNet *net, const char *text, const char *source);

/* Hands every string of an array member to note. */
static void each_string(JsonObject *object, const char *name, NoteString note,
                        QemuNet *net, const char *source)
{
    JsonNode *node = json_object_get_member(object, name);
    JsonArray *array =
        node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;

    for (unsigned i = 0; array && i < json_array_get_length(array); i++) {
        const char *text = element_string(json_array_get_element(array, i));
        if (text)
            note(net, text, source);
    }
}

/* A rule that dnssearch already carries. */
static void note_carried(QemuNet *net, const char *text, const char *source)
{
    if (g_str_has_prefix(text, "redirect="))
        g_ptr_array_add(net->rules,
                        rule_text_new(text + strlen("redirect="), source));
}

static void note_hostfwd(QemuNet *net, const char *text,
                         const char *source G_GNUC_UNUSED)
{
    qemu_net_add_hostfwd(net, text);
}

/* Moves the rules of "redirect" to the end of to. */
static bool move_rules(JsonArray *from, JsonArray *to, const char *prefix,
                       const char *source, QemuNet *net)
{
    for (unsigned i = 0; i < json_array_get_length(from); i++) {
        const char *text = element_string(json_array_get_element(from, i));
        if (!text)
            return false;
        array_add(to, prefix, text);
        g_ptr_array_add(net->rules, rule_text_new(text, source));
    }
    return true;
}

static void add_extra(JsonArray *to, const char *prefix,
                      const QemuRewrite *rewrite, QemuNet *net)
{
    for (const char *const *rule = rewrite->extra; *rule; rule++) {
        array_add(to, prefix, *rule);
        g_ptr_array_add(net->rules, rule_text_new(*rule, "--redirect"));
    }
}

/* Puts all rules where this QEMU takes them. False: not the documented form. */
static bool rewrite_object(JsonObject *object, const char *source,
                           const QemuRewrite *rewrite, QemuNet *net)
{
    const char *name = rewrite->native ? "redirect" : "dnssearch";
    const char *prefix = rewrite->native ? "" : "redirect=";
    JsonNode *rules = json_object_dup_member(object, "redirect");
    bool ok = !rules || JSON_NODE_HOLDS_ARRAY(rules);

    if (ok && rules)
        json_object_remove_member(object, "redirect");
    JsonArray *to = ok ? array_member(object, name) : NULL;
    ok = to && (!rules || move_rules(json_node_get_array(rules), to, prefix,
                                     source, net));
    if (ok)
        add_extra(to, prefix, rewrite, net);
    g_clear_pointer(&rules, json_node_unref);
    return ok;
}

static char *refuse(GError **error, const char *source, const char *why)
{
    g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "%s: %s", source, why);
    return NULL;
}

/* An object of type user that has rules or is to get some. */
static char *rewrite_user(const char *option, JsonNode *root,
                          QemuRewrite *rewrite, GError **error)
{
    JsonObject *object = json_node_get_object(root);
    const char *id = string_member(object, "id");
    const char *source = qemu_source(option, id, "redirect");
    QemuNet *net = qemu_net_new();

    g_ptr_array_add(rewrite->nets, net);
    net->net = g_strdup(string_member(object, "net"));
    each_string(object, "dnssearch", note_carried, net,
                qemu_source(option, id, "dnssearch"));
    each_string(object, "hostfwd", note_hostfwd, net, NULL);
    if (!json_object_has_member(object, "redirect") && !rewrite->extra[0])
        return g_strdup("");
    if (!rewrite_object(object, source, rewrite, net))
        return refuse(error, source,
                      "is a list of rules: [{\"str\": \"RULE\"}]");
    return json_to_string(root, FALSE);
}

static char *rewrite_root(const char *option, JsonNode *root,
                          QemuRewrite *rewrite, GError **error)
{
    JsonObject *object = json_node_get_object(root);
    const char *source =
        qemu_source(option, string_member(object, "id"), "redirect");

    if (g_strcmp0(string_member(object, "type"), "user") == 0)
        return rewrite_user(option, root, rewrite, error);
    if (json_object_has_member(object, "redirect"))
        return refuse(error, source, "redirect belongs to type user");
    return g_strdup("");
}

char *qemu_rewrite_json(const char *option, const char *text,
                        QemuRewrite *rewrite, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) parse_error = NULL;

    if (!json_parser_load_from_data(parser, text, -1, &parse_error) ||
        !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        if (!strstr(text, "redirect") && !rewrite->extra[0])
            return g_strdup(text); /* QEMU will say what is wrong with it */
        return refuse(error, option,
                      parse_error ? parse_error->message : "no JSON object");
    }
    g_autofree char *changed =
        rewrite_root(option, json_parser_get_root(parser), rewrite, error);
    if (!changed)
        return NULL;
    return g_strdup(*changed ? changed : text);
}
