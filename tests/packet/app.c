/* SPDX-License-Identifier: BSD-3-Clause */
/* The application around the library: callbacks, timers, configuration. */
#include "internal.h"

#include <arpa/inet.h>

#include "fault.h"

typedef struct Timer {
    Guest *guest;
    SlirpTimerCb cb; /* NULL: made by timer_new_opaque */
    SlirpTimerId id;
    void *opaque;
    int64_t expire_ms; /* -1: not armed */
} Timer;

/* Frames and errors */

static slirp_ssize_t on_send_packet(const void *buf, size_t len, void *opaque)
{
    Guest *guest = opaque;
    Frame *frame = frame_parse(buf, len);
    g_autofree char *problem = frame_problem(frame, guest->mtu);

    frame->time_ms = net_now_ms(guest->net);
    frame->number = ++guest->frames_count;
    if (problem) {
        g_autofree char *text = frame_describe(frame);

        net_fail(guest->net, "ill-formed frame: %s: %s", problem, text);
    }
    g_queue_push_tail(guest->inbox, frame);
    return (slirp_ssize_t)len;
}

static void on_guest_error(const char *message, void *opaque)
{
    (void)opaque;
    g_test_message("guest error: %s", message);
}

static int64_t on_clock_get_ns(void *opaque)
{
    Guest *guest = opaque;

    return net_clock_ns + guest->config.clock_ahead_ms * 1000000;
}

static void on_notify(void *opaque)
{
    Guest *guest = opaque;

    guest->net->activity = true;
}

/* Timers */

static Timer *timer_add(Guest *guest, SlirpTimerCb cb, SlirpTimerId id,
                        void *opaque)
{
    Timer *timer = g_new0(Timer, 1);

    *timer = (Timer){ guest, cb, id, opaque, -1 };
    g_ptr_array_add(guest->timers, timer);
    return timer;
}

static void *on_timer_new(SlirpTimerCb cb, void *cb_opaque, void *opaque)
{
    return timer_add(opaque, cb, 0, cb_opaque);
}

static void *on_timer_new_opaque(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    return timer_add(opaque, NULL, id, cb_opaque);
}

static void on_timer_free(void *timer, void *opaque)
{
    Guest *guest = opaque;

    if (!g_ptr_array_remove(guest->timers, timer)) {
        net_fail(guest->net, "timer_free of an unknown timer");
    }
    g_free(timer);
}

static void on_timer_mod(void *opaque_timer, int64_t expire_ms, void *opaque)
{
    Guest *guest = opaque;
    Timer *timer = opaque_timer;

    if (!g_ptr_array_find(guest->timers, timer, NULL)) {
        net_fail(guest->net, "timer_mod of an unknown timer");
    }
    timer->expire_ms = expire_ms;
}

int64_t guest_next_timer_ms(const Guest *guest)
{
    int64_t next = INT64_MAX;

    for (guint i = 0; i < guest->timers->len; i++) {
        Timer *timer = guest->timers->pdata[i];

        if (timer->expire_ms >= 0) {
            next = MIN(next, timer->expire_ms - guest->config.clock_ahead_ms);
        }
    }
    return next;
}

static Timer *timer_due(Guest *guest)
{
    for (guint i = 0; i < guest->timers->len; i++) {
        Timer *timer = guest->timers->pdata[i];

        if (timer->expire_ms >= 0 &&
            timer->expire_ms <= on_clock_get_ns(guest) / 1000000) {
            return timer;
        }
    }
    return NULL;
}

void guest_timers_run(Guest *guest)
{
    Timer *timer;

    while ((timer = timer_due(guest))) {
        timer->expire_ms = -1;
        guest->net->activity = true;
        if (timer->cb) {
            timer->cb(timer->opaque);
        } else {
            fault_inside++;
            slirp_handle_timer(guest->slirp, timer->id, timer->opaque);
            fault_inside--;
        }
    }
}

/* Descriptors */

static void on_register_poll_fd(int fd, void *opaque)
{
    Guest *guest = opaque;

    if (fd >= 0) {
        g_hash_table_add(guest->poll_fds, GINT_TO_POINTER(fd));
    } else {
        guest->strangers++;
    }
}

static void on_unregister_poll_fd(int fd, void *opaque)
{
    Guest *guest = opaque;

    if (!g_hash_table_remove(guest->poll_fds, GINT_TO_POINTER(fd))) {
        guest->strangers++;
    }
}

