# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the ABI cases: the same library three times.

The distribution's binary package, the pinned release as it is, and ours; the
latter two built alike, with debugging information, and installed.
"""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache"
sys.path.insert(0, str(ROOT / "tests/lib"))


class Library:
    """An installed libslirp below a prefix."""

    def __init__(self, prefix: pathlib.Path):
        found = sorted(prefix.glob("**/libslirp.so.0"))
        assert len(found) == 1, f"no libslirp.so.0 below {prefix}"
        self.file = found[0]
        self.dir = self.file.parent
        self.prefix = prefix

    @property
    def headers(self) -> pathlib.Path:
        return next(self.prefix.glob("**/include/slirp"))

    def pkg_config(self, *args: str) -> str:
        env = dict(os.environ, PKG_CONFIG_PATH=str(self.dir / "pkgconfig"),
                   PKG_CONFIG_SYSROOT_DIR=str(self.prefix))
        return subprocess.check_output(["pkg-config", *args, "slirp"],
                                       env=env, text=True).strip()


def run(*command) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def installed(name: str, *options: str) -> Library:
    build, prefix = CACHE / "abi" / name, CACHE / "abi" / f"{name}-installed"
    if not (build / "build.ninja").exists():
        run("meson", "setup", build, ROOT, "--prefix=/usr",
            "--buildtype=debugoptimized", *options)
    run("meson", "install", "-C", build, "--destdir", prefix)
    return Library(prefix)


@pytest.fixture(scope="session")
def ours() -> Library:
    return installed("ours", "-Dtests=false")


@pytest.fixture(scope="session")
def pristine() -> Library:
    """Installed without headers: upstream leaves them out of a subproject."""
    return installed("pristine", "-Dredirect=disabled")


@pytest.fixture(scope="session")
def pristine_headers(pristine) -> pathlib.Path:
    return ROOT / "subprojects/libslirp-pristine/src"


@pytest.fixture(scope="session")
def distribution() -> Library:
    return Library(CACHE / "libslirp-distribution")


@pytest.fixture
def compile_client(tmp_path):
    """compile_client(SOURCE, LIBRARY, *FLAGS): a program, or the messages of
    the compiler in an AssertionError."""
    def make(source: pathlib.Path, library: Library, *flags: str):
        program = tmp_path / source.stem
        done = subprocess.run(
            ["cc", "-Wall", "-Wextra", "-Werror", "-o", program, source,
             *library.pkg_config("--cflags", "--libs").split(), *flags],
            capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return program
    return make
