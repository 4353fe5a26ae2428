"""An issuer without a server: a key, its document, and tokens with one defect."""

from __future__ import annotations

import base64
import json
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils


class Key:
    """An ES256 key with this id."""

    def __init__(self, kid: str):
        self.kid = kid
        self._private = ec.generate_private_key(ec.SECP256R1())

    def jwks(self) -> str:
        """The document with this key alone."""
        point = self._private.public_key().public_numbers()
        x, y = (_base64(number.to_bytes(32, "big")) for number in (point.x, point.y))
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.kid, "x": x, "y": y}
        return json.dumps({"keys": [key]})

    def token(self, header: dict | None = None, **claims: object) -> str:
        """A token with these claims, and these members in its header; None
        leaves one out."""
        header = {"alg": "ES256", "kid": self.kid, "typ": "JWT", **(header or {})}
        parts = [{name: value for name, value in part.items() if value is not None} for part in (header, claims)]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        signature = self._private.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
        numbers = utils.decode_dss_signature(signature)
        return f"{text}.{_base64(b''.join(number.to_bytes(32, 'big') for number in numbers))}"


def now() -> int:
    """In seconds since 1970."""
    return int(time.time())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
