"""Through either door the same: random requests and tokens go through a real
Envoy that asks the service and through one with the module, on one config
file, and come out with the same answer, request and metadata.

CLAIMGATE_SEED repeats a run, CLAIMGATE_REQUESTS makes it longer.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

import http2
import module_gateway
import tools
import web
from envoy_config import envoy_config
from stack import Envoy, Stack, free_port

REQUESTS = int(os.environ.get("CLAIMGATE_REQUESTS", "1500"))

CONFIG = """
server:
  grpc: {address: "127.0.0.1:${GRPC_PORT:-0}"}
  check_timeout_ms: 50
"""

AUTH = tools.ROOT / "tests" / "agreement.yaml"


NAMED = {"/named": "named", "/called-admin": "admin", "/lost": "nowhere"}

ISSUER = "https://issuer.example.com"

METHODS = "GET GET GET GET POST PUT OPTIONS HEAD DELETE get".split()
PATHS = [
    *"/ / / /orders /orders?a=1&b=2 /orders?flag&b=%20x&a=1 /health /health?x /health/".split(),
    *"/admin /admin/x /Admin /%61dmin /x/..%2fadmin /admin;a=b /team/1 /batch /batch/x".split(),
    *"/hosts /status /status?x=y //admin /a%00 /v1/models /v1//models /v2/x /named /named/x".split(),
    *"/called-admin /lost /mcp /.well-known/oauth-protected-resource/mcp /caf\xc3\xa9 /a%C3%A9".split(),
    *"/a%FF /\xff /a?t=\xff /a\\b /a/./b /a/../b /a?access_tokens=1 /a?& /?=".split(),
]
HOSTS = ["localhost", "localhost", "api.example.com", "API.EXAMPLE.COM:8443", "example.com", "example.com."]
EXTRA = [
    ("x-auth-subject", "forged"),
    ("x_auth_subject", "forged"),
    ("X-Auth-Scopes", "*"),
    ("x-auth-roles", ""),
    ("x-auth-roles", "twice"),
    ("x-authority", "a"),
    ("origin", "https://app"),
    ("access-control-request-method", "GET"),
    ("cookie", "theme=dark"),
    ("cookie", "a; b=c"),
    ("authorization", "Bearer"),
    ("authorization", "Bearer other"),
    ("accept", "*/*"),
    ("x-latin", "\xe9\xff"),
    ("x-utf-8", "\xc3\xa9"),
    ("x-twice", "1"),
    ("x-twice", "2"),
    ("x-empty", ""),
    ("x-long", "l" * 3000),
    ("x-tab", "a\tb"),
    ("content-type", "application/grpc"),
    ("content-type", "application/grpc+proto"),
    ("content-type", "application/grpc;a=b"),
    ("content-type", "application/grpc-web"),
    ("content-type", "application/json"),
    ("te", "trailers"),
    ("sec-websocket-protocol", "chat,, beta"),
    ("sec-websocket-protocol", "key."),
    ("x-request-id", "0b4f0a86-0000-4000-8000-000000000000"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
]
TEXTS = ["good-key", "good-key", "root-key", "expired-key", "early-key", "revoked-key", "unknown-key"]
ODD = ["a b", "a,b", "...", "a.b.c", ".", "x" * 17_000, "good-key ", "\xe9", "%", "a=b", '"']
SPOTS = "bearer bearer bearer bearer key key query cookie basic protocol".split()

CLAIMS = {
    "iss": [ISSUER, ISSUER, *[ISSUER] * 14, "down", "https://other"],
    "sub": ["me", "me", "\xe9 %,\n", "a\r\nx-forged: 1", "", "\x00", "s" * 9000],
    "aud": ["people", "machines", ["x", "batch"], "them"],
    "client_id": ["c1", "c2", "c3"],
    "use": ["access", "access", "id"],
    "scope": ["read", "read admin", "*", ["read", "a b"], "", "read\r\nx"],
    "team": ["search", ["x", "search"], "other"],
    "roles": [["a", "b,c"], "r", [], "r" * 9000, "a\r\nb", ["\n"], True, 1.5, 2**53, {"a": [1]}],
    "nested": [{"a": {"b": [None, True, 1e300, "x"]}}, [[[]]], None, {"": ""}, "plain"],
}
ODD_CLAIMS = [None, 1, "x", ["x", 2], {"x": "y"}]
HEADERS = [{"typ": "JWT"}, {"typ": "at+jwt"}, {"typ": "dpop+jwt"}, {"kid": "unknown"}, {"alg": "none"}, {"crit": ["b64"]}]

NEVER_THE_SAME = ("date", "x-envoy-upstream-service-time", "x-request-id")
"""Headers that differ from one request to the next."""


@dataclass(frozen=True)
class Case:
    """One request, and over which version of HTTP it goes."""

    version: type
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes | None

    def is_told_as_sent(self) -> bool:
        """Whether ext_authz tells the headers as they are without `encode_raw_headers`
        too: it puts `!` for what is not UTF-8, and a comma between two cookie fields."""
        is_ascii = all(value.isascii() for _, value in self.headers)
        return is_ascii and sum(name == "cookie" for name, _ in self.headers) <= 1


class Generator:
    """Makes requests and tokens of a seed."""

    def __init__(self, seed: int, unreachable: str):
        self._random = random.Random(seed)
        self._unreachable = unreachable
        self._keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]

    def jwks(self) -> dict:
        """The issuer's one key; the other is a stranger's."""
        point = self._keys[0].public_key().public_numbers()
        x, y = (_base64(number.to_bytes(32)) for number in (point.x, point.y))
        return {"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]}

    def case(self) -> Case:
        pick, chance = self._random.choice, self._chance
        version = pick([web.Connection, http2.Connection])
        method, path, headers = pick(METHODS), pick(PATHS), [("host", pick(HOSTS))]
        for _ in range(self._random.choice([0, 0, 1, 2, 3])):
            headers.append(pick(EXTRA))
        count = self._random.choices([0, 1, 2], [1, 8, 2])[0]
        tokens = [self._token() for _ in range(count)]
        if count == 2 and chance(0.5):
            tokens[1] = tokens[0]
        for token in tokens:
            spot = pick(SPOTS)
            if spot == "query":
                separator = "&" if "?" in path else "?"
                name = pick(["access_token", "access%5Ftoken"])
                path += f"{separator}{name}={urllib.parse.quote(token)}"
                continue
            scheme = pick(["Bearer ", "bearer  "])
            headers.append(
                {
                    "bearer": ("authorization", scheme + token),
                    "basic": ("authorization", f"Basic {token}"),
                    "key": ("x-api-key", token),
                    "cookie": ("cookie", f"a=b; session={token}"),
                    "protocol": ("sec-websocket-protocol", f"chat, key.{token}, beta"),
                }[spot]
            )
        body = b"b" * pick([0, 10, 100_000]) if method in ("POST", "PUT") else None
        return Case(version, method, path, headers, body)

    def _token(self) -> str:
        kind = self._random.choices([self._jwt, lambda: self._random.choice(TEXTS)], [6, 3])[0]
        return self._random.choice(ODD) if self._chance(0.1) else kind()

    def _jwt(self) -> str:
        claims = {}
        for name, usual in CLAIMS.items():
            if self._chance(0.07):
                continue
            # The first ones are good, and a token with nothing but good ones is rare enough.
            values = ODD_CLAIMS if self._chance(0.04) else usual[:2] if self._chance(0.6) else usual
            claims[name] = self._random.choice(values)
        if claims.get("iss") == "down":
            claims["iss"] = self._unreachable
        now = time.time() // 1
        for name, chance, usual, odd in [
            ("exp", 0.97, [3600, 600.5], [9000, -600]),
            ("nbf", 0.3, [-10], [600]),
            ("iat", 0.8, [-10, -0.5], [600, -8000]),
        ]:
            if self._chance(chance):
                claims[name] = now + self._random.choice(odd if self._chance(0.1) else usual)
        header = {"alg": "ES256", "kid": "k"}
        if self._chance(0.15):
            header |= self._random.choice(HEADERS)
        text = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        key = self._keys[1 if self._chance(0.05) else 0]
        signature = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_base64(b''.join(part.to_bytes(32) for part in signature))}"

    def _chance(self, of_one: float) -> bool:
        return self._random.random() < of_one


class Door:
    """An Envoy, and what it did with each request."""

    def __init__(self, envoy: Envoy, access_log: Path):
        self._envoy, self._access_log = envoy, access_log
        self._connections: dict[type, object] = {}

    def outcome(self, number: int, case: Case) -> dict:
        """Everything that client and upstream see of a request."""
        headers = [*case.headers, ("x-case", str(number))]
        connection = self._connections.get(case.version) or case.version(self._envoy.address)
        self._connections[case.version] = connection
        try:
            reply = connection.send(case.method, case.path, headers, case.body)
        except (ConnectionError, TimeoutError) as error:
            del self._connections[case.version]
            connection.close()
            return {"status": type(error).__name__}
        outcome = {"status": reply.status, "headers": grouped(reply.headers)}
        if reply.status == 200 and b'"headers"' in reply.body:
            seen = reply.seen
            path, query = (seen.path.split("?", 1) + [""])[:2]
            arrived = grouped(seen.headers)
            return outcome | {"seen": (seen.method, path, parameters(query), arrived)}
        return outcome | {"body": reply.body}

    def logged(self) -> dict[str, dict]:
        """What the access log says of each request, by its number."""
        web.get(self._envoy.address, "/health", [("x-case", "the last one")])

        def lines() -> dict[str, dict]:
            found = map(json.loads, self._access_log.read_text().splitlines())
            return {line["case"]: line for line in found if line["case"]}

        web.wait_until(lambda: "the last one" in lines(), "the last line of the access log")
        found = lines()
        for line in found.values():
            # By ext_authz itself.
            (line["metadata"] or {}).pop("ext_authz_duration", None)
        return found


def grouped(headers: list) -> dict[str, list[str]]:
    """The values of each name, in order."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        name = name.lower()
        if name in ("content-length", "transfer-encoding", "connection", *NEVER_THE_SAME):
            continue
        found.setdefault(name, []).append(value)
    return found


