# SPDX-License-Identifier: BSD-3-Clause
"""A guest under QEMU, driven through its probe port and the monitor."""

import contextlib
import ctypes
import json
import pathlib
import select
import shlex
import signal
import socket
import subprocess
import time
import urllib.parse

# On a loaded machine a guest measures its TSC, APIC and timer interrupts badly;
# by a clock too quick its waits end too early. One of them, for the tests of
# the crypto layer, decides whether there will be IPv6.
KERNEL = ("console=ttyS0 quiet panic=-1 nokaslr mitigations=off "
          "clocksource=hpet no_timer_check cryptomgr.notests")
PROBE = "org.slirp-redirect.probe"
BOOT_LIMIT_S = 240
NETWORK_LIMIT_MS = 20000  # the guest's own, if nobody sets another
PR_SET_PDEATHSIG = 1


class GuestError(Exception):
    """The guest or its QEMU did not do what every case relies on."""


class Verdict(dict):
    """One verdict line: its words by key; `str(verdict)` is the first."""

    def __init__(self, line: str):
        super().__init__()
        self.line = line
        for word in line.split():
            key, _, value = word.partition("=")
            if key in self:  # ifaces: several addresses a device
                value = self[key] + "," + urllib.parse.unquote(value)
            self[key] = urllib.parse.unquote(value)

    def __str__(self) -> str:
        return self.get("verdict", "none")

    def bytes(self, key: str) -> bytes:
        """The value of KEY as it is; empty if there is none."""
        for word in self.line.split():
            if word.startswith(key + "="):
                return urllib.parse.unquote_to_bytes(word[len(key) + 1:])
        return b""

    def __repr__(self) -> str:
        return f"<{self.line}>"


def text(data: bytes) -> str:
    """Bytes as the TEXT of a probe."""
    return "".join(f"%{byte:02X}" for byte in data)


def body_of(page: Verdict) -> object:
    """The body of an answer, or all of it if there is none, to be shown."""
    return page.get("body", page)


_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(how: int = signal.SIGKILL) -> None:
    """For preexec_fn: the child never outlives the process of the tests."""
    _libc.prctl(PR_SET_PDEATHSIG, how)


