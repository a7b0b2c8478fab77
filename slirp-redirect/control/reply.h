/* SPDX-License-Identifier: BSD-3-Clause */
/* The status line that every reply of the control socket starts with. */
#ifndef SLIRP_REDIRECT_CONTROL_REPLY_H
#define SLIRP_REDIRECT_CONTROL_REPLY_H

#include <glib.h>

/* Changes with the meaning of what is there, not with what is added. */
enum { REPLY_PROTOCOL = 1 };
/* "redirect/1 ok LENGTH" or "redirect/1 error LENGTH CODE", then a newline and
 * LENGTH bytes. */
#define REPLY_MARK "redirect/"

typedef enum ReplyCode {
    REPLY_OK,
    REPLY_SYNTAX,  /* no such command, or not with these words */
    REPLY_RULES,   /* rules are wrong; nothing was changed */
    REPLY_MISSING, /* no such rule */
    REPLY_CLOSED,  /* not while everything is rejected */
    REPLY_FAILED,  /* the system did not let us */
    REPLY_TOO_LONG,
    REPLY_N_CODES,
} ReplyCode;

/* Appends a status line and body, which may be empty. */
void reply_ok(GString *reply, const GString *body);
/* Appends an error with a message for a person, without final newline. */
void reply_error(GString *reply, ReplyCode code, const char *message);

#endif
