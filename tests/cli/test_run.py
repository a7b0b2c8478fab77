# SPDX-License-Identifier: BSD-3-Clause
"""How `run` chooses the library and becomes the program."""

import json
import os
import shutil
import subprocess

import pytest

from conftest import COMMAND, VARIABLES, compile_c

R, S = "tcp:80-:8080", "udp:53-:5353"


def facts(text):
    return dict(line.split("=", 1) for line in text.splitlines())


def test_same_process(lab):
    with subprocess.Popen(
            [COMMAND, "run", "--redirect", R, lab.client, "-x"],
            env={"SLIRP_REDIRECT_LIBDIR": str(lab.ours.parent)},
            stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert facts(out)["pid"] == str(process.pid)
    assert facts(out)["SLIRP_REDIRECT"] == R
    assert out.splitlines()[1:3] == [f"argument={lab.client}", "argument=-x"]


def test_our_library_is_put_in_front(lab):
    done = lab.run("run", lab.client)
    assert facts(done.stdout)["library"] == str(lab.ours)


def test_system_library_is_replaced(lab):
    program = compile_c(lab.bin / "system", "client.c", "-l:libslirp.so.0")
    done = lab.run("run", "--verbose", program)
    assert done.returncode == 0, done.stderr
    assert facts(done.stdout)["library"] == str(lab.ours)
    assert "LD_LIBRARY_PATH begins with" in done.stderr


def test_library_of_the_build_tree(lab, built_library):
    program = compile_c(lab.bin / "system", "client.c", "-l:libslirp.so.0")
    done = lab.run("run", program, libdir=False)
    assert done.returncode == 0, done.stderr
    assert facts(done.stdout)["library"] == os.path.realpath(built_library)


def test_search_path_is_kept(lab):
    done = lab.run("run", "--dry-run", lab.client,
                   env={"LD_LIBRARY_PATH": "/nowhere"})
    assert f"LD_LIBRARY_PATH={lab.ours.parent}:/nowhere " in done.stdout


def test_nothing_to_do_if_ours_is_loaded(lab):
    done = lab.run("run", "--dry-run", lab.client,
                   env={"LD_LIBRARY_PATH": str(lab.ours.parent)})
    assert done.stdout == f"{lab.client}\n"


def test_run_path_that_wins(lab):
    program = compile_c(lab.bin / "rpath", "client.c", lab.stock,
                        "-Wl,--disable-new-dtags",
                        f"-Wl,-rpath,{lab.stock.parent}")
    done = lab.run("run", program)
    assert done.returncode == 2
    assert f"would still load {lab.stock}" in done.stderr
    assert lab.run("run", "--force", program).returncode == 0


def test_program_without_libslirp(lab):
    done = lab.run("run", shutil.which("true"))
    assert done.returncode == 2
    assert "does not use libslirp.so.0" in done.stderr
    assert lab.run("run", "--force", shutil.which("true")).returncode == 0


def test_static_program(lab):
    program = lab.bin / "static"
    source = lab.bin / "static.c"
    source.write_text("void _start(void) { for (;;) {} }\n")
    compile_c(program, source, "-static", "-nostdlib")
    done = lab.run("run", program)
    assert done.returncode == 2
    assert "statically linked" in done.stderr


def test_set_uid_program(lab):
    if os.getuid() != 0:
        pytest.skip("needs root to give a file away")
    program = shutil.copy(lab.client, lab.bin / "setuid")
    os.chown(program, 65534, -1)
    os.chmod(program, 0o4755)
    done = lab.run("run", program)
    assert done.returncode == 2
    assert "LD_LIBRARY_PATH is ignored" in done.stderr
    done = lab.run("run", "--redirect", R, program)
    assert done.returncode == 2
    assert "environment are ignored" in done.stderr


def test_script(lab):
    script = lab.bin / "qemu-system-script"
    script.write_text(f'#!/bin/sh\nexec {lab.client} "$@"\n')
    script.chmod(0o755)
    done = lab.run("run", "--verbose", script, "-nic", f"user,redirect={R}")
    assert done.returncode == 0, done.stderr
    assert "is a script" in done.stderr
    assert f"argument=user,dnssearch=redirect={R}\n" in done.stdout
    assert facts(done.stdout)["library"] == str(lab.ours)


def test_library_directory_without_library(lab):
    done = lab.run("run", lab.client,
                   env={"SLIRP_REDIRECT_LIBDIR": str(lab.stock.parent)})
    assert done.returncode == 2
    assert f"SLIRP_REDIRECT_LIBDIR={lab.stock.parent}: no " in done.stderr


def test_program_not_found(lab):
    for program in ("no-such-program", "/no/such/program"):
        done = lab.run("run", program)
        assert done.returncode == 127
        assert f"{program}: program not found" in done.stderr


def test_program_not_executable(lab):
    program = lab.bin / "plain"
    program.write_text("text\n")
    done = lab.run("run", program)
    assert done.returncode == 126
    done = lab.run("run", "plain", env={"PATH": str(lab.bin)})
    assert done.returncode == 126


def test_unknown_format(lab):
    program = lab.bin / "garbage"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    assert lab.run("run", program).returncode == 2
    assert lab.run("run", "--force", program).returncode == 126


def test_truncated_elf(lab):
    whole = lab.client.read_bytes()
    program = lab.bin / "truncated"
    for size in (17, 63, 64, 200, 700, 2000, len(whole) - 100):
        program.write_bytes(whole[:size])
        program.chmod(0o755)
        assert lab.run("run", "--dry-run", program).returncode in (0, 2)


def test_damaged_elf(lab):
    whole = bytearray(lab.client.read_bytes())
    program = lab.bin / "qemu-system-damaged"
    program.write_bytes(whole)
    program.chmod(0o755)
    shoff = int.from_bytes(whole[40:48], "little")
    for at in [*range(4, 64, 3), *range(64, 700, 67),
               *range(shoff, len(whole), 61)]:
        damaged = whole[:]
        damaged[at:at + 6] = b"\xff" * 6
        program.write_bytes(damaged)
        done = lab.run("run", "--dry-run", program, "-nic", "user")
        assert done.returncode in (0, 2), (at, done.stderr)


def test_options(lab):
    done = lab.run("run", "--redirct", R, lab.client)
    assert done.returncode == 2
    assert done.stderr == ("slirp-redirect: run: unknown option '--redirct'; "
                           "did you mean '--redirect'?\n")
    assert lab.run("run").returncode == 2
    assert lab.run("run", "--redirect").returncode == 2
    assert lab.run("run", "--qemu=yes", lab.client).returncode == 2
    done = lab.run("run", "--", lab.client, "--help")
    assert "argument=--help\n" in done.stdout


def test_environment_rules(lab):
    done = lab.run("run", "--redirect", R, "--redirect", S, lab.client,
                   env={"SLIRP_REDIRECT": "any:*-reject"})
    assert facts(done.stdout)["SLIRP_REDIRECT"] == f"{R} {S} any:*-reject"


@pytest.mark.parametrize("words,env", [
    (["--redirect", "tcp:80"], {}),
    ([], {"SLIRP_REDIRECT": f"{R} tcp:80"}),
])
def test_wrong_environment_rules(lab, words, env):
    done = lab.run("run", *words, lab.client, env=env)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "tcp:80" in done.stderr


def test_rule_with_white_space(lab):
    done = lab.run("run", "--redirect", "tcp:1-unix:/a b", lab.client)
    assert done.returncode == 2
    assert "%20" in done.stderr


def test_file(lab, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text(f"# comment\n{R}\n")
    done = lab.run("run", f"--file={os.path.relpath(rules)}", lab.client)
    assert done.returncode == 0, done.stderr
    assert facts(done.stdout)["SLIRP_REDIRECT_FILE"] == str(rules)


def test_wrong_files(lab, tmp_path):
    rules = tmp_path / "rules"
    assert lab.run("run", "--file", rules, lab.client).returncode == 2
    assert lab.run("run", "--file", tmp_path, lab.client).returncode == 2
    assert lab.run("run", "--file", "/dev/zero", lab.client).returncode == 2
    rules.write_text(f"{R}\ntcp:80\n")
    done = lab.run("run", "--file", rules, lab.client)
    assert done.returncode == 2
    assert f"{rules}:2:" in done.stderr
    done = lab.run("run", "--file", rules, "--file", rules, lab.client)
    assert "only one --file" in done.stderr


def test_slirp4netns(lab):
    program = shutil.which("slirp4netns")
    if not program:
        pytest.skip("no slirp4netns")
    done = lab.run("run", "--dry-run", "--redirect", R, "slirp4netns", "-c",
                   "1", "tap 0")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (f"LD_LIBRARY_PATH={lab.ours.parent} "
                           f"SLIRP_REDIRECT={R} slirp4netns -c 1 'tap 0'\n")


QMP = "".join(json.dumps({"execute": c}) + "\n" for c in
              ("qmp_capabilities", "quit"))


@pytest.mark.parametrize("network", [
    f"user,id=n0,redirect={R},redirect={S}",
    '{"type":"user","id":"n0","redirect":[{"str":"%s"}]}' % R,
])
def test_stock_qemu(built_library, network):
    program = shutil.which("qemu-system-x86_64")
    if not program:
        pytest.skip("no qemu-system-x86_64")
    env = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    words = ["qemu-system-x86_64", "-M", "none", "-nodefaults", "-display",
             "none", "-S", "-qmp", "stdio", "-netdev", network]
    plain = subprocess.run(words, input=QMP, capture_output=True, text=True,
                           timeout=60, check=False)
    assert plain.returncode == 1 and "redirect" in plain.stderr
    done = subprocess.run([COMMAND, "run", *words], env=env, input=QMP,
                          capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert '"SHUTDOWN"' in done.stdout
