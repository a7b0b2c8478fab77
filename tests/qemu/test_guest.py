# SPDX-License-Identifier: BSD-3-Clause
"""A QEMU that knows redirect= itself, with a guest; and where it may go."""

import contextlib
import pathlib
import subprocess
import tempfile
import time

import pytest

import servers
import vm
from guests import command_of

SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
           "resourcecontrol=deny")
LIMIT_S = 120


def page_of(machine, url="http://198.51.100.7/"):
    return vm.body_of(machine.probe(f"http {url}"))


@pytest.mark.parametrize("extra", [(), SANDBOX], ids=["plain", "sandbox"])
def test_http(redirected, nginx, extra):
    rules = ["tcp:81-reject", f"tcp:80-127.0.0.1:{nginx.port}",
             f"tcp:82-unix:{nginx.path}", "tcp:80-reject"]
    with redirected("option", rules, extra=extra) as machine:
        assert page_of(machine) == nginx.page
        assert page_of(machine, "http://198.51.100.7:82/") == nginx.page
        assert str(machine.probe("tcp 198.51.100.7 81")) == "refused"
        table = machine.monitor.human("info usernet")
        assert [table.index(rule) for rule in rules] == \
            sorted(table.index(rule) for rule in rules)


def test_restrict(redirected, nginx):
    with redirected("option", [f"tcp:80-:{nginx.port}"],
                    options="restrict=on", kernel_args="noipv6") as machine:
        assert page_of(machine) == nginx.page
        machine.probe("limit 2000")
        verdict = machine.probe(f"tcp 10.0.2.2 {nginx.port}")
        assert str(verdict) in ("refused", "timeout"), verdict


def test_changes_while_it_runs(redirected, nginx):
    with redirected("option", ["tcp:80-reject+name=no"]) as machine:
        assert str(machine.probe("tcp 198.51.100.7 80")) == "refused"
        machine.monitor.call("x-redirect-remove", netdev="n0", name="no")
        assert str(machine.probe("tcp 198.51.100.7 80")) == "unreachable"
        machine.monitor.human(f"redirect_add n0 tcp:80-:{nginx.port}")
        assert page_of(machine) == nginx.page


def test_launcher_leaves_the_option_alone(redirected, nginx, dropin):
    rule = f"tcp:80-127.0.0.1:{nginx.port}"
    with redirected("launcher", [rule],
                    env={"LD_LIBRARY_PATH": str(dropin)}) as machine:
        with open(f"/proc/{machine.process.pid}/cmdline") as file:
            assert f"user,id=n0,redirect={rule}" in file.read().split("\0")
        assert page_of(machine) == nginx.page


# ---- saving and loading, with and without the library ----

PATCHED = "qemu-patched"
STOCK = "qemu-newer"  # Debian's own QEMU 10.0, with Debian's library
MACHINE = "pc-i440fx-10.0"
WAYS = [(PATCHED, STOCK), (STOCK, PATCHED), (PATCHED, PATCHED)]
ways = pytest.mark.parametrize(
    "source, target", WAYS,
    ids=[f"{source}-to-{target}" for source, target in WAYS])


@pytest.fixture
def boot(qemu, dropin, image, nginx, tmp_path):
    """boot(QEMU, ...): a machine that has rules if its QEMU knows them, and
    our library; without waiting for the guest."""
    @contextlib.contextmanager
    def start(name, *extra):
        scratch = pathlib.Path(tempfile.mkdtemp(dir=tmp_path))
        command, env = command_of(name)
        netdev = "user,id=n0"
        if name == PATCHED:
            env["LD_LIBRARY_PATH"] = str(dropin)
            netdev += f",redirect=tcp:80-127.0.0.1:{nginx.port}"
        kernel_args = "" if servers.have_ipv6() else "noipv6"
        machine = vm.Guest(command, env, image, scratch, [netdev], kernel_args,
                           ("-M", MACHINE, *extra))
        try:
            yield machine
            ours = machine.library().startswith(str(dropin))
            assert ours == (name == PATCHED), machine.library()
        finally:
            machine.close()
    return start


def check(machine, name, nginx):
    """The guest lives, and goes where this QEMU sends it."""
    own = f"http://10.0.2.2:{nginx.port}/"
    assert page_of(machine, own) == nginx.page
    if name == PATCHED:
        assert page_of(machine) == nginx.page
    else:
        assert str(machine.probe("tcp 198.51.100.7 80")) == "unreachable"


def await_migration(monitor):
    end = time.monotonic() + LIMIT_S
    while True:
        event = monitor.event(end - time.monotonic())
        if event["event"] == "MIGRATION":
            assert event["data"]["status"] != "failed"
            if event["data"]["status"] == "completed":
                return


@ways
def test_migration(boot, nginx, tmp_path, source, target):
    path = f"unix:{tmp_path}/migration"
    events = [{"capability": "events", "state": True}]
    with boot(source) as old, boot(target, "-incoming", "defer") as new:
        old.wait_ready()
        check(old, source, nginx)
        for machine in old, new:
            machine.monitor.call("migrate-set-capabilities",
                                 capabilities=events)
        new.monitor.call("migrate-incoming", uri=path)
        old.monitor.call("migrate", uri=path)
        await_migration(old.monitor)
        await_migration(new.monitor)
        check(new, target, nginx)


@ways
@pytest.mark.parametrize("how", [("-loadvm", "now"), ()],
                         ids=["option", "monitor"])
def test_snapshot(boot, nginx, tmp_path, source, target, how):
    disk = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1M"],
                   check=True)
    drive = ("-drive", f"if=none,format=qcow2,file={disk}")
    with boot(source, *drive) as old:
        old.wait_ready()
        check(old, source, nginx)
        assert old.monitor.human("savevm now") == ""
    with boot(target, *drive, *how) as new:
        if not how:
            new.wait_ready()
            assert new.monitor.human("loadvm now") == ""
        check(new, target, nginx)
