/* SPDX-License-Identifier: BSD-3-Clause */
/* Puts the status line in front of a reply. */
#include "control/reply.h"

#include <string.h>

static const char *const codes[] = {
    [REPLY_OK] = "ok",
    [REPLY_SYNTAX] = "syntax",
    [REPLY_RULES] = "rules",
    [REPLY_MISSING] = "missing",
    [REPLY_CLOSED] = "closed",
    [REPLY_FAILED] = "failed",
    [REPLY_TOO_LONG] = "too-long",
};
G_STATIC_ASSERT(G_N_ELEMENTS(codes) == REPLY_N_CODES);

void reply_ok(GString *reply, const GString *body)
{
    g_string_append_printf(reply, REPLY_MARK "%d ok %" G_GSIZE_FORMAT "\n",
                           REPLY_PROTOCOL, body->len);
    g_string_append_len(reply, body->str, body->len);
}

void reply_error(GString *reply, ReplyCode code, const char *message)
{
    g_string_append_printf(
        reply, REPLY_MARK "%d error %" G_GSIZE_FORMAT " %s\n%s\n",
        REPLY_PROTOCOL, strlen(message) + 1, codes[code], message);
}
