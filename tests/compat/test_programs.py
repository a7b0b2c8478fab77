# SPDX-License-Identifier: BSD-3-Clause
"""The other programs that Debian links to libslirp: namespaces, VDE, a helper."""

import contextlib
import json
import os
import re
import select
import shutil
import socket
import struct
import subprocess
import sys

import pytest

import servers
import vm
from conftest import NAME_ADDRESS, environment, runs_with

LIMIT_S = 30
NET_ADMIN = os.geteuid() == 0 and os.path.exists("/dev/net/tun")
needs_tun = pytest.mark.skipif(
    not NET_ADMIN, reason="a network namespace with a tap needs root")

# Runs in the namespace: CLIENT KIND HOST PORT TEXT; prints what came of it.
CLIENT = r"""
import socket, sys
kind, host, port, text = sys.argv[1:]
sort = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
family = socket.AF_INET6 if ":" in host else socket.AF_INET
sock = socket.socket(family, sort)
sock.settimeout(10)
try:
    sock.connect((host, int(port)))
    sock.send(text.encode())
    if kind == "tcp":
        sock.shutdown(socket.SHUT_WR)
    print(sock.recv(1000).decode())
except OSError as error:
    print(type(error).__name__)
"""
# LISTENER PORT: answers one connection in capitals, once it says "ready".
LISTENER = r"""
import socket, sys
sock = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
conn, _ = sock.accept()
conn.sendall(conn.recv(1000).upper())
conn.close()
"""
# ASK NAME SERVER: one DNS question; prints the address in the answer.
ASK = r"""
import socket, sys
name = b"".join(bytes([len(p)]) + p.encode() for p in sys.argv[1].split("."))
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(2)
try:
    sock.connect((sys.argv[2], 53))
    sock.send(b"\x12\x34\x01\0\0\1\0\0\0\0\0\0" + name + b"\0\0\1\0\1")
    print(socket.inet_ntoa(sock.recv(512)[-4:]))
except OSError as error:
    print(type(error).__name__)
"""


