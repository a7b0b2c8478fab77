# SPDX-License-Identifier: BSD-3-Clause
"""The control socket of unmodified programs, by every client there is."""

import fcntl
import json
import os
import pty
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import termios
import time

import pytest
from prometheus_client.openmetrics import parser as openmetrics

import manual
from conftest import COMMAND, HERE, LIMIT, Control, TcpEcho, UdpServer, wait_for

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def rules_of(lab, *words):
    done = lab.command("list", "--json", *words)
    assert done.returncode == 0, done.stderr
    return [rule["rule"] for rule in json.loads(done.stdout)["rules"]]


# ---- clients ----

def test_every_subcommand(lab, program):
    path = program.socket()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert lab.command("add", "tcp:80-:8080+name=web").stdout == "2\n"
    assert lab.command("add", "--before", "web", "tcp:22-pass").returncode == 0
    assert rules_of(lab) == ["tcp:22-pass", "tcp:80-127.0.0.1:8080+name=web",
                             "any:*-reject"]
    assert "web" in lab.command("list").stdout
    assert lab.command("del", "web").returncode == 0
    refused = lab.command("del", "web")
    assert refused.returncode == 1 and "'web'" in refused.stderr
    assert lab.command("replace", "-", stdin="tcp:80-8080\n").returncode == 1
    assert rules_of(lab) == ["tcp:22-pass", "any:*-reject"]
    replaced = lab.command("replace", "-", stdin="# all\n\ntcp:1-:2")
    assert replaced.returncode == 0, replaced.stderr
    assert rules_of(lab) == ["tcp:1-127.0.0.1:2"]
    explained = lab.command("explain", "tcp", "1.2.3.4:1")
    assert "this rule decides: to port 2" in explained.stdout
    for words in (["flows"], ["flows", "--json"], ["stats"], ["flush"],
                  ["stats", "--json"], ["stats", "--openmetrics"],
                  ["list", "--openmetrics"], ["watch", "--count", "2"],
                  ["explain", "udp", "[::1]:1", "--json"]):
        done = lab.command(*words)
        assert done.returncode == 0 and done.stdout, (words, done.stderr)
    assert json.loads(lab.command("stats", "--json").stdout)["rules"] == 1
    metrics = lab.command("stats", "--openmetrics").stdout
    families = {family.name: family for family in
                openmetrics.text_string_to_metric_families(metrics)}
    flows = families["slirp_redirect_rule_flows"]
    assert flows.type == "counter"
    assert [sample.labels["rule"] for sample in flows.samples] == \
        ["tcp:1-127.0.0.1:2"]
    assert lab.command("reload").returncode == 1
    assert lab.command("reopen-log").returncode == 1
    assert lab.command("add", "a b").returncode == 2
    assert lab.command("list", "--json", "x").returncode == 2


def test_watch_fits_the_terminal(lab, program):
    program.socket()
    rows, columns = 12, 64
    rules = "".join(f"tcp:{port}-:8080+name=a-rather-long-name-{port}\n"
                    for port in range(1, 31))
    assert lab.command("replace", "-", stdin=rules).returncode == 0
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ,
                struct.pack("HHHH", rows, columns, 0, 0))
    done = lab.command("watch", "--count", "1", stdout=theirs)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # the end, to a terminal's master
        pass
    os.close(ours)
    lines = shown.decode().removeprefix("\033[H\033[J").splitlines()
    assert len(lines) < rows
    assert max(map(len, lines)) == columns
    assert lines[1].endswith("tcp:1-"), lines
    assert f"... and {30 - rows // 2} more" in lines


@pytest.mark.parametrize("words", [
    ["nc", "-N", "-U"], ["socat", "-t5", "-"]], ids=["nc", "socat"])
def test_plain_clients(lab, program, words):
    if not shutil.which(words[0]):
        pytest.skip(f"needs {words[0]}")
    path = program.socket()
    where = f"UNIX-CONNECT:{path}" if words[0] == "socat" else str(path)
    done = subprocess.run(
        [*words, where], input="add tcp:80-:8080\nlist\nquit\n", text=True,
        capture_output=True, timeout=LIMIT, check=True)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["redirect/1 ok 2", "2"]
    assert "tcp:80-127.0.0.1:8080" in done.stdout
    assert lines[-1] == "redirect/1 ok 0"


