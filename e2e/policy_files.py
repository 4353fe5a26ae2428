"""Policy tests, `examples/tests/`, made ready to be sent through a real Envoy:
throw-away keys replace those of issuers and callers, as `claimgate test` does."""

from __future__ import annotations

import base64
import copy
import datetime
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import tools
import web
from standard import SERVER

FILES = sorted((tools.ROOT / "examples" / "tests").glob("*.test.yaml"))

NEEDS_OTHERS = "requests_before"
"""A case with it has budgets of its own, which the cases of a scene share;
test_limits.py uses up some."""

ASKS_A_PROVIDER = "answers"
"""A case with it says what a custom provider answers, and there is none here."""

LIFETIME = 3600


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Keys:
    """One key for each algorithm that the examples use."""

    def __init__(self) -> None:
        self._rsa = rsa.generate_private_key(65537, 2048)
        self._ec = ec.generate_private_key(ec.SECP256R1())
        self._ed = ed25519.Ed25519PrivateKey.generate()

    def jwks(self) -> dict:
        ours = self._rsa.public_key().public_numbers()
        point = self._ec.public_key().public_numbers()
        return {
            "keys": [
                {"kid": "rsa", "kty": "RSA", "n": number(ours.n), "e": number(ours.e)},
                {
                    **{"kid": "ec", "kty": "EC", "crv": "P-256"},
                    **{"x": encoded(point.x.to_bytes(32, "big")), "y": encoded(point.y.to_bytes(32, "big"))},
                },
                {
                    **{"kid": "ed", "kty": "OKP", "crv": "Ed25519"},
                    "x": encoded(self._ed.public_key().public_bytes_raw()),
                },
            ]
        }

    def token(self, header: dict, claims: dict) -> str:
        algorithm = header["alg"]
        kid = {"ES256": "ec", "EdDSA": "ed"}.get(algorithm, "rsa")
        parts = [encoded(json.dumps(part).encode()) for part in ({"kid": kid, **header}, claims)]
        signed = ".".join(parts).encode()
        return f"{signed.decode()}.{encoded(self._sign(algorithm, signed))}"

    def _sign(self, algorithm: str, data: bytes) -> bytes:
        match algorithm:
            case "RS256":
                return self._rsa.sign(data, padding.PKCS1v15(), hashes.SHA256())
            case "PS256":
                salted = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
                return self._rsa.sign(data, salted, hashes.SHA256())
            case "ES256":
                r, s = decode_dss_signature(self._ec.sign(data, ec.ECDSA(hashes.SHA256())))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")
            case "EdDSA":
                return self._ed.sign(data)
        raise ValueError(algorithm)


class Issuers:
    """Serves the keys of every issuer; those that are down have none."""

    def __init__(self) -> None:
        self.keys: dict[str, Keys] = {}
        self.strangers = Keys()
        issuers = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                where = self.path.strip("/")
                found = issuers.keys.get(where)
                self.send_response(200 if found else 503)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(found.jwks() if found else {}).encode())

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def place(self, issuer: str, down: bool) -> str:
        """Where its keys are."""
        where = issuer.encode().hex()
        self.keys.setdefault(where, Keys())
        return f"http://127.0.0.1:{self._server.server_port}/{'down' if down else where}"

    def of(self, issuer: str) -> Keys:
        return self.keys[issuer.encode().hex()]


@dataclass
class Scene:
    """A config with what is the same for several cases: which providers are
    down, when it is, and whose API key is sent."""

    file: Path
    down: tuple[str, ...]
    at: datetime.datetime | None
    caller: str | None
    config: dict = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    cases: list[dict] = field(default_factory=list)

    @property
    def auth(self) -> dict:
        return self.config["auth"]

    def providers(self) -> Iterator[tuple[str, dict]]:
        """The providers of JWTs, by name."""
        if "oauth2" in self.auth:
            yield "oauth2", self.auth["oauth2"]
        for provider in self.auth.get("providers", []):
            if provider["type"] == "oauth2":
                yield provider["name"], provider

    def text(self, issuers: Issuers) -> str:
        """The config file, to be served."""
        config = copy.deepcopy(self.config)
        ready = Scene(self.file, self.down, self.at, self.caller, config)
        for name, provider in ready.providers():
            for key in ("discovery", "ca_file", "jwks_file", "fetch_token_file"):
                provider.pop(key, None)
            provider["jwks_uri"] = issuers.place(provider["issuer"], name in self.down)
        for provider in [ready.auth, *ready.auth.get("providers", [])]:
            for key in provider.get("api_keys", provider.get("keys", [])):
                self._ready_key(key)
            if provider.get("type") == "grpc":
                provider.pop("ca_file", None)
                provider["address"] = "http://127.0.0.1:9"
        return f"{SERVER}  check_timeout_ms: 2000\n" + yaml.safe_dump({"auth": ready.auth})

    def _ready_key(self, key: dict) -> None:
        if key["name"] == self.caller:
            key.pop("key_hash", None)
            key["key"] = throw_away(self.caller)
        for limit in ("expires_at", "not_before"):
            if key.get(limit) and self.at:
                # The case's time becomes ours. What is to come stays so,
                # however long the test takes.
                ahead = datetime.timedelta(hours=key[limit] > self.at)
                key[limit] += datetime.datetime.now(datetime.timezone.utc) - self.at + ahead
            if isinstance(key.get(limit), datetime.datetime):
                key[limit] = key[limit].strftime("%Y-%m-%dT%H:%M:%SZ")


