"""WebSockets through a real Envoy. Browsers can set no header of theirs but the
list of protocols, so realtime APIs take the key as one of these."""

from __future__ import annotations

import http
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

import standard
import tools
from envoy_config import envoy_config
from stack import Stack

PREFIX = "openai-insecure-api-key."
SOURCES = f"""
  token_sources:
    - {{header: authorization, scheme: Bearer}}
    - {{websocket_protocol: {PREFIX}}}
"""
BETA = "openai-beta.realtime-v1"
REALTIME = "/v1/realtime?model=m"


@contextmanager
def upstream() -> Iterator[str]:
    """A server that speaks `realtime` where that is offered, and sends what it
    was offered, each header field as it came, and who the caller is."""

    def tell(connection: ServerConnection) -> None:
        headers = connection.request.headers
        offered = headers.get_all("sec-websocket-protocol")
        subject = headers.get("x-auth-subject")
        connection.send(json.dumps({"offered": offered, "subject": subject}))

    def select(_: ServerConnection, offered: list[str]) -> str | None:
        return "realtime" if "realtime" in offered else None

    with serve(tell, "127.0.0.1", 0, select_subprotocol=select) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        host, port = server.socket.getsockname()
        yield f"{host}:{port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=[False, True], ids=["headers", "raw headers"])
def secretive(module_stack: Stack, request: pytest.FixtureRequest) -> Iterator[str]:
    """Envoy's address; tokens are kept from the upstream."""
    yield from gateway(module_stack, SOURCES + "  forward_token: false\n", request.param)


@pytest.fixture(scope="module")
def open_handed(module_stack: Stack) -> Iterator[str]:
    yield from gateway(module_stack, SOURCES)


def gateway(stack: Stack, sources: str, encode_raw_headers: bool = False) -> Iterator[str]:
    issuer = stack.issuer(*standard.CLIENTS)
    claimgate = stack.claimgate(standard.CONFIG + sources, ISSUER_URL=issuer.url)
    with upstream() as behind:
        config = envoy_config(
            claimgate.grpc, behind, encode_raw_headers=encode_raw_headers, websockets=True
        )
        yield stack.envoy(config).address


def talk(gateway: str, protocols: list[str], path: str = REALTIME) -> dict:
    """What the upstream saw, and the protocol that both sides speak."""
    with connect(f"ws://{gateway}{path}", subprotocols=protocols, proxy=None) as socket:
        return {"speaks": socket.subprotocol, **json.loads(socket.recv(timeout=10))}


@pytest.mark.parametrize(
    ("protocols", "offered"),
    [
        (["realtime", PREFIX + "job-key", BETA], [f"realtime, {BETA}"]),
        ([PREFIX + "job-key", "realtime"], ["realtime"]),
        (["realtime", PREFIX + "job-key"], ["realtime"]),
        ([PREFIX + "job-key", "realtime", PREFIX + "job-key"], ["realtime"]),
    ],
)
def test_only_the_token_is_taken_out(secretive: str, protocols: list[str], offered: list[str]):
    seen = talk(secretive, protocols)
    assert seen == {"speaks": "realtime", "offered": offered, "subject": "job"}


def test_a_list_of_nothing_but_the_token_goes_whole(secretive: str):
    seen = talk(secretive, [PREFIX + "job-key"])
    assert seen == {"speaks": None, "offered": [], "subject": "job"}


def test_on_a_public_path_the_token_is_taken_out_too(secretive: str):
    seen = talk(secretive, ["realtime", PREFIX + "job-key"], "/public")
    assert seen == {"speaks": "realtime", "offered": ["realtime"], "subject": None}


def test_by_default_the_upstream_gets_the_list_as_it_came(open_handed: str):
    protocols = ["realtime", PREFIX + "job-key", BETA]
    seen = talk(open_handed, protocols)
    assert seen == {"speaks": "realtime", "offered": [", ".join(protocols)], "subject": "job"}


@pytest.mark.parametrize(
    ("protocols", "status"),
    [
        (["realtime", PREFIX + "unknown"], 401),
        (["realtime", PREFIX + "gone-key"], 401),
        (["realtime", PREFIX], 401),
        (["realtime"], 401),
        ([PREFIX + "job-key", PREFIX + "gone-key"], 400),
    ],
)
def test_others_are_denied(secretive: str, protocols: list[str], status: int):
    with pytest.raises(InvalidStatus) as denied:
        talk(secretive, protocols)
    assert denied.value.response.status_code == http.HTTPStatus(status)


def test_from_a_browser(secretive: str):
    protocols = ["realtime", PREFIX + "job-key", BETA]
    seen = browse(f"ws://{secretive}{REALTIME}", *protocols)
    told = {"offered": [f"realtime, {BETA}"], "subject": "job"}
    assert seen == {"speaks": "realtime", "told": told}
    assert browse(f"ws://{secretive}{REALTIME}", "realtime", PREFIX + "unknown") is None


def browse(url: str, *protocols: str) -> dict | None:
    """The same in a real browser; None if it is turned away."""
    program = tools.browser("websocket.mjs")
    environment = {**os.environ, "CLAIMGATE_CHROMIUM": str(tools.chromium())}
    done = subprocess.run(
        ["node", program, url, *protocols],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
