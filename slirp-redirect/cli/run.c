/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `slirp-redirect run`: becomes another program, with redirects.
 *
 * Theory of operation. The words after PROGRAM and the environment are
 * rewritten first, then every rule that the new process would see is checked,
 * then its library, and only then execve() replaces this process: same pid,
 * nothing left behind. Rules for one network of a QEMU travel in that network's
 * option; rules for any other program, and for a QEMU whose networks are not on
 * the command line, in SLIRP_REDIRECT; rule files in SLIRP_REDIRECT_FILE.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "control/place.h"
#include "library.h"
#include "qemu.h"

#define RULES_VARIABLE "SLIRP_REDIRECT"
#define FILE_VARIABLE "SLIRP_REDIRECT_FILE"
#define CONTROL_VARIABLE "SLIRP_REDIRECT_CONTROL"

/* Variables that may change, in the order --dry-run prints them. */
static const char *const variables[] = {
    "LD_LIBRARY_PATH",
    RULES_VARIABLE,
    FILE_VARIABLE,
    CONTROL_VARIABLE,
};

typedef struct Run {
    GPtrArray *redirects; /* char *: --redirect; NULL-terminated when parsed */
    char *file;           /* --file, absolute */
    char *control;        /* --control, absolute or PLACE_AUTO */
    bool qemu, dry_run;
    LibraryNeeds needs;
    char *path;  /* the program's file */
    char **argv; /* what will be executed */
    char **env;
} Run;

static bool set_redirect(void *state, const char *value, GError **error)
{
    Run *run = state;

    if (value[strcspn(value, " \t\r\n\v\f")] != '\0') {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "--redirect takes one rule; in a path, %%20 is a space");
        return false;
    }
    g_ptr_array_add(run->redirects, g_strdup(value));
    return true;
}

static bool set_file(void *state, const char *value, GError **error)
{
    Run *run = state;

    if (run->file) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                    "only one --file can be given");
        return false;
    }
    /* The program may change its directory before it reads the file. */
    run->file = g_canonicalize_filename(value, NULL);
    return true;
}

static bool set_control(void *state, const char *value, GError **error)
{
    Run *run = state;
    g_autofree char *problem = NULL;
    g_autofree char *expanded = place_expand(value, 1, &problem);

    if (!expanded || !*value) {
        g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE, "--control: %s",
                    problem ? problem : "the path is empty");
        return false;
    }
    g_free(run->control);
    run->control = strcmp(value, PLACE_AUTO) == 0
                       ? g_strdup(value)
                       : g_canonicalize_filename(value, NULL);
    return true;
}

static bool set_qemu(void *state, const char *value G_GNUC_UNUSED,
                     GError **error G_GNUC_UNUSED)
{
    return ((Run *)state)->qemu = true;
}

static bool set_force(void *state, const char *value G_GNUC_UNUSED,
                      GError **error G_GNUC_UNUSED)
{
    return ((Run *)state)->needs.force = true;
}

static bool set_dry_run(void *state, const char *value G_GNUC_UNUSED,
                        GError **error G_GNUC_UNUSED)
{
    return ((Run *)state)->dry_run = true;
}

static bool set_verbose(void *state, const char *value G_GNUC_UNUSED,
                        GError **error G_GNUC_UNUSED)
{
    return ((Run *)state)->needs.verbose = true;
}

static const CliOption run_options[] = {
    { "--redirect", true, set_redirect },
    { "--file", true, set_file },
    { "--control", true, set_control },
    { "--qemu", false, set_qemu },
    { "--force", false, set_force },
    { "--dry-run", false, set_dry_run },
    { "--print", false, set_dry_run },
    { "--verbose", false, set_verbose },
    { "--help", false, NULL },
    { NULL, false, NULL },
};

/* True if a file of that name is there but can not be executed. */
static bool found_unexecutable(const char *program)
{
    if (strchr(program, '/'))
        return g_file_test(program, G_FILE_TEST_EXISTS);
    const char *path_list = g_getenv("PATH");
    g_auto(GStrv) dirs = g_strsplit(path_list ? path_list : "", ":", -1);
    for (char **dir = dirs; *dir; dir++) {
        g_autofree char *path = g_build_filename(*dir, program, NULL);
        if (g_file_test(path, G_FILE_TEST_IS_REGULAR))
            return true;
    }
    return false;
}

static int find_program(Run *run, const char *program)
{
    run->path = g_find_program_in_path(program);
    if (run->path)
        return CLI_OK;
    if (!found_unexecutable(program)) {
        cli_complain("%s: program not found", program);
        return CLI_NOT_FOUND;
    }
    cli_complain("%s: can not be executed", program);
    return CLI_CANNOT_EXECUTE;
}

static const char *const *redirects(const Run *run)
{
    return (const char *const *)run->redirects->pdata;
}

/* Checks the rules of one network on its own; prints what is found. */
static bool check_net(const QemuNet *qemu_net)
{
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) rules = cli_rules_new();
    RuleNet net = cli_net_default();

    if (qemu_net->net)
        cli_net_set4(&net, qemu_net->net, NULL); /* else QEMU will complain */
    for (unsigned i = 0; i < qemu_net->rules->len; i++) {
        const RuleText *rule = qemu_net->rules->pdata[i];
        cli_add_rule(rules, rule->text, rule->source, diags);
    }
    return cli_verify(rules, &net, qemu_net->hostfwds, diags);
}

