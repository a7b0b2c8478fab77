/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes JSON (RFC 8259) into a string; commas come by themselves. */
#ifndef SLIRP_REDIRECT_CONTROL_JSON_H
#define SLIRP_REDIRECT_CONTROL_JSON_H

#include <glib.h>

/* name is NULL within a list. value NULL is null. What is no UTF-8 in value
 * becomes U+FFFD. */
void json_string(GString *out, const char *name, const char *value);
/* As json_string(), and frees value. */
void json_take(GString *out, const char *name, char *value);
void json_number(GString *out, const char *name, guint64 value);
void json_bool(GString *out, const char *name, gboolean value);
/* "{" or "[", and their ends. */
void json_begin(GString *out, const char *name, char bracket);
void json_end(GString *out, char bracket);

#endif
