# SPDX-License-Identifier: BSD-3-Clause
"""The commands of both monitors, and what query-qmp-schema says of them."""

import os
import pathlib
import subprocess

import machine as machines
import pytest

NETDEVS = ("-netdev", "user,id=n0,redirect=tcp:80-127.0.0.1:8080+name=web",
           "-netdev", "user,id=n1")


def test_human_commands(start):
    machine = start(*NETDEVS)
    assert machine.human("redirect_add tcp:81-drop") == "redirect 2 added\n"
    assert machine.human("redirect_add n1 tcp:82-drop") == "redirect 1 added\n"
    assert machine.rules() == [
        ("1", "tcp:80-127.0.0.1:8080+name=web"), ("2", "tcp:81-drop"),
        ("1", "tcp:82-drop")]
    assert machine.human("redirect_remove web") == "redirect web removed\n"
    assert machine.human("redirect_remove web") == "redirect web not found\n"
    assert machine.human("redirect_remove n1 1") == "redirect 1 removed\n"
    assert machine.human("redirect_remove n0 1") == "redirect 1 not found\n"
    assert machine.human("redirect_remove -1") == "redirect -1 not found\n"
    assert machine.rules() == [("2", "tcp:81-drop")]


def test_human_errors(start):
    machine = start(*NETDEVS)
    answer = machine.human("redirect_add tcp:80-8080")
    assert answer.startswith("redirect=: ambiguous")
    assert answer.endswith("    tcp:80-8080\n        ^~~~~~~\n")
    assert machine.human("redirect_add n9 tcp:80-drop") == \
        "unrecognized netdev id 'n9'\n"
    assert start().human("redirect_add tcp:80-drop") == \
        "user mode network stack not in use\n"
    assert len(machine.rules()) == 1


def test_qmp_commands(start):
    machine = start(*NETDEVS)
    added = machine.call("x-redirect-add", netdev="n0", rule="tcp:81-drop")
    assert added == {"id": 2}
    text = machine.call("x-query-redirects", netdev="n0")
    assert text["human-readable-text"] in machine.human("info usernet")
    assert "tcp:81-drop" in text["human-readable-text"]
    machine.call("x-redirect-remove", netdev="n0", id=2)
    machine.call("x-redirect-remove", netdev="n0", name="web")
    text = machine.call("x-query-redirects", netdev="n0")
    assert text == {"human-readable-text": ""}


@pytest.mark.parametrize("arguments, message", [
    ({"netdev": "n0"}, "Exactly one of 'id' and 'name' is needed"),
    ({"netdev": "n0", "id": 1, "name": "web"}, "Exactly one"),
    ({"netdev": "n0", "id": 2}, "No such redirect"),
    ({"netdev": "n0", "id": 0}, "No such redirect"),
    ({"netdev": "n0", "id": 2 ** 32 + 1}, "No such redirect"),
    ({"netdev": "n0", "name": "mail"}, "No such redirect"),
    ({"netdev": "n9", "id": 1},
     "No user mode network stack with netdev id 'n9'"),
])
def test_qmp_remove_errors(start, arguments, message):
    machine = start(*NETDEVS)
    with pytest.raises(Exception, match=message):
        machine.call("x-redirect-remove", **arguments)
    assert len(machine.rules()) == 1


def test_broken_environment_stays_closed(program, library_path):
    """A rule from the monitor does not open what failed closed."""
    env = dict(library_path, SLIRP_REDIRECT="tcp:80")
    with machines.Machine(program, ["-netdev", "user,id=n0"], env) as machine:
        answer = machine.human("redirect_add tcp:80-:8080")
        assert "everything is rejected" in answer
        assert "not permitted" in machine.human("redirect_remove 1")
        assert "broken" in machine.human("info usernet")
    message = machines.refuse(program, ["-netdev", "user,id=n0,"
                                        "redirect=tcp:80-:8080"], env)
    assert "everything is rejected" in message


class Schema:
    def __init__(self, machine):
        self.entries = {entry["name"]: entry
                        for entry in machine.call("query-qmp-schema")}

    def names(self):
        """Of all commands and events."""
        return {name for name, entry in self.entries.items()
                if entry["meta-type"] in ("command", "event")}

    def user_members(self):
        """What -netdev user and netdev_add take."""
        argument = self.entries[self.entries["netdev_add"]["arg-type"]]
        user, = (variant["type"] for variant in argument["variants"]
                 if variant["case"] == "user")
        return [member["name"] for member in self.entries[user]["members"]]


@pytest.fixture
def stock(unchanged) -> str:
    return str(unchanged / "qemu-system-x86_64")


def options_of(program, env):
    return subprocess.run([program, "-help"], env=machines.environment(env),
                          capture_output=True, text=True, check=True).stdout


def test_schema(start, stock):
    """With a library that has redirects, what is there more; else nothing."""
    commands = {"x-redirect-add", "x-redirect-remove", "x-query-redirects"}
    ours = Schema(start())
    with machines.Machine(stock, [], {}) as machine:
        theirs = Schema(machine)
    assert ours.names() - theirs.names() == commands
    assert theirs.names() - ours.names() == set()
    for command in commands:
        assert "unstable" in ours.entries[command]["features"]
    members = ours.user_members()
    assert members.count("redirect") == 1
    members.remove("redirect")
    assert theirs.user_members() == members


def test_help(start, program, library_path, stock):
    commands = start().human("help").splitlines()
    added = [line for line in commands if line.startswith("redirect_")]
    assert [line.split(" -- ")[0] for line in added] == [
        "redirect_add [netdev_id] rule", "redirect_remove [netdev_id] id|name"]
    with machines.Machine(stock, [], {}) as machine:
        assert machine.human("help").splitlines() == \
            [line for line in commands if line not in added]
    options = options_of(program, library_path)
    assert options.count("[,guestfwd=rule][,redirect=rule]") == 1
    assert options_of(stock, {}) == options.replace("[,redirect=rule]", "")


def test_stock_library_means_unchanged_qemu(stock):
    options = "user,id=n0,redirect=tcp:80-:8080"
    assert machines.refuse(stock, ["-netdev", options], {}) == \
        f"-netdev {options}: Invalid parameter 'redirect'\n"
    with machines.Machine(stock, ["-netdev", "user,id=n0"], {}) as machine:
        assert "unknown command" in machine.human("redirect_add tcp:80-drop")


def test_qemu_asks_for_the_library(program):
    """Without the calls that it needs, the loader does not even start it."""
    here = pathlib.Path(os.environ["SLIRP_REDIRECT_STOCK"]).parent
    env = machines.environment({"LD_LIBRARY_PATH": str(here)})
    done = subprocess.run([program, "-version"], env=env, text=True,
                          capture_output=True, check=False)
    assert done.returncode != 0 and done.stdout == ""
    assert "version `SLIRP_REDIRECT_1.0' not found" in done.stderr
