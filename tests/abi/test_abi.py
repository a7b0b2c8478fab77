# SPDX-License-Identifier: BSD-3-Clause
"""The drop-in is upstream's library plus calls: nothing gone, nothing changed."""

import os
import pathlib
import re
import subprocess

import pytest

import manual

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REDIRECT = {"slirp_add_redirect", "slirp_remove_redirect",
            "slirp_set_redirects", "slirp_redirect_info", "slirp_redirect_id"}
OF_4_9 = {"slirp_pollfds_fill_socket", "slirp_set_debug", "slirp_reset_debug"}
ABI_ERROR, ABI_USAGE, ABI_INCOMPATIBLE = 1, 2, 8


def abidiff(old, new, *options):
    done = subprocess.run(
        ["abidiff", *options, "--suppressions", HERE / "ours.abignore",
         old.file, new.file], capture_output=True, text=True)
    report = done.stdout + done.stderr
    bad = ABI_ERROR | ABI_USAGE | ABI_INCOMPATIBLE
    assert done.returncode & bad == 0, report
    return report


def summary(report, kind):
    """(removed, changed, added) of `Functions changes summary:` and the like,
    without what the suppressions filter out."""
    line = re.search(rf"^{kind} changes summary: (\d+) Removed, "
                     r"(?:(\d+) Changed(?: \(\d+ filtered out\))?, )?"
                     r"(\d+) Added", report, re.M)
    assert line, report
    return tuple(int(number or 0) for number in line.groups())


def symbols(library):
    """name -> version of what the library exports."""
    text = subprocess.check_output(
        ["nm", "-D", "--defined-only", "--with-symbol-versions",
         library.file], text=True)
    names = (line.split()[-1] for line in text.splitlines()
             if line.split()[-2] != "A")
    return dict(re.split("@+", name) for name in names)


def dynamic(library, tag):
    text = subprocess.check_output(["readelf", "-dW", library.file], text=True)
    return re.findall(rf"\({tag}\).*\[(.*)\]", text)


def test_types_of_the_release(pristine, pristine_headers, ours):
    report = abidiff(pristine, ours, "--headers-dir1", pristine_headers,
                     "--headers-dir2", ours.headers)
    assert summary(report, "Functions") == (0, 0, len(REDIRECT | OF_4_9)), \
        report
    assert summary(report, "Variables") == (0, 0, 0), report
    for name in REDIRECT | OF_4_9:
        assert f"{name}(" in report, report


def test_symbols_of_the_distribution(distribution, ours):
    report = abidiff(distribution, ours)
    removed, changed, _ = summary(report, "Function symbols") \
        if "Function symbols" in report else summary(report, "Functions")
    assert (removed, changed) == (0, 0), report


@pytest.mark.parametrize("of", ["distribution", "pristine"])
def test_symbol_versions(of, ours, request):
    theirs, mine = symbols(request.getfixturevalue(of)), symbols(ours)
    assert len(theirs) > 20
    assert {name: mine.get(name) for name in theirs} == theirs
    added = {name: version for name, version in mine.items()
             if name not in theirs}
    assert added == {**dict.fromkeys(REDIRECT, "SLIRP_REDIRECT_1.0"),
                     **dict.fromkeys(OF_4_9, "SLIRP_4.9")}


def test_symbols_of_the_package(ours):
    text = (ROOT / "debian/libslirp0-redirect.symbols").read_text()
    assert dict(re.findall(r"^ (slirp_\w+)@(\S+) ", text, re.M)) == \
        symbols(ours)


def test_name_and_needs(distribution, ours):
    assert dynamic(ours, "SONAME") == dynamic(distribution, "SONAME")
    assert set(dynamic(ours, "NEEDED")) == \
        {"libglib-2.0.so.0", "libc.so.6"}


def run(program, library, *args):
    return subprocess.run(
        [program, *args], capture_output=True, text=True, timeout=60,
        env=dict(os.environ, LD_LIBRARY_PATH=str(library.dir),
                 LD_BIND_NOW=""))


