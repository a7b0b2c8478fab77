# SPDX-License-Identifier: BSD-3-Clause
"""The host's side of the cases: a real web server and small peers, on lo."""

import hashlib
import os
import pathlib
import random
import select
import signal
import socket
import struct
import subprocess
import threading

import vm

IPV4, IPV6 = "127.0.0.1", "::1"


def have_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind((IPV6, 0))
        return True
    except OSError:
        return False


def bind(host: str | pathlib.Path, kind: int, port: int) -> socket.socket:
    if isinstance(host, pathlib.Path):
        sock = socket.socket(socket.AF_UNIX, kind)
        sock.bind(str(host))
        return sock
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((host, port))
    return sock


def listen(host: str | pathlib.Path, kind: int = socket.SOCK_STREAM,
           port: int = 0) -> socket.socket:
    """A server's socket; HOST is an address, or the path of a unix socket."""
    sock = bind(host, kind, port)
    if kind == socket.SOCK_STREAM:
        sock.listen(64)
    return sock


def closed_port(host: str = IPV4) -> int:
    """A TCP port at which nobody listens."""
    with listen(host) as sock:
        return sock.getsockname()[1]


class Nginx:
    """nginx on 127.0.0.1 and, if there is one, ::1, on one ephemeral port.

    The listening sockets are made here and inherited by nginx (as in its
    upgrade on the fly), so that no port is ever guessed and requests are
    queued from the start: nothing has to wait for nginx to come up.
    """

    CONFIG = """
        daemon off; worker_processes 1; {user}
        pid {dir}/pid; error_log {dir}/error.log info;
        events {{ worker_connections 64; }}
        http {{
            access_log {dir}/access.log;
            client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2;
            fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
            scgi_temp_path {dir}/t5;
            server {{ {listen} root {dir}/html; }}
        }}
    """

    def __init__(self, program: str, scratch: pathlib.Path, page: str):
        self.page = page
        self.log = scratch / "access.log"
        (scratch / "html").mkdir(parents=True)
        (scratch / "html" / "index.html").write_text(page)
        sockets = [listen(IPV4)]
        self.port = sockets[0].getsockname()[1]
        self.path = scratch / "sock"
        directives = f"listen {IPV4}:{self.port}; listen unix:{self.path};"
        if have_ipv6():
            sockets.append(listen(IPV6, port=self.port))
            directives += f"listen [{IPV6}]:{self.port} ipv6only=on;"
        config = scratch / "nginx.conf"
        # As root, nginx would serve as somebody who cannot enter scratch.
        user = "user root root;" if os.geteuid() == 0 else ""
        config.write_text(self.CONFIG.format(
            dir=scratch, listen=directives, user=user))
        numbers = [sock.fileno() for sock in sockets]
        with open(scratch / "stderr", "wb") as errors:
            self.process = subprocess.Popen(
                [program, "-e", str(scratch / "error.log"), "-p", str(scratch),
                 "-c", str(config)], stdin=subprocess.DEVNULL, stdout=errors,
                stderr=errors, pass_fds=numbers,
                preexec_fn=lambda: vm.die_with_parent(signal.SIGTERM),
                env={"NGINX": "".join(f"{n};" for n in numbers)})
        for sock in sockets:
            sock.close()

    def hits(self) -> int:
        """Requests answered so far."""
        return self.log.read_text().count("\n") if self.log.exists() else 0

    def close(self) -> None:
        self.process.terminate()  # and the master ends its worker
        self.process.wait(timeout=30)


class Peer:
    """A server in a thread: one `serve(connection)` a TCP connection."""

    LIMIT_S = 300

    def __init__(self, host: str = IPV4, port: int = 0):
        self.listener = listen(host, port=port)
        self.port = self.listener.getsockname()[1]
        self.threads: list[threading.Thread] = []
        self.sources: list[tuple[str, int]] = []
        self._start(self._accept)

    def _start(self, function, *args) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, source = self.listener.accept()
            except OSError:
                return  # closed
            connection.settimeout(self.LIMIT_S)
            self.sources.append(source[:2])
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.serve(connection)
            except OSError:
                pass  # the guest's verdict tells

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def close(self) -> None:
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        except OSError:
            pass
        self.listener.close()
        for thread in self.threads:
            thread.join(self.LIMIT_S)