class LineChannel:
    """Lines over a socket, each awaited with a bound."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.buffer = b""

    def send(self, line: str) -> None:
        self.sock.sendall(line.encode() + b"\n")

    def receive(self, limit_s: float) -> str:
        deadline = time.monotonic() + limit_s
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise GuestError(f"nothing heard within {limit_s} s")
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise GuestError("the other end is gone")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode()


class Monitor:
    """A QMP connection."""

    def __init__(self, sock: socket.socket):
        self.channel = LineChannel(sock)
        self.ready = False
        self.events: list[dict] = []  # not asked for yet

    def _call(self, command: str, arguments: dict) -> object:
        self.channel.send(json.dumps(
            {"execute": command, "arguments": arguments}))
        while True:
            answer = json.loads(self.channel.receive(30))
            if "error" in answer:
                raise GuestError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            self.events.append(answer)

    def event(self, limit_s: float) -> dict:
        """The next event, of those that came during calls first."""
        if self.events:
            return self.events.pop(0)
        return json.loads(self.channel.receive(limit_s))

    def call(self, command: str, **arguments: object) -> object:
        if not self.ready:
            self.channel.receive(30)  # the greeting
            self._call("qmp_capabilities", {})
            self.ready = True
        return self._call(command, arguments)

    def human(self, line: str) -> str:
        return str(self.call("human-monitor-command",
                             **{"command-line": line}))


class Guest:
    """A running QEMU with the test guest inside."""

    def __init__(self, command: list[str], env: dict[str, str],
                 image: pathlib.Path, scratch: pathlib.Path,
                 netdevs: list[str], kernel_args: str = "",
                 extra: tuple[str, ...] = ()):
        """COMMAND starts QEMU; NETDEVS are the values of -netdev, in which
        each id= is followed by a virtio card of the guest."""
        self.scratch = scratch
        self.console = scratch / "console"
        self.errors = scratch / "stderr"
        with contextlib.ExitStack() as theirs:
            probe, qmp = self._pair(theirs), self._pair(theirs)
            self.probe_channel = LineChannel(probe[0])
            self.monitor = Monitor(qmp[0])
            self.command = command + self._arguments(
                image, netdevs, kernel_args, probe[1], qmp[1]) + list(extra)
            with open(self.errors, "wb") as errors:
                self.process = subprocess.Popen(
                    self.command, env=env, stdin=subprocess.DEVNULL,
                    stdout=errors, stderr=errors, preexec_fn=die_with_parent,
                    pass_fds=[probe[1].fileno(), qmp[1].fileno()])

    @staticmethod
    def _pair(theirs: contextlib.ExitStack):
        ours, qemus = socket.socketpair()
        theirs.callback(qemus.close)
        return ours, qemus

    def _arguments(self, image, netdevs, kernel_args, probe, qmp):
        args = ["-M", "pc", "-accel", "tcg", "-m", "256", "-nodefaults",
                "-display", "none", "-no-reboot", "-no-user-config",
                "-kernel", str(image / "vmlinuz"),
                "-initrd", str(image / "initramfs.gz"),
                "-append", f"{KERNEL} probe={PROBE} {kernel_args}".rstrip(),
                "-serial", f"file:{self.console}",
                "-chardev", f"socket,id=qmp,fd={qmp.fileno()}",
                "-mon", "chardev=qmp,mode=control",
                "-chardev", f"socket,id=probe,fd={probe.fileno()}",
                "-device", "virtio-serial-pci",
                "-device", f"virtserialport,chardev=probe,name={PROBE}"]
        # Without status=off, Linux may take a second to notice the link.
        for number, netdev in enumerate(netdevs):
            ident = next(word[3:] for word in netdev.split(",")
                         if word.startswith("id="))
            args += ["-netdev", netdev, "-device",
                     f"virtio-net-pci,netdev={ident},romfile=,status=off,"
                     f"mac=52:54:00:12:34:{0x56 + number:02x}"]
        return args

    def command_line(self) -> str:
        return shlex.join(self.command)

    def stderr(self) -> str:
        return self.errors.read_text(errors="replace")

    def _explain(self, error: GuestError) -> GuestError:
        console = (self.console.read_text(errors="replace")
                   if self.console.exists() else "")
        return GuestError(
            f"{error} (QEMU's exit status: {self.process.poll()})\n"
            f"-- command\n{self.command_line()}\n"
            f"-- QEMU's messages\n{self.stderr()[-3000:]}\n"
            f"-- guest's console\n{console[-3000:]}")

    def wait_ready(self) -> None:
        try:
            line = self.probe_channel.receive(BOOT_LIMIT_S)
        except GuestError as error:
            raise self._explain(error) from None
        if line != "ready":
            raise self._explain(GuestError(f"the guest says: {line}"))

    def probe(self, command: str, limit_s: float = 60) -> Verdict:
        """Has the guest do one thing, and returns its one verdict."""
        try:
            self.probe_channel.send(command)
            return Verdict(self.probe_channel.receive(limit_s))
        except (GuestError, OSError) as error:
            raise self._explain(GuestError(f"{command}: {error}")) from None

    @contextlib.contextmanager
    def patience(self, limit_ms: int):
        """Meanwhile the guest waits so long for the network."""
        self.probe(f"limit {limit_ms}")
        try:
            yield
        finally:
            self.probe(f"limit {NETWORK_LIMIT_MS}")

    def library(self) -> str:
        """The libslirp this QEMU runs with."""
        maps = pathlib.Path(f"/proc/{self.process.pid}/maps").read_text()
        for line in maps.splitlines():
            if "libslirp.so" in line:
                return line.split(maxsplit=5)[5]
        return "none"

    def power_off(self) -> int:
        """Ends the guest in good order; QEMU's exit status."""
        self.probe_channel.send("poweroff")
        return self.process.wait(timeout=60)

    def close(self) -> None:
        """Whatever state it is in, it is gone afterwards."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.probe_channel.sock.close()
        self.monitor.channel.sock.close()
