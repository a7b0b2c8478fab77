# SPDX-License-Identifier: BSD-3-Clause
"""Runs the built command, with small libraries and clients built for it."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
BUILD = pathlib.Path(os.environ["MESON_BUILD_ROOT"])
COMMAND = BUILD / "slirp-redirect" / "cli" / "slirp-redirect"
VARIABLES = ("SLIRP_REDIRECT", "SLIRP_REDIRECT_FILE", "SLIRP_REDIRECT_LIBDIR",
             "LD_LIBRARY_PATH")
sys.path.insert(0, str(HERE.parent / "lib"))


def compile_c(out, source, *options):
    out.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-o", out, HERE / source, *options], check=True)
    return out


def library(directory, *options):
    return compile_c(directory / "libslirp.so.0", "libslirp.c", "-shared",
                     "-fPIC", "-Wl,-soname,libslirp.so.0",
                     f"-Wl,--version-script={HERE / 'libslirp.map'}", *options)


class Lab:
    """Directories ours/ and stock/ of libraries, bin/ of clients."""

    def __init__(self, root):
        self.root = root
        self.bin = root / "bin"
        self.ours = library(root / "ours", "-DOURS")
        self.stock = library(root / "stock")
        self.client = self.build("client")
        self.qemu = self.build("qemu-system-fake")
        self.patched = self.build("qemu-system-patched", "-DPATCHED",
                                  lib=self.ours)

    def build(self, name, *options, lib=None):
        """A client that finds the stock library by itself, by its run path."""
        return compile_c(self.bin / name, "client.c", *options,
                         lib or self.stock, "-Wl,--enable-new-dtags",
                         f"-Wl,-rpath,{self.stock.parent}")

    def run(self, *words, env=None, stdin="", libdir=True, cwd=None):
        return self.execute([COMMAND, *map(str, words)], stdin, cwd,
                            {"SLIRP_REDIRECT_LIBDIR": str(self.ours.parent)}
                            if libdir else {}, env or {})

    def shell(self, script):
        """As a user types it, with these clients and the command in PATH."""
        path = f"{self.bin}:{COMMAND.parent}:{os.environ['PATH']}"
        return self.execute(["sh", "-c", script], "", None, {
            "SLIRP_REDIRECT_LIBDIR": str(self.ours.parent), "PATH": path})

    @staticmethod
    def execute(command, stdin, cwd, *env):
        full = {k: v for k, v in os.environ.items() if k not in VARIABLES}
        for variables in env:
            full.update(variables)
        return subprocess.run(command, env=full, input=stdin, cwd=cwd,
                              capture_output=True, text=True, timeout=60,
                              check=False)

    def dry(self, program, *words, env=None, options=()):
        """The words after PROGRAM that a dry run prints, unquoted."""
        done = self.run("run", "--dry-run", *options, program, *words, env=env)
        assert done.returncode == 0, done.stderr
        out = shlex.split(done.stdout)
        return out[out.index(str(program)) + 1:]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="session")
def built_library():
    """The library of this build, if its redirects are in already."""
    found = list((BUILD / "subprojects").glob("libslirp-*/libslirp.so.0"))
    assert found
    symbols = subprocess.run(["nm", "-D", found[0]], capture_output=True,
                             text=True, check=True).stdout
    if " slirp_add_redirect" not in symbols:
        pytest.skip("the library of this build has no slirp_add_redirect()")
    if "__asan_init" in symbols:
        pytest.skip("an instrumented library can not be loaded by any program")
    return found[0]
