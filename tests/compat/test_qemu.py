# SPDX-License-Identifier: BSD-3-Clause
"""QEMU's user network, option by option, with a real guest."""

import contextlib
import hashlib
import os
import pathlib
import re
import socket
import subprocess

import pytest

import servers
import vm
from conftest import CACHE, NAME_ADDRESS, ROOT, environment, runs_with

FIRMWARE = ["-L", "/usr/share/seabios", "-L", "/usr/share/qemu",
            "-L", "/usr/lib/ipxe/qemu"]
QEMUS = {
    "qemu-distribution": ["qemu-system-x86_64"],
    "qemu-newer": [str(CACHE / "qemu-newer/usr/bin/qemu-system-x86_64"),
                   *FIRMWARE],
}
LIMIT_S = 30
BOOT_FILE = "kernel here\n" * 200


@pytest.fixture(params=QEMUS)
def qemu(request) -> list[str]:
    return QEMUS[request.param]


@pytest.fixture(scope="session")
def image() -> pathlib.Path:
    path = os.environ.get("SLIRP_REDIRECT_IMAGE")
    return pathlib.Path(path or subprocess.check_output(
        [ROOT / "tests/e2e/guest/build"], text=True).strip())


def qemu_environment(library):
    return {**environment(library), "QEMU_MODULE_DIR": "/nonexistent"}


@contextlib.contextmanager
def running(qemu, library, image, scratch, options="", extra=()):
    netdev = ",".join(filter(None, ["user,id=n0", options]))
    guest = vm.Guest(qemu, qemu_environment(library), image, scratch,
                     [netdev], "noipv6", tuple(extra))
    try:
        yield guest
        assert runs_with(guest.process.pid, library)
        assert guest.power_off() == 0, guest.stderr()
    finally:
        guest.close()


def shell(guest, script: str) -> str:
    """A shell's output in the guest. Blanks separate arguments, tabs do not."""
    tabs = script.replace(" ", "\t")
    return guest.probe(f"run sh -c {tabs}").get("output", "")


def lease(guest) -> dict[str, str]:
    """The variables that udhcpc makes of a DHCP lease."""
    shell(guest, "echo '#!/bin/busybox sh' >/tmp/s; echo set >>/tmp/s;"
                 "chmod 755 /tmp/s")
    text = guest.probe("run udhcpc -n -q -f -i eth0 -s /tmp/s -O search "
                       "-O tftp -O bootfile -O hostname")["output"]
    found = dict(re.findall(r"^([a-z_]\w*)='(.*)'$", text, re.M))
    wanted = ("ip", "subnet", "router", "dns", "search", "siaddr", "serverid",
              "boot_file", "bootfile", "tftp", "hostname", "domain", "lease")
    return {key: found[key] for key in wanted if key in found}


def echo_in_guest(guest, port: int) -> None:
    shell(guest, f"busybox nc -ll -p {port} -e /bin/busybox cat "
                 "</dev/null >/dev/null 2>&1 & until busybox grep -q "
                 f":{port:04X} /proc/net/tcp /proc/net/tcp6; do busybox "
                 "usleep 20000; done")


def ask(port: int, text: bytes) -> bytes:
    """What a TCP server on the host's loopback answers."""
    with socket.create_connection((servers.IPV4, port), LIMIT_S) as sock:
        sock.settimeout(LIMIT_S)
        sock.sendall(text)
        return sock.recv(100)


def connections(guest) -> list[str]:
    """The kinds of lines of `info usernet`, without ports and numbers."""
    text = guest.monitor.human("info usernet")
    return [re.sub(r"\d+", "N", line.split()[0])
            for line in text.splitlines() if "HOST_FORWARD" in line]


def test_services(qemu, image, both, resolver, tmp_path):
    """DHCP, DNS, TFTP, hostfwd and guestfwd in one boot."""
    files = tmp_path / "tftp"
    files.mkdir()
    (files / "boot.cfg").write_text(BOOT_FILE)

    def observe(library, scratch):
        port = servers.closed_port()
        options = (f"hostfwd=tcp:127.0.0.1:{port}-:7,"
                   "guestfwd=tcp:10.0.2.100:80-cmd:/bin/cat,"
                   f"tftp={files},bootfile=boot.cfg,hostname=box,"
                   "dnssearch=a.example,dnssearch=b.example,"
                   "domainname=c.example")
        with running(qemu, library, image, scratch, options) as guest:
            guest.wait_ready()
            seen = {
                "interfaces": guest.probe("ifaces").line,
                "lease": lease(guest),
                "resolv.conf": shell(guest, "cat /etc/resolv.conf"),
                "name": guest.probe("resolve www.example").line,
                "tftp": shell(guest, "busybox tftp -g -r boot.cfg -l "
                                     "/tmp/b 10.0.2.2;busybox sha256sum "
                                     "/tmp/b"),
                "no tftp": shell(guest, "busybox tftp -g -r ../x -l /tmp/c "
                                        "10.0.2.2 2>&1"),
                "guestfwd": guest.probe(
                    "half-close 10.0.2.100 80 text").line,
                "other port": str(guest.probe("tcp 10.0.2.100 82")),
                "ping": str(guest.probe("ping 10.0.2.2")),
                "outside": str(guest.probe("tcp 198.51.100.7 80")),
            }
            echo_in_guest(guest, 7)
            seen["hostfwd"] = ask(port, b"to the guest")
            seen["usernet"] = connections(guest)
            return seen

    seen = both(observe)
    assert seen["lease"]["boot_file"] == "boot.cfg", seen
    assert seen["lease"]["ip"].startswith("10.0.2.")
    assert "a.example b.example" in seen["resolv.conf"]
    assert NAME_ADDRESS in seen["name"]
    assert hashlib.sha256(BOOT_FILE.encode()).hexdigest() in seen["tftp"]
    assert "text" in seen["guestfwd"]
    assert seen["hostfwd"] == b"to the guest"
    assert seen["usernet"] == ["TCP[HOST_FORWARD]"]


