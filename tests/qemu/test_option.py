# SPDX-License-Identifier: BSD-3-Clause
"""redirect= in the forms that QEMU's options have, and its errors."""

import json

import pytest

RULES = ["udp:53-127.0.0.1:5353", "tcp:80-127.0.0.1:8080", "any:*-reject"]
OPTIONS = ",".join(f"redirect={rule}" for rule in RULES)
BAD = "tcp:80-8080"
MESSAGE = ("redirect=: ambiguous: host loopback port 8080 is `-:8080`, "
           "a range is `80..8080-TARGET`\n")
MARK = "    tcp:80-8080\n        ^~~~~~~\n"


def as_json(rules):
    return json.dumps({"type": "user", "id": "n0",
                       "redirect": [{"str": rule} for rule in rules]})


@pytest.mark.parametrize("args", [
    ("-netdev", f"user,id=n0,{OPTIONS}"),
    ("-nic", f"user,id=n0,{OPTIONS}"),
    ("-net", f"user,id=n0,{OPTIONS}"),
    ("-netdev", as_json(RULES)),
], ids=["netdev", "nic", "net", "json"])
def test_order(start, args):
    found = start(*args).rules()
    assert found == [(str(number), rule)
                     for number, rule in enumerate(RULES, 1)]


def test_each_netdev_has_its_own(start):
    machine = start("-netdev", f"user,id=n0,redirect={RULES[0]}",
                    "-netdev", f"user,id=n1,redirect={RULES[1]}")
    assert machine.rules() == [("1", RULES[0]), ("1", RULES[1])]
    text = machine.call("x-query-redirects", netdev="n1")
    assert RULES[1] in text["human-readable-text"]
    assert RULES[0] not in text["human-readable-text"]


def test_commas(start, refuse):
    machine = start("-netdev", "user,id=n0,redirect=tcp:80-unix:/a%2Cb")
    assert machine.rules() == [("1", "tcp:80-unix:/a%2Cb")]
    # One ends the value, two are one in it, which no rule has.
    assert "Invalid parameter 'b'" in refuse(
        "-netdev", "user,id=n0,redirect=tcp:80-unix:/a,b")
    assert "`%2C` in a path" in refuse(
        "-netdev", "user,id=n0,redirect=tcp:80-unix:/a,,b")


@pytest.mark.parametrize("length", [1023, 1024, 4096])
def test_long_rule(start, length):
    rule = "tcp:80-127.0.0.1:8080+timeout=5"
    zeros = "0" * (length - len(rule))
    machine = start("-netdev", "user,id=n0,redirect="
                    f"tcp:{zeros}80-127.0.0.1:8080+timeout=5")
    assert machine.rules() == [("1", rule)]


def test_too_long_a_rule(refuse):
    """The library sees it whole, and has a limit of its own."""
    assert "this one has 20000" in refuse(
        "-netdev", f"user,id=n0,redirect=tcp:80-unix:/{'a' * 19987}")


@pytest.mark.parametrize("option", ["-netdev", "-nic", "-net"])
def test_wrong_rule(refuse, option):
    value = f"user,id=n0,redirect={RULES[0]},redirect={BAD}"
    assert refuse(option, value) == f"{option} {value}: {MESSAGE}{MARK}"


def test_wrong_rule_in_json(refuse):
    assert refuse("-netdev", as_json([BAD])).endswith(MESSAGE + MARK)


def test_two_rules_of_one_name(refuse):
    message = refuse("-netdev", "user,id=n0,redirect=tcp:80-:1+name=a,"
                     "redirect=tcp:81-:2+name=a")
    assert "`a`" in message


def test_hotplug(start):
    machine = start()
    with pytest.raises(Exception, match="ambiguous") as caught:
        machine.call("netdev_add", type="user", id="n0",
                     redirect=[{"str": RULES[0]}, {"str": BAD}])
    assert "\n" not in str(caught.value)
    # Nothing is left of it.
    machine.call("netdev_add", type="user", id="n0",
                 redirect=[{"str": rule} for rule in RULES])
    assert [rule for _, rule in machine.rules()] == RULES
    machine.call("netdev_del", id="n0")
    assert machine.human("info usernet") == ""