def parameters(query: str) -> list[str]:
    """Where ext_authz takes a parameter out, it sorts the others and gives each an
    `=`, the empty ones too."""
    pairs = [pair if "=" in pair else f"{pair}=" for pair in query.split("&")]
    return sorted(pair for pair in pairs if pair != "=")


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@pytest.fixture
def arrange(stack: Stack) -> Callable[[Generator], dict[str, Door]]:
    """Starts the service, and an Envoy for each door."""

    def start(generator: Generator, unreachable: int) -> dict[str, Door]:
        jwks = stack.folder / "jwks.json"
        jwks.write_text(json.dumps(generator.jwks()))
        config = CONFIG + AUTH.read_text()
        for name, value in {
            "JWKS": jwks,
            "UNREACHABLE": f"127.0.0.1:{unreachable}",
            "SEVERAL": "refuse",
            "MAX_TOKEN_BYTES": 16384,
        }.items():
            config = config.replace(name, str(value))
        admin = '  admin: {address: "127.0.0.1:${ADMIN_PORT}"}\n'
        service = stack.claimgate(config.replace("server:\n", f"server:\n{admin}"), wait=False)
        upstream = stack.upstream()
        logs = {name: stack.folder / f"{name}.jsonl" for name in ("headers", "raw", "module")}
        doors = {}
        for name in ("headers", "raw"):
            log, raw = logs[name], name == "raw"
            options = {"encode_raw_headers": raw, "access_log": log, "named_routes": NAMED}
            doors[name] = Door(stack.envoy(envoy_config(service.grpc, upstream, **options)), log)
        file = stack.folder / "module.yaml"
        file.write_text(config)
        options = {"access_log": logs["module"], "named_routes": NAMED}
        inside = module_gateway.module_config({"config_file": str(file)}, upstream, **options)
        doors["module"] = Door(module_gateway.start(stack, inside), logs["module"])
        return doors

    return start