class Namespace:
    """A network namespace held by a process, and slirp4netns for it."""

    def __init__(self, library, scratch, *options, env=None):
        self.stack = contextlib.ExitStack()
        self.api = scratch / "api"
        holder = self.start(["unshare", "--net", "sh", "-c",
                             "echo up; exec sleep 600"],
                            stdout=subprocess.PIPE)
        assert holder.stdout.readline() == b"up\n"
        self.pid = holder.pid
        ready, told = os.pipe()
        leave, self.leave = os.pipe()
        self.process = self.start(
            ["slirp4netns", "--configure", f"--ready-fd={told}",
             f"--exit-fd={leave}", f"--api-socket={self.api}", *options,
             str(self.pid), "tap0"], pass_fds=[told, leave],
            env={**environment(library), **(env or {})},
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        os.close(told)
        os.close(leave)
        self.stack.callback(os.close, ready)
        assert select.select([ready], [], [], LIMIT_S)[0]
        if os.read(ready, 1) != b"1":
            self.process.wait(LIMIT_S)
            raise AssertionError(self.process.stderr.read().decode())
        assert runs_with(self.process.pid, library)

    def start(self, command, **kwargs):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                   preexec_fn=vm.die_with_parent, **kwargs)

        def end():
            process.kill()
            process.communicate()
        self.stack.callback(end)
        return process

    def inside(self, *command):
        return subprocess.check_output(
            ["nsenter", "--net", "--target", str(self.pid), *command],
            text=True, timeout=LIMIT_S).strip()

    def client(self, kind, host, port, text="hello"):
        return self.inside(sys.executable, "-c", CLIENT, kind, host,
                           str(port), text)

    def ask(self, server="10.0.2.3"):
        return self.inside(sys.executable, "-c", ASK, "www.example", server)

    def listen(self, port):
        listener = self.start(
            ["nsenter", "--net", "--target", str(self.pid), sys.executable,
             "-c", LISTENER, str(port)], stdout=subprocess.PIPE)
        assert listener.stdout.readline() == b"ready\n"

    def call(self, **request):
        """The answer of the API socket."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(LIMIT_S)
            sock.connect(str(self.api))
            sock.sendall(json.dumps(request).encode())
            sock.shutdown(socket.SHUT_WR)
            return json.loads(sock.makefile().read())

    def close(self) -> int:
        """Ends it by its exit descriptor; its exit status."""
        os.close(self.leave)
        status = self.process.wait(LIMIT_S)
        self.stack.close()
        return status


@contextlib.contextmanager
def namespace(library, scratch, *options, env=None):
    space = Namespace(library, scratch, *options, env=env)
    try:
        yield space
    except BaseException:
        space.stack.close()
        raise
    assert space.close() == 0


@needs_tun
@pytest.mark.parametrize("options", [
    [], ["--mtu=65520"], ["--enable-sandbox", "--enable-seccomp"],
    ["--disable-host-loopback"], ["--disable-dns"],
    ["--macaddress=0a:12:34:56:78:9a"]], ids=" ".join)
def test_slirp4netns(both, peer, resolver, options):
    upper, echo = peer(servers.Upper), peer(servers.UdpEcho)

    def observe(library, scratch):
        with namespace(library, scratch, *options) as space:
            link = space.inside("ip", "-o", "link", "show", "tap0")
            return {
                "tcp": space.client("tcp", "10.0.2.2", upper.port),
                "udp": space.client("udp", "10.0.2.2", echo.port),
                "refused": space.client("tcp", "10.0.2.2",
                                        servers.closed_port()),
                "outside": space.client("tcp", "198.51.100.7", 80),
                "name": space.ask(),
                "mtu": re.search(r"mtu (\d+)", link)[1],
                "mac": "0a:12:34:56:78:9a" in link,
                "address": re.findall(r"inet (\S+)", space.inside(
                    "ip", "-o", "address", "show", "tap0")),
                "route": space.inside("ip", "route"),
            }

    seen = both(observe)
    loopback = "--disable-host-loopback" not in options
    assert (seen["tcp"] == "HELLO") == loopback, seen
    assert (seen["udp"] == "echo:hello") == loopback, seen
    assert seen["address"] == ["10.0.2.100/24"]
    if not options:
        assert seen["name"] == NAME_ADDRESS
        assert seen["refused"] == "ConnectionRefusedError"
    assert seen["mac"] == ("--macaddress=0a:12:34:56:78:9a" in options)


@needs_tun
def test_slirp4netns_other_network(both, peer):
    upper = peer(servers.Upper)

    def observe(library, scratch):
        with namespace(library, scratch, "--cidr=10.9.8.0/24",
                       "--outbound-addr=127.0.0.1") as space:
            return space.client("tcp", "10.9.8.2", upper.port)

    assert both(observe) == "HELLO"


@needs_tun
@pytest.mark.skipif(not servers.have_ipv6(), reason="no IPv6 here")
def test_slirp4netns_ipv6(both, peer):
    upper = peer(servers.Upper, servers.IPV6)

    def observe(library, scratch):
        with namespace(library, scratch, "--enable-ipv6") as space:
            # Duplicate address detection would keep the address tentative.
            space.inside("ip", "-6", "address", "add", "fd00::100/64", "dev",
                         "tap0", "nodad")
            return space.client("tcp", "fd00::2", upper.port)

    assert both(observe) == "HELLO"


@needs_tun
def test_slirp4netns_api(both):
    def observe(library, scratch):
        with namespace(library, scratch) as space:
            port = servers.closed_port()
            space.listen(8080)
            added = space.call(execute="add_hostfwd", arguments={
                "proto": "tcp", "host_addr": "127.0.0.1", "host_port": port,
                "guest_addr": "10.0.2.100", "guest_port": 8080})
            again = space.call(execute="add_hostfwd", arguments={
                "proto": "tcp", "host_addr": "127.0.0.1", "host_port": port,
                "guest_addr": "10.0.2.100", "guest_port": 8080})
            listed = space.call(execute="list_hostfwd")
            with socket.create_connection(("127.0.0.1", port), LIMIT_S) as \
                    sock:
                sock.settimeout(LIMIT_S)
                sock.sendall(b"forwarded")
                answer = sock.recv(100)
            removed = space.call(execute="remove_hostfwd",
                                 arguments={"id": added["return"]["id"]})
            with socket.socket() as sock:
                closed = sock.connect_ex(("127.0.0.1", port)) != 0
            listed["entries"][0].pop("host_port")
            return {"added": added, "again": again, "listed": listed,
                    "answer": answer, "removed": removed, "closed": closed,
                    "unknown": space.call(execute="nothing"),
                    "missing": space.call(execute="remove_hostfwd",
                                          arguments={"id": 77}),
                    "left": space.call(execute="list_hostfwd")}

    seen = both(observe)
    assert seen["answer"] == b"FORWARDED" and seen["closed"], seen
    assert "error" in seen["again"] and "error" in seen["unknown"]
    assert seen["left"] == {"entries": []}


@needs_tun
@pytest.mark.parametrize("options", [
    [], ["--enable-sandbox", "--enable-seccomp"]], ids=" ".join)
def test_slirp4netns_with_rules(libraries, peer, tmp_path, options):
    upper = peer(servers.Upper)
    with namespace(libraries["dropin"], tmp_path, *options, env={
            "SLIRP_REDIRECT": f"tcp:80-127.0.0.1:{upper.port}"}) as space:
        assert space.client("tcp", "198.51.100.7", 80) == "HELLO"


@needs_tun
def test_vdens(both, peer):
    """libvdeslirp, through a VDE plug."""
    upper = peer(servers.Upper)

    def observe(library, scratch):
        script = ("ip link set vde0 up; ip address add 10.0.2.15/24 dev vde0;"
                  "exec \"$@\"")
        done = subprocess.run(
            ["vdens", "slirp://", "sh", "-c", script, "sh", sys.executable,
             "-c", CLIENT, "tcp", "10.0.2.2", str(upper.port), "hello"],
            env=environment(library), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=LIMIT_S)
        return done.returncode, done.stdout

    assert both(observe) == (0, "HELLO\n")


class Station:
    """An end of a datagram socket that carries Ethernet frames."""

    MAC, ADDRESS, HOST = b"\x52\x54\0\x12\x34\x56", "10.0.2.15", "10.0.2.2"

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(LIMIT_S)

    def arp(self):
        """The MAC address of the host."""
        pack = socket.inet_aton
        self.sock.send(b"\xff" * 6 + self.MAC + b"\x08\x06\0\1\x08\0\6\4\0\1" +
                       self.MAC + pack(self.ADDRESS) + bytes(6) +
                       pack(self.HOST))
        return self.frame(lambda frame: frame[12:14] == b"\x08\x06" and
                          frame[20:22] == b"\0\2")[22:28]

    def frame(self, wanted):
        while True:
            frame = self.sock.recv(65536)
            if wanted(frame):
                return frame

    def udp(self, mac, port, text):
        """The answer to a datagram to a port of the host."""
        udp = struct.pack(">4H", 1024, port, 8 + len(text), 0) + text
        head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64,
                           17, 0, socket.inet_aton(self.ADDRESS),
                           socket.inet_aton(self.HOST))
        total = sum(struct.unpack(">10H", head))
        total = (total & 0xffff) + (total >> 16)
        head = head[:10] + struct.pack(">H", ~total & 0xffff) + head[12:]
        self.sock.send(mac + self.MAC + b"\x08\0" + head + udp)
        frame = self.frame(lambda frame: frame[12:14] == b"\x08\0" and
                           frame[23] == 17)
        return frame[42:34 + struct.unpack(">H", frame[38:40])[0]]


def test_libslirp_helper(both, peer):
    """The oldest client: configuration version 1, by way of Rust."""
    echo = peer(servers.UdpEcho)

    def observe(library, _):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            helper = subprocess.Popen(
                ["libslirp-helper", "--fd", str(theirs.fileno())],
                env=environment(library), pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, preexec_fn=vm.die_with_parent)
            try:
                station = Station(ours)
                mac = station.arp()
                assert runs_with(helper.pid, library)
                return mac, station.udp(mac, echo.port, b"hello")
            finally:
                helper.kill()
                helper.wait()

    assert both(observe) == (b"\x52\x55\x0a\0\2\2", b"echo:hello")


def test_no_other_program(libraries):
    """Whatever else is installed here and uses libslirp is in this list."""
    known = {"qemu-system-", "slirp4netns", "libslirp-helper", "vde"}
    if not shutil.which("dpkg-query"):
        pytest.skip("no dpkg here")
    text = subprocess.check_output(
        ["dpkg-query", "-W", "-f", "${Package} ${Depends}\n"], text=True)
    users = {line.split()[0] for line in text.splitlines()
             if re.search(r" libslirp0\b", line)}
    ours = {"libslirp-dev", "slirp-redirect", "libslirp-redirect-dev",
            "libvdeslirp0"}
    others = {user for user in users - ours
              if not user.startswith(tuple(known))}
    assert not others, f"without a case: {others}"