# Which callbacks are told of descriptors.
@pytest.mark.parametrize("version, how, told", [
    (1, "fd", "fd"),
    (3, "fd", "fd"),
    (5, "fd", "fd"),
    (6, "socket", "socket"),
    (6, "fd", "fd"),
    (6, "none", ""),
])
def test_program_of_4_9(compile_client, ours, version, how, told):
    client = compile_client(HERE / "client.c", ours)
    done = run(client, ours, str(version), how)
    assert (done.stdout, done.stderr) == (f"answer=hello told={told}\n", "")


def test_program_of_4_9_is_one(compile_client, ours, distribution):
    """The older library really cannot run it."""
    client = compile_client(HERE / "client.c", ours)
    done = run(client, distribution, "5", "fd")
    assert done.returncode != 0 and "SLIRP_4.9" in done.stderr


def test_unknown_version_is_refused(compile_client, ours):
    done = run(compile_client(HERE / "client.c", ours), ours, "7", "fd")
    assert done.returncode == 1 and "refused" in done.stderr


def test_old_program_runs_with_both(compile_client, ours, distribution):
    """What our headers compile, without newer calls, can go back."""
    client = compile_client(HERE / "client.c", ours, "-DOLD")
    for library in (ours, distribution):
        done = run(client, library, "4", "fd")
        assert done.stdout == "answer=hello told=fd\n", done.stderr


def test_headers_report_the_release(ours):
    assert ours.pkg_config("--modversion") == "4.8.0"
    text = (ours.headers / "libslirp-version.h").read_text()
    assert re.search(r"SLIRP_MINOR_VERSION 8\b", text)


def test_redirect_is_missed_by_the_compiler(pristine_headers, tmp_path):
    done = subprocess.run(
        ["cc", "-fsyntax-only", f"-I{pristine_headers}",
         f"-I{built_headers(tmp_path)}", HERE / "redirect.c"],
        capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs a libslirp with redirects" in done.stderr


def built_headers(tmp_path):
    (tmp_path / "libslirp-version.h").write_text("")
    return tmp_path


def test_redirect_is_missed_by_pkg_config(ours, pristine):
    assert ours.pkg_config("--variable=slirp_redirect") == "1"
    assert not list(pristine.prefix.glob("**/slirp.pc"))


def test_redirect_is_missed_by_the_linker(ours, distribution, tmp_path):
    flags = ours.pkg_config("--cflags").split()
    done = subprocess.run(
        ["cc", *flags, "-o", tmp_path / "redirect", HERE / "redirect.c",
         distribution.file], capture_output=True, text=True)
    assert done.returncode != 0
    assert "slirp_remove_redirect" in done.stderr


def test_redirect_is_missed_by_the_loader(compile_client, ours, distribution):
    """At once, not when the call is made."""
    program = compile_client(HERE / "redirect.c", ours)
    assert run(program, ours).stdout == "4.8.0\n"
    done = run(program, distribution)
    assert done.returncode != 0 and done.stdout == ""
    assert "SLIRP_REDIRECT_1.0" in done.stderr


def test_examples_of_the_manual(compile_client, ours, tmp_path):
    """The examples of slirp_add_redirect(3) are programs."""
    look_up, set_up, table = manual.examples("slirp_add_redirect.3")
    source = tmp_path / "example.c"
    source.write_text(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n" + set_up +
        "int main(int argc, char **argv)\n{\n"
        "    Slirp *slirp = NULL;\n    char *message = NULL;\n"
        "    (void)argv;\n" + look_up +
        "    if (argc > 1) {\n        set_up_redirects(slirp);\n" + table +
        "    }\n    return add == NULL;\n}\n")
    flags = subprocess.check_output(
        ["pkg-config", "--cflags", "--libs", "glib-2.0"], text=True).split()
    program = compile_client(source, ours, f"-I{ours.headers.parent}", *flags)
    assert run(program, ours).returncode == 0
