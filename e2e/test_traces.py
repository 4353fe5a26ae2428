"""A decision appears in the trace of its request, as Envoy passes it on."""

from __future__ import annotations

import standard
import web
from collector import Collector
from stack import Stack

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


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
