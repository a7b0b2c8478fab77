/* SPDX-License-Identifier: BSD-3-Clause */
/* First process of the test guest: brings the machine up, then probes. */

/*
 * Theory of operation
 *
 * The kernel command line names a virtio-serial port: probe=NAME. Once the
 * file systems, modules and interfaces are up, "ready" is written there and
 * the command loop of probe.c takes over; when it ends, so does the machine.
 * Whatever goes wrong before is written there too ("failed WHY"). Nothing
 * sleeps: devices are awaited by uevents, IPv6 addresses by rtnetlink, both
 * with a bound.
 *
 * Every ethN gets an IPv4 address by DHCP (not with noipv4 on the command
 * line) and an IPv6 one by router advertisement (not with noipv6).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

enum { BOOT_LIMIT_MS = 60000, MAX_NICS = 8, DHCP_ROUNDS = 3 };

static char command_line[4096];

static void make_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    if (fd < 0 || write(fd, text, strlen(text)) < 0) {
        fprintf(stderr, "init: %s: %m\n", path);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void mount_all(void)
{
    int fd;

    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    fd = open("/dev/console", O_RDWR);
    if (fd >= 0) {
        dup2(fd, 0);
        dup2(fd, 1);
        dup2(fd, 2);
    }
    fd = open("/proc/cmdline", O_RDONLY);
    if (fd >= 0) {
        if (read(fd, command_line, sizeof(command_line) - 1) < 0) {
            command_line[0] = '\0';
        }
        close(fd);
    }
}

/* NULL, or the text after KEY, which holds the "=" if there is one. */
static const char *argument(const char *key)
{
    static char value[256];
    char copy[sizeof(command_line)];
    char *save = NULL;

    strcpy(copy, command_line);
    for (char *word = strtok_r(copy, " \n", &save); word;
         word = strtok_r(NULL, " \n", &save)) {
        if (!strncmp(word, key, strlen(key))) {
            snprintf(value, sizeof(value), "%s", word + strlen(key));
            return value;
        }
    }
    return NULL;
}

/* /modules/order lists them so that each comes after those it needs. */
static void load_modules(void)
{
    FILE *order = fopen("/modules/order", "r");
    char name[200], path[256];

    while (order && fgets(name, sizeof(name), order)) {
        int fd;

        name[strcspn(name, "\n")] = '\0';
        snprintf(path, sizeof(path), "/modules/%s", name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) < 0) {
            fprintf(stderr, "init: module %s: %m\n", name);
        }
        if (fd >= 0) {
            close(fd);
        }
    }
    if (order) {
        fclose(order);
    }
}

/* ---- waiting for the kernel ---- */

