# SPDX-License-Identifier: BSD-3-Clause
"""The patches themselves: they apply, each builds, and QEMU's own checks."""

import os
import pathlib
import re
import subprocess

import pytest

from conftest import RELEASES, ROOT, built

PATCHES = ROOT / "patches/qemu"
SERIES = [PATCHES / name
          for name in (PATCHES / "series").read_text().split()]
DEBIAN = ROOT / ".cache/qemu/debian"


def orig(release) -> pathlib.Path:
    tarballs = list((DEBIAN / release).glob("*.orig.tar.xz"))
    if not tarballs and release == "10.2":
        pytest.skip("Debian's archive has no QEMU 10.2 any more")
    assert tarballs, f"./test qemu fetches QEMU {release}"
    return max(tarballs, key=os.path.getmtime)


def touched():
    names = set()
    for patch in SERIES:
        names |= set(re.findall(r"^diff --git a/(\S+)", patch.read_text(),
                                re.M))
    return names


@pytest.fixture(scope="module", params=RELEASES)
def files(request, tmp_path_factory):
    """The files of a release that the series touches, and checkpatch."""
    tree = tmp_path_factory.mktemp("files")
    wanted = touched() - {"tests/qtest/netdev-user-redirect-test.c"}
    wanted |= {"scripts/checkpatch.pl", "scripts/spelling.txt"}
    subprocess.run(["tar", "-xf", orig(request.param), "-C", tree,
                    "--strip-components=1", "--no-same-owner", "--wildcards",
                    *(f"*/{name}" for name in sorted(wanted))],
                   stderr=subprocess.DEVNULL, check=False)
    for name in wanted - {"scripts/spelling.txt"}:
        assert (tree / name).is_file(), name
    return tree


def test_checkpatch(files):
    for patch in SERIES:
        done = subprocess.run(
            ["perl", "scripts/checkpatch.pl", "--no-tree", patch], cwd=files,
            capture_output=True, text=True, check=False)
        assert re.search(r"^total: 0 errors, 0 warnings, \d+ lines checked$",
                         done.stdout, re.M), done.stdout + done.stderr


def test_applies_without_fuzz(files):
    for patch in SERIES:
        done = subprocess.run(["patch", "-p1", "-F0", "-i", patch], cwd=files,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "fuzz" not in done.stdout


@pytest.mark.parametrize("library, offers", [
    ("SLIRP_REDIRECT_LIBRARY", True), ("SLIRP_REDIRECT_STOCK", False)],
    ids=["library", "stock"])
@pytest.mark.parametrize("release", RELEASES)
def test_each_patch_builds(release, library, offers):
    """On top of Debian's series; net/slirp.c, QAPI, options, monitors. QEMU
    lets no warning pass."""
    orig(release)
    kind = "binary" if release == "10.0" else "compile"
    log = built(kind, release, library) / "log"
    text = log.read_text()
    found = [text.index(f"{patch.name}\n") for patch in SERIES]
    assert found == sorted(found)
    answer = "YES" if offers else "NO"
    assert ('function "slirp_redirect_id" with dependency slirp: '
            f"{answer}" in text)
    assert "--enable-werror" in text
    for name in ("net_slirp.c.o", "qapi-visit-net.c.o",
                 "qapi-commands-net.c.o", "test-hmp.c.o"):
        assert name in text
    # A build without the redirects does not make their test.
    assert offers == ("netdev-user-redirect-test.c.o" in text)


@pytest.mark.parametrize("patch", SERIES, ids=lambda patch: patch.name[:4])
def test_header(patch):
    head = patch.read_text().split("\n---\n")[0]
    subject = re.search(r"^Subject: \[PATCH\] (.*)$", head, re.M).group(1)
    assert re.match(r"(net/slirp|tests/qtest): [a-z]", subject)
    assert len(subject) <= 72
    assert re.search(r"^Forwarded: \S+", head, re.M)
    assert re.search(r"^Signed-off-by: .+ <.+@.+>$", head, re.M)


@pytest.mark.parametrize("name, machine", [
    ("netdev-user-redirect-test", ""), ("test-hmp", "/x86_64/hmp/none"),
    ("qmp-cmd-test", "")])
def test_qtest(patched, library_path, tmp_path, name, machine):
    """QEMU's own tests: the one of the series, and two it has an effect on."""
    command = [patched / "qtest" / name, "-k", "--tap"]
    if machine:
        command += ["-p", machine]
    env = dict(os.environ, TMPDIR=str(tmp_path), **library_path,
               QTEST_QEMU_BINARY=str(patched / "qemu-system-x86_64"))
    done = subprocess.run(command, env=env, capture_output=True, text=True,
                          cwd=tmp_path, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^ok \d+ ", done.stdout, re.M)
    assert "not ok" not in done.stdout
