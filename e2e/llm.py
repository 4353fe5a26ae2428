"""A hand-written double of two LLM APIs: OpenAI's chat completions and
Anthropic's messages, each with one fixed response.

Prints its address on stdout when it listens.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

from upstream import Server

TEXT = "hello from the double"

ANSWERS = {
    "/v1/chat/completions": {
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
        "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5},
    },
    "/v1/messages": {
        "id": "msg_double",
        "type": "message",
        "role": "assistant",
        "model": "double",
        "content": [{"type": "text", "text": TEXT}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 4},
    },
}


class Double(BaseHTTPRequestHandler):
    """POST to one of the two paths; anything else is 404."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        answer = ANSWERS.get(self.path)
        body = json.dumps(answer).encode()
        self.send_response(200 if answer else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Double)
    print(f"127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
