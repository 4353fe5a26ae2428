"""A decision appears in the trace of its request, as Envoy passes it on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import standard
import web
from stack import Stack

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WAIT_SECONDS = 10


class Collector(ThreadingHTTPServer):
    """A double of an OpenTelemetry collector, with OpenTelemetry's own
    messages."""

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
        def found() -> list[Span]:
            wanted = (bytes.fromhex(trace), "claimgate.check")
            return [span for span in self.spans if (span.trace_id, span.name) == wanted]

        deadline = time.monotonic() + WAIT_SECONDS
        with self.news:
            while not found() and (left := deadline - time.monotonic()) > 0:
                self.news.wait(left)
            return found()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        self.server.take(self.rfile.read(int(self.headers["content-length"])))
        body = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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


def test_decisions_join_the_trace_of_their_request(stack: Stack, collector: Collector):
    tracing = (
        "  tracing: {otlp_endpoint: 'http://127.0.0.1:%d', protocol: http}\n"
        % collector.server_port
    )
    gateway = standard.gateway(stack, standard.SERVER + tracing + standard.AUTH.lstrip("\n"))
    cases = [
        ("1", "/orders", web.bearer(gateway.token()), "allow", "ok"),
        ("2", "/orders?secret=1", web.bearer("no-such-key"), "deny", "unknown_key"),
        ("3", "/admin", web.bearer(gateway.token()), "deny", "insufficient_scope"),
    ]
    for number, path, own, decision, reason in cases:
        trace = number + TRACE[1:]
        not_sampled = ("traceparent", f"00-{TRACE}-{PARENT}-00")
        gateway.get(path, [*own, not_sampled])
        gateway.get(path, [*own, ("traceparent", f"00-{trace}-{PARENT}-01")])
        spans = collector.checks(trace)
        assert len(spans) == 1, (reason, spans)
        assert spans[0].parent_span_id.hex() == PARENT
        attributes = {each.key: each.value.string_value for each in spans[0].attributes}
        assert attributes["claimgate.decision"] == decision
        assert attributes["claimgate.reason"] == reason
        assert attributes["url.path"] == path.split("?")[0]
        assert attributes["claimgate.request_id"], "the one that Envoy gave"
    # Those not sampled came earlier, so they would be here by now.
    assert not [span for span in collector.spans if span.trace_id.hex() == TRACE]