static const struct {
    int slirp;
    short host;
} events[] = {
    { SLIRP_POLL_IN, POLLIN },   { SLIRP_POLL_OUT, POLLOUT },
    { SLIRP_POLL_PRI, POLLPRI }, { SLIRP_POLL_ERR, POLLERR },
    { SLIRP_POLL_HUP, POLLHUP },
};

static int on_add_poll(int fd, int wanted, void *opaque)
{
    Guest *guest = opaque;
    short mask = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
        mask |= wanted & events[i].slirp ? events[i].host : 0;
    }
    if (fd < 0) {
        net_fail(guest->net, "the stack polls descriptor %d", fd);
    }
    return net_add_poll(guest->net, fd, mask);
}

static int on_get_revents(int index, void *opaque)
{
    Guest *guest = opaque;
    short got = net_poll_result(guest->net, index);
    int result = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
        result |= got & events[i].host ? events[i].slirp : 0;
    }
    if (got & POLLNVAL) {
        net_fail(guest->net, "the stack polls a closed descriptor");
    }
    return result;
}

void guest_poll_fill(Guest *guest)
{
    guest->wanted_ms = UINT32_MAX;
    fault_inside++;
    slirp_pollfds_fill(guest->slirp, &guest->wanted_ms, on_add_poll, guest);
    fault_inside--;
}

void guest_poll_dispatch(Guest *guest, bool failed)
{
    bool busy = guest->config.select_error_when_busy && guest->sent;

    guest->sent = false;
    fault_inside++;
    slirp_pollfds_poll(guest->slirp, failed || busy, on_get_revents, guest);
    fault_inside--;
}

void app_check_released(Guest *guest)
{
    GHashTableIter iter;
    gpointer fd;

    if (guest->timers->len) {
        net_fail(guest->net, "%u timers not freed by slirp_cleanup()",
                 guest->timers->len);
    }
    g_hash_table_iter_init(&iter, guest->poll_fds);
    if (g_hash_table_iter_next(&iter, &fd, NULL)) {
        net_fail(guest->net, "descriptor %d is still registered for polling",
                 GPOINTER_TO_INT(fd));
    }
    if (guest->config.strict_register && guest->strangers) {
        net_fail(guest->net,
                 "%u descriptors unregistered, never registered, or -1",
                 guest->strangers);
    }
}

void app_callbacks_init(Guest *guest)
{
    guest->callbacks = (SlirpCb){
        .send_packet = on_send_packet,
        .guest_error = on_guest_error,
        .clock_get_ns = on_clock_get_ns,
        .timer_new = on_timer_new,
        .timer_free = on_timer_free,
        .timer_mod = on_timer_mod,
        .register_poll_fd = on_register_poll_fd,
        .unregister_poll_fd = on_unregister_poll_fd,
        .notify = on_notify,
    };
    if (guest->config.null_register) {
        guest->callbacks.register_poll_fd = NULL;
        guest->callbacks.unregister_poll_fd = NULL;
    }
    if (guest->slirp_config.version >= 4) {
        guest->callbacks.timer_new_opaque = on_timer_new_opaque;
    }
}

/* What QEMU sets for "-netdev user" without options */
void app_config_init(Guest *guest)
{
    const GuestConfig *c = &guest->config;
    SlirpConfig *s = &guest->slirp_config;

    s->version = c->version ? c->version : 4;
    s->restricted = c->restricted;
    s->in_enabled = !c->no_ipv4;
    s->vnetwork.s_addr = htonl(0x0a000200);
    s->vnetmask.s_addr = htonl(0xffffff00);
    s->vhost.s_addr = htonl(0x0a000202);
    s->vdhcp_start.s_addr = c->no_dhcp_range ? 0 : htonl(0x0a00020f);
    s->vnameserver.s_addr = htonl(0x0a000203);
    s->in6_enabled = !c->no_ipv6;
    inet_pton(AF_INET6, "fec0::", &s->vprefix_addr6);
    s->vprefix_len = 64;
    inet_pton(AF_INET6, "fec0::2", &s->vhost6);
    inet_pton(AF_INET6, "fec0::3", &s->vnameserver6);
    s->vhostname = c->hostname;
    s->tftp_server_name = c->tftp_server_name;
    s->tftp_path = c->tftp_path;
    s->bootfile = c->bootfile;
    s->vdnssearch = c->dnssearch;
    s->vdomainname = c->domainname;
    s->if_mtu = c->mtu;
    s->if_mru = c->mru;
    s->outbound_addr = (struct sockaddr_in *)c->outbound_addr;
    s->disable_host_loopback = c->disable_host_loopback;
    s->enable_emu = c->enable_emu;
    s->disable_dns = c->disable_dns;
    s->disable_dhcp = c->disable_dhcp;
}
