"""The latency of honest checks during a flood: the p99 with and without.

    bench/floods.py PROGRAM [SECONDS]

Starts PROGRAM and sends it one honest check after the other, undisturbed and
during each flood in turns, several times; prints medians of the p99 of all
rounds, their ratio, and the program's peak memory. It needs only Python: it
implements the few parts of HTTP/2 that it uses.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import wire

ROUNDS = 5
KEY = "an-api-key-of-some-length"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
ACK = END_STREAM = 1
END_HEADERS = 4
CHECK = "/envoy.service.auth.v3.Authorization/Check"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    head = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return head + stream.to_bytes(4, "big") + payload


def literal(name: str, value: str) -> bytes:
    """A header field that is not indexed (RFC 7541, section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


CALL = b"".join(
    literal(name, value)
    for name, value in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", CHECK),
        (":authority", "claimgate"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
)


class Connection:
    """One HTTP/2 connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.stream = -1
        self.buffer = b""

    def next_stream(self) -> int:
        """A stream that was not used yet."""
        self.stream += 2
        return self.stream

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Reads frames without end; answers settings and pings."""
        while True:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3]):
                more = self.socket.recv(1 << 16)
                if not more:
                    raise ConnectionError("closed")
                self.buffer += more
            size = int.from_bytes(self.buffer[:3])
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9])
            payload, self.buffer = self.buffer[9 : 9 + size], self.buffer[9 + size :]
            if kind in (SETTINGS, PING) and not flags & ACK:
                self.socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
            yield kind, flags, stream, payload

    def check(self, body: bytes) -> float:
        """Sends a check and waits for its answer; seconds."""
        stream = self.next_stream()
        window = frame(WINDOW_UPDATE, 0, 0, (1 << 16).to_bytes(4, "big"))
        begin = time.perf_counter()
        self.socket.sendall(
            frame(HEADERS, END_HEADERS, stream, CALL)
            + frame(DATA, END_STREAM, stream, body)
            + window
        )
        for kind, flags, which, _ in self.frames():
            if kind in (RST_STREAM, GOAWAY):
                raise ConnectionError(f"frame {kind}")
            if which == stream and kind == HEADERS and flags & END_STREAM:
                return time.perf_counter() - begin
        raise ConnectionError


def large_messages(grpc: int, _: int, stop: threading.Event) -> None:
    """Calls that announce 1 MiB and send 128 KiB of it, 4096 at a time."""
    promise = b"\0" + (1 << 20).to_bytes(4, "big")
    part = bytes(16384)
    while not stop.is_set():
        connection = Connection(grpc)
        incoming, window = connection.frames(), 65535
        try:
            for _ in range(4096):
                stream = connection.next_stream()
                begun = frame(HEADERS, END_HEADERS, stream, CALL) + frame(DATA, 0, stream, promise)
                connection.socket.sendall(begun)
                window -= len(promise)
                for _ in range(8):
                    while window < len(part):
                        kind, _, which, payload = next(incoming)
                        if kind == WINDOW_UPDATE and which == 0:
                            window += int.from_bytes(payload)
                    connection.socket.sendall(frame(DATA, 0, stream, part))
                    window -= len(part)
                if stop.is_set():
                    break
        except OSError:
            pass
        connection.socket.close()


def stalled_streams(grpc: int, _: int, stop: threading.Event) -> None:
    """Calls that begin a small message, 4096 on each of eight connections."""
    connections = [Connection(grpc) for _ in range(8)]
    begun = frame(DATA, 0, 1, b"\0\0\0\x10\0")
    while not stop.is_set():
        for connection in connections:
            for _ in range(4096):
                stream = connection.next_stream()
                data = begun[:5] + stream.to_bytes(4, "big") + begun[9:]
                try:
                    connection.socket.sendall(frame(HEADERS, END_HEADERS, stream, CALL) + data)
                except OSError:
                    return
        stop.wait(6)
    for connection in connections:
        connection.socket.close()


def silent_connections(grpc: int, admin: int, stop: threading.Event) -> None:
    """300 silent connections to each port."""
    ports = [grpc, admin] * 300
    silent = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    stop.wait()
    for connection in silent:
        connection.close()


FLOODS: list[Callable[[int, int, threading.Event], None]] = [
    large_messages,
    stalled_streams,
    silent_connections,
]


@contextmanager
def flood(
    what: Callable[[int, int, threading.Event], None] | None, grpc: int, admin: int
) -> Iterator[None]:
    """Floods while entered, if there is a flood."""
    stop = threading.Event()
    thread = threading.Thread(target=what or (lambda *_: None), args=(grpc, admin, stop))
    thread.start()
    time.sleep(0.3 if what else 0)
    try:
        yield
    finally:
        stop.set()
        thread.join()


def p99(grpc: int, seconds: float) -> float:
    """Latencies of honest checks, one after the other, in microseconds."""
    connection = Connection(grpc)
    body = wire.framed(wire.check_request(f"Bearer {KEY}"))
    end, times = time.monotonic() + seconds, []
    while time.monotonic() < end:
        times.append(connection.check(body))
    connection.socket.close()
    return statistics.quantiles(times, n=100)[98] * 1e6


@contextmanager
def running(program: str) -> Iterator[tuple[int, int, int]]:
    """The program; its ports and its process."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "gateway.yaml")
        config.write_text(
            "server: {grpc: {address: '127.0.0.1:0'}, admin: {address: '127.0.0.1:0'}}\n"
            f"auth: {{api_keys: [{{name: a, key: {KEY}}}]}}\n"
        )
        command = [program, "serve", "--config", str(config)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            try:
                for line in process.stderr:
                    said = json.loads(line)
                    if said["message"] == "listening":
                        break
                threading.Thread(target=process.stderr.read, daemon=True).start()
                ports = [int(said[name].rsplit(":", 1)[1]) for name in ("grpc", "admin")]
                yield ports[0], ports[1], process.pid
            finally:
                process.terminate()


def megabytes(pid: int, name: str) -> float:
    """VmRSS or VmHWM."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(name)


def main(program: str, seconds: float = 3) -> None:
    """Measures and prints."""
    print("flood | p99 without, µs | p99 during, µs | ratio | most memory, MB")
    for what in FLOODS:
        with running(program) as (grpc, admin, pid):
            pairs = []
            p99(grpc, 1)
            for _ in range(ROUNDS):
                with flood(None, grpc, admin):
                    before = p99(grpc, seconds)
                with flood(what, grpc, admin):
                    pairs.append((before, p99(grpc, seconds)))
            without, during = (statistics.median(side) for side in zip(*pairs, strict=True))
            ratio = statistics.median(during / before for before, during in pairs)
            most = megabytes(pid, "VmHWM")
            print(f"{what.__name__} | {without:.0f} | {during:.0f} | {ratio:.2f} | {most:.0f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
