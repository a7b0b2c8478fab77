/* SPDX-License-Identifier: BSD-3-Clause */
/* What the harness' own files share; tests include harness.h only. */
#ifndef TEST_PACKET_INTERNAL_H
#define TEST_PACKET_INTERNAL_H

#include <poll.h>
#include <sys/resource.h>

#include "harness.h"

struct Net {
    GPtrArray *guests;
    GPtrArray *peers;
    GHashTable *fds_before; /* fd -> what it was */
    GPtrArray *expected_logs;
    GPtrArray *allowed_logs;
    GString *bad_logs;
    GPtrArray *saved_env; /* name, value pairs; the value may be NULL */
    struct rlimit files;  /* before the test */
    char *tmpdir;
    GArray *pollfds; /* of the turn in progress */
    bool activity;   /* something happened in this turn */
};

struct Guest {
    Net *net;
    Slirp *slirp;
    GuestConfig config;
    SlirpConfig slirp_config;
    SlirpCb callbacks;
    size_t mtu;
    uint8_t mac[FRAME_MAC_LEN];
    Endpoint ip, ip6, link_local;
    GQueue *inbox;  /* Frames emitted, not yet handled */
    GQueue *frames; /* Frames captured */
    size_t frames_bytes;
    uint64_t frames_count;
    GPtrArray *timers;
    GHashTable *poll_fds;
    unsigned strangers; /* unregistered without having been registered */
    bool sent;          /* since the last poll */
    uint32_t wanted_ms; /* what slirp_pollfds_fill() asked for */
    GuestFilter filter;
    void *filter_opaque;
    GPtrArray *conns;
    GHashTable *listening; /* port */
    GHashTable *raw_ports; /* ports whose segments the test handles */
    uint16_t next_port;
    GPtrArray *fragments; /* of datagrams not yet complete */
};

/* net.c */
extern int64_t net_clock_ns;
int net_add_poll(Net *net, int fd, short events);
short net_poll_result(Net *net, int index);

/* leaks.c */
GHashTable *fds_snapshot(void);
char *fds_difference(GHashTable *before);

/* log.c */
void log_install(void);
void log_set_net(Net *net);
char *log_missing(Net *net);
void captures_write(Net *net);

/* guest.c */
void guest_timers_run(Guest *guest);
int64_t guest_next_timer_ms(const Guest *guest);
bool guest_deliver(Guest *guest);
void guest_poll_fill(Guest *guest);
void guest_poll_dispatch(Guest *guest, bool select_error);

/* app.c */
void app_callbacks_init(Guest *guest);
void app_config_init(Guest *guest);
void app_check_released(Guest *guest);

/* conn.c */
void conn_free(Conn *conn);
void conns_input(Guest *guest, const Frame *frame);
void conns_unreachable(Guest *guest, const Frame *frame);
void conns_output(Guest *guest);
void conns_timers(Guest *guest);

/* host.c */
void peer_free(Peer *peer);
void peer_poll_fill(Peer *peer);
void peer_poll_dispatch(Peer *peer);

#endif
