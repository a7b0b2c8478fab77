# SPDX-License-Identifier: BSD-3-Clause
"""What `check`, `explain` and `help` print."""

import pathlib
import re
import shutil
import subprocess

import pytest

import manual

SOURCE = pathlib.Path(__file__).parents[2]


def test_check_prints_the_canonical_table(lab):
    done = lab.run("check", "tcp:80-:8080", "any:dns:53-:5353")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout == "tcp:80-127.0.0.1:8080\nany:dns:53-127.0.0.1:5353\n"


def test_check_reads_files_and_standard_input(lab, tmp_path):
    rules = tmp_path / "tcp:80-rules"
    rules.write_text("tcp:80-:8080\n\n[10.0.5.0/24]\nany:*-reject # last\n")
    wanted = "tcp:80-127.0.0.1:8080\n"
    done = lab.run("check", rules)
    assert done.stdout.startswith(wanted), done.stderr
    assert "[10.0.5.0/24]\nany:*-reject\n" in done.stdout
    done = lab.run("check", "-", stdin="tcp:80-:8080\n")
    assert done.stdout == wanted


def test_check_a_rule_with_slashes(lab):
    done = lab.run("check", "tcp:10.0.0.0/8:80-unix:/run/x.sock")
    assert done.stdout == "tcp:10.0.0.0/8:80-unix:/run/x.sock\n", done.stderr


