"""A CGI script sees only the identity headers that Claimgate sets.

By RFC 3875 a script finds a header's value under its name in capitals. The
server decides about characters other than letters and digits: lighttpd turns
all of them into underscores.
"""

from __future__ import annotations

import pytest

import real_servers
import standard
import web
from envoy_config import envoy_config
from stack import Stack

CGI_AUTH = real_servers.AUTH.replace("auth:\n", "auth:\n  enabled: ${ENABLED}\n")


@pytest.fixture(scope="module", params=["true", "false"], ids=["auth on", "auth off"])
def cgi(module_stack: Stack, request: pytest.FixtureRequest) -> tuple[str, bool]:
    """Envoy before lighttpd's CGI, and whether tokens are checked."""
    enabled = request.param == "true"
    text = (standard.SERVER + CGI_AUTH).replace("${ENABLED}", request.param)
    claimgate = module_stack.claimgate(text)
    upstream = real_servers.lighttpd(module_stack)
    return module_stack.envoy(envoy_config(claimgate.grpc, upstream)).address, enabled


@pytest.fixture(scope="module")
def lighttpd_alone(module_stack: Stack) -> str:
    return real_servers.lighttpd(module_stack)


def _told(address: str, path: str, headers: web.Headers) -> dict[str, str]:
    """The identity headers that a CGI script finds in its environment."""
    lines = web.get(address, path, headers).body.decode().splitlines()
    found = dict(line.split("=", 1) for line in lines)
    return {name: value for name, value in found.items() if name in IDENTITY}


FORGED = [
    *(
        (name, "forged")
        for name in (
            "x-auth-subject",
            "x_auth_subject",
            "x.auth.subject",
            "x.auth-subject",
            "x-auth.subject",
            "x~auth!subject",
            "x'auth*subject",
            "x|auth`subject",
            "X^AUTH+SUBJECT",
            "x#auth$subject",
            "x&auth%subject",
            "x.auth.provider",
            "x_auth.method",
        )
    ),
    ("x.auth.scopes", "admin"),
]
IDENTITY = {f"HTTP_X_AUTH_{name}" for name in ("SUBJECT", "SCOPES", "METHOD", "PROVIDER")}
ALONE = [[header] for header in FORGED]


@pytest.mark.parametrize("forged", [*ALONE, FORGED], ids=[*(name for name, _ in FORGED), "all"])
def test_a_cgi_script_is_told_what_claimgate_says_alone(cgi: tuple[str, bool], forged: web.Headers):
    """lighttpd turns every one of them into `HTTP_X_AUTH_SUBJECT`."""
    address, enabled = cgi
    token = web.bearer("admin-key")
    # On a public path, and with auth off, the caller is not known.
    assert _told(address, "/open", [*forged, *token]) == {}
    truth = {
        "HTTP_X_AUTH_SUBJECT": "admin",
        "HTTP_X_AUTH_SCOPES": "basic admin",
        "HTTP_X_AUTH_METHOD": "api_key",
        "HTTP_X_AUTH_PROVIDER": "keys",
    }
    assert _told(address, "/admin", [*forged, *token]) == (truth if enabled else {})


@pytest.mark.parametrize("header", FORGED, ids=lambda header: header[0])
def test_lighttpd_does_read_them_so(lighttpd_alone: str, header: tuple[str, str]):
    [(name, value)] = _told(lighttpd_alone, "/open", [header]).items()
    assert name in IDENTITY and value == header[1]
