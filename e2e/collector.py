"""What is sent to an OpenTelemetry collector."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_SECONDS = 10


class Collector(ThreadingHTTPServer):
    """What is sent to an OpenTelemetry collector: a double, but for the
    messages, which are OpenTelemetry's own."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans: list[Span] = []
        self.news = threading.Condition()

    def take(self, body: bytes) -> None:
        message = ExportTraceServiceRequest.FromString(body)
        with self.news:
            for resource in message.resource_spans:
                for scope in resource.scope_spans:
                    self.spans += scope.spans
            self.news.notify_all()

    def checks(self, trace: str) -> list[Span]:
        """The spans of decisions in a trace, once there is one."""
        wanted = (bytes.fromhex(trace), "claimgate.check")
        return self.once_there(lambda span: (span.trace_id, span.name) == wanted)

    def once_there(self, is_wanted: Callable[[Span], bool]) -> list[Span]:
        """The spans that are wanted, once there is one."""

        def found() -> list[Span]:
            return [span for span in self.spans if is_wanted(span)]

        deadline = time.monotonic() + WAIT_SECONDS
        with self.news:
            while not found() and (left := deadline - time.monotonic()) > 0:
                self.news.wait(left)
            return found()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        self.server.take(self._body())
        body = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _body(self) -> bytes:
        if self.headers["transfer-encoding"] != "chunked":
            return self.rfile.read(int(self.headers["content-length"]))
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