static int netlink_open(int protocol, unsigned groups)
{
    struct sockaddr_nl sa = { .nl_family = AF_NETLINK, .nl_groups = groups };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

    if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Re-tests a condition at every message on fd, within the boot limit. */
static bool await(int fd, bool (*holds)(void *arg), void *arg)
{
    int64_t deadline = now_ms() + BOOT_LIMIT_MS;
    char message[8192];

    while (!holds(arg)) {
        if (wait_for(fd, POLLIN, deadline) < 0) {
            return false;
        }
        if (recv(fd, message, sizeof(message), 0) < 0 && errno != ENOBUFS) {
            return false;
        }
    }
    return true;
}

/* ---- the port ---- */

typedef struct PortSearch {
    const char *name;
    char path[300];
} PortSearch;

static bool port_exists(void *arg)
{
    PortSearch *search = arg;
    DIR *dir = opendir("/sys/class/virtio-ports");
    struct dirent *entry;
    bool found = false;

    while (dir && !found && (entry = readdir(dir))) {
        char path[512], name[128] = "";
        FILE *f;

        snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name",
                 entry->d_name);
        f = fopen(path, "r");
        if (!f) {
            continue;
        }
        if (fgets(name, sizeof(name), f)) {
            name[strcspn(name, "\n")] = '\0';
            snprintf(search->path, sizeof(search->path), "/dev/%s",
                     entry->d_name);
            found =
                !strcmp(name, search->name) && access(search->path, F_OK) == 0;
        }
        fclose(f);
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

static int open_port(int uevents)
{
    PortSearch search = { .name = argument("probe=") };

    if (!search.name) {
        fprintf(stderr, "init: the command line has no probe=PORT\n");
        return -1;
    }
    if (!await(uevents, port_exists, &search)) {
        fprintf(stderr, "init: no virtio-serial port %s\n", search.name);
        return -1;
    }
    return open(search.path, O_RDWR | O_CLOEXEC);
}

/* ---- interfaces ---- */

static bool link_up(const char *name)
{
    struct ifreq ifr = { 0 };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool ok;

    strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
    ok = ioctl(fd, SIOCGIFFLAGS, &ifr) == 0;
    if (ok) {
        ifr.ifr_flags |= IFF_UP;
        ok = ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
    }
    close(fd);
    return ok;
}

static bool run_dhcp_client(const char *name)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/busybox", "udhcpc", "-i", name, "-f", "-q", "-n", "-t", "5",
              "-T", "2", "-s", "/etc/udhcpc", (char *)NULL);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

/* Without an answer a client begins again, with another transaction. */
static bool dhcp(const char *name)
{
    for (int i = 0; i < DHCP_ROUNDS; i++) {
        if (run_dhcp_client(name)) {
            return true;
        }
    }
    return false;
}

/* True if a line of a /proc file passes the test and is about name. */
static bool proc_has(const char *path, const char *name,
                     bool (*test)(const char *line))
{
    FILE *f = fopen(path, "r");
    char line[512];
    bool found = false;

    while (f && !found && fgets(line, sizeof(line), f)) {
        size_t len = strcspn(line, "\n"), want = strlen(name);

        line[len] = '\0';
        found = len > want && !strcmp(line + len - want, name) &&
                line[len - want - 1] == ' ' && test(line);
    }
    if (f) {
        fclose(f);
    }
    return found;
}

/* address ifindex prefix scope flags name: not link-local, not tentative */
static bool usable_address(const char *line)
{
    unsigned scope, flags;

    return sscanf(line, "%*s %*x %*x %x %x", &scope, &flags) == 2 &&
           scope != 0x20 && !(flags & 0x40);
}

/* ::/0 by way of a router */
static bool default_route(const char *line)
{
    char prefix[40], next[40];
    unsigned len;

    return sscanf(line, "%39s %x %*s %*x %39s", prefix, &len, next) == 3 &&
           len == 0 && strspn(prefix, "0") == 32 && strspn(next, "0") != 32;
}

static bool ipv6_usable(void *arg)
{
    return proc_has("/proc/net/if_inet6", arg, usable_address) &&
           proc_has("/proc/net/ipv6_route", arg, default_route);
}

/* NULL, or what failed. */
static const char *bring_up_interfaces(void)
{
    int changes =
        netlink_open(NETLINK_ROUTE, RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE);
    char name[16];
    int n;

    /* No duplicate address detection: there is nobody else on that link. */
    make_file("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
    make_file("/proc/sys/net/ipv6/conf/all/accept_dad", "0");
    make_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
    link_up("lo");
    for (n = 0; n < MAX_NICS; n++) {
        char path[80];

        snprintf(name, sizeof(name), "eth%d", n);
        snprintf(path, sizeof(path), "/sys/class/net/%s", name);
        if (access(path, F_OK) < 0) {
            break;
        }
        snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_dad",
                 name);
        make_file(path, "0");
        if (!link_up(name)) {
            return "an interface does not come up";
        }
    }
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof(name), "eth%d", i);
        if (!argument("noipv4") && !dhcp(name)) {
            return "no DHCP lease";
        }
        if (!argument("noipv6") && !await(changes, ipv6_usable, name)) {
            return "no usable IPv6 address and route";
        }
    }
    close(changes);
    return NULL;
}

static void power_off(void)
{
    sync();
    reboot(RB_POWER_OFF);
    for (;;) {
        pause();
    }
}

int main(void)
{
    const char *failure;
    int uevents, port;

    signal(SIGPIPE, SIG_IGN);
    mount_all();
    uevents = netlink_open(NETLINK_KOBJECT_UEVENT, 1);
    load_modules();
    port = open_port(uevents);
    if (port < 0) {
        power_off();
    }
    failure = bring_up_interfaces();
    if (failure) {
        dprintf(port, "failed %s\n", failure);
        power_off();
    }
    dprintf(port, "ready\n");
    probe_serve(port);
    power_off();
}
