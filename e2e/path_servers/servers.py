"""A Starlette application in Uvicorn and a Werkzeug one in its own server.

Prints the address of each as one line of JSON.
"""

from __future__ import annotations

import json
import logging
import socket
import threading

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, PathConverter, Rule
from werkzeug.serving import make_server
from werkzeug.wrappers import Request as WerkzeugRequest
from werkzeug.wrappers import Response

ANY = ["GET", "HEAD", "POST"]


class Rest(PathConverter):
    """The rest of the path, with a leading slash."""

    regex = ".*?"
    part_isolating = False


def starlette() -> str:
    def ran(name: str):
        async def endpoint(_: Request) -> PlainTextResponse:
            return PlainTextResponse(f"{name}\n", headers={"x-ran": name})

        return endpoint

    routes = [
        *(Route(f"/{name}", ran(name), methods=ANY) for name in ("open", "admin", "exact")),
        *(Route(f"/{name}/{{rest:path}}", ran(name), methods=ANY) for name in ("open", "admin")),
        Route("/read", ran("read"), methods=["GET"]),
        Route("/{rest:path}", ran("other"), methods=ANY),
    ]
    # The protocol by name, or asyncio would not know that it is TCP and leave the
    # connections with Nagle's algorithm: 40 ms for each answer.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    return _address(listening.getsockname())


def werkzeug() -> str:
    rules = Map(
        [
            *(Rule(f"/{name}", endpoint=name) for name in ("open", "admin", "exact")),
            *(Rule(f"/{name}/<rest:rest>", endpoint=name) for name in ("open", "admin")),
            Rule("/read", endpoint="read", methods=["GET"]),
            Rule("/<rest:rest>", endpoint="other"),
        ],
        strict_slashes=False,
        converters={"rest": Rest},
    )

    @WerkzeugRequest.application
    def application(request: WerkzeugRequest) -> Response:
        try:
            name, _ = rules.bind_to_environ(request.environ).match()
        except HTTPException as other:
            return other.get_response(request.environ)
        return Response(f"{name}\n", headers={"x-ran": name})

    server = make_server("127.0.0.1", 0, application, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return _address(server.server_address)


def _address(bound: tuple) -> str:
    return f"{bound[0]}:{bound[1]}"


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    print(json.dumps({"starlette": starlette(), "werkzeug": werkzeug()}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
