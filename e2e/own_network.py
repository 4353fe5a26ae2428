"""Runs a command in a network of its own, where every port is free:

    unshare --net --mount python3 own_network.py NAMES COMMAND…

Only loopback is there, and the names (separated by commas) lead to it. Takes Linux, and root or the right
to make user namespaces. So pages and examples can be tested with their own ports.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

# From <linux/sockios.h> and <linux/if.h>.
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1


def command(*arguments: str | Path, hosts: tuple[str, ...] = ()) -> list[str]:
    """The command line that runs this one in a network of its own."""
    return [*_unshare(), sys.executable, __file__, ",".join(hosts), *map(str, arguments)]


@functools.cache
def available() -> bool:
    """Whether this machine allows it."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run(command("true", hosts=("name",)), capture_output=True).returncode == 0


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *user, "--net", "--mount", "--propagation", "private"]


def loopback_up() -> None:
    """A new network's loopback is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sh", b"lo", 0)
        _, flags = struct.unpack_from("16sh", fcntl.ioctl(any_socket, SIOCGIFFLAGS, asked.ljust(40, b"\0")))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP).ljust(40, b"\0"))


def lead_home(names: list[str]) -> None:
    """Puts another /etc/hosts before the machine's."""
    with tempfile.NamedTemporaryFile("w", delete=False) as hosts:
        hosts.write("".join(f"127.0.0.1 {name}\n" for name in ["localhost", *names]))
    os.chmod(hosts.name, 0o644)
    subprocess.run(["mount", "--bind", hosts.name, "/etc/hosts"], check=True)
    os.unlink(hosts.name)


def main() -> None:
    names, *arguments = sys.argv[1:]
    loopback_up()
    if names:
        lead_home(names.split(","))
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main()
