# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the end-to-end cases: two QEMUs, guests, servers, isolation.

Environment: SLIRP_REDIRECT_BUILD is the Meson build directory to test;
SLIRP_REDIRECT_IMAGE the guest's image (else guest/build is asked for it).
"""

import contextlib
import os
import pathlib
import signal
import subprocess

import pytest

import netns
import servers
import vm

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache"
PAGE = "this page is served on the host's loopback\n"
FIRMWARE = ["-L", "/usr/share/seabios", "-L", "/usr/share/qemu",
            "-L", "/usr/lib/ipxe/qemu"]
QEMUS = {
    "qemu-distribution": (["qemu-system-x86_64"], {}),
    "qemu-newer": ([str(CACHE / "qemu-newer/usr/bin/qemu-system-x86_64"),
                    *FIRMWARE], {"QEMU_MODULE_DIR": "/nonexistent"}),
}


def interrupted(_signal, _frame):
    raise KeyboardInterrupt


def pytest_configure(config):
    # Asked to end, or left alone, the fixtures still tidy up.
    signal.signal(signal.SIGTERM, interrupted)
    vm.die_with_parent(signal.SIGTERM)
    if not config.option.collectonly:
        netns.isolate()


@pytest.fixture(scope="session")
def build() -> pathlib.Path:
    path = pathlib.Path(os.environ.get("SLIRP_REDIRECT_BUILD",
                                       ROOT / "build")).resolve()
    assert path.is_dir(), f"no build directory {path}: run ./test e2e"
    return path


@pytest.fixture(scope="session")
def dropin(build) -> pathlib.Path:
    """The directory of the drop-in library."""
    found = [path.parent for path in
             build.glob("subprojects/libslirp-*/libslirp.so.0")
             if "pristine" not in str(path)]
    assert len(found) == 1, f"no libslirp.so.0 in {build}"
    return found[0]


@pytest.fixture(scope="session")
def launcher(build) -> str:
    path = build / "slirp-redirect/cli/slirp-redirect"
    assert path.is_file(), f"{path} has not been built"
    return str(path)


@pytest.fixture(scope="session")
def image() -> pathlib.Path:
    path = os.environ.get("SLIRP_REDIRECT_IMAGE")
    return pathlib.Path(path or subprocess.check_output(
        [HERE / "guest/build"], text=True).strip())


def command_of(name) -> tuple[list[str], dict[str, str]]:
    """Command and environment of one of the QEMUs, without our library."""
    command, own_env = QEMUS[name]
    env = {key: value for key, value in os.environ.items()
           if not key.startswith("SLIRP_REDIRECT")
           and key != "LD_LIBRARY_PATH"}
    return command, dict(env, **own_env)


@pytest.fixture(scope="session", params=QEMUS)
def qemu(request) -> str:
    program = QEMUS[request.param][0][0]
    if "/" in program and not os.access(program, os.X_OK):
        pytest.fail(f"{program} is missing: run ./test e2e")
    return request.param


@pytest.fixture(scope="session")
def guest(qemu, dropin, image, tmp_path_factory, request):
    """guest(netdevs, env=, launcher=, stock=, kernel_args=): a context with
    a booted Guest. Netdev values are as for -netdev, `redirect=RULE` for the
    launcher included; they get `id=n0`, `id=n1`... in front."""
    @contextlib.contextmanager
    def start(netdevs=("",), env=None, launcher=False, stock=False,
              kernel_args="", extra=()):
        scratch = tmp_path_factory.mktemp("guest")
        command, full_env = command_of(qemu)
        full_env.update(env or {})
        if launcher:
            command = [request.getfixturevalue("launcher"), "run"] + command
        elif not stock:
            full_env["LD_LIBRARY_PATH"] = str(dropin)
        if not servers.have_ipv6() and "noipv6" not in kernel_args:
            kernel_args += " noipv6"
        values = [",".join(filter(None, ["user", f"id=n{i}", text]))
                  for i, text in enumerate(netdevs)]
        machine = vm.Guest(command, full_env, image, scratch, values,
                           kernel_args, extra)
        try:
            machine.wait_ready()
            if not stock:
                assert machine.library().startswith(str(dropin)), \
                    "QEMU runs with another libslirp"
            yield machine
            status = machine.power_off()
            assert status == 0, machine.stderr()
        finally:
            machine.close()

    return start


@pytest.fixture(scope="session")
def redirected(guest):
    """redirected(VIA, RULES, options=...): a guest whose rules come by the
    environment, the carrier in dnssearch=, the launcher's redirect=, or the
    redirect= of a QEMU that has that option. For several interfaces RULES is
    a list of lists, OPTIONS a list."""
    def start(via, rules, options="", **kwargs):
        per_netdev = rules if isinstance(rules[0], list) else [rules]
        options = [options] if isinstance(options, str) else options
        key = {"carrier": "dnssearch=redirect=", "launcher": "redirect=",
               "option": "redirect="}
        netdevs = list(options)
        if via == "environment":  # the same rules for all
            assert len(per_netdev) == 1
            kwargs["env"] = {"SLIRP_REDIRECT": " ".join(per_netdev[0])}
        else:
            netdevs = [",".join(filter(None, [option, *(
                key[via] + rule.replace(",", ",,") for rule in some)]))
                for option, some in zip(options, per_netdev)]
        return guest(netdevs, launcher=via == "launcher", **kwargs)
    return start


@pytest.fixture(scope="module")
def peer():
    """peer(class, ...): a server that is gone at the end of the module."""
    with contextlib.ExitStack() as stack:
        def make(kind, *args, **kwargs):
            server = kind(*args, **kwargs)
            stack.callback(server.close)
            return server
        yield make


@pytest.fixture(scope="module")
def web(peer, tmp_path_factory):
    """web(PAGE): another nginx, with that page."""
    return lambda page: peer(servers.Nginx, servers.find_nginx(CACHE),
                             tmp_path_factory.mktemp("web"), page)


@pytest.fixture(scope="module")
def nginx(web):
    return web(PAGE)


@pytest.fixture(scope="module")
def daemon(peer, tmp_path_factory):
    """daemon(class, ...): one of daemons.py, with files of its own."""
    return lambda kind, *args: peer(
        kind, CACHE, tmp_path_factory.mktemp("daemon"), *args)


@pytest.fixture(scope="module")
def ipv6():
    if not servers.have_ipv6():
        pytest.skip("this kernel has no IPv6")
