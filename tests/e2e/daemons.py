# SPDX-License-Identifier: BSD-3-Clause
"""The host's real services: name server, time server, database, on lo.

Each runs in the foreground with its own configuration and files in a directory
of its own, and is up when it answers. Nobody else is in this network, so that
their ports can be fixed.
"""

import os
import pathlib
import pwd
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator

import netns
import servers
import vm

START_LIMIT_S = 60


class Daemon:
    """A program that is up once `answers()` is true."""

    STOP = signal.SIGTERM

    def __init__(self, command: list[str], scratch: pathlib.Path,
                 become: Callable[[], None] = lambda: None):
        self.errors = scratch / "stderr"

        def prepare():
            become()
            vm.die_with_parent(self.STOP)

        with open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=errors,
                stderr=errors, cwd=scratch, preexec_fn=prepare)
        try:
            self._await_answer()
        except BaseException:
            self.close()
            raise

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while not self._tries():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.process.args} does not come up:\n"
                                   + self.errors.read_text(errors="replace"))
            time.sleep(0.02)

    def _tries(self) -> bool:
        try:
            return self.answers()
        except OSError:
            return False

    def answers(self) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.STOP)
        self.process.wait(timeout=60)


def find(pattern: str, cache: pathlib.Path) -> pathlib.Path:
    """A program by its path in its package, which may be unpacked in CACHE."""
    for root in (pathlib.Path("/"), *cache.glob("*")):
        for path in root.glob(pattern):
            if os.access(path, os.X_OK):
                return path
    raise FileNotFoundError(f"no {pattern}: ./test provides one")


def own_name() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


# ---- names ----

def dns_question(name: str, ident: int) -> bytes:
    """A query for the IPv4 addresses of NAME."""
    labels = b"".join(bytes([len(label)]) + label.encode()
                      for label in name.split("."))
    return struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0) + labels + \
        b"\0\0\1\0\1"


class Dnsmasq(Daemon):
    """dnsmasq, UDP and TCP, knowing HOSTS (pairs of address and name)."""

    PORT = 5353

    def __init__(self, cache: pathlib.Path, scratch: pathlib.Path,
                 hosts: list[tuple[str, str]]):
        (scratch / "hosts").write_text("".join(
            f"{address} {name}\n" for address, name in hosts))
        user = [f"--user={own_name()}"] if os.geteuid() == 0 else []
        super().__init__(
            [str(find("usr/sbin/dnsmasq", cache)),
             "--conf-file=/dev/null", "--keep-in-foreground",
             "--log-facility=-", f"--pid-file={scratch}/pid", *user,
             f"--listen-address={servers.IPV4}", "--bind-interfaces",
             f"--port={self.PORT}", "--no-resolv", "--no-hosts",
             f"--addn-hosts={scratch}/hosts", "--local=/example.org/"],
            scratch)

    def answers(self) -> bool:
        with socket.create_connection((servers.IPV4, self.PORT)):
            return True


# ---- time ----

NTP_UNIX_EPOCH = 2208988800  # 1970, in seconds since 1900


def ntp_request(cookie: bytes) -> bytes:
    """A client's request; the answer repeats the COOKIE of eight bytes."""
    return b"\x23" + bytes(39) + cookie


class Chrony(Daemon):
    """An NTP server of stratum 7 that leaves the machine's clock alone."""

    PORT = 11123
    CONFIG = """
        local stratum 7
        allow {address}
        bindaddress {address}
        port {port}
        cmdport 0
        bindcmdaddress /
        pidfile {dir}/pid
    """

    def __init__(self, cache: pathlib.Path, scratch: pathlib.Path):
        config = scratch / "chrony.conf"
        config.write_text(self.CONFIG.format(
            address=servers.IPV4, port=self.PORT, dir=scratch))
        super().__init__(
            [str(find("usr/sbin/chronyd", cache)),
             "-x", "-d", "-U", "-u", own_name(), "-f", str(config)], scratch)

    def answers(self) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(START_LIMIT_S)
            sock.connect((servers.IPV4, self.PORT))
            sock.send(ntp_request(b"anybody?"))
            return len(sock.recv(512)) >= 48


# ---- a database ----

def postgres_session(query: str) -> bytes:
    """All that a client has to say to ask one question."""
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack(">I", len(body) + 4) + body

    start = struct.pack(">I", 3 << 16) + \
        b"user\0postgres\0database\0postgres\0\0"
    return (message(b"", start) + message(b"Q", query.encode() + b"\0")
            + message(b"X", b""))


def postgres_messages(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (kind, body) of each message of the server."""
    while len(stream) >= 5:
        size = struct.unpack(">I", stream[1:5])[0]
        yield stream[:1], stream[5:1 + size]
        stream = stream[1 + size:]


class Postgres(Daemon):
    """A new PostgreSQL cluster that listens on a unix socket only."""

    STOP = signal.SIGINT  # does not wait for clients
    PORT = 5432  # a part of the socket's name

    def __init__(self, cache: pathlib.Path, scratch: pathlib.Path):
        self.path = scratch / f".s.PGSQL.{self.PORT}"
        data = str(scratch / "data")
        programs = find("usr/lib/postgresql/*/bin/postgres", cache).parent
        # PostgreSQL does not want to be root.
        become = netns.seem_nobody if os.geteuid() == 0 else lambda: None
        subprocess.run(
            [programs / "initdb", "-D", data, "--auth=trust", "--no-sync",
             "--username=postgres", "--no-locale", "--encoding=UTF8"],
            check=True, stdin=subprocess.DEVNULL, capture_output=True,
            preexec_fn=become)
        super().__init__(
            [str(programs / "postgres"), "-D", data, "-k", str(scratch),
             "-p", str(self.PORT), "-c", "listen_addresses=",
             "-c", "dynamic_shared_memory_type=mmap", "-F"], scratch, become)

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(START_LIMIT_S)
            sock.connect(str(self.path))
            sock.sendall(postgres_session("select 1"))
            reply = b""
            while data := sock.recv(4096):
                reply += data
        return any(kind == b"D" for kind, _ in postgres_messages(reply))