def test_check_reports_errors(lab, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("tcp:80-:8080\n  tcp:80-8080\nsctp:1-:2\n")
    done = lab.run("check", rules)
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"{rules}:2:" in done.stderr and f"{rules}:3:" in done.stderr


def test_check_warns_and_goes_on(lab):
    done = lab.run("check", "tcp:80-10.0.2.9:8080")
    assert done.returncode == 0
    assert "warning: " in done.stderr
    assert done.stdout == "tcp:80-10.0.2.9:8080\n"
    done = lab.run("check", "--net", "10.0.5.0/24", "tcp:80-10.0.2.9:8080")
    assert done.stderr == ""


@pytest.mark.parametrize("words", [
    ["check"], ["check", "/no/such/file"], ["check", "./none"],
    ["check", "--net", "10.0.2.0", "x"], ["check", "--net", "::/64", "x"],
    ["check", "--net6", "fec0::/129", "x"], ["check", "--bogus"],
    ["explain"], ["explain", "tcp", "1.2.3.4:80"],
    ["explain", "--redirect", "any:*-drop", "tcp", "1.2.3.4"],
    ["explain", "--redirect", "any:*-drop", "tcp", "::1:80"],
    ["explain", "--redirect", "any:*-drop", "tcp", ":80"],
    ["explain", "--redirect", "any:*-drop", "tcp", "1.2.3.4:70000"],
    ["explain", "--redirect", "any:*-drop", "tcp", ""],
    ["explain", "--redirect", "any:*-drop", "sctp", "1.2.3.4:80"],
    ["explain", "--redirect", "any:*-drop", "icmp", "1.2.3.4:80"],
    ["explain", "--redirect", "any:*-drop", "tcp", "1.2.3.4:80", "from"],
    ["explain", "--redirect", "any:*-drop", "tcp", "1.2.3.4:80", "from", "::1"],
    ["explain", "--redirect", "tcp:80", "tcp", "1.2.3.4:80"],
    ["explain", "--rules", "/no/such/file", "tcp", "1.2.3.4:80"],
    [], ["--bogus"], ["runn"], ["help", "zzz"],
])
def test_wrong_usage(lab, words):
    done = lab.run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr != ""


def test_explain(lab):
    done = lab.run("explain", "--redirect", "udp:53-:5353", "--redirect",
                   "tcp:443-:8443", "--redirect", "tcp:8000..8010-:9000..",
                   "--redirect", "any:*-drop", "tcp", "1.2.3.4:8003")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "tcp from 10.0.2.15 to 1.2.3.4 port 8003"
    assert lines[1::2] == ["1. udp:53-127.0.0.1:5353",
                           "2. tcp:443-127.0.0.1:8443",
                           "3. tcp:8000..8010-127.0.0.1:9000.."]
    assert lines[2].startswith("   no: ")
    assert "8003" in lines[4] and lines[4].startswith("   no: ")
    assert lines[6] == "   this rule decides: to port 9003 of its target"


def test_explain_from_a_source(lab, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("tcp:80@10.0.2.16-reject\ntcp:80-drop\n")
    words = ["explain", "--rules", rules, "tcp", "1.2.3.4:80"]
    assert "2. tcp:80-drop" in lab.run(*words).stdout
    done = lab.run(*words, "from", "10.0.2.16")
    assert done.stdout.endswith("   this rule decides: refused\n")


def test_explain_ipv6_and_icmp(lab):
    done = lab.run("explain", "--redirect", "any:*-drop", "udp",
                   "[2001:db8::1]:53")
    assert done.stdout.startswith(
        "udp from fec0::f to 2001:db8::1 port 53\n"), done.stderr
    done = lab.run("explain", "--redirect", "any:*-drop", "icmp", "1.2.3.4")
    assert done.stdout == ("icmp from 10.0.2.15 to 1.2.3.4\n1. any:*-drop\n"
                           "   this rule decides: dropped in silence\n")


def test_explain_without_a_match(lab):
    done = lab.run("explain", "--redirect", "udp:53-:5353", "tcp",
                   "1.2.3.4:80")
    assert done.returncode == 1
    assert done.stdout.endswith(
        "no rule decides: libslirp does what it does without rules\n")


def test_explain_section_of_another_network(lab, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("[10.0.5.0/24]\ntcp:80-drop\n")
    words = ["explain", "--rules", rules, "tcp", "1.2.3.4:80"]
    done = lab.run(*words)
    assert done.returncode == 1
    assert "its section is for another network" in done.stdout
    assert lab.run(*words, "--net", "10.0.5.0/24").returncode == 0


def test_passwords_are_hidden(lab):
    rule = "tcp:443-socks5://user:secret@127.0.0.1:1080"
    for words in (["explain", "--redirect", rule, "tcp", "1.2.3.4:443"],
                  ["check", rule + "+bogus"], ["run", "--redirect",
                                               rule + "+bogus", lab.client]):
        done = lab.run(*words)
        assert "secret" not in done.stdout + done.stderr


def test_help(lab):
    commands = ["run", "check", "explain", "help"]
    overview = lab.run("--help")
    assert overview.returncode == 0
    assert overview.stdout == lab.run("help").stdout
    for command in commands:
        assert re.search(rf"^  {command} ", overview.stdout, re.M)
        done = lab.run("help", command)
        assert done.returncode == 0
        assert done.stdout.startswith(f"usage: slirp-redirect {command} ")
    for command in commands[:3]:
        assert lab.run(command, "--help").stdout == \
            lab.run("help", command).stdout


def test_did_you_mean(lab):
    done = lab.run("chek")
    assert done.stderr == ("slirp-redirect: unknown command 'chek'; "
                           "did you mean 'check'?\n")
    assert lab.run("x" * 1000).returncode == 2


def test_version(lab):
    done = lab.run("--version")
    assert re.fullmatch(r"slirp-redirect \d+\.\d+\.\d+\n", done.stdout)


COMMANDS = ("run", "check", "explain", "list", "add", "del", "replace", "reload",
            "flows", "flush", "stats", "watch", "reopen-log")


def options_of(lab, command):
    help_page = lab.run("help", command).stdout
    return set(re.findall(r"^  (--[a-z0-9-]+)", help_page, re.M))


def test_manual_knows_every_option(lab):
    page = (SOURCE / "docs/slirp-redirect.1").read_text()
    for command in COMMANDS:
        for option in options_of(lab, command):
            assert f"Fl -{option[2:]}" in page, option


def test_examples_of_the_manual(lab):
    """Those of slirp-redirect(1)."""
    qemu, namespace, explain = manual.examples("slirp-redirect.1")
    lab.build("qemu-system-x86_64")
    done = lab.shell(qemu)
    assert done.returncode == 0, done.stderr
    assert ("argument=user,dnssearch=redirect=tcp:80-:8080,"
            "dnssearch=redirect=any:*-reject\n") in done.stdout
    lab.build("slirp4netns")
    done = lab.shell(namespace)
    assert done.returncode == 0, done.stderr
    assert "\nSLIRP_REDIRECT=any:dns:53-:5353\n" in done.stdout
    command, output = manual.session(explain)
    assert lab.shell(command).stdout == output


def test_diagnostics_of_the_manual(lab, tmp_path):
    """That of slirp-redirect-rules(7), whose rules a test of theirs reads."""
    wanted = manual.examples("slirp-redirect-rules.7")[-1]
    rule = wanted.splitlines()[1].strip()
    (tmp_path / "rules.conf").write_text(f"\n\n{rule}\n")
    assert wanted in lab.run("check", "rules.conf", cwd=tmp_path).stderr


def test_manual_is_well_formed():
    if not shutil.which("mandoc"):
        pytest.skip("no mandoc")
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning",
                           SOURCE / "docs/slirp-redirect.1",
                           SOURCE / "docs/slirp-redirect-control.7"],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def complete(*words):
    script = SOURCE / "slirp-redirect/cli/completion.bash"
    line = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            '_slirp_redirect; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", line, "bash", script,
                           "slirp-redirect", *words], capture_output=True,
                          text=True, check=True)
    return set(done.stdout.split())


def test_completion(lab):
    assert complete("") >= {*COMMANDS, "help"}
    assert complete("ch") == {"check"}
    assert complete("help", "e") == {"explain"}
    assert complete("run", "--redirect", "") == set()
    for command in COMMANDS:
        assert complete(command, "--") == \
            options_of(lab, command) | {"--help"}