def test_examples_of_the_manual(lab):
    """Those of slirp-redirect-control(7)."""
    if not shutil.which("nc"):
        pytest.skip("needs nc")
    _, rotate, client, table = manual.examples("slirp-redirect-control.7")
    log = lab.tmp / "log"
    program = lab.qemu(SLIRP_REDIRECT="", SLIRP_REDIRECT_LOG=str(log))
    path = str(program.socket())

    def shell(script):
        return subprocess.run(
            ["sh", "-e", "-c", script.replace("/run/vm1.sock", path)],
            env=lab.env(PATH=f"{COMMAND.parent}:{os.environ['PATH']}"),
            capture_output=True, text=True, timeout=LIMIT, check=True).stdout

    command, output = manual.session(client)
    assert shell(command) == output
    Control(path).good(table.rstrip())
    assert rules_of(lab) == ["tcp:host:22-reject", "udp:53-127.0.0.1:5353"]
    log.unlink()
    shell(re.fullmatch(r"postrotate\n(.*)endscript\n", rotate, re.S)[1])
    assert log.exists()


def test_nobody_is_no_client(lab, program):
    """Neither the mode of the socket nor, if that was changed, its owner's
    name lets another user in."""
    if os.getuid() != 0:
        pytest.skip("needs root")
    path = program.socket()
    for directory in (lab.runtime, path.parent):
        directory.chmod(0o755)
    attempt = [*NOBODY, sys.executable, "-c",
               "import socket, sys; s = socket.socket(socket.AF_UNIX);"
               "s.connect(sys.argv[1]); s.sendall(b'list\\n');"
               "print(s.recv(100))", str(path)]

    def run():
        return subprocess.run(attempt, capture_output=True, text=True,
                              timeout=LIMIT, check=False)
    assert "PermissionError" in run().stderr
    path.chmod(0o666)
    done = run()
    assert "redirect/1" not in done.stdout
    assert done.stdout == "b''\n" or "Error" in done.stderr, done
    assert "any:*-reject" in Control(path).good("list")


# ---- several instances ----

def test_two_programs_at_once(lab):
    one, two = lab.qemu(), lab.slirp4netns()
    for program in (one, two):
        program.socket()
    several = lab.command("list")
    assert several.returncode == 2
    for program, name in ((one, "qemu"), (two, "slirp4netns")):
        assert str(program.socket()) in several.stderr
        assert f"({name}" in several.stderr
        short = program.socket().stem
        assert lab.command("add", "--socket", short,
                           f"tcp:{program.process.pid % 60000}-:1") \
            .returncode == 0
    for program in (one, two):
        mine = f"tcp:{program.process.pid % 60000}-127.0.0.1:1"
        assert mine in rules_of(lab, "--socket", program.socket())
        assert len(rules_of(lab, "--socket", program.socket())) == 2


def test_two_networks_of_one_qemu(lab):
    program = lab.qemu("-netdev", "user,id=v")
    wait_for(lambda: len(list(program.directory.glob("*.sock"))) == 2)
    numbers = {path.name.split(".")[1]
               for path in program.directory.glob("*.sock")}
    assert numbers == {"1", "2"}


def test_orderly_end_removes_the_socket(lab):
    program = lab.qemu()
    path = program.socket()
    Control(path).good("version")  # past the set-up, where a signal kills it
    lab.stop(program.process)
    assert not path.exists()


def test_killed_program_is_not_found(lab):
    program = lab.qemu()
    path = program.socket()
    program.process.send_signal(signal.SIGKILL)
    program.process.wait(LIMIT)
    assert path.exists()
    assert "no running instance" in lab.command("list").stderr
    assert not path.exists()


def test_launcher(lab):
    place = lab.tmp / "here"
    done = lab.command("run", "--dry-run", "--force", "--control",
                       f"{place}.%p", "/bin/true")
    assert f"SLIRP_REDIRECT_CONTROL={place}.%p" in done.stdout
    done = lab.command("run", "--dry-run", "--force", "--control", "%x",
                       "/bin/true")
    assert done.returncode == 2


@pytest.mark.parametrize("sandbox", [
    ["--enable-sandbox"], ["--enable-sandbox", "--enable-seccomp"]],
    ids=["sandbox", "seccomp"])
def test_slirp4netns_in_its_sandbox(lab, sandbox):
    """It has another root directory then, and fewer system calls."""
    rules, log = lab.tmp / "rules", lab.tmp / "log"
    rules.write_text("tcp:1-:1\n")
    program = lab.slirp4netns(*sandbox, SLIRP_REDIRECT_FILE=str(rules),
                              SLIRP_REDIRECT_LOG=str(log))
    control = Control(program.socket())
    rules.write_text("tcp:80-reject+log\n")
    control.good("reload")
    log.rename(lab.tmp / "log.1")
    control.good("reopen-log")
    control.good("replace <<E\ntcp:80-reject+log\nE")
    client = program.inside(
        sys.executable, "-c", "import socket; "
        "print(socket.socket().connect_ex(('198.51.100.7', 80)))")
    subprocess.run(client, check=True, timeout=LIMIT, capture_output=True)
    line = json.loads(log.read_text())
    assert line["destination"] == "198.51.100.7:80"


