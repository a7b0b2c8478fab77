/* SPDX-License-Identifier: BSD-3-Clause */
/* Clients of the control socket: reading lines, writing replies, bounds. */
#include "control/server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/reply.h"

enum { READ_SIZE = 65536, NOT_POLLED = -1 };

typedef struct Client {
    int fd;
    int index;    /* of this cycle */
    GString *in;  /* received */
    size_t taken; /* of in */
    GString *out; /* to be sent */
    size_t sent;  /* of out */
    char *line;   /* waits for its payload */
    char *end;    /* the line that ends the payload */
    GString *payload;
    bool eof, closing;
    uint32_t active_ms; /* of the last progress */
} Client;

struct Server {
    Listener listener;
    const ServerOps *ops;
    void *opaque;
    bool watched; /* the listener; its owner may not be ready at first */
    int index;
    uint32_t tried_ms; /* of the last attempt without knowing the events */
    GPtrArray *clients;
};

/* ---- clients ---- */

static Client *client_new(int fd, uint32_t now_ms)
{
    Client *client = g_new0(Client, 1);

    client->fd = fd;
    client->index = NOT_POLLED;
    client->in = g_string_new(NULL);
    client->out = g_string_new(NULL);
    client->active_ms = now_ms;
    return client;
}

static void drop_payload(Client *client)
{
    g_clear_pointer(&client->line, g_free);
    g_clear_pointer(&client->end, g_free);
    if (client->payload != NULL) {
        g_string_free(client->payload, TRUE);
        client->payload = NULL;
    }
}

static void client_free(Client *client)
{
    drop_payload(client);
    g_string_free(client->in, TRUE);
    g_string_free(client->out, TRUE);
    g_free(client);
}

static void remove_client(Server *server, unsigned i)
{
    Client *client = g_ptr_array_index(server->clients, i);

    server->ops->unwatch(server->opaque, client->fd);
    close(client->fd);
    client_free(client);
    g_ptr_array_remove_index_fast(server->clients, i);
}

static bool has_output(const Client *client)
{
    return client->sent < client->out->len;
}

/* The longest idle one makes room. */
static void evict(Server *server, uint32_t now_ms)
{
    unsigned oldest = 0;
    uint32_t age = 0;

    for (unsigned i = 0; i < server->clients->len; i++) {
        const Client *client = g_ptr_array_index(server->clients, i);

        if (now_ms - client->active_ms > age) {
            age = now_ms - client->active_ms;
            oldest = i;
        }
    }
    remove_client(server, oldest);
}

static void accept_all(Server *server, uint32_t now_ms)
{
    /* A flood of connections gets as many turns as there are places. */
    for (int i = 0; i < SERVER_CLIENTS_MAX; i++) {
        int fd = listener_accept(&server->listener);

        if (fd < 0 && errno != EPERM) {
            return;
        }
        if (fd < 0) {
            continue;
        }
        if (server->clients->len >= SERVER_CLIENTS_MAX) {
            evict(server, now_ms);
        }
        server->ops->watch(server->opaque, fd);
        g_ptr_array_add(server->clients, client_new(fd, now_ms));
    }
}

/* ---- input ---- */

static bool has_line(const Client *client)
{
    return memchr(client->in->str + client->taken, '\n',
                  client->in->len - client->taken) != NULL;
}

/* False if the connection is broken. */
static bool receive(Client *client, uint32_t now_ms)
{
    size_t len;
    ssize_t n;

    g_string_erase(client->in, 0, client->taken);
    client->taken = 0;
    len = client->in->len;
    g_string_set_size(client->in, len + READ_SIZE);
    n = recv(client->fd, client->in->str + len, READ_SIZE, MSG_DONTWAIT);
    g_string_set_size(client->in, len + (n > 0 ? (size_t)n : 0));
    if (n > 0) {
        client->active_ms = now_ms;
    }
    client->eof |= n == 0;
    return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static void refuse(Client *client, const char *message)
{
    reply_error(client->out, REPLY_TOO_LONG, message);
    client->closing = true;
}

/* Takes the next line off the input; NULL if there is none yet. */
static char *take_line(Client *client, size_t *len)
{
    const char *at = client->in->str + client->taken;
    size_t left = client->in->len - client->taken;
    const char *newline = memchr(at, '\n', left);
    char *line;

    if (newline == NULL || (size_t)(newline - at) >= SERVER_LINE_MAX) {
        if (left >= SERVER_LINE_MAX) {
            refuse(client, "the line is too long");
        }
        return NULL;
    }
    *len = newline - at;
    line = g_malloc(*len + 1);
    memcpy(line, at, *len);
    line[*len] = '\0';
    client->taken += *len + 1;
    if (*len > 0 && line[*len - 1] == '\r') {
        line[--*len] = '\0';
    }
    return line;
}

/* "COMMAND ... <<WORD": the payload ends with the line WORD. An empty line may
 * stand in any rule file, so it ends nothing. */
static bool wants_payload(Client *client, char *line)
{
    char *mark = strstr(line, "<<");

    if (mark == NULL) {
        return false;
    }
    client->end = g_strstrip(g_strdup(mark + 2));
    if (*client->end == '\0') {
        /* Whatever follows was not meant as commands. */
        reply_error(client->out, REPLY_SYNTAX,
                    "write a word behind <<; the line with that word alone "
                    "ends the payload");
        client->closing = true;
        drop_payload(client);
        return true;
    }
    *mark = '\0';
    client->line = g_strchomp(g_strdup(line));
    client->payload = g_string_new(NULL);
    return true;
}

static void run(Server *server, Client *client, const char *line,
                const GString *payload)
{
    if (!server->ops->command(server->opaque, line, payload, client->out)) {
        client->closing = true;
    }
}

/* Control bytes are no text, and are not shown to others either. */
static bool is_clean(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (g_ascii_iscntrl(line[i]) && line[i] != '\t') {
            return false;
        }
    }
    return true;
}

