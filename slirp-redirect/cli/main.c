/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry point of the slirp-redirect command: finds the sub-command. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

#define SOCKET_HELP                                                            \
    "  --socket PATH    its control socket; not needed if only one runs\n"
#define JSON_HELP                                                              \
    SOCKET_HELP                                                                \
    "  --json           the answer as JSON\n"
#define CONTROL_HELP                                                           \
    JSON_HELP                                                                  \
    "  --openmetrics    the answer as OpenMetrics text\n"

const CliCommand cli_commands[] = {
    { "run", cmd_run, "[OPTION]... [--] PROGRAM [ARGUMENT]...",
      "start a program with redirects",
      "Starts PROGRAM on the libslirp that has redirects. In the -netdev, "
      "-nic\n"
      "and -net options of a QEMU, redirect=RULE may be written as if that "
      "QEMU\n"
      "knew it. Every rule is checked first. The program replaces this one.\n"
      "\n"
      "  --redirect RULE  one more rule, for every network (repeatable)\n"
      "  --file PATH      a file of rules, for every network\n"
      "  --control PATH   a control socket; %p is the process ID, %n the "
      "number\n"
      "                   of the network; auto: where list and others look\n"
      "  --qemu           PROGRAM is a QEMU, whatever its name\n"
      "  --force          start it though its libslirp can not be checked\n"
      "  --dry-run        print the command line that would be executed\n"
      "  --verbose        say which library is used, and why\n" },
    { "check", cmd_check, "[OPTION]... FILE|-|RULE...",
      "check rules, print them in canonical form",
      "Reads rule files and rules as one table. Prints the table, or what is\n"
      "wrong with it and exits with 1.\n"
      "\n"
      "  --net PREFIX     the guest's IPv4 network (default 10.0.2.0/24)\n"
      "  --net6 PREFIX    the guest's IPv6 network (default fec0::/64)\n" },
    { "explain", cmd_explain, "[OPTION]... PROTO ADDR:PORT [from SRC]",
      "say which rule decides a flow, and why",
      "Takes a flow as the guest would start it (tcp 1.2.3.4:80,\n"
      "udp [2001:db8::1]:53, icmp 1.2.3.4) and says for each rule up to the "
      "one\n"
      "that decides why it does or does not match. Exits with 1 if none does.\n"
      "Without rules, a running instance is asked.\n"
      "\n"
      "  --socket PATH    ask the instance with this control socket\n"
      "  --json           the answer as JSON\n"
      "  --rules FILE     the rules of a file (- = standard input)\n"
      "  --redirect RULE  one more rule (repeatable)\n"
      "  --net PREFIX     the guest's IPv4 network (default 10.0.2.0/24)\n"
      "  --net6 PREFIX    the guest's IPv6 network (default fec0::/64)\n" },
    { "list", cmd_list, "[--socket PATH] [--json|--openmetrics]",
      "list the rules of a running instance", CONTROL_HELP },
    { "add", cmd_add, "[--socket PATH] [--before ID|NAME] RULE",
      "add a rule to a running instance",
      "Prints the ID of the new rule. It comes after the instance's own rules\n"
      "and before those of its environment and rule file, or before ID.\n"
      "\n" SOCKET_HELP "  --before ID|NAME  ahead of that rule\n" },
    { "del", cmd_del, "[--socket PATH] ID|NAME",
      "remove a rule from a running instance", SOCKET_HELP },
    { "replace", cmd_replace, "[--socket PATH] FILE|-",
      "replace the whole table of a running instance",
      "If one rule is wrong, nothing changes. Rules that stay keep their ID,\n"
      "their counters and their flows.\n"
      "\n" SOCKET_HELP },
    { "reload", cmd_reload, "[--socket PATH]",
      "make a running instance read its rule file again", SOCKET_HELP },
    { "flows", cmd_flows, "[--socket PATH] [--json]",
      "list the redirected flows of a running instance", JSON_HELP },
    { "flush", cmd_flush, "[--socket PATH] [ID|NAME]",
      "end the redirected flows (of one rule)",
      "Prints how many were ended. The rules stay.\n"
      "\n" SOCKET_HELP },
    { "stats", cmd_stats, "[--socket PATH] [--json|--openmetrics]",
      "show the statistics of a running instance", CONTROL_HELP },
    { "watch", cmd_watch, "[--socket PATH] [--interval SECONDS] [--count N]",
      "show rules and flows with their rates, again and again",
      SOCKET_HELP
      "  --interval SECONDS  how often (default 1)\n"
      "  --count N           so many times (default: until it is stopped)\n" },
    { "reopen-log", cmd_reopen_log, "[--socket PATH]",
      "make a running instance open its flow log again", SOCKET_HELP },
    { "help", cmd_help, "[COMMAND]", "show help for a command", "" },
    { NULL, NULL, NULL, NULL, NULL },
};

static void print_overview(FILE *out)
{
    fputs("usage: slirp-redirect COMMAND [ARGUMENT]...\n"
          "       slirp-redirect --help | --version\n\n",
          out);
    for (const CliCommand *c = cli_commands; c->name; c++)
        fprintf(out, "  %-10s %s\n", c->name, c->summary);
    fputs("\nSee slirp-redirect(1), and slirp-redirect-rules(7) for rules.\n",
          out);
}

static const char *nearest_command(const char *word)
{
    const char *names[G_N_ELEMENTS(cli_commands)];
    unsigned n = 0;

    for (const CliCommand *c = cli_commands; c->name; c++)
        names[n++] = c->name;
    return cli_nearest(word, names, n);
}

static const CliCommand *find_command(const char *word)
{
    for (const CliCommand *c = cli_commands; c->name; c++) {
        if (strcmp(c->name, word) == 0)
            return c;
    }
    const char *nearest = nearest_command(word);
    if (nearest)
        cli_complain("unknown command '%s'; did you mean '%s'?", word, nearest);
    else
        cli_complain("unknown command '%s'; see slirp-redirect --help", word);
    return NULL;
}

static void print_help(const CliCommand *command)
{
    printf("usage: slirp-redirect %s %s\n\n%s%s", command->name, command->usage,
           command->help, *command->help ? "" : command->summary);
    if (!*command->help)
        putchar('\n');
}

int cmd_help(char **words)
{
    if (!words[0]) {
        print_overview(stdout);
        return CLI_OK;
    }
    const CliCommand *command = find_command(words[0]);
    if (!command)
        return CLI_USAGE;
    print_help(command);
    return CLI_OK;
}

int cli_options_failed(const char *command, GError *error)
{
    char *words[] = { (char *)command, NULL };
    int status = CLI_USAGE;

    if (g_error_matches(error, CLI_ERROR, CLI_ERROR_HELP))
        status = cmd_help(words);
    else
        cli_complain("%s: %s", command, error->message);
    g_error_free(error);
    return status;
}

static int run_word(char **words)
{
    if (strcmp(words[0], "--help") == 0 || strcmp(words[0], "-h") == 0)
        return cmd_help(words + 1);
    if (strcmp(words[0], "--version") == 0) {
        puts("slirp-redirect " CLI_VERSION);
        return CLI_OK;
    }
    if (words[0][0] == '-') {
        cli_complain("unknown option '%s'; see slirp-redirect --help",
                     words[0]);
        return CLI_USAGE;
    }
    const CliCommand *command = find_command(words[0]);
    return command ? command->handler(words + 1) : CLI_USAGE;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");
    if (argc < 2) {
        print_overview(stderr);
        return CLI_USAGE;
    }
    int status = run_word(argv + 1);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_complain("can not write the output");
        return status ? status : CLI_USAGE;
    }
    return status;
}
