/* SPDX-License-Identifier: BSD-3-Clause */
/* A client of the control socket inside a packet test's world. */
#ifndef TEST_CONTROL_CLIENT_H
#define TEST_CONTROL_CLIENT_H

#include <json-glib/json-glib.h>

#include "harness.h"

typedef struct Client {
    Net *net;
    int fd;
    GString *in;
} Client;

/* Points SLIRP_REDIRECT_CONTROL at a path in the test's directory; g_free(). */
char *control_path(Net *net);
Client *client_new(Net *net, const char *path);
void client_free(Client *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Client, client_free)

/* All of it, turning the loop while the other side reads. */
void client_send(Client *client, const char *data, size_t len);
void client_send_text(Client *client, const char *text);
/* Reads what is there; false at the end of the stream. */
bool client_read(Client *client);
void client_expect_closed(Client *client);

/* Await one reply: "ok" or the error's code, and its body; g_free() both. */
char *client_reply(Client *client, char **body);
/* Send a command; its body, which must be a success; g_free(). */
char *client_ask(Client *client, const char *line);
/* The same, as JSON; g_object_unref(). */
JsonParser *client_ask_json(Client *client, const char *line);
/* Send a command that must fail with this code; its message; g_free(). */
char *client_refused(Client *client, const char *code, const char *line);

#endif
