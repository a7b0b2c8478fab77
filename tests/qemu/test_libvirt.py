# SPDX-License-Identifier: BSD-3-Clause
"""The libvirt examples of docs/qemu.md are what libvirt and QEMU take."""

import re
import subprocess
import xml.etree.ElementTree as ElementTree

import machine as machines
import pytest

from conftest import ROOT

SCHEMA = ROOT / ".cache/libvirt/usr/share/libvirt/schemas/domain.rng"
EXAMPLES = re.findall(r"^```xml\n(.*?)^```$",
                      (ROOT / "docs/qemu.md").read_text(), re.M | re.S)
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def validate(text):
    return subprocess.run(["xmllint", "--noout", "--relaxng", SCHEMA, "-"],
                          input=text, capture_output=True, text=True,
                          check=False)


def values(kind, key="value"):
    return [element.get(key) for text in EXAMPLES for element in
            ElementTree.fromstring(text).iter(f"{QEMU}{kind}")]


def test_number():
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("text", EXAMPLES, ids=["option", "environment"])
def test_schema(text):
    done = validate(text)
    assert done.returncode == 0, done.stderr
    wrong = validate(text.replace("qemu:arg", "qemu:argument")
                     .replace("qemu:env", "qemu:environment"))
    assert wrong.returncode != 0


RULES = [("1", "tcp:80-127.0.0.1:8080"), ("2", "udp:53-127.0.0.1:5353")]


def test_option(start):
    """The card, too, on the machine of the example."""
    machine = start("-M", "pc", "-S", *values("arg"))
    assert machine.rules() == RULES
    assert "macaddr=52:54:00:12:34:56" in machine.human("info network")


def test_environment(program, library_path):
    """The netdev is in the form that libvirt has for <interface>."""
    env = dict(library_path, **dict(zip(values("env", "name"), values("env"))))
    netdev = '{"type":"user","id":"hostnet0"}'
    with machines.Machine(program, ["-netdev", netdev], env) as machine:
        assert machine.rules() == RULES
