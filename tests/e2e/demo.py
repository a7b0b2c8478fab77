# SPDX-License-Identifier: BSD-3-Clause
"""Shows a redirect at work: what ./run does once everything is built."""

import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import servers
import vm

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDRESS = "198.51.100.7"  # reserved for documentation; nothing is there
PAGE = """<!doctype html>
<title>slirp-redirect</title>
<p>This page came from a web server on the host's loopback.</p>
"""


def show(title: str, text: str) -> None:
    print(f"\n-- {title}", text.rstrip(), sep="\n", flush=True)


def readable(command: list[str]) -> str:
    """A shell command, an option and its value a line."""
    lines: list[list[str]] = [[]]
    for word in command:
        if word.startswith("-") and len(lines[-1]) > 0:
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(shlex.join(line) for line in lines)


def demonstrate(build: pathlib.Path, scratch: pathlib.Path) -> bool:
    image = pathlib.Path(subprocess.check_output(
        [ROOT / "tests/e2e/guest/build"], text=True).strip())
    nginx = servers.Nginx(servers.find_nginx(ROOT / ".cache"),
                          scratch / "web", PAGE)
    netdev = f"user,id=n0,redirect=tcp:80-127.0.0.1:{nginx.port}"
    launcher = build / "slirp-redirect/cli/slirp-redirect"
    guest = None
    try:
        show("web server", f"nginx listens on 127.0.0.1:{nginx.port}")
        guest = vm.Guest(
            [os.path.relpath(launcher), "run", "qemu-system-x86_64"],
            dict(os.environ), image, scratch, [netdev], "noipv6")
        show("command", readable(guest.command))
        guest.wait_ready()
        page = guest.probe(f"http http://{ADDRESS}/")
        show(f"the guest asks for http://{ADDRESS}/",
             f"HTTP status {page['status']}\n{page['body']}"
             if "body" in page else page.line)
        show("(qemu) info usernet", guest.monitor.human(
            "info usernet").replace("\r", ""))
        good = page.get("body") == PAGE and nginx.hits() == 1
        guest.power_off()
        return good
    finally:
        if guest:
            guest.close()
        nginx.close()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="slirp-redirect-") as scratch:
        try:
            good = demonstrate(pathlib.Path(sys.argv[1]),
                               pathlib.Path(scratch))
        except (vm.GuestError, OSError,
                subprocess.CalledProcessError) as error:
            print(f"run: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    print("\nThe redirect works." if good else
          "\nFAILED: that is not the page of the local web server.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
