# SPDX-License-Identifier: BSD-3-Clause
"""Namespaces: a network with nothing but lo, a user who is not root."""

import ctypes
import fcntl
import os
import pwd
import socket
import struct

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _map_ids(uid: int, outer_uid: int, gid: int, outer_gid: int) -> None:
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {outer_uid} 1")
    _write("/proc/self/gid_map", f"{gid} {outer_gid} 1")


def seem_nobody() -> None:
    """For preexec_fn: a program that refuses to run as root runs all the same,
    and reaches root's files, wherever they are."""
    uid, gid = os.getuid(), os.getgid()
    nobody = pwd.getpwnam("nobody")
    _unshare(CLONE_NEWUSER)
    _map_ids(nobody.pw_uid, uid, nobody.pw_gid, gid)


def isolate() -> None:
    """Moves this process (it must have one thread only) away from any real
    network. The namespace ends with its last process; nothing to tidy up."""
    uid, gid = os.getuid(), os.getgid()
    try:
        _unshare(CLONE_NEWNET)
    except PermissionError:
        _unshare(CLONE_NEWUSER | CLONE_NEWNET)
        _map_ids(uid, uid, gid, gid)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(
            sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS,
                    struct.pack("16sh22x", b"lo", flags | IFF_UP))