class Sink(Peer):
    """Reads to the end and answers with the SHA-256 of what it got."""

    def __init__(self, host: str = IPV4):
        self.bytes = 0
        self.sha256 = ""
        super().__init__(host)

    def serve(self, connection: socket.socket) -> None:
        digest, total = hashlib.sha256(), 0
        while data := connection.recv(1 << 18):
            digest.update(data)
            total += len(data)
        self.bytes, self.sha256 = total, digest.hexdigest()
        connection.sendall(self.sha256.encode())


class Source(Peer):
    """Sends so many pseudo-random bytes and ends."""

    def __init__(self, size: int, host: str = IPV4, seed: int = 1):
        self.size = size
        # Blocks of one, shuffled by offset: quick and still position-true.
        self.block = random.Random(seed).randbytes((1 << 20) + 4096)
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(part)
        self.sha256 = digest.hexdigest()
        super().__init__(host)

    def _parts(self):
        left, number = self.size, 0
        while left > 0:
            offset = number * 61 % 4096
            part = self.block[offset:offset + min(left, 1 << 20)]
            yield part
            left -= len(part)
            number += 1

    def serve(self, connection: socket.socket) -> None:
        for part in self._parts():
            connection.sendall(part)


class Upper(Peer):
    """Reads to the end of the stream, then answers in upper case."""

    def serve(self, connection: socket.socket) -> None:
        text = b""
        while data := connection.recv(4096):
            text += data
        connection.sendall(text.upper())


class OwnPort(Peer):
    """Reads to the end and says which port it listens on."""

    def serve(self, connection: socket.socket) -> None:
        while connection.recv(4096):
            pass
        connection.sendall(str(self.port).encode())


class UdpPeer:
    """Answers each datagram by `answer(data)`, from the socket it came to."""

    def __init__(self, host: str | pathlib.Path = IPV4, port: int = 0):
        self.sock = listen(host, socket.SOCK_DGRAM, port)
        name = self.sock.getsockname()
        self.port = name[1] if isinstance(name, tuple) else 0  # unix: none
        self.sources: list[object] = []
        self.wake, self.stop = socket.socketpair()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self.sock, self.wake], [], [])
            if self.wake in ready:
                return
            data, source = self.sock.recvfrom(65536)
            self.sources.append(source)
            self.sock.sendto(self.answer(data), source)

    def answer(self, data: bytes) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        self.stop.close()
        self.thread.join()
        self.wake.close()
        self.sock.close()


class UdpEcho(UdpPeer):
    """Answers with NAME:TEXT."""

    def __init__(self, name: str = "echo",
                 host: str | pathlib.Path = IPV4):
        self.name = name
        super().__init__(host)

    def answer(self, data: bytes) -> bytes:
        return f"{self.name}:".encode() + data


class NameServer(UdpPeer):
    """A DNS server that knows one IPv4 address for every name."""

    def __init__(self, address: str, host: str = IPV4, port: int = 0):
        self.address = socket.inet_aton(address)
        super().__init__(host, port)

    def answer(self, data: bytes) -> bytes:
        end = data.index(0, 12) + 5  # the name's root label, type, class
        question, is_a = data[12:end], data[end - 4:end - 2] == b"\0\1"
        head = data[:2] + b"\x81\x80" + struct.pack(">4H", 1, is_a, 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + self.address
        return head + question + (record if is_a else b"")


def find_nginx(cache: pathlib.Path) -> str:
    for path in ("/usr/sbin/nginx", str(cache / "nginx/usr/sbin/nginx")):
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError("no nginx: ./test or ./run provides one")