def test_restrict(qemu, image, both, peer):
    echo = peer(servers.UdpEcho)
    upper = peer(servers.Upper)

    def observe(library, scratch):
        port = servers.closed_port()
        options = (f"restrict=on,hostfwd=tcp:127.0.0.1:{port}-:7,"
                   "guestfwd=tcp:10.0.2.100:80-cmd:/bin/cat")
        with running(qemu, library, image, scratch, options) as guest:
            guest.wait_ready()
            guest.probe("limit 2000")
            echo_in_guest(guest, 7)
            return {
                "tcp": str(guest.probe(f"tcp 10.0.2.2 {upper.port}")),
                "udp": str(guest.probe(
                    f"udp 10.0.2.2 {echo.port} hello 2000")),
                "outside": str(guest.probe("tcp 198.51.100.7 80")),
                "guestfwd": guest.probe(
                    "half-close 10.0.2.100 80 text").line,
                "hostfwd": ask(port, b"to the guest"),
            }

    seen = both(observe)
    assert seen["tcp"] in ("refused", "timeout", "unreachable"), seen
    assert seen["udp"] in ("refused", "timeout"), seen
    assert "text" in seen["guestfwd"]
    assert seen["hostfwd"] == b"to the guest"
    assert echo.sources == [] and upper.sources == []


@pytest.mark.parametrize("options", [
    "smb={dir}", "smb={dir}/missing", "smb={dir},smbserver=10.0.2.9",
    "smb={dir},smbserver=nowhere", "hostfwd=tcp::70000-:7",
    "hostfwd=tcp:127.0.0.1:{used}-:7", "guestfwd=tcp:10.0.2.2:80-cmd:x",
    "guestfwd=tcp:192.0.2.1:80-cmd:x", "net=10.0.2.0/24,host=10.9.9.9",
    "dhcpstart=10.0.2.2", "dns=10.0.2.2", "bootfile={long}",
    "dnssearch={long}", "ipv6-prefixlen=200", "tftp-server-name={long}",
])
def test_options(qemu, both, options, peer, tmp_path):
    """What is accepted, what is refused, and the words that it is done in."""
    text = options.format(dir=tmp_path, used=peer(servers.Upper).port,
                          long="x" * 300)

    def observe(library, scratch):
        done = subprocess.run(
            [*qemu, "-M", "none", "-nodefaults", "-display", "none",
             "-monitor", "stdio", "-netdev", f"user,id=n0,{text}"],
            env=qemu_environment(library), input="quit\n", cwd=scratch,
            capture_output=True, text=True, timeout=LIMIT_S)
        return done.returncode, re.sub(r"qemu-smb\.\w+", "", done.stderr)

    both(observe)


def snapshot_disk(scratch) -> pathlib.Path:
    disk = scratch / "snapshot.qcow2"
    if not disk.exists():
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk,
                        "16M"], check=True)
    return disk


@pytest.mark.parametrize("saver, loader", [
    ("distribution", "distribution"), ("dropin", "dropin"),
    ("distribution", "dropin"), ("dropin", "distribution")])
def test_savevm(qemu, image, libraries, peer, tmp_path, saver, loader):
    """A saved guest goes on with either library, whichever saved it."""
    echo = peer(servers.UdpEcho)
    drive = ["-drive", f"if=virtio,format=qcow2,file={snapshot_disk(tmp_path)}"]
    for name in ("saver", "loader"):
        (tmp_path / name).mkdir()
    options = "guestfwd=tcp:10.0.2.100:80-cmd:/bin/cat"
    with running(qemu, libraries[saver], image, tmp_path / "saver", options,
                 drive) as guest:
        guest.wait_ready()
        reply = guest.probe(f"udp 10.0.2.2 {echo.port} first 5000")
        assert reply.get("text") == "echo:first", reply
        assert guest.monitor.human("savevm state") == ""
    with running(qemu, libraries[loader], image, tmp_path / "loader", options,
                 [*drive, "-loadvm", "state"]) as guest:
        reply = guest.probe(f"udp 10.0.2.2 {echo.port} second 5000")
        assert reply.get("text") == "echo:second", reply
        assert "text" in guest.probe("half-close 10.0.2.100 80 text").line
        assert "10.0.2.15" in guest.probe("ifaces").line