def throw_away(name: str) -> str:
    """The key that stands for the one of this name."""
    return f"throw-away-key-of-{name}"


def scenes(file: Path) -> list[Scene]:
    """The cases of a file, by what they need."""
    document = yaml.safe_load(file.read_text())
    config = yaml.safe_load((file.parent / document["config"]).read_text())
    found: dict[tuple, Scene] = {}
    for case in document["cases"]:
        if ASKS_A_PROVIDER in case or NEEDS_OTHERS in case:
            continue
        at = case.get("at", document.get("at"))
        caller = case.get("api_key")
        caller = caller["name"] if isinstance(caller, dict) else caller
        needs = (tuple(case.get("unavailable", [])), at, caller)
        scene = found.setdefault(needs, Scene(file, *needs, config, document.get("env", {})))
        scene.cases.append(case)
    return list(found.values())


def request(scene: Scene, case: dict, issuers: Issuers) -> tuple[str, str, web.Headers]:
    """What is sent: method, path and headers."""
    asked = case["request"]
    if isinstance(asked, str):
        method, _, path = asked.rpartition(" ")
        asked = {"method": method or "GET", "path": path}
    token = _token(scene, case, issuers)
    headers = list(asked.get("headers", {}).items())
    if "host" in asked:
        headers.append(("host", asked["host"]))
    path = asked["path"]
    named = "{token}" in path or any("{token}" in value for _, value in headers)
    if token is not None and not named:
        headers.append(("authorization", "Bearer {token}"))
    headers = [(name, value.replace("{token}", token or "")) for name, value in headers]
    return asked.get("method", "GET"), path.replace("{token}", token or ""), headers


def expected(case: dict) -> dict:
    """What must come of it; a decision is a status."""
    expect = case["expect"]
    expect = {"decision": expect} if isinstance(expect, str) else dict(expect)
    if expect.pop("decision", None) == "allow":
        expect["status"] = 200
    if "scopes" in expect:
        expect["scopes"] = sorted(expect["scopes"])
    return expect


def _token(scene: Scene, case: dict, issuers: Issuers) -> str | None:
    if "api_key" in case:
        return throw_away(scene.caller)
    if "jwt" in case:
        return _jwt(scene, case["jwt"] or {}, issuers)
    return case.get("token")


def _jwt(scene: Scene, jwt: dict, issuers: Issuers) -> str:
    """A token that is valid, apart from what the case changes."""
    providers = dict(scene.providers())
    provider = providers[jwt["provider"]] if "provider" in jwt else next(iter(providers.values()))
    now = int(time.time())
    expires_in = jwt.get("expires_in", LIFETIME)
    claims: dict = {
        **{"iss": provider["issuer"], "sub": "test-subject"},
        **{"iat": min(now, now + expires_in - LIFETIME), "exp": now + expires_in},
    }
    changes = jwt.get("claims", {})
    if audience := provider.get("audience"):
        claims["aud"] = audience if isinstance(audience, str) else audience[0]
    if provider.get("client_ids") and not {"client_id", "azp", "appid", "cid"} & set(changes):
        claims["client_id"] = provider["client_ids"][0]
    for path, value in provider.get("required_claims", {}).items():
        _put(claims, path, value[0] if isinstance(value, list) else value)
    if "scopes" in jwt:
        _put(claims, provider.get("scope_claim", "scope"), " ".join(jwt["scopes"]))
    for name, value in changes.items():
        claims[name] = value
    claims = {name: value for name, value in claims.items() if value is not None}
    algorithm = jwt.get("algorithm", provider.get("algorithms", ["RS256"])[0])
    by_stranger = jwt.get("signed_by") is not None
    keys = issuers.strangers if by_stranger else issuers.of(provider["issuer"])
    return keys.token({"alg": algorithm, **jwt.get("header", {})}, claims)


def _put(claims: dict, path: str, value: object) -> None:
    *above, last = [path] if "/" in path else path.split(".")
    for segment in above:
        claims = claims.setdefault(segment, {})
    claims[last] = value
