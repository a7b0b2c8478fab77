# SPDX-License-Identifier: BSD-3-Clause
"""The project built with other compilers and options, for other machines.

The sanitizers are not here: ./test builds with them anyhow.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
SLOW = "20"  # times the time limits, under emulation

CROSS = """
[binaries]
c = '{triplet}-gcc'
ar = '{triplet}-ar'
strip = '{triplet}-strip'
pkgconfig = 'pkg-config'
{wrapper}
[properties]
sys_root = '{root}'
pkg_config_libdir = ['{root}/usr/lib/{libdir}/pkgconfig',
                     '{root}/usr/share/pkgconfig']
[built-in options]
c_args = ['--sysroot={root}']
c_link_args = ['--sysroot={root}'{link}]
[host_machine]
system = 'linux'
cpu_family = '{family}'
cpu = '{cpu}'
endian = '{endian}'
"""


def run(*command, env=None) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          env={**os.environ, "LC_ALL": "C", **(env or {})})
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def build(name: str, *options: str, env=None) -> pathlib.Path:
    """Builds everything from the start; our own files without a warning."""
    directory = CACHE / "matrix" / name
    shutil.rmtree(directory, ignore_errors=True)  # --wipe keeps the options
    run("meson", "setup", directory, ROOT,
        "--buildtype=debugoptimized", *options, env=env)
    log = run("meson", "compile", "-C", directory)
    warnings = re.findall(
        r"^(?:\.\./)*(?:slirp-redirect|tests)/.*warning:.*$", log, re.M)
    assert not warnings, "\n".join(warnings)
    return directory


def meson_test(directory: pathlib.Path, *suites: str, factor="1",
               env=None) -> None:
    chosen = [word for suite in suites for word in ("--suite", suite)]
    log = run("meson", "test", "-C", directory, "--no-rebuild",
              "--print-errorlogs", "--timeout-multiplier", factor, *chosen,
              env=env)
    assert re.search(r"^Ok: +[1-9]", log, re.M), log


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_compiler(compiler):
    """build() looks after what Meson compiles as part of libslirp."""
    build(compiler, "-Dwerror=true", "-Dlibslirp:werror=false",
          env={"CC": compiler})


def test_gcc_unoptimized():
    """Without optimisation other warnings come up."""
    build("gcc-O0", "-Doptimization=0", "-Dwerror=true",
          "-Dlibslirp:werror=false", env={"CC": "gcc"})


def test_redirect_disabled():
    directory = build("disabled", "-Dredirect=disabled")
    library, = directory.glob("subprojects/libslirp-pristine/libslirp.so.0")
    symbols = run("nm", "-D", library)
    assert "slirp_new" in symbols and "redirect" not in symbols


def cross(name: str, **values: str) -> pathlib.Path:
    if os.geteuid() != 0:
        pytest.skip("setting up a Debian of another architecture needs root")
    root = run(ROOT / "tests/lib/root", name).splitlines()[-1]
    file = CACHE / "matrix" / f"{name}.ini"
    file.parent.mkdir(exist_ok=True)
    file.write_text(CROSS.format(root=root, **{
        key: value.replace("ROOT", root) for key, value in values.items()}))
    return build(name, f"--cross-file={file}")


def test_32_bits():
    directory = cross(
        "i386", triplet="i686-linux-gnu", libdir="i386-linux-gnu",
        family="x86", cpu="i686", endian="little",
        # This machine runs them, given a loader and the libraries.
        wrapper="", link=", '-Wl,--dynamic-linker=ROOT/lib/ld-linux.so.2', "
        "'-Wl,--disable-new-dtags', "  # so that they find their own
        "'-Wl,-rpath,ROOT/lib/i386-linux-gnu:ROOT/usr/lib/i386-linux-gnu'")
    meson_test(directory, "unit", "rules", "packet", factor="2")


def test_big_endian():
    directory = cross(
        "s390x", triplet="s390x-linux-gnu", libdir="s390x-linux-gnu",
        family="s390x", cpu="z13", endian="big",
        wrapper="exe_wrapper = ['qemu-s390x', '-L', 'ROOT']", link="")
    meson_test(directory, "unit", "rules", factor=SLOW,
               env={"RULES_COUNT": "2000"})
