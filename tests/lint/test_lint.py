# SPDX-License-Identifier: BSD-3-Clause
"""Static analysis of the project's own files."""

import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("SLIRP_REDIRECT_BUILD",
                                    ROOT / "build")).resolve()
PAGES = sorted((ROOT / "docs").glob("*.[1-9]"))
# Files of these kinds have no place for a comment, or a form of their own.
WITHOUT_LICENCE = re.compile(
    r"\.(md|patch|in|ok|conf|wrap|map|supp|ignore|abignore|json|txt|build)$|"
    r"^debian/|(^|/)(\.[^/]+|LICENSE|series|packagefiles/.*|corpus/.*)$")


def tracked(*patterns: str) -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the repository")
    text = subprocess.check_output(["git", "ls-files", "-z", *patterns],
                                   cwd=ROOT, text=True)
    return [name for name in text.split("\0") if (ROOT / name).is_file()]


def clean(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-8000:]


def first_line(name: str) -> str:
    return (ROOT / name).read_bytes().split(b"\n", 1)[0].decode(
        errors="replace")


def test_format():
    clean("clang-format-14", "--dry-run", "-Werror",
          *tracked("*.c", "*.h"))


def scripts(interpreter: str, *ends: str) -> list[str]:
    found = [name for name in tracked() if name.endswith(ends)
             or re.match(rf"#!.*\b{interpreter}$", first_line(name))]
    assert len(found) > 5
    return found


def test_shell_scripts():
    clean("shellcheck", "-x", *scripts("(ba|da)?sh", ".sh", ".bash"))


def test_python_scripts():
    clean("pyflakes3", *scripts("python3", ".py"))


def test_spelling():
    """debian/ and the patches have checkers of their own."""
    clean("codespell", f"--ignore-words={HERE / 'codespell.ignore'}",
          *(name for name in tracked() if not name.endswith(".patch")))


def test_licences():
    missing = [
        name for name in tracked() if not WITHOUT_LICENCE.search(name)
        and "SPDX-License-Identifier: BSD-3-Clause" not in "".join(
            (ROOT / name).read_text(errors="replace").splitlines()[:8])]
    assert not missing


def test_cppcheck():
    clean("cppcheck", "--quiet", "--error-exitcode=1", "--std=c11",
          "--enable=warning,performance,portability", "--inline-suppr",
          "--max-configs=1", "--library=gtk", "-j2", "-I.", "-Islirp-redirect",
          "-Itests/packet",
          f"--suppressions-list={HERE / 'cppcheck.supp'}",
          "slirp-redirect", "tests")


def tidy(name: str) -> str:
    done = subprocess.run(
        ["clang-tidy-14", "-p", BUILD, "--quiet", name], cwd=ROOT, text=True,
        capture_output=True)
    return done.stdout or done.stderr if done.returncode else ""


def test_clang_tidy():
    """What is part of the library and the command."""
    names = tracked("slirp-redirect/*.c")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = "".join(pool.map(tidy, names))
    assert not found, found[-8000:]


def test_faults():
    """The table of docs/security.md has each regression test, and no other."""
    section = (ROOT / "docs/security.md").read_text().split(
        "\n## Faults")[1].split("\n## ")[0]
    told = {f"{name}/" for row in section.splitlines()[2:]
            if row.startswith("| ")
            for name in re.findall(r"`([\w-]+(?:/[\w-]+)*)`", row.split("|")[3])}
    found = {f"{name}/"
             for source in (ROOT / "tests/packet").glob("test-fixes-*.c")
             for name in re.findall(r'"/fixes/([\w/-]+?)(?:/%s|/)?"',
                                    source.read_text())}
    assert not [test for test in found if not test.startswith(tuple(told))]
    assert not [name for name in told
                if not any(test.startswith(name) for test in found)]


def test_assertions():
    """docs/security.md counts what could end the application, file by file."""
    ends = re.compile(r"^(?!.*#\s*define).*?"
                      r"(?<![\w\"])(g_assert\w*|assert|abort|g_error)\(", re.M)
    found = collections.Counter()
    for source in [*ROOT.glob("subprojects/libslirp-v*/src/*.[ch]"),
                   *ROOT.glob("slirp-redirect/*/*.[ch]")]:
        if source.parent.name != "cli":
            found[source.name] += len(ends.findall(source.read_text()))
    section = (ROOT / "docs/security.md").read_text().split(
        "\n## Assertions")[1].split("\n## ")[0]
    told = collections.Counter()
    for name, count in re.findall(r"`([\w.-]+)` \((\d+)\)", section):
        told[name] += int(count)
    assert +found == told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_manual(page):
    clean("mandoc", "-Tlint", "-W", "warning", str(page))
    shown = subprocess.run(["man", "--warnings", "-l", page],
                           capture_output=True, text=True,
                           env={**os.environ, "MANWIDTH": "80",
                                "LC_ALL": "C.UTF-8", "PAGER": "cat"})
    assert (shown.returncode, shown.stderr) == (0, "")


def references(text: str) -> set[str]:
    return {f"{name}.{section}" for name, section in re.findall(
        r"^\.Xr (\S+) (\d)", text, re.M)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_manual_among_the_others(page):
    """It is installed, leads to all the others, and to none that is not."""
    ours = {other.name for other in PAGES}
    text = page.read_text()
    see_also = re.search(r"^\.Sh SEE ALSO\n(.*?)(?=^\.Sh|\Z)", text,
                         re.M | re.S)[1]
    assert ours - {page.name} <= references(see_also)
    assert {name for name in references(text)
            if name.startswith("slirp") and name != "slirp4netns.1"} <= ours
    assert f"'{page.name}'" in (ROOT / "docs/meson.build").read_text()
