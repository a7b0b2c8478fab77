/* SPDX-License-Identifier: BSD-3-Clause */
/* Entry point of the slirp-redirect command: finds the sub-command. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

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
      "\n"
      "  --rules FILE     the rules of a file (- = standard input)\n"
      "  --redirect RULE  one more rule (repeatable)\n"
      "  --net PREFIX     the guest's IPv4 network (default 10.0.2.0/24)\n"
      "  --net6 PREFIX    the guest's IPv6 network (default fec0::/64)\n" },
    { "help", cmd_help, "[COMMAND]", "show help for a command", "" },
    { NULL, NULL, NULL, NULL, NULL },
};

static void print_overview(FILE *out)
{
    fputs("usage: slirp-redirect COMMAND [ARGUMENT]...\n"
          "       slirp-redirect --help | --version\n\n",
          out);
    for (const CliCommand *c = cli_commands; c->name; c++)
        fprintf(out, "  %-8s %s\n", c->name, c->summary);
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
