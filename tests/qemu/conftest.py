# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the cases about QEMU's own redirect=: builds, bare machines,
and guests.

Environment: SLIRP_REDIRECT_LIBRARY is the directory of the slirp.pc of the
library to test, SLIRP_REDIRECT_STOCK that of the distribution's.
"""

import contextlib
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import machine  # noqa: E402

QEMU_BUILD = ROOT / "patches/qemu-build"
RELEASES = ["7.2", "10.0", "10.2"]


def load_guests():
    """The fixtures of the end-to-end cases, whose file has our name."""
    spec = importlib.util.spec_from_file_location(
        "guests", ROOT / "tests/e2e/conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["guests"] = module
    spec.loader.exec_module(module)
    return module


guests = load_guests()
pytest_configure = guests.pytest_configure
build, dropin, image, launcher = (guests.build, guests.dropin, guests.image,
                                  guests.launcher)
guest, redirected = guests.guest, guests.redirected
peer, web, nginx = guests.peer, guests.web, guests.nginx


def built(kind, release, variable):
    """What qemu-build made before, found again; a new one takes minutes."""
    done = subprocess.run(
        [QEMU_BUILD, "--slirp", os.environ[variable], kind, release],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pathlib.Path(done.stdout.strip())


@pytest.fixture(scope="session")
def patched() -> pathlib.Path:
    """QEMU 10.0 against our library."""
    return built("binary", "10.0", "SLIRP_REDIRECT_LIBRARY")


@pytest.fixture(scope="session")
def unchanged() -> pathlib.Path:
    """The same patched sources, against the distribution's library."""
    return built("binary", "10.0", "SLIRP_REDIRECT_STOCK")


@pytest.fixture(scope="session")
def program(patched) -> str:
    return str(patched / "qemu-system-x86_64")


@pytest.fixture(scope="session")
def qemu(program) -> str:
    """For the guests' fixtures: the one QEMU they run in here."""
    guests.QEMUS["qemu-patched"] = ([program], {})
    return "qemu-patched"


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
