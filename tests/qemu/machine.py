# SPDX-License-Identifier: BSD-3-Clause
"""QEMU without a guest, driven through its monitor."""

import os
import re
import socket
import subprocess

import vm

LIMIT_S = 60


def environment(more):
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("SLIRP_REDIRECT", "LD_"))}
    return dict(env, **more)


def spawn(program, args, env, **kwargs):
    """QEMU with a monitor on our end of a socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [program, "-nodefaults", "-display", "none", "-M", "none",
             "-chardev", f"socket,id=qmp,fd={theirs.fileno()}",
             "-mon", "chardev=qmp,mode=control", *args],
            stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
            env=environment(env), preexec_fn=vm.die_with_parent, **kwargs)
    return process, ours


def refuse(program, args, env):
    process, monitor = spawn(program, args, env, text=True,
                             stderr=subprocess.PIPE)
    with monitor, process:
        try:
            _, message = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
        assert process.returncode == 1, (process.returncode, message)
        # Not even the monitor spoke, let alone a guest.
        assert b"QMP" not in monitor.recv(4096)
    name = "qemu-system-x86_64: "
    assert message.startswith(name), message
    return message[len(name):]


class Machine:
    """A running QEMU; as a context, it ends in good order."""

    def __init__(self, program, args, env):
        self.process, self.socket = spawn(program, args, env)
        self.monitor = vm.Monitor(self.socket)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            if exc[0] is None:
                self.call("quit")
                assert self.process.wait(LIMIT_S) == 0
        finally:
            self.process.kill()
            self.process.wait()
            self.socket.close()

    def call(self, command, **arguments):
        return self.monitor.call(command, **arguments)

    def human(self, line):
        return self.monitor.human(line).replace("\r\n", "\n")

    def rules(self):
        """(id, rule) of each netdev's table, as `info usernet` has them."""
        return re.findall(r"^ +(\d+) .*  (\S+)$",
                          self.human("info usernet"), re.M)
