/* SPDX-License-Identifier: BSD-3-Clause */
/* Sends commands and reads replies while the loop turns. */
#include "client.h"

#include <errno.h>
#include <sys/un.h>
#include <unistd.h>

char *control_path(Net *net)
{
    char *path = g_build_filename(net_tmpdir(net), "ctl", NULL);

    net_setenv(net, "SLIRP_REDIRECT_CONTROL", path);
    return path;
}

Client *client_new(Net *net, const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    Client *client = g_new0(Client, 1);

    g_strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
    client->net = net;
    client->in = g_string_new(NULL);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(client->fd, >=, 0);
    if (connect(client->fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        net_fail(net, "%s: %s", path, g_strerror(errno));
    }
    return client;
}

void client_free(Client *client)
{
    close(client->fd);
    g_string_free(client->in, TRUE);
    g_free(client);
}

void client_send(Client *client, const char *data, size_t len)
{
    gint64 end = net_deadline();

    while (len > 0) {
        ssize_t n = send(client->fd, data, len, MSG_NOSIGNAL);

        if (n > 0) {
            data += n;
            len -= n;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return; /* the reading side will tell */
        }
        if (g_get_monotonic_time() > end) {
            net_fail(client->net, "the control socket is not read");
        }
        net_step(client->net, 0);
    }
}

void client_send_text(Client *client, const char *text)
{
    client_send(client, text, strlen(text));
}

bool client_read(Client *client)
{
    char buf[65536];
    ssize_t n = recv(client->fd, buf, sizeof(buf), 0);

    if (n > 0) {
        g_string_append_len(client->in, buf, n);
    }
    return n > 0 || (n < 0 && errno == EAGAIN);
}

void client_expect_closed(Client *client)
{
    gint64 end = net_deadline();

    while (client_read(client)) {
        if (g_get_monotonic_time() > end) {
            net_fail(client->net, "the control connection stays open");
        }
        net_step(client->net, 1);
    }
}

static void read_more(Client *client, gint64 end)
{
    if (g_get_monotonic_time() > end) {
        net_fail(client->net, "no reply, but: %s", client->in->str);
    }
    net_step(client->net, 1);
    if (!client_read(client)) {
        net_fail(client->net, "closed after: %s", client->in->str);
    }
}

char *client_reply(Client *client, char **body)
{
    gint64 end = net_deadline();
    char *newline;
    size_t len;

    while ((newline = strchr(client->in->str, '\n')) == NULL) {
        read_more(client, end);
    }
    *newline = '\0';
    g_auto(GStrv) words = g_strsplit(client->in->str, " ", 4);
    g_assert_cmpuint(g_strv_length(words), >=, 3);
    g_assert_cmpstr(words[0], ==, "redirect/1");
    len = g_ascii_strtoull(words[2], NULL, 10);
    g_string_erase(client->in, 0, newline + 1 - client->in->str);
    while (client->in->len < len) {
        read_more(client, end);
    }
    *body = g_strndup(client->in->str, len);
    g_string_erase(client->in, 0, len);
    return g_strdup(words[3] != NULL ? words[3] : words[1]);
}

static char *ask(Client *client, const char *line, char **body)
{
    client_send_text(client, line);
    client_send_text(client, "\n");
    return client_reply(client, body);
}

char *client_ask(Client *client, const char *line)
{
    char *body;
    g_autofree char *code = ask(client, line, &body);

    if (strcmp(code, "ok") != 0) {
        net_fail(client->net, "%s: %s: %s", line, code, body);
    }
    return body;
}

JsonParser *client_ask_json(Client *client, const char *line)
{
    g_autofree char *body = client_ask(client, line);
    JsonParser *parser = json_parser_new();

    if (!json_parser_load_from_data(parser, body, -1, NULL)) {
        net_fail(client->net, "%s: no JSON: %s", line, body);
    }
    return parser;
}

char *client_refused(Client *client, const char *code, const char *line)
{
    char *body;
    g_autofree char *got = ask(client, line, &body);

    if (strcmp(code, got) != 0) {
        net_fail(client->net, "%s: %s, not %s: %s", line, got, code, body);
    }
    return body;
}
