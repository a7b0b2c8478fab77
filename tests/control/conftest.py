# SPDX-License-Identifier: BSD-3-Clause
"""Programs with the drop-in library, and their control sockets."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
BUILD = pathlib.Path(os.environ["MESON_BUILD_ROOT"])
COMMAND = BUILD / "slirp-redirect" / "cli" / "slirp-redirect"
LIMIT = 20  # seconds that an awaited condition may take
UNSHARE = ["-n"] if os.getuid() == 0 else ["-r", "-n"]
NSENTER = ["-n"] if os.getuid() == 0 else ["-U", "-n",
                                           "--preserve-credentials"]


def wait_for(condition):
    end = time.monotonic() + LIMIT
    while not (result := condition()):
        assert time.monotonic() < end, "awaited in vain"
        time.sleep(0.005)
    return result


@pytest.fixture(scope="session")
def library():
    found = list((BUILD / "subprojects").glob("libslirp-v*/libslirp.so.0"))
    assert found
    symbols = subprocess.run(["nm", "-D", found[0]], capture_output=True,
                             text=True, check=True).stdout
    if "__asan_init" in symbols:
        pytest.skip("an instrumented library can not be loaded by any program")
    return found[0].parent


class Control:
    """A connection to a control socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        self.sock.connect(str(path))
        self.file = self.sock.makefile("rb")

    def ask(self, line):
        """The status ("ok" or the code of an error) and the body."""
        self.sock.sendall(line.encode() + b"\n")
        words = self.file.readline().decode().split()
        assert words[0] == "redirect/1", words
        return words[-1] if words[1] == "error" else "ok", \
            self.file.read(int(words[2])).decode()

    def good(self, line):
        status, body = self.ask(line)
        assert status == "ok", body
        return body


class Program:
    """A running program with the library."""

    def __init__(self, process, runtime):
        self.process = process
        self.directory = runtime / "slirp-redirect"

    def socket(self):
        """Its control socket in the default directory, once it is there."""
        pattern = f"{self.process.pid}.*.sock"
        return wait_for(lambda: next(iter(self.directory.glob(pattern)), None))


class Lab:
    def __init__(self, library, tmp):
        self.library = library
        self.tmp = tmp
        self.runtime = tmp / "run"
        self.runtime.mkdir(mode=0o700)
        self.stack = contextlib.ExitStack()

    def env(self, **more):
        kept = {key: value for key, value in os.environ.items()
                if not key.startswith("SLIRP_REDIRECT")}
        return kept | {"XDG_RUNTIME_DIR": str(self.runtime),
                       "LD_LIBRARY_PATH": str(self.library),
                       "SLIRP_REDIRECT_CONTROL": "auto",
                       "SLIRP_REDIRECT": "any:*-reject"} | more

    def command(self, *words, stdin="", stdout=subprocess.PIPE):
        """slirp-redirect WORD..."""
        env = self.env()
        del env["LD_LIBRARY_PATH"]
        return subprocess.run([COMMAND, *map(str, words)], env=env,
                              input=stdin, stdout=stdout,
                              stderr=subprocess.PIPE, text=True,
                              timeout=LIMIT, check=False)

    def start(self, *words, pass_fds=(), **env):
        process = subprocess.Popen(
            [*map(str, words)], env=self.env(**env), pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stderr=open(self.tmp / "stderr", "ab"))
        self.stack.callback(self.stop, process)
        return Program(process, self.runtime)

    @staticmethod
    def stop(process):
        process.terminate()
        try:
            process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def qemu(self, *words, **env):
        """A QEMU without a machine; .frames is its guest's network card."""
        if not shutil.which("qemu-system-x86_64"):
            pytest.skip("needs qemu-system-x86_64")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.stack.enter_context(ours)
        with theirs:
            program = self.start(
                "qemu-system-x86_64", "-M", "none", "-nodefaults", "-display",
                "none", "-netdev", "user,id=u", "-netdev",
                "hubport,hubid=0,id=h0,netdev=u", "-netdev",
                f"dgram,id=d,local.type=fd,local.str={theirs.fileno()}",
                "-netdev", "hubport,hubid=0,id=h1,netdev=d", *words,
                pass_fds=[theirs.fileno()], **env)
        program.frames = ours
        return program

    def slirp4netns(self, *words, **env):
        """A slirp4netns; .inside(WORD...) is a command of its guest."""
        if not shutil.which("slirp4netns"):
            pytest.skip("needs slirp4netns")
        if not os.access("/dev/net/tun", os.W_OK):
            pytest.skip("needs /dev/net/tun")
        holder = subprocess.Popen(["unshare", *UNSHARE, "sh", "-c",
                                   "echo; exec sleep 600"],
                                  stdout=subprocess.PIPE)
        self.stack.callback(self.stop, holder)
        self.stack.enter_context(holder.stdout)
        if not holder.stdout.readline():
            pytest.skip("no network namespaces here")
        reader, writer = os.pipe()
        try:
            program = self.start("slirp4netns", "--configure", "--ready-fd",
                                 writer, *words, holder.pid, "tap0",
                                 pass_fds=[writer], **env)
        finally:
            os.close(writer)
        with open(reader, "rb") as ready:
            assert ready.read(1), (self.tmp / "stderr").read_text()
        program.inside = lambda *command: [
            "nsenter", "-t", str(holder.pid), *NSENTER, *command]
        return program


@pytest.fixture
def lab(library):
    # Short, as sockets need it, and open, so that nobody can try.
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="ctl."))
    tmp.chmod(0o755)
    made = Lab(library, tmp)
    with made.stack:
        yield made
    shutil.rmtree(tmp)


@pytest.fixture(params=["qemu", "slirp4netns"])
def program(lab, request):
    return getattr(lab, request.param)()


class UdpServer(threading.Thread):
    """Answers each datagram with its own name."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.label = name.encode()
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.start()

    def run(self):
        while True:
            data, peer = self.sock.recvfrom(2048)
            if data == b"stop":
                return
            self.sock.sendto(self.label + b" " + data, peer)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"stop", ("127.0.0.1", self.port))
        self.join()
        self.sock.close()


class TcpEcho(threading.Thread):
    """Echoes what comes over any number of connections."""

    def __init__(self):
        super().__init__(daemon=True)
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.sock.getsockname()[1]
        self.threads = []
        self.start()

    @staticmethod
    def echo(conn):
        with conn, contextlib.suppress(ConnectionError):
            while data := conn.recv(65536):
                conn.sendall(data)

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                conn, _ = self.sock.accept()
                thread = threading.Thread(target=self.echo, args=[conn])
                thread.start()
                self.threads.append(thread)

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.join()
        for thread in self.threads:
            thread.join()
        self.sock.close()


@pytest.fixture
def server():
    """server(CLASS, ...): a server that ends with the test."""
    with contextlib.ExitStack() as stack:
        def start(kind, *words):
            made = kind(*words)
            stack.callback(made.close)
            return made
        yield start