/* Rewrites the command line of a QEMU and checks the rules in it. */
static bool prepare_qemu(Run *run, const Program *program, char **words,
                         bool *placed, GError **error)
{
    QemuRewrite rewrite = {
        .extra = redirects(run),
        .native = elf_imports(&program->elf, LIBRARY_SYMBOL),
        .nets = g_ptr_array_new_with_free_func((GDestroyNotify)qemu_net_free),
    };
    bool ok;

    run->argv = qemu_rewrite(words, &rewrite, error);
    ok = run->argv;
    for (unsigned i = 0; run->argv && i < rewrite.nets->len; i++)
        ok &= check_net(rewrite.nets->pdata[i]);
    *placed = rewrite.nets->len > 0;
    g_ptr_array_unref(rewrite.nets);
    return ok;
}

/* Puts the rules of the command line before those of the environment. */
static void set_rules_variable(Run *run)
{
    const char *old = g_environ_getenv(run->env, RULES_VARIABLE);
    g_autofree char *rules = g_strjoinv(" ", (char **)redirects(run));
    g_autofree char *value =
        old && *old ? g_strconcat(rules, " ", old, NULL) : g_strdup(rules);

    if (*rules)
        run->env = g_environ_setenv(run->env, RULES_VARIABLE, value, TRUE);
}

/* Checks what the environment says, placed: --redirect is not part of it. */
static bool check_environment(const Run *run, bool placed, GError **error)
{
    g_autoptr(RuleDiags) diags = rule_diags_new();
    g_autoptr(GPtrArray) rules = cli_rules_new();
    const char *words = g_getenv(RULES_VARIABLE);
    const char *file = g_environ_getenv(run->env, FILE_VARIABLE);

    for (const char *const *rule = redirects(run); !placed && *rule; rule++)
        cli_add_rule(rules, *rule, "--redirect", diags);
    if (words)
        cli_add_words(rules, words, RULES_VARIABLE, diags);
    if (file && *file && !cli_add_file(rules, file, diags, error))
        return false;
    return cli_verify(rules, NULL, NULL, diags);
}

static bool prepare_environment(Run *run, bool placed, GError **error)
{
    if (run->file)
        run->env = g_environ_setenv(run->env, FILE_VARIABLE, run->file, TRUE);
    if (run->control)
        run->env =
            g_environ_setenv(run->env, CONTROL_VARIABLE, run->control, TRUE);
    if (!check_environment(run, placed, error))
        return false;
    if (!placed)
        set_rules_variable(run);
    return true;
}

/* A program with other ids takes no rules from its environment. */
static bool environment_heard(const Run *run, const Program *program,
                              GError **error)
{
    if (!program->secure ||
        !(g_environ_getenv(run->env, RULES_VARIABLE) ||
          g_environ_getenv(run->env, FILE_VARIABLE) || run->control))
        return true;
    g_set_error(error, CLI_ERROR, CLI_ERROR_USAGE,
                "%s is set-uid, set-gid or has capabilities, so rules and "
                "control sockets in its environment are ignored; run it "
                "without them, as the user it "
                "runs as",
                program->path);
    return false;
}

static bool prepare(Run *run, char **words, GError **error)
{
    Program program;
    bool placed = false, ok = true;

    program_open(&program, run->path);
    if (run->qemu || qemu_is_name(words[0]))
        ok = prepare_qemu(run, &program, words, &placed, error);
    else
        run->argv = g_strdupv(words);
    ok = ok && prepare_environment(run, placed, error) &&
         environment_heard(run, &program, error) &&
         library_prepare(&program, &run->needs, &run->env, error);
    program_close(&program);
    return ok;
}

/* Prints word so that a shell reads it back as one word. */
static void print_word(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789%+,-./:=@_";

    if (*word && word[strspn(word, plain)] == '\0') {
        fputs(word, stdout);
    } else {
        g_autofree char *quoted = g_shell_quote(word);
        fputs(quoted, stdout);
    }
}

static void print_command(const Run *run)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(variables); i++) {
        const char *value = g_environ_getenv(run->env, variables[i]);
        if (g_strcmp0(value, g_getenv(variables[i])) == 0)
            continue;
        printf("%s=", variables[i]);
        print_word(value);
        putchar(' ');
    }
    for (char **word = run->argv; *word; word++) {
        print_word(*word);
        putchar(word[1] ? ' ' : '\n');
    }
}

/* Returns only if the program could not be started. */
static int execute(const Run *run)
{
    fflush(NULL);
    execve(run->path, run->argv, run->env);
    int error = errno;
    cli_complain("%s: %s", run->path, g_strerror(error));
    return error == ENOENT ? CLI_NOT_FOUND : CLI_CANNOT_EXECUTE;
}

static int run_words(Run *run, char **words)
{
    GError *error = NULL;
    g_autofree char **operands =
        cli_options_parse(words, run_options, CLI_ORDER_FIRST, run, &error);

    if (!operands)
        return cli_options_failed("run", error);
    if (!operands[0]) {
        cli_complain("run: which PROGRAM? see slirp-redirect help run");
        return CLI_USAGE;
    }
    g_ptr_array_add(run->redirects, NULL);
    int status = find_program(run, operands[0]);
    if (status != CLI_OK)
        return status;
    if (!prepare(run, operands, &error))
        return error ? cli_options_failed("run", error) : CLI_USAGE;
    if (!run->dry_run)
        return execute(run);
    print_command(run);
    return CLI_OK;
}

int cmd_run(char **words)
{
    Run run = {
        .redirects = g_ptr_array_new_with_free_func(g_free),
        .env = g_get_environ(),
    };
    int status = run_words(&run, words);

    g_ptr_array_unref(run.redirects);
    g_free(run.file);
    g_free(run.control);
    g_free(run.path);
    g_strfreev(run.argv);
    g_strfreev(run.env);
    return status;
}
