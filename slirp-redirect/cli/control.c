/* SPDX-License-Identifier: BSD-3-Clause */
/* The sub-commands that ask or change a running instance. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "remote.h"

typedef struct Ask {
    const char *socket;
    const char *format; /* " --json" and the like, or "" */
    const char *before;
} Ask;

static bool set_socket(void *state, const char *value,
                       GError **error G_GNUC_UNUSED)
{
    ((Ask *)state)->socket = value;
    return true;
}

static bool set_json(void *state, const char *value G_GNUC_UNUSED,
                     GError **error G_GNUC_UNUSED)
{
    ((Ask *)state)->format = " --json";
    return true;
}

static bool set_openmetrics(void *state, const char *value G_GNUC_UNUSED,
                            GError **error G_GNUC_UNUSED)
{
    ((Ask *)state)->format = " --openmetrics";
    return true;
}

static bool set_before(void *state, const char *value,
                       GError **error G_GNUC_UNUSED)
{
    ((Ask *)state)->before = value;
    return true;
}

static const CliOption format_options[] = {
    { "--socket", true, set_socket },
    { "--json", false, set_json },
    { "--openmetrics", false, set_openmetrics },
    { "--help", false, NULL },
    { NULL, false, NULL },
};

static const CliOption flows_options[] = {
    { "--socket", true, set_socket },
    { "--json", false, set_json },
    { "--help", false, NULL },
    { NULL, false, NULL },
};

static const CliOption add_options[] = {
    { "--socket", true, set_socket },
    { "--before", true, set_before },
    { "--help", false, NULL },
    { NULL, false, NULL },
};

static const CliOption plain_options[] = {
    { "--socket", true, set_socket },
    { "--help", false, NULL },
    { NULL, false, NULL },
};

/* Prints a reply; the exit status. */
static int print_reply(const char *command, RemoteReply *reply)
{
    int status = CLI_OK;

    if (reply->ok) {
        fwrite(reply->body->str, 1, reply->body->len, stdout);
    } else {
        cli_complain("%s: %s", command, g_strchomp(reply->body->str));
        status = strcmp(reply->code, "syntax") == 0 ? CLI_USAGE : CLI_NO;
    }
    remote_reply_clear(reply);
    return status;
}

static int talk(const char *command, const char *socket, const char *text,
                gsize len)
{
    RemoteReply reply = { 0 };
    GError *error = NULL;
    Remote remote;
    int status;

    if (remote_open(&remote, socket, &error) &&
        remote_send(&remote, text, len, &error) &&
        remote_receive(&remote, &reply, &error)) {
        status = print_reply(command, &reply);
    } else {
        remote_reply_clear(&reply);
        status = cli_options_failed(command, error);
    }
    remote_close(&remote);
    return status;
}

/* A word of a command line must stay one word of the protocol. */
static bool check_words(const char *command, char **words)
{
    for (; *words; words++) {
        if (**words == '\0' || (*words)[strcspn(*words, " \t\r\n")] != '\0' ||
            strstr(*words, "<<")) {
            cli_complain("%s: '%s' is no single word", command, *words);
            return false;
        }
    }
    return true;
}

int cli_ask(const char *command, const char *socket, char **words,
            const char *rest)
{
    if (!check_words(command, words))
        return CLI_USAGE;
    g_autofree char *joined = g_strjoinv(" ", words);
    g_autofree char *line = g_strconcat(command, " ", joined, rest, "\n", NULL);
    return talk(command, socket, line, strlen(line));
}

static int ask(const char *command, const CliOption *options, char **words,
               unsigned min, unsigned max)
{
    Ask a = { .format = "" };
    GError *error = NULL;
    g_autofree char **operands =
        cli_options_parse(words, options, CLI_ORDER_ANY, &a, &error);

    if (!operands)
        return cli_options_failed(command, error);
    if (g_strv_length(operands) < min || g_strv_length(operands) > max) {
        cli_complain("%s: wrong number of words; see slirp-redirect help %s",
                     command, command);
        return CLI_USAGE;
    }
    char *before[] = { (char *)a.before, NULL };
    if (a.before && !check_words(command, before))
        return CLI_USAGE;
    g_autofree char *rest =
        a.before ? g_strconcat(" before ", a.before, NULL) : g_strdup(a.format);
    return cli_ask(command, a.socket, operands, rest);
}

int cmd_list(char **words)
{
    return ask("list", format_options, words, 0, 0);
}

int cmd_flows(char **words)
{
    return ask("flows", flows_options, words, 0, 0);
}

int cmd_stats(char **words)
{
    return ask("stats", format_options, words, 0, 0);
}

int cmd_add(char **words)
{
    return ask("add", add_options, words, 1, 1);
}

int cmd_del(char **words)
{
    return ask("del", plain_options, words, 1, 1);
}

int cmd_flush(char **words)
{
    return ask("flush", plain_options, words, 0, 1);
}

int cmd_reload(char **words)
{
    return ask("reload", plain_options, words, 0, 0);
}

int cmd_reopen_log(char **words)
{
    return ask("reopen-log", plain_options, words, 0, 0);
}

/* A line that no line of text is. */
static char *end_mark(const char *text)
{
    for (unsigned n = 0;; n++) {
        char *mark = g_strdup_printf("END%u", n);
        if (!strstr(text, mark))
            return mark;
        g_free(mark);
    }
}

static int replace(const char *path, const char *socket)
{
    GError *error = NULL;
    gsize len;
    g_autofree char *text = cli_read_file(path, &len, &error);

    if (!text)
        return cli_options_failed("replace", error);
    if (strlen(text) != len) {
        cli_complain("replace: %s has NUL bytes, so it is no rule file", path);
        return CLI_USAGE;
    }
    g_autofree char *mark = end_mark(text);
    g_autofree char *whole = g_strconcat(
        "replace <<", mark, "\n", text,
        len > 0 && text[len - 1] != '\n' ? "\n" : "", mark, "\n", NULL);
    return talk("replace", socket, whole, strlen(whole));
}

int cmd_replace(char **words)
{
    Ask a = { .format = "" };
    GError *error = NULL;
    g_autofree char **operands =
        cli_options_parse(words, plain_options, CLI_ORDER_ANY, &a, &error);

    if (!operands)
        return cli_options_failed("replace", error);
    if (!operands[0] || operands[1]) {
        cli_complain("replace: needs one FILE, or - for standard input");
        return CLI_USAGE;
    }
    return replace(operands[0], a.socket);
}
