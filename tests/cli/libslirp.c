/* SPDX-License-Identifier: BSD-3-Clause */
/* A libslirp.so.0 with nothing in it but what client.c needs. */
const char *slirp_version_string(void);
int slirp_add_redirect(void *slirp, const char *rule, char **errmsg);

const char *slirp_version_string(void)
{
    return "0";
}

#ifdef OURS
int slirp_add_redirect(void *slirp, const char *rule, char **errmsg)
{
    (void)slirp;
    (void)rule;
    (void)errmsg;
    return -1;
}
#endif
