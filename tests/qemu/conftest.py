# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the cases about QEMU's own redirect=: builds, bare machines.

Environment: SLIRP_REDIRECT_LIBRARY is the directory of the slirp.pc of the
library to test, SLIRP_REDIRECT_STOCK that of the distribution's.
"""

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import machine  # noqa: E402
import netns  # noqa: E402

BUILD = ROOT / "patches/qemu-build"
RELEASES = ["7.2", "10.0", "10.2"]


def pytest_configure(config):
    if not config.option.collectonly:
        netns.isolate()


def build(kind, release, variable):
    """What qemu-build made before, found again; a new one takes minutes."""
    done = subprocess.run(
        [BUILD, "--slirp", os.environ[variable], kind, release],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.strip())


@pytest.fixture(scope="session")
def patched() -> pathlib.Path:
    """QEMU 10.0 against our library."""
    return build("binary", "10.0", "SLIRP_REDIRECT_LIBRARY")


@pytest.fixture(scope="session")
def unchanged() -> pathlib.Path:
    """The same patched sources, against the distribution's library."""
    return build("binary", "10.0", "SLIRP_REDIRECT_STOCK")


@pytest.fixture(scope="session")
def program(patched) -> str:
    return str(patched / "qemu-system-x86_64")


@pytest.fixture(scope="session")
def library_path() -> dict[str, str]:
    """The environment in which our library is found."""
    here = pathlib.Path(os.environ["SLIRP_REDIRECT_LIBRARY"]).parent
    return {"LD_LIBRARY_PATH": str(here)}


@pytest.fixture
def start(program, library_path):
    """start(*ARGS): a machine without a guest, gone at the end of the case."""
    with contextlib.ExitStack() as stack:
        yield lambda *args: stack.enter_context(
            machine.Machine(program, args, library_path))


@pytest.fixture
def refuse(program, library_path):
    """refuse(*ARGS): QEMU does not start; its message, after its name."""
    return lambda *args: machine.refuse(program, args, library_path)