static void do_line(Server *server, Client *client, char *line, size_t len)
{
    if (!is_clean(line, len)) {
        reply_error(client->out, REPLY_SYNTAX, "the line has control bytes");
    } else if (!wants_payload(client, line)) {
        run(server, client, line, NULL);
    }
}

/* Appends whole lines; the command is done when the last one is there. All
 * that is kept counts for the bound, what is still unread is bounded too. */
static void do_payload_line(Server *server, Client *client, const char *line,
                            size_t len)
{
    if (strcmp(line, client->end) == 0) {
        run(server, client, client->line, client->payload);
        drop_payload(client);
    } else if (client->payload->len + len + 1 > SERVER_PAYLOAD_MAX) {
        refuse(client, "the payload is too long");
        drop_payload(client);
    } else {
        g_string_append_len(client->payload, line, len);
        g_string_append_c(client->payload, '\n');
    }
}

/* At most one command; a payload is one with its command. */
static void take_lines(Server *server, Client *client)
{
    while (!has_output(client) && !client->closing) {
        bool payload = client->payload != NULL;
        size_t len;
        g_autofree char *line = take_line(client, &len);

        if (line == NULL) {
            return;
        }
        if (payload) {
            do_payload_line(server, client, line, len);
        } else if (len > 0) {
            do_line(server, client, line, len);
        }
    }
}

/* ---- output ---- */

/* False if the connection is broken. */
static bool transmit(Client *client, uint32_t now_ms)
{
    ssize_t n =
        send(client->fd, client->out->str + client->sent,
             client->out->len - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    client->sent += n;
    client->active_ms = now_ms;
    if (!has_output(client)) {
        /* The next reply is likely a small one. */
        g_string_free(client->out, TRUE);
        client->out = g_string_new(NULL);
        client->sent = 0;
    }
    return true;
}

/* One turn of a client; false if it is to be removed. */
static bool serve(Server *server, Client *client, int events, uint32_t now_ms)
{
    if (has_output(client)) {
        if (now_ms - client->active_ms >= SERVER_STALL_MS) {
            return false;
        }
        return !(events & ~SERVER_POLL_IN) || transmit(client, now_ms);
    }
    if (client->closing) {
        return false;
    }
    if (events && !client->eof && !has_line(client) &&
        !receive(client, now_ms)) {
        return false;
    }
    take_lines(server, client);
    if (has_output(client)) {
        return transmit(client, now_ms);
    }
    return !client->eof && !client->closing;
}

/* ---- the poll cycle ---- */

Server *server_new(Listener *listener, const ServerOps *ops, void *opaque)
{
    Server *server = g_new0(Server, 1);

    server->listener = *listener;
    server->ops = ops;
    server->opaque = opaque;
    server->index = NOT_POLLED;
    server->clients = g_ptr_array_new();
    return server;
}

void server_free(Server *server)
{
    while (server->clients->len > 0) {
        remove_client(server, server->clients->len - 1);
    }
    g_ptr_array_unref(server->clients);
    if (server->watched) {
        server->ops->unwatch(server->opaque, server->listener.fd);
    }
    listener_close(&server->listener);
    g_free(server);
}

/* What a client without events has to wait for, in ms. */
static uint32_t client_wait(const Client *client, uint32_t now_ms)
{
    uint32_t idle = now_ms - client->active_ms;

    if (has_output(client)) {
        return SERVER_STALL_MS - MIN(idle, SERVER_STALL_MS);
    }
    if (client->closing || client->eof || has_line(client)) {
        return 0;
    }
    return UINT32_MAX;
}

void server_fill(Server *server, uint32_t now_ms, uint32_t *timeout_ms,
                 int (*add)(int fd, int events, void *opaque), void *opaque)
{
    if (!server->watched) {
        server->ops->watch(server->opaque, server->listener.fd);
        server->watched = true;
    }
    server->index = add(server->listener.fd, SERVER_POLL_IN, opaque);
    for (unsigned i = 0; i < server->clients->len; i++) {
        Client *client = g_ptr_array_index(server->clients, i);
        int events = has_output(client) ? SERVER_POLL_OUT : SERVER_POLL_IN;

        client->index = add(client->fd, events, opaque);
        *timeout_ms = MIN(*timeout_ms, client_wait(client, now_ms));
    }
}

static int events_of(int *index, int (*ready)(int, void *), void *opaque)
{
    int events = SERVER_POLL_IN | SERVER_POLL_OUT;

    if (ready != NULL) {
        events = *index == NOT_POLLED ? 0 : ready(*index, opaque);
    }
    *index = NOT_POLLED;
    return events;
}

void server_poll(Server *server, uint32_t now_ms,
                 int (*ready)(int index, void *opaque), void *opaque)
{
    int listening;

    /* An application that never tells the events while its guest is busy
     * polls for each frame; once a millisecond is enough for us. */
    if (ready == NULL) {
        if (server->tried_ms == now_ms) {
            return;
        }
        server->tried_ms = now_ms;
    }
    listening = events_of(&server->index, ready, opaque);
    for (unsigned i = server->clients->len; i-- > 0;) {
        Client *client = g_ptr_array_index(server->clients, i);
        int events = events_of(&client->index, ready, opaque);

        if (!serve(server, client, events, now_ms)) {
            remove_client(server, i);
        }
    }
    if (listening) {
        accept_all(server, now_ms);
    }
}

unsigned server_clients(const Server *server)
{
    return server->clients->len;
}

const char *server_path(const Server *server)
{
    return server->listener.place.path;
}
