/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the sub-commands of slirp-redirect share.
 *
 * Theory of operation. main.c holds one table of sub-commands; each is one
 * file with one handler that takes the words after its name and returns the
 * exit status. A handler reads its options through a second table of the same
 * kind (cli_options_parse), its rules through input.c, and prints results to
 * stdout and everything else to stderr. Nothing here touches a network or
 * runs a shell; the control sub-commands talk to a unix socket (remote.c);
 * `run` alone starts another program, by replacing itself.
 */
#ifndef SLIRP_REDIRECT_CLI_CLI_H
#define SLIRP_REDIRECT_CLI_CLI_H

#include "rules/rule.h"

enum {
    CLI_OK = 0,
    CLI_NO = 1,    /* the answer is no: faulty rules, no rule decides */
    CLI_USAGE = 2, /* the command line, its rules or its set-up are wrong */
    CLI_CANNOT_EXECUTE = 126, /* as env(1) and the shells have it */
    CLI_NOT_FOUND = 127,
};

typedef struct CliCommand {
    const char *name;
    int (*handler)(char **words);
    const char *usage;   /* the words after the name */
    const char *summary; /* one line of the overview */
    const char *help;    /* the rest of the page */
} CliCommand;

extern const CliCommand cli_commands[];

/* Keeps the value of one option in a sub-command's state. */
typedef bool (*CliOptionSet)(void *state, const char *value, GError **error);

typedef struct CliOption {
    const char *name; /* with its dashes */
    bool takes_value; /* --name VALUE or --name=VALUE */
    CliOptionSet set; /* NULL: asks for the help page */
} CliOption;

typedef enum CliOrder {
    CLI_ORDER_ANY,   /* options may follow the operands */
    CLI_ORDER_FIRST, /* the first operand ends the options */
} CliOrder;

#define CLI_ERROR (cli_error_quark())
GQuark cli_error_quark(void);
enum {
    CLI_ERROR_USAGE,
    CLI_ERROR_HELP, /* not a fault: --help was asked for */
};

/*
 * Reads options until "--" (or the first operand, CLI_ORDER_FIRST) and returns
 * the operands, pointers into words, NULL-terminated; NULL with error set for
 * an unknown option, a missing value, or --help. The table ends with a row
 * without name. g_free() the result.
 */
char **cli_options_parse(char **words, const CliOption *options, CliOrder order,
                         void *state, GError **error);
/* Reports why cli_options_parse() gave nothing; returns the exit status. */
int cli_options_failed(const char *command, GError *error);

/* The entry nearest to word (a typing slip away) of n, or NULL. */
const char *cli_nearest(const char *word, const char *const *names, unsigned n);
/* "slirp-redirect: message" on stderr, with a newline. */
void cli_complain(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* QEMU's default virtual network. */
RuleNet cli_net_default(void);
/* Moves one family of *net to a network; .2 is the host, .3 the name server. */
bool cli_net_set4(RuleNet *net, const char *text, GError **error);
bool cli_net_set6(RuleNet *net, const char *text, GError **error);
/* prefix | n, the n-th address of a network. */
IpAddr cli_net_nth(const IpPrefix *prefix, uint8_t n);

/* A whole file ("-" = standard input) of at most 16 MiB; g_free(). */
char *cli_read_file(const char *path, gsize *length, GError **error);
/* Adds the rules of a file to rules; false if it can not be read. */
bool cli_add_file(GPtrArray *rules, const char *path, RuleDiags *diags,
                  GError **error);
/* Adds one rule; source is interned. */
void cli_add_rule(GPtrArray *rules, const char *text, const char *source,
                  RuleDiags *diags);
/* Adds rules separated by white space. */
void cli_add_words(GPtrArray *rules, const char *text, const char *source,
                   RuleDiags *diags);
/* Verifies the set if it parsed; prints all findings. True: no errors.
 * hostfwds (RuleHostfwd) may be NULL. */
bool cli_verify(const GPtrArray *rules, const RuleNet *net,
                const GArray *hostfwds, RuleDiags *diags);
/* An empty list of Rule *, owned. */
GPtrArray *cli_rules_new(void);

/* Asks a running instance (socket NULL: the only one) for command, with words
 * and the text rest behind them, and prints the reply; the exit status. */
int cli_ask(const char *command, const char *socket, char **words,
            const char *rest);

int cmd_run(char **words);
int cmd_check(char **words);
int cmd_explain(char **words);
int cmd_list(char **words);
int cmd_add(char **words);
int cmd_del(char **words);
int cmd_replace(char **words);
int cmd_reload(char **words);
int cmd_flows(char **words);
int cmd_flush(char **words);
int cmd_stats(char **words);
int cmd_reopen_log(char **words);
int cmd_watch(char **words);
int cmd_help(char **words);

#endif
