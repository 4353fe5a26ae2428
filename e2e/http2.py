"""HTTP/2 without TLS as the tests need it: one request after the other over a
connection that stays open, header values as bytes, nothing tidied up."""

from __future__ import annotations

import contextlib
import socket

import h2.config
import h2.connection
import h2.events
import h2.exceptions

import web

BODY_HEADERS = ("connection", "transfer-encoding", "content-length")


class Connection:
    """As `web.Connection`, over HTTP/2. Text goes out as Latin-1."""

    def __init__(self, address: str):
        self._host = address
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=web.TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(
            header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()
        self._flush()

    def send(
        self, method: str, path: str, headers: web.Headers = (), body: bytes | None = None
    ) -> web.Reply:
        """One exchange. `path` goes out byte for byte; names in lower case."""
        own = [(name.lower(), value) for name, value in headers]
        host = next((value for name, value in own if name == "host"), self._host)
        pseudo = [(":method", method), (":scheme", "http"), (":authority", host), (":path", path)]
        fields = [*pseudo, *(field for field in own if field[0] not in ("host", *BODY_HEADERS))]
        stream = self._h2.get_next_available_stream_id()
        encoded = [(_bytes(name), _bytes(value)) for name, value in fields]
        self._h2.send_headers(stream, encoded, end_stream=body is None)
        return self._exchange(stream, body)

    def close(self) -> None:
        self._socket.close()

    def _exchange(self, stream: int, body: bytes | None) -> web.Reply:
        """Sends the body as the other side takes it, and reads the answer,
        which may come before all of it is sent."""
        status, fields, content = 0, [], b""
        while True:
            body = self._send(stream, body)
            received = self._socket.recv(65_536)
            if not received:
                raise ConnectionResetError("closed by the other side")
            ended = False
            for event in self._h2.receive_data(received):
                if getattr(event, "stream_id", stream) not in (stream, 0):
                    continue
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    found = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                    status = next((int(value) for name, value in found if name == ":status"), status)
                    fields += [field for field in found if field[0] != ":status"]
                elif isinstance(event, h2.events.DataReceived):
                    content += event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamEnded):
                    ended = True
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    self._flush()
                    if not ended:
                        raise ConnectionResetError(f"{event}")
            self._flush()
            if ended:
                if body is not None:
                    # The rest is not wanted, which the other side may have said.
                    with contextlib.suppress(h2.exceptions.StreamClosedError):
                        self._h2.reset_stream(stream)
                    self._flush()
                return web.Reply(status, fields, content)

    def _send(self, stream: int, body: bytes | None) -> bytes | None:
        """Sends what may be sent; what is left of the body, None at its end."""
        while body is not None:
            room = min(self._h2.local_flow_control_window(stream), 16_384)
            if body and not room:
                break
            self._h2.send_data(stream, body[:room], end_stream=len(body) <= room)
            body = body[room:] if len(body) > room else None
        self._flush()
        return body

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")
