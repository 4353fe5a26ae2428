"""Runs a program confined to a folder: `confine.py ROOT USER PROGRAM …`.

The folder becomes its root; it runs as that user id, only in its own group,
without any capability or a way to gain one. Start it as root, in its own mount
namespace with the folder mounted read-only.
"""

from __future__ import annotations

import ctypes
import os
import sys

# From <linux/prctl.h>; no tool can do both: `setpriv` first drops what
# `chroot` needs.
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38


def main() -> None:
    root, user, program, *arguments = sys.argv[1:]
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    os.chroot(root)
    os.chdir("/")
    capability = 0
    while prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:  # until the last one
        capability += 1
    os.setgroups([])
    os.setresgid(int(user), int(user), int(user))
    os.setresuid(int(user), int(user), int(user))
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    main()
