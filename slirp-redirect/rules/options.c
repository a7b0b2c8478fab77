/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of a rule: "+log", "+proxy2", "+name=ID", "+timeout=SECONDS". */
#include "parse.h"
#include "suggest.h"

/* One option as written; value.at is NULL without "=". */
typedef struct OptionText {
    Span whole; /* with the "+" */
    Span name, value;
} OptionText;

static bool parse_log(Parser *p, const OptionText *text)
{
    (void)text;
    p->out->log = true;
    return true;
}

static void print_log(GString *out, const Rule *rule)
{
    if (rule->log) {
        g_string_append(out, "+log");
    }
}

/* Version 1 is a line of text about a TCP connection. */
static bool parse_proxy_header(Parser *p, const OptionText *text)
{
    unsigned version = text->name.at[text->name.len - 1] == '1' ? 1 : 2;

    if (p->out->proxy_header != 0) {
        return parse_error(p, text->whole,
                           "a rule has one PROXY header; "
                           "choose `+proxy1` or `+proxy2`");
    }
    p->out->proxy_header = (uint8_t)version;
    if (version == 1 && p->match_ok && (p->out->protocols & RULE_UDP)) {
        return parse_error(p, text->whole,
                           "PROXY version 1 carries TCP only; "
                           "did you mean `+proxy2`?");
    }
    return true;
}

static void print_proxy_header(GString *out, const Rule *rule)
{
    if (rule->proxy_header) {
        g_string_append_printf(out, "+proxy%u", rule->proxy_header);
    }
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"

static bool parse_name(Parser *p, const OptionText *text)
{
    Span s = text->value;
    size_t good = span_run(s, LETTERS DIGITS ".-");

    if (good == 0 || span_run(s, LETTERS) == 0) {
        return parse_error(p, s, "a name starts with a letter or `_`");
    }
    if (good < s.len) {
        return parse_error(p, span_tail(s, good),
                           "a name holds letters, digits, `_`, `.` and `-`");
    }
    if (s.len > RULE_NAME_MAX) {
        return parse_error(p, s,
                           "a name has at most %d bytes, this one has "
                           "%zu",
                           RULE_NAME_MAX, s.len);
    }
    p->out->name = span_dup(s);
    return true;
}

static void print_name(GString *out, const Rule *rule)
{
    if (rule->name) {
        g_string_append_printf(out, "+name=%s", rule->name);
    }
}

static bool parse_timeout(Parser *p, const OptionText *text)
{
    unsigned seconds;

    if (!span_number(text->value, &seconds)) {
        return parse_error(p, text->value, "`%s` is no number of seconds",
                           quote(p, text->value));
    }
    if (seconds == 0 || seconds > RULE_TIMEOUT_MAX_S) {
        return parse_error(p, text->value, "timeout %s is out of range 1..%d",
                           quote(p, text->value), RULE_TIMEOUT_MAX_S);
    }
    /* The default has one spelling: none. */
    p->out->timeout_s = seconds == RULE_TIMEOUT_DEFAULT_S ? 0 : seconds;
    return true;
}

static void print_timeout(GString *out, const Rule *rule)
{
    if (rule->timeout_s && rule->timeout_s != RULE_TIMEOUT_DEFAULT_S) {
        g_string_append_printf(out, "+timeout=%u", rule->timeout_s);
    }
}

/* In the order they are printed. Rows of one print function follow each
 * other; all but the first leave it out. */
static const struct {
    const char *name;
    const char *value; /* what stands after "=", or NULL for a flag */
    bool connects;     /* is about the connection to the target */
    bool (*parse)(Parser *p, const OptionText *text);
    void (*print)(GString *out, const Rule *rule);
} options[] = {
    { "log", NULL, false, parse_log, print_log },
    { "proxy1", NULL, true, parse_proxy_header, print_proxy_header },
    { "proxy2", NULL, true, parse_proxy_header, NULL },
    { "name", "ID", false, parse_name, print_name },
    { "timeout", "SECONDS", true, parse_timeout, print_timeout },
};

static bool unknown_option(Parser *p, const OptionText *text)
{
    const char *near = NULL, *value = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        if (suggest_nearer(text->name, near, options[i].name) != near) {
            near = options[i].name;
            value = options[i].value;
        }
    }
    if (text->name.len == 0) {
        return parse_error(p, text->whole,
                           "empty option after `+`; a `+` in "
                           "a path or password is written "
                           "`%%2B`");
    }
    if (near) {
        return parse_error(p, text->whole,
                           "unknown option `%s`; did you mean "
                           "`+%s%s%s`?",
                           quote(p, text->whole), near, value ? "=" : "",
                           value ? value : "");
    }
    return parse_error(p, text->whole,
                       "unknown option `%s`; use `+log`, "
                       "`+proxy1`, `+proxy2`, `+name=ID` or "
                       "`+timeout=SECONDS`",
                       quote(p, text->whole));
}

static bool check_value(Parser *p, const OptionText *text, const char *value)
{
    if (!value && text->value.at) {
        return parse_error(p, text->whole, "`+%s` takes no value",
                           quote(p, text->name));
    }
    if (value && text->value.len == 0) {
        return parse_error(p, text->whole, "`+%s` needs a value: `+%s=%s`",
                           quote(p, text->name), quote(p, text->name), value);
    }
    return true;
}

/* seen holds a bit for each row. */
static bool parse_option(Parser *p, const OptionText *text, unsigned *seen)
{
    const Target *target = &p->out->target;
    unsigned i = 0;

    while (!span_is(text->name, options[i].name)) {
        if (++i == G_N_ELEMENTS(options)) {
            return unknown_option(p, text);
        }
    }
    if (*seen & (1u << i)) {
        return parse_error(p, text->whole, "`+%s` is given twice",
                           options[i].name);
    }
    *seen |= 1u << i;
    if (options[i].connects && p->target_ok && is_verdict(target)) {
        return parse_error(p, text->whole, "%s, `+%s` has no meaning",
                           verdict_reason(target->kind), options[i].name);
    }
    return check_value(p, text, options[i].value) && options[i].parse(p, text);
}

/* Cuts the next "+name=value" off s. */
static OptionText next_option(Span *s)
{
    Span body = span_tail(*s, 1);
    size_t plus = span_find(body, '+');
    size_t len = plus == SPAN_NONE ? body.len : plus;
    OptionText text = { span_head(*s, len + 1),
                        span_head(body, len),
                        { NULL, 0 } };
    size_t equals = span_find(text.name, '=');

    if (equals != SPAN_NONE) {
        text.value = span_tail(text.name, equals + 1);
        text.name = span_head(text.name, equals);
    }
    *s = span_tail(*s, text.whole.len);
    return text;
}

bool parse_options(Parser *p)
{
    Span rest = p->options;
    unsigned seen = 0;
    bool ok = true;

    while (rest.len > 0) {
        OptionText text = next_option(&rest);

        ok &= parse_option(p, &text, &seen);
    }
    return ok;
}

void print_options(GString *out, const Rule *rule)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
        if (options[i].print) {
            options[i].print(out, rule);
        }
    }
}
