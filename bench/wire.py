"""The captured CheckRequest, with other values.

A protobuf message is a row of fields, each with its number and its kind. Only
those of kind 2 (bytes, strings, messages) are of interest here; a message is
changed by writing every length around the change again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

CAPTURED = Path(__file__).resolve().with_name("check_request.binpb")
"""What Envoy sent, as capture.py received it."""

HTTP = [1, 4, 2]
"""attributes.request.http"""
HEADERS, PATH = [*HTTP, 3], [*HTTP, 4]


def check_request(authorization: str | None, path: str | None = None) -> bytes:
    """The captured message with this authorization header, or without one."""

    def header(entry: bytes) -> bytes | None:
        name, value = (content.decode() for _, _, content in _fields(entry))
        if name == "authorization":
            if authorization is None:
                return None
            value = authorization
        elif name == ":path" and path:
            value = path
        return _field(1, name.encode()) + _field(2, value.encode())

    message = _change(CAPTURED.read_bytes(), HEADERS, header)
    return _change(message, PATH, lambda old: path.encode()) if path else message


def headers(message: bytes) -> dict[str, str]:
    """The headers of a CheckRequest."""
    found = {}

    def note(entry: bytes) -> bytes:
        name, value = (content.decode() for _, _, content in _fields(entry))
        found[name] = value
        return entry

    _change(message, HEADERS, note)
    return found


def framed(message: bytes) -> bytes:
    """The message as the body of a gRPC call."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _change(
    message: bytes, place: list[int], change: Callable[[bytes], bytes | None]
) -> bytes:
    """The message with `change` made to each field at `place`; None drops it."""
    first, *rest = place
    parts = []
    for number, raw, content in _fields(message):
        if number != first or content is None:
            parts.append(raw)
            continue
        new = _change(content, rest, change) if rest else change(content)
        if new is not None:
            parts.append(_field(number, new))
    return b"".join(parts)


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Number, all bytes, and what a field of kind 2 contains."""
    at = 0
    while at < len(message):
        start = at
        key, at = _varint(message, at)
        content = None
        match key & 7:
            case 0:
                _, at = _varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(message, at)
                content = message[at : at + length]
                at += length
            case 5:
                at += 4
            case kind:
                raise ValueError(f"no field is of kind {kind}")
        yield key >> 3, message[start:at], content


def _field(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
