"""A stand-in for an OpenTelemetry collector: accepts every POST and counts.
Prints its address; answers a GET with the count."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    posts = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        Collector.posts += 1
        # An empty ExportTraceServiceResponse.
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        self._answer(str(Collector.posts).encode(), "text/plain")

    def _answer(self, body: bytes, content_type: str) -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
    server.serve_forever()
