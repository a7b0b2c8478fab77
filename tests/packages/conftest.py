# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the package cases: two builds, and a Debian to install into."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache"
sys.path.insert(0, str(ROOT / "tests/e2e"))

import netns  # noqa: E402


def pytest_configure(config):
    if not config.option.collectonly:
        netns.isolate()


def run(*command, **kwargs) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          **kwargs)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-5000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def debs(tmp_path_factory) -> pathlib.Path:
    """The packages, as a maintainer builds them."""
    out = tmp_path_factory.mktemp("debs")
    run(ROOT / "debian/build", out)
    return out


@pytest.fixture(scope="session")
def debs_again(tmp_path_factory) -> pathlib.Path:
    """The same, by somebody with other habits."""
    out = tmp_path_factory.mktemp("again")
    elsewhere = tmp_path_factory.mktemp("a-longer-directory-name")
    run(ROOT / "debian/build", out, umask=0o077, env=dict(
        os.environ, TZ="Pacific/Kiritimati", LC_ALL="C.UTF-8", HOME="/",
        TMPDIR=str(elsewhere), DEB_BUILD_OPTIONS="nocheck parallel=1"))
    return out


class System:
    """A directory with a Debian in it."""

    def __init__(self, directory: pathlib.Path):
        self.dir = directory
        tar = run(ROOT / "tests/lib/root", "system").splitlines()[-1]
        run("tar", "-xf", tar, "-C", directory)

    def run(self, *command: str) -> str:
        """As root in there. Whatever it starts ends with it."""
        return run("unshare", "--mount", "--pid", "--fork", "--kill-child",
                   "chroot", self.dir, "/bin/sh", "-c",
                   'mount -t proc proc /proc && exec "$@"', "sh", *command,
                   env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                        "HOME": "/root", "LC_ALL": "C",
                        "DEBIAN_FRONTEND": "noninteractive"})

    def packages(self) -> set[str]:
        lines = self.run("dpkg-query", "-W", "-f",
                         "${Package} ${db:Status-Status}\n").splitlines()
        return {line.split()[0] for line in lines
                if line.endswith(" installed")}


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> System:
    if os.geteuid() != 0:
        pytest.skip("setting up a Debian needs root")
    return System(tmp_path_factory.mktemp("system"))


@pytest.fixture(scope="session")
def image() -> pathlib.Path:
    path = os.environ.get("SLIRP_REDIRECT_IMAGE")
    return pathlib.Path(path or run(
        ROOT / "tests/e2e/guest/build").splitlines()[-1])
