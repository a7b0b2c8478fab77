/* SPDX-License-Identifier: BSD-3-Clause */
/* A program that cannot do without the redirect calls. */
#include <stdio.h>

#include <libslirp.h>

#ifndef SLIRP_HAVE_REDIRECT
#error "this needs a libslirp with redirects"
#endif

int main(int argc, char **argv)
{
    (void)argv;
    printf("%s\n", slirp_version_string());
    return argc > 1 ? slirp_remove_redirect(NULL, 1) : 0;
}
