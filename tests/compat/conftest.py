# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the compatibility cases: real programs, with either library.

Every case observes what a program does with the distribution's libslirp and
with the drop-in, and the two have to be the same.
"""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache"
sys.path.insert(0, str(ROOT / "tests/e2e"))

import netns  # noqa: E402
import servers  # noqa: E402

NAME_ADDRESS = "192.0.2.80"


def pytest_configure(config):
    if not config.option.collectonly:
        netns.isolate()


@pytest.fixture(scope="session")
def build() -> pathlib.Path:
    return pathlib.Path(os.environ.get("SLIRP_REDIRECT_BUILD",
                                       ROOT / "build")).resolve()


@pytest.fixture(scope="session")
def libraries(build) -> dict[str, pathlib.Path]:
    """The directories of the two; the distribution's is the first."""
    found = {
        "distribution": list((CACHE / "libslirp-distribution").glob(
            "usr/lib/*/libslirp.so.0")),
        "dropin": [path for path in build.glob(
            "subprojects/libslirp-*/libslirp.so.0")
            if "pristine" not in str(path)]}
    for name, paths in found.items():
        assert len(paths) == 1, f"{name}: {paths}"
    return {name: paths[0].parent for name, paths in found.items()}


def environment(library: pathlib.Path) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("SLIRP_", "LD_"))}
    return {**env, "LD_LIBRARY_PATH": str(library)}


@pytest.fixture
def both(libraries, tmp_path):
    """both(OBSERVE): OBSERVE(library, scratch) with each library; what it
    returned, which is the same for both."""
    def compare(observe):
        seen = {}
        for name, library in libraries.items():
            scratch = tmp_path / name
            scratch.mkdir()
            seen[name] = observe(library, scratch)
        assert seen["dropin"] == seen["distribution"]
        return seen["dropin"]
    return compare


def runs_with(pid: int, library: pathlib.Path) -> bool:
    maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
    return f"{library}/libslirp.so" in maps


@pytest.fixture
def peer():
    """peer(class, ...): a server that is gone at the end of the case."""
    with contextlib.ExitStack() as stack:
        def make(kind, *args, **kwargs):
            server = kind(*args, **kwargs)
            stack.callback(server.close)
            return server
        yield make


@pytest.fixture(scope="session")
def resolver():
    """A name server where /etc/resolv.conf says that there is one. Nothing
    but lo is in this namespace, so that its address is free."""
    text = pathlib.Path("/etc/resolv.conf").read_text()
    found = re.findall(r"^nameserver\s+(\d+(?:\.\d+){3})\s*$", text, re.M)
    if not found:
        pytest.skip("/etc/resolv.conf names no IPv4 name server")
    if os.geteuid() != 0:
        pytest.skip("a server on port 53 needs root")
    if not found[0].startswith("127."):
        subprocess.run(["ip", "address", "add", f"{found[0]}/32", "dev",
                        "lo"], check=True)
    server = servers.NameServer(NAME_ADDRESS, found[0], 53)
    yield server
    server.close()
