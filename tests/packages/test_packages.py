# SPDX-License-Identifier: BSD-3-Clause
"""The packages: how they are made, and what they do to a system."""

import filecmp
import re
import shutil
import subprocess

import pytest

import servers
import vm
from conftest import CACHE, ROOT

SYMBOLS = ROOT / "debian/libslirp0-redirect.symbols"
LIBRARY = "usr/lib/x86_64-linux-gnu/libslirp.so.0"
PACKAGES = {"libslirp0-redirect", "libslirp-redirect-dev", "slirp-redirect"}
TO_INSTALL = {"libslirp0-redirect", "slirp-redirect"}


def names(directory, *ends):
    return {path.name for path in directory.iterdir()
            if path.name.endswith(ends)}


def test_what_is_built(debs):
    built = {name.split("_")[0] for name in names(debs, ".deb")}
    assert built == PACKAGES | {f"{name}-dbgsym" for name in TO_INSTALL}
    assert len(names(debs, ".dsc", ".orig.tar.xz", ".debian.tar.xz")) == 3


def test_reproducible(debs, debs_again):
    wanted = names(debs, ".deb", ".dsc", ".tar.xz")
    _, other, missing = filecmp.cmpfiles(debs, debs_again, wanted,
                                         shallow=False)
    assert (other, missing) == ([], [])


def test_lintian(debs):
    changes, = debs.glob("*.changes")
    done = subprocess.run(
        ["lintian", "--fail-on", "error,warning", "--no-tag-display-limit",
         "--allow-root", changes], capture_output=True, text=True)
    assert done.returncode == 0 and not re.search(
        "^[EW]:", done.stdout, re.M), done.stdout + done.stderr


def contents(package):
    text = subprocess.check_output(["dpkg-deb", "-c", package], text=True)
    return {line.split()[5].lstrip(".") for line in text.splitlines()
            if not line.startswith("d")}


def test_command_package(debs):
    package, = debs.glob("slirp-redirect_*_*.deb")
    assert contents(package) >= {
        "/usr/bin/slirp-redirect",
        "/usr/share/man/man1/slirp-redirect.1.gz",
        "/usr/share/man/man7/slirp-redirect-control.7.gz",
        "/usr/share/man/man7/slirp-redirect-rules.7.gz",
        "/usr/share/bash-completion/completions/slirp-redirect"}


def test_development_files(debs):
    """Each call of ours has a manual page."""
    package, = debs.glob("libslirp-redirect-dev_*_*.deb")
    calls = re.findall(r"^ (slirp_\w+)@SLIRP_REDIRECT_", SYMBOLS.read_text(),
                       re.M)
    assert len(calls) >= 5
    assert contents(package) >= {
        f"/usr/share/man/man3/{call}.3.gz" for call in calls}


def put(system, debs, *packages):
    """The .deb files inside; their names there."""
    inside = []
    for package in sorted(packages):
        deb, = debs.glob(f"{package}_*_*.deb")
        shutil.copy(deb, system.dir / "root")
        inside.append(f"/root/{deb.name}")
    return inside


def version(system):
    text = system.run("slirp4netns", "--version")
    return re.search(r"^libslirp: (\S+)", text, re.M)[1]


@pytest.fixture(scope="module")
def before(system):
    """(packages, verification, libslirp's version) of the untouched system."""
    return system.packages(), system.run("dpkg", "--verify"), version(system)


@pytest.fixture(scope="module")
def exchanged(system, debs, before):
    """The system with our packages; what apt said."""
    return system.run("apt-get", "install", "-y", "--no-install-recommends",
                      *put(system, debs, *TO_INSTALL))


def test_install_changes_nothing_else(system, before, exchanged):
    packages, verification, _ = before
    now = system.packages()
    assert packages - now == {"libslirp0"}, exchanged
    assert now - packages == TO_INSTALL | {
        "libjson-glib-1.0-0", "libjson-glib-1.0-common"}, exchanged
    assert system.run("dpkg", "--verify") == verification
    assert system.run("dpkg", "--audit") == ""
    system.run("apt-get", "check")
    plan = system.run("apt-get", "-s", "dist-upgrade")
    assert not re.search(r"^(Remv|Inst) .*libslirp", plan, re.M), plan


def test_installed_library_is_in_use(system, before, exchanged):
    assert before[2] == "4.7.0"
    assert version(system) == "4.8.0"
    text = system.run("slirp-redirect", "explain", "--redirect",
                      "tcp:80-:8080", "tcp", "192.0.2.1:80")
    assert "127.0.0.1:8080" in text


class Boot(vm.Guest):
    """A guest of the system's own QEMU. It sees the same paths as we do, with
    nothing at their ends but the image and an empty directory."""

    def __init__(self, system, image, scratch, env):
        for directory in (image, scratch):
            (system.dir / directory.relative_to("/")).mkdir(
                parents=True, exist_ok=True)
        for file in image.iterdir():
            shutil.copy(file, system.dir / file.relative_to("/"))
        super().__init__(
            ["chroot", str(system.dir), "qemu-system-x86_64"],
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env}, image, scratch,
            ["user,id=n0"], "noipv6")


def boot(system, image, scratch, port, *, redirected):
    scratch.mkdir()
    guest = Boot(system, image, scratch,
                 {"SLIRP_REDIRECT": f"tcp:80-127.0.0.1:{port}"})
    try:
        guest.wait_ready()
        library = (system.dir / LIBRARY).resolve()
        assert guest.library() == str(library)
        page = guest.probe("http http://198.51.100.7/")
        if redirected:
            assert page.get("body") == "installed\n", page
            assert "tcp:80" in guest.monitor.human("info usernet")
        else:
            assert str(page) == "unreachable", page
        assert guest.power_off() == 0
    finally:
        guest.close()


@pytest.fixture
def nginx(tmp_path):
    server = servers.Nginx(
        servers.find_nginx(CACHE), tmp_path / "web", "installed\n")
    yield server
    server.close()


def test_guest_with_the_installed_library(system, exchanged, image, nginx,
                                          tmp_path):
    """No launcher, no library path: SLIRP_REDIRECT alone."""
    boot(system, image, tmp_path / "guest", nginx.port, redirected=True)


def test_development_package(system, debs, exchanged):
    now = system.packages()
    system.run("apt-get", "install", "-y", *put(
        system, debs, "libslirp-redirect-dev"))
    assert system.packages() - now == {"libslirp-redirect-dev"}
    linked = system.dir / "usr/share/man/man3/slirp_set_redirects.3.gz"
    assert linked.readlink().name == "slirp_add_redirect.3.gz"
    system.run("apt-get", "purge", "-y", "libslirp-redirect-dev")
    assert system.packages() == now


def test_way_back(system, before, exchanged, image, nginx, tmp_path):
    packages, verification, number = before
    system.run("apt-get", "install", "-y", "libslirp0")
    now = system.packages()
    assert packages - now == set()
    assert now - packages <= {"libjson-glib-1.0-0", "libjson-glib-1.0-common"}
    assert system.run("dpkg", "--verify") == verification
    assert version(system) == number
    boot(system, image, tmp_path / "guest", nginx.port, redirected=False)