def test_under_qemus_sandbox(lab):
    rules = lab.tmp / "rules"
    rules.write_text("tcp:1-:1\n")
    program = lab.qemu(
        "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
        "resourcecontrol=deny", SLIRP_REDIRECT_FILE=str(rules),
        SLIRP_REDIRECT_RELOAD="1", SLIRP_REDIRECT_LOG=str(lab.tmp / "log"))
    path = program.socket()
    control = Control(path)
    control.good("add tcp:80-:8080")
    rules.write_text("tcp:2-:2\n")
    wait_for(lambda: "tcp:2-127.0.0.1:2" in control.good("list"))
    control.good("reopen-log")
    lab.stop(program.process)
    assert not path.exists()


# ---- under traffic ----

class Talker:
    def __init__(self, lab, program):
        self.process = subprocess.Popen(
            program.inside(sys.executable, str(HERE / "talker.py")),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lab.stack.callback(lab.stop, self.process)

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()


def memory_of(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_a_thousand_replaces_a_second(lab, server, record_property):
    """For ten seconds, while eight connections and a UDP flow run."""
    program = lab.slirp4netns()
    echo, servers = server(TcpEcho), [server(UdpServer, n) for n in "AB"]
    control = Control(program.socket())

    def replace(n):
        tcp = f"tcp:80-:{echo.port}\n" if n % 4 < 2 else ""
        control.good(f"replace <<E\nudp:53-:{servers[n % 2].port}\n{tcp}"
                     "any:*-reject\nE")
    replace(0)
    talker = Talker(lab, program)
    assert talker.say("tcp 8 198.51.100.7 80") == ["ok"]
    descriptors = len(os.listdir(f"/proc/{program.process.pid}/fd"))
    memory = memory_of(program.process.pid)
    count, start = 10000, time.monotonic()
    for n in range(1, count + 1):
        replace(n)
        if n % 20 == 0:
            answer = talker.say(f"udp {n} 198.51.100.7 53")
            assert answer == ["AB"[n % 2], str(n), "198.51.100.7", "53"]
        time.sleep(max(0, start + n / 1000 - time.monotonic()))
    rate = count / (time.monotonic() - start)
    record_property("replaces_per_second", round(rate))
    flows = json.loads(control.good("flows --json"))["flows"]
    assert sum(flow["proto"] == "tcp" for flow in flows) == 8
    echoes, errors, *what = talker.say("stop")
    assert int(errors) == 0, what
    assert int(echoes) > 0
    print(f"{rate:.0f} replaces a second, {echoes} echoes meanwhile, "
          f"{memory_of(program.process.pid) - memory} bytes more memory")
    assert len(os.listdir(f"/proc/{program.process.pid}/fd")) <= \
        descriptors + 2
    # A leak of a table of 3 rules in each turn would be far more.
    assert memory_of(program.process.pid) - memory < 8 << 20


MAC = bytes.fromhex("525400123456")


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~((total & 0xffff) + (total >> 16)) & 0xffff


def udp_frame(dst, port, payload):
    udp = struct.pack("!HHHH", 5000, port, 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0,
                     bytes([10, 0, 2, 15]), dst)
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return bytes.fromhex("525500000202") + MAC + b"\x08\x00" + ip + udp


def announce(frames):
    arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, MAC,
                      bytes([10, 0, 2, 15]), bytes(6), bytes([10, 0, 2, 15]))
    frames.send(b"\xff" * 6 + MAC + b"\x08\x06" + arp)


def test_redirect_in_qemu_by_control_alone(lab, server):
    """A rule added at run time takes a datagram of a QEMU's guest."""
    program = lab.qemu()
    program.socket()
    target = server(UdpServer, "A")
    assert lab.command("add", f"udp:53-:{target.port}+name=dns").returncode == 0
    frames = program.frames
    frames.settimeout(LIMIT)
    announce(frames)
    frames.send(udp_frame(bytes([198, 51, 100, 7]), 53, b"question"))
    while b"A question" not in (frame := frames.recv(2048)):
        pass
    assert frame[26:30] == bytes([198, 51, 100, 7])
    flow = json.loads(lab.command("flows", "--json").stdout)["flows"][0]
    assert (flow["name"], flow["destination"], flow["bytes_in"]) == \
        ("dns", "198.51.100.7:53", 10)
    assert lab.command("flush", "dns").stdout == "1\n"
