"""Records the CheckRequest that the real Envoy sends: `python3 bench/capture.py`.

Envoy gets a gRPC server that reads one message and never answers. HTTP/2 is
frames with a length, a type and a stream; the message is the content of the
DATA frames after gRPC's five-byte prefix. The headers of the call are skipped.
The token in the message is a placeholder: wire.py puts real ones in.
"""

from __future__ import annotations

import socket
import sys
import threading

import place  # noqa: F401  puts e2e/ on the path
import envoys
import wire
from stack import Stack
from web import Connection, wait_until

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, SETTINGS = 0, 4
EMPTY_SETTINGS = bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
SETTINGS_ACK = bytes([0, 0, 0, SETTINGS, 1, 0, 0, 0, 0])


class Recorder:
    """The server."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.message: bytes | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _ = self.listener.accept()
        stream = connection.makefile("rb")
        assert stream.read(len(PREFACE)) == PREFACE
        connection.sendall(EMPTY_SETTINGS + SETTINGS_ACK)
        body = b""
        while len(body) < 5 or len(body) < 5 + int.from_bytes(body[1:5], "big"):
            header = stream.read(9)
            payload = stream.read(int.from_bytes(header[:3], "big"))
            if header[3] == DATA:
                body += payload
        self.message = body[5:]


def main() -> None:
    recorder = Recorder()
    with Stack() as stack:
        filters = [envoys.ext_authz(timeout="0.2s")]
        envoy = envoys.start(stack, "envoy", filters, recorder.address, core=0)
        client = Connection(envoy.address)
        sent = {**envoys.CLIENT_HEADERS, "authorization": "Bearer TOKEN"}
        client.send("GET", "/v1/chat/completions", sent.items())
        wait_until(lambda: recorder.message, "a message from Envoy")
    stack.discard()
    wire.CAPTURED.write_bytes(recorder.message)
    headers = wire.headers(recorder.message)
    print(f"{len(recorder.message)} bytes, {len(headers)} headers", file=sys.stderr)
    for name, value in sorted(headers.items()):
        print(f"  {name}: {value}", file=sys.stderr)


if __name__ == "__main__":
    main()
