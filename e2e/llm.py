"""A hand-written double of LLM APIs: OpenAI's chat completions and responses,
and Anthropic's messages, each with one fixed response, whole or as a stream.

The request's `model` selects what else happens:

    double             nothing
    double-failing     a 500 in place of the response
    double-large       a response of 2 MiB
    double-endless     a stream that goes on until the client leaves
    double-told        the usage, and the content type, that the request has as
                       `usage` and `content_type`

Prints its address on stdout when it listens.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

from upstream import Server

TEXT = "hello from the double"

USED = 5
"""Tokens that each response says it used."""

PIECE = 12_000
"""Bytes of an event that are sent at once."""

CHAT = {
    "id": "chatcmpl-double",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "double",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": USED},
}

RESPONSE = {
    "id": "resp_double",
    "object": "response",
    "model": "double",
    "output": [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": TEXT}],
        }
    ],
    # Longer than what Envoy reads of an event by default.
    "instructions": "be brief " * 4_000,
    "usage": {"input_tokens": 1, "output_tokens": 4, "total_tokens": USED},
}

MESSAGE = {
    "id": "msg_double",
    "type": "message",
    "role": "assistant",
    "model": "double",
    "content": [{"type": "text", "text": TEXT}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 4},
}


def chat_events(asked: dict) -> Iterator[dict]:
    """Tells what it used only if asked to, as OpenAI's does."""
    wants_usage = (asked.get("stream_options") or {}).get("include_usage")
    common = {**CHAT, "object": "chat.completion.chunk"} | ({"usage": None} if wants_usage else {})
    if not wants_usage:
        del common["usage"]
    for word in TEXT.split(" "):
        delta = {"role": "assistant", "content": f"{word} "}
        yield {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**common, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if wants_usage:
        yield {**common, "choices": [], "usage": CHAT["usage"]}


def response_events(asked: dict) -> Iterator[dict]:
    yield {"type": "response.created", "response": {**RESPONSE, "output": [], "usage": None}}
    yield {"type": "response.output_text.delta", "delta": TEXT}
    yield {"type": "response.completed", "response": RESPONSE}


def message_events(asked: dict) -> Iterator[dict]:
    """Tells what it read first, and what it wrote last."""
    start = {**MESSAGE, "content": [], "stop_reason": None}
    yield {"type": "message_start", "message": {**start, "usage": {"input_tokens": 1, "output_tokens": 1}}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}}
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 4},
    }
    yield {"type": "message_stop"}


ANSWERS = {
    "/v1/chat/completions": (CHAT, chat_events),
    "/v1/responses": (RESPONSE, response_events),
    "/v1/messages": (MESSAGE, message_events),
}


class Double(BaseHTTPRequestHandler):
    """POST to one of the paths; anything else is 404."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        asked = json.loads(body or b"{}")
        model = asked.get("model")
        if self.path not in ANSWERS:
            self.answer(404, None)
            return
        answer, events = ANSWERS[self.path]
        if model == "double-told":
            told = {**answer, "usage": asked["usage"]}
            kind = asked.get("content_type", "application/json")
            if kind.lower().startswith("text/event-stream"):
                self.stream(iter([told]), endless=False, kind=kind)
            else:
                self.answer(200, told, kind)
        elif model == "double-failing":
            self.answer(500, {"error": {"message": "the double fails", "type": "server_error"}})
        elif asked.get("stream"):
            self.stream(events(asked), endless=model == "double-endless")
        elif model == "double-large":
            self.answer(200, {**answer, "padding": "x" * (2 << 20)})
        else:
            self.answer(200, answer)

    def answer(self, status: int, answer: dict | None, kind: str = "application/json") -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        if "gzip" in self.headers.get("accept-encoding", ""):
            body = gzip.compress(body)
            self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(
        self, events: Iterator[dict], *, endless: bool, kind: str = "text/event-stream; charset=utf-8"
    ) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        first = next(events)
        self.event(first)
        while endless:
            time.sleep(0.01)
            self.event({"type": "ping"})
        for event in events:
            self.event(event)
        if self.path == "/v1/chat/completions":
            self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def event(self, event: dict) -> None:
        name = f"event: {event['type']}\n" if "type" in event else ""
        data = f"{name}data: {json.dumps(event)}\n\n".encode()
        # A long one arrives piece by piece, as it does over a network.
        for start in range(0, len(data), PIECE):
            self.chunk(data[start : start + PIECE])
            if len(data) > PIECE:
                time.sleep(0.01)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Double)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
