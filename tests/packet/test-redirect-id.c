/* SPDX-License-Identifier: BSD-3-Clause */
/* The public calls that name a rule: by id, and by +name=. */
#include <errno.h>

#include "harness.h"

static int add(Slirp *slirp, const char *rule)
{
    g_autofree char *message = NULL;
    int id = slirp_add_redirect(slirp, rule, &message);

    g_assert_cmpstr(message, ==, NULL);
    g_assert_cmpint(id, >, 0);
    return id;
}

static void expect_no_name(Slirp *slirp, const char *name)
{
    errno = 0;
    g_assert_cmpint(slirp_redirect_id(slirp, name), ==, -1);
    g_assert_cmpint(errno, ==, ENOENT);
}

static void test_by_name(void)
{
    g_autoptr(Net) net = net_new();
    Slirp *slirp = guest_slirp(guest_new(net));
    int web, mail;

    expect_no_name(slirp, "web");
    add(slirp, "tcp:81-reject");
    web = add(slirp, "tcp:80-:8080+name=web");
    mail = add(slirp, "tcp:25-:2525+name=mail");
    g_assert_cmpint(slirp_redirect_id(slirp, "web"), ==, web);
    g_assert_cmpint(slirp_redirect_id(slirp, "mail"), ==, mail);
    expect_no_name(slirp, "we");
    expect_no_name(slirp, "");

    g_assert_cmpint(slirp_remove_redirect(slirp, web), ==, 0);
    expect_no_name(slirp, "web");
    g_assert_cmpint(slirp_redirect_id(slirp, "mail"), ==, mail);
}

/* A name may be given again, an id never. */
static void test_never_again(void)
{
    g_autoptr(Net) net = net_new();
    Slirp *slirp = guest_slirp(guest_new(net));
    int first = add(slirp, "tcp:80-:8080+name=web"), second;

    g_assert_cmpint(slirp_remove_redirect(slirp, first), ==, 0);
    second = add(slirp, "tcp:80-:8080+name=web");
    g_assert_cmpint(second, !=, first);
    g_assert_cmpint(slirp_redirect_id(slirp, "web"), ==, second);
    errno = 0;
    g_assert_cmpint(slirp_remove_redirect(slirp, first), ==, -1);
    g_assert_cmpint(errno, ==, ENOENT);
}

int main(int argc, char **argv)
{
    packet_test_init(&argc, &argv);
    g_test_add_func("/redirect-id/by-name", test_by_name);
    g_test_add_func("/redirect-id/never-again", test_never_again);
    return g_test_run();
}