def test_service_and_module_agree(arrange: Callable):
    seed = int(os.environ.get("CLAIMGATE_SEED", random.randrange(10**6)))
    print(f"CLAIMGATE_SEED={seed}")
    unreachable = free_port()
    generator = Generator(seed, f"http://127.0.0.1:{unreachable}")
    doors = arrange(generator, unreachable)
    cases = [generator.case() for _ in range(REQUESTS)]
    outcomes = [
        {name: door.outcome(number, case) for name, door in doors.items()}
        for number, case in enumerate(cases)
    ]
    logs = {name: door.logged() for name, door in doors.items()}
    differences, reasons = [], Counter()
    for number, (case, outcome) in enumerate(zip(cases, outcomes)):
        lines = {name: log.get(str(number), {}) for name, log in logs.items()}
        for name, line in lines.items():
            outcome[name]["metadata"] = line.get("metadata")
        for name in ("raw", "headers"):
            if outcome[name] != outcome["module"] and (name == "raw" or case.is_told_as_sent()):
                differences.append(f"{case}\n{name}: {outcome[name]}\nmodule: {outcome['module']}")
        if told := outcome["module"]["metadata"]:
            reasons[told["reason"]] += 1
            details = lines["module"]["details"]
            assert details in ("via_upstream", *(f"claimgate_{it}{{{told['reason']}}}" for it in ("denied", "answered")))
    assert not differences, f"{len(differences)} differences\n" + "\n\n".join(differences[:8])
    # What is never met is not compared.
    assert len(reasons) >= 15, reasons
