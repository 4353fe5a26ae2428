"""The clients get tokens: the shell scripts and `claimgate token`."""

from __future__ import annotations

import json
import shlex
import ssl
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

import token_clients as clients
import tools
import web
from stack import Program, Stack
from token_clients import Client, Desk, Endpoint

IDENTITY = {"GATEWAY_CLIENT_ID": "web", "GATEWAY_CLIENT_SECRET": "s3cret-of-web"}

ODD = [
    "plain-._~secret",
    "sp ace and\ttab",
    "quo'te \"double\" `back`",
    "$HOME $(id) \\n \\ %41 +",
    "a&b=c;d:e/f?g#h@i",
    "ünïcødé 密码 🔑",
    "*? [x] {y,z} ~ ! ^ |<>",
]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def desk(tmp_path: Path, client: Client) -> Desk:
    return Desk(tmp_path, client, dict(IDENTITY))


every_client = pytest.mark.parametrize("client", clients.ALL, ids=repr)
every_uncached = pytest.mark.parametrize("client", clients.UNCACHED, ids=repr)


def claims(token: str) -> dict:
    return clients.part(token, 1)


# The requests.


@pytest.fixture(scope="module")
def issuer(module_stack: Stack):
    odd = [f"--client=odd {n}:{s}:read write" for n, s in enumerate(ODD) if ":" not in s]
    return module_stack.issuer("--client=web:s3cret-of-web:read write", *odd)


@every_client
@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post"])
def test_the_development_issuer_gives_a_token(issuer, desk: Desk, auth: str):
    variables = {"GATEWAY_TOKEN_ENDPOINT": issuer.token_endpoint, "GATEWAY_CLIENT_AUTH": auth}
    assert claims(desk.run(**variables).token)["scope"] == "read write"
    asked = desk.run(**variables, GATEWAY_SCOPE="write", GATEWAY_AUDIENCE="api")
    assert (claims(asked.token)["scope"], claims(asked.token)["aud"]) == ("write", "api")


@every_uncached
def test_the_development_issuer_knows_odd_secrets(issuer, desk: Desk):
    for number, secret in enumerate(ODD):
        if ":" in secret:
            continue
        desk.variables = {"GATEWAY_CLIENT_ID": f"odd {number}", "GATEWAY_CLIENT_SECRET": secret}
        token = desk.run(GATEWAY_TOKEN_ENDPOINT=issuer.token_endpoint).token
        assert claims(token)["client_id"] == f"odd {number}"


@every_uncached
@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post"])
def test_values_arrive_as_they_are(endpoint: Endpoint, desk: Desk, auth: str):
    for value in ODD:
        values = {"GATEWAY_CLIENT_ID": f"id {value}", "GATEWAY_CLIENT_SECRET": value}
        extra = {"GATEWAY_SCOPE": "https://gw/invoke a:b", "GATEWAY_RESOURCE": f"urn:{value}"}
        desk.run(
            **values, **extra, GATEWAY_TOKEN_ENDPOINT=endpoint.url, GATEWAY_CLIENT_AUTH=auth
        )
        asked = endpoint.asked[-1]
        assert asked.client == (f"id {value}", value)
        assert asked.form["grant_type"] == "client_credentials"
        assert asked.form["scope"] == "https://gw/invoke a:b"
        assert asked.form["resource"] == f"urn:{value}"
        assert "audience" not in asked.form
    assert len(endpoint.asked) == len(ODD)


@pytest.fixture(scope="module")
def oidc_provider(module_stack: Stack) -> str:
    server = module_stack.start(Program, "oidc-provider", [tools.node(), tools.oidc_provider()])
    return server.first_line()


@every_client
@pytest.mark.parametrize(
    "name, secret, auth",
    [
        ("machine", "machine-secret", "client_secret_basic"),
        ("odd: client", "s p\"a'c:e%25+&=\\", "client_secret_basic"),
        ("odd: poster", "s p\"a'c:e%25+&=\\", "client_secret_post"),
    ],
)
def test_oidc_provider_gives_a_token(
    oidc_provider: str, desk: Desk, name: str, secret: str, auth: str
):
    desk.variables = {
        "GATEWAY_CLIENT_ID": name,
        "GATEWAY_CLIENT_SECRET": secret,
        "GATEWAY_CLIENT_AUTH": auth,
        "GATEWAY_TOKEN_ENDPOINT": f"{oidc_provider}/token",
        "GATEWAY_SCOPE": "invoke",
    }
    found = claims(desk.run(GATEWAY_RESOURCE="urn:e2e:ES256").token)
    assert (found["client_id"], found["scope"]) == (name, "invoke")
    assert "." not in desk.run(GATEWAY_RESOURCE="urn:e2e:opaque").token
    refused = desk.run(GATEWAY_CLIENT_SECRET="wrong", GATEWAY_RESOURCE="urn:e2e:PS256")
    assert refused.status == 2
    assert "invalid_client" in refused.stderr


# The page.


def test_the_page_works_as_printed(module_stack: Stack, tmp_path: Path):
    """With other addresses: the demo client of `claimgate issuer`, and an
    upstream that echoes instead of the gateway."""
    page = (tools.ROOT / "docs" / "clients.md").read_text()
    getting, sending = clients.blocks(page, "console")
    issuer, upstream = module_stack.issuer(), module_stack.upstream()
    own = tmp_path / "bin"
    own.mkdir()
    (own / "claimgate").symlink_to(tools.claimgate())
    (tmp_path / "scripts").symlink_to(clients.SCRIPTS)
    script = "set -e\n"
    for command, _ in clients.commands(getting) + clients.commands(sending):
        script += command + "\n"
        if command.endswith("> token"):
            script += "cat token >> tokens\n"
    script = script.replace("127.0.0.1:9010", issuer.address)
    script = script.replace("https://gateway.example.com", f"http://{upstream}")
    output = subprocess.check_output(
        ["bash", "-c", script], cwd=tmp_path, timeout=clients.SECONDS,
        env={"PATH": f"{own}:/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    by_program, by_script = (tmp_path / "tokens").read_text().splitlines()
    assert claims(by_program)["client_id"] == claims(by_script)["client_id"] == "demo"
    assert web.Seen(**json.loads(output)).get("authorization") == f"Bearer {by_program}"
    for block in clients.blocks(page, "json"):
        json.loads(block)
    for block in clients.blocks(page, "toml"):
        tomllib.loads(block)
    for block in clients.blocks(page, "python"):
        compile(block, "clients.md", "exec")


# Exit codes.


@every_client
@pytest.mark.parametrize("empty", [False, True], ids=["unset", "empty"])
def test_1_a_variable_is_missing(endpoint: Endpoint, desk: Desk, empty: bool):
    complete = {**IDENTITY, "GATEWAY_TOKEN_ENDPOINT": endpoint.url}
    for name in complete:
        desk.variables = {other: value for other, value in complete.items() if other != name}
        outcome = desk.run(**({name: ""} if empty else {}))
        assert (outcome.status, outcome.stdout) == (1, "")
        assert f"{name} is not set" in outcome.stderr
    assert not endpoint.asked


@every_client
@pytest.mark.parametrize(
    "name, value",
    [
        ("GATEWAY_CLIENT_AUTH", "basic"),
        ("GATEWAY_TIMEOUT_SECONDS", "soon"),
        ("GATEWAY_TIMEOUT_SECONDS", "0"),
    ],
)
def test_1_a_variable_makes_no_sense(endpoint: Endpoint, desk: Desk, name: str, value: str):
    outcome = desk.run(GATEWAY_TOKEN_ENDPOINT=endpoint.url, **{name: value})
    assert (outcome.status, outcome.stdout) == (1, "")
    assert name in outcome.stderr
    assert not endpoint.asked


@every_client
@pytest.mark.parametrize(
    "url, complaint",
    [
        ("http://127.0.0.1:1/token", "onnect"),
        ("http://nobody.invalid/token", "https"),
        ("https://nobody.invalid/token", ""),
        ("http://127.evil.invalid/token", "https"),
        ("https://me:pass@id.example/token", "user name or password"),
        ("file:///etc/passwd", "https://"),
        ("not a url", "not a URL"),
        ('http://127.0.0.1:1/"\nurl = "http://127.0.0.1:2/', "not a URL"),
    ],
)
def test_2_the_endpoint_can_not_be_asked(desk: Desk, url: str, complaint: str):
    outcome = desk.run(GATEWAY_TOKEN_ENDPOINT=url)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert complaint in outcome.stderr
    assert IDENTITY["GATEWAY_CLIENT_SECRET"] not in outcome.stderr


@every_client
def test_2_the_endpoint_hangs(desk: Desk):
    with clients.silent_port() as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/token"
        started = time.monotonic()
        outcome = desk.run(GATEWAY_TOKEN_ENDPOINT=url, GATEWAY_TIMEOUT_SECONDS="1")
        took = time.monotonic() - started
    assert (outcome.status, outcome.stdout) == (2, "")
    assert 1 <= took < clients.SECONDS / 2


@every_client
@pytest.mark.parametrize(
    "status, body, told",
    [
        (400, '{"error":"invalid_scope","error_description":"no such scope"}', "invalid_scope (no such scope)"),
        (401, '{"error":"invalid_client"}', "401: invalid_client"),
        (401, "<html>sign in</html>", "401"),
        (201, '{"access_token":"a.b.c"}', "201"),
        (204, "", "204"),
        (302, "", "302"),
        (307, "", "307"),
        (500, "", "500"),
        (503, '{"error":"\\u001b[31mred"}', "503"),
        (401, '{"error":"invalid_client","error_description":"not s3cret-of-web"}', "401"),
        (200, "x" * 70_000, ""),
    ],
)
def test_2_the_request_fails(endpoint: Endpoint, desk: Desk, status: int, body: str, told: str):
    headers = {"location": endpoint.url} if status in (302, 307) else None
    endpoint.answer(body, status, headers)
    outcome = desk.run(GATEWAY_TOKEN_ENDPOINT=endpoint.url)
    assert (outcome.status, outcome.stdout) == (2, "")
    assert told in outcome.stderr
    assert IDENTITY["GATEWAY_CLIENT_SECRET"] not in outcome.stderr
    assert "\x1b" not in outcome.stderr
    # Redirects are not followed, and nothing is retried.
    assert len(endpoint.asked) == 1
    assert not desk.cache_files()


NO_TOKEN = [
    "",
    "<!doctype html><title>Sign in</title>",
    "token",
    '"token"',
    '["access_token"]',
    "{}",
    '{"access_token":null}',
    '{"access_token":""}',
    '{"access_token":12}',
    '{"access_token":{"a":"b"}}',
    '{"access_token":"two words"}',
    '{"access_token":"a\\nb"}',
    '{"access_token":"\\u00e9"}',
    '{"access_token":"é"}',
    '{"access_token":"a\0b"}',
    '{"access_token":"ab"}\0',
    '{"access_token":"a","access_token":"b"}',
    '{"access_token":"a"',
    '{"access_token":"a"} {}',
    '{"access_token":"a",}',
    '{"access_token":"a" "b"}',
    "{'access_token':'a'}",
    '{"expires_in":01,"access_token":"a"}',
    '{"data":{"access_token":"a"}}',
    '{"data":"\\"access_token\\":\\"a\\""}',
    '{"id_token":"a.b.c","token_type":"Bearer"}',
]


@every_client
def test_3_the_answer_has_no_token(endpoint: Endpoint, desk: Desk):
    for body in NO_TOKEN:
        endpoint.answer(body)
        outcome = desk.run(GATEWAY_TOKEN_ENDPOINT=endpoint.url)
        assert (outcome.status, outcome.stdout) == (3, ""), body
        assert "the answer" in outcome.stderr
    assert not desk.cache_files()


@every_uncached
def test_0_whatever_json_the_token_is_in(endpoint: Endpoint, desk: Desk):
    for body in [
        '{"access_token":"a.b-c_~+/="}',
        ' \r\n\t{ "access_token" :\n"a.b-c_~+/=" } \n',
        '{"access_token":"\\u0061.b-c_~+\\/="}',
        '{"acc\\u0065ss_token":"a.b-c_~+/="}',
        '{"x":[1,-2.5e+3,true,false,null,{},[],{"access_token":"no"}],"access_token":"a.b-c_~+/="}',
        '{"name":"密 \\ud83d\\udd11 \\" \\\\","access_token":"a.b-c_~+/=","expires_in":"soon"}',
        '\x7b"padding":"' + "x" * 30_000 + '","access_token":"a.b-c_~+/="}',
    ]:
        endpoint.answer(body)
        assert desk.run(GATEWAY_TOKEN_ENDPOINT=endpoint.url).token == "a.b-c_~+/=", body


@every_client
def test_a_token_that_was_not_printed_is_an_error(endpoint: Endpoint, desk: Desk):
    """Writes to /dev/full fail. The second run of a client with a cache prints
    the cached token."""
    for _ in range(2):
        with open("/dev/full", "wb") as full:
            ended = subprocess.run(
                [str(part) for part in desk.client.command()],
                env={**desk.environment, "GATEWAY_TOKEN_ENDPOINT": endpoint.url},
                stdout=full, stderr=subprocess.PIPE, timeout=clients.SECONDS,
            )
        assert ended.returncode == 1
        assert ended.stderr


@every_client
def test_loopback_is_not_asked_of_a_proxy(endpoint: Endpoint, desk: Desk):
    """It has another loopback, and would get the secret."""
    with Endpoint() as proxy:
        url = f"http://127.0.0.1:{proxy.server_port}"
        outcome = desk.run(GATEWAY_TOKEN_ENDPOINT=endpoint.url, http_proxy=url, all_proxy=url)
        assert outcome.token == "opaque"
        assert (len(endpoint.asked), len(proxy.asked)) == (1, 0)


@every_client
def test_arguments_are_refused(endpoint: Endpoint, desk: Desk):
    """Every user could see a secret in an argument."""
    command = [*desk.client.command(), "--client-secret", "s3cret"]
    ended = subprocess.run(
        command, env={**desk.environment, "GATEWAY_TOKEN_ENDPOINT": endpoint.url},
        capture_output=True, timeout=clients.SECONDS,
    )
    assert ended.returncode == 1
    assert not endpoint.asked


# Secrets.


@every_client
def test_no_secret_is_on_a_command_line(endpoint: Endpoint, desk: Desk):
    """Every program that a script starts goes through a spy that records its
    arguments."""
    log, spies = desk.folder / "calls", desk.folder / "spies"
    spies.mkdir()
    real = desk.path
    for name in "awk cat cksum curl date dirname find id mkdir mktemp mv od printf rm rmdir sleep tr".split():
        spy = spies / name
        spy.write_text(
            f'#!/bin/bash\nprintf "%s\\0" {name} "$@" >> {shlex.quote(str(log))}\n'
            f'PATH={shlex.quote(real)} exec {name} "$@"\n'
        )
        spy.chmod(0o755)
    secret, token = "to p-s3cret+", clients.jwt('{"exp":9999999999}')
    endpoint.answer(json.dumps({"access_token": token}))
    outcome = desk.run(
        PATH=f"{spies}:{real}", GATEWAY_TOKEN_ENDPOINT=endpoint.url, GATEWAY_CLIENT_SECRET=secret
    )
    assert outcome.token == token
    assert endpoint.asked[-1].client == ("web", secret)
    calls = log.read_text() if log.exists() else ""
    assert ("curl" in calls) == ("token" not in desk.client.name)
    for hidden in [secret, "s3cret", token, token.split(".")[1]]:
        assert hidden not in calls
        assert hidden not in outcome.stderr


@every_client
def test_curls_own_settings_are_left_out(endpoint: Endpoint, desk: Desk):
    """`verbose` in them would print the secret."""
    (desk.home / ".curlrc").write_text("verbose\ninclude\n")
    outcome = desk.run(GATEWAY_TOKEN_ENDPOINT=endpoint.url)
    assert (outcome.token, outcome.stderr) == ("opaque", "")


@every_client
def test_a_private_ca_is_named(desk: Desk, tls_issuer: tuple[str, Path]):
    url, ca_file = tls_issuer
    distrusted = desk.run(GATEWAY_TOKEN_ENDPOINT=url)
    assert distrusted.status == 2
    assert "certificate" in distrusted.stderr.lower()
    trusted = desk.run(GATEWAY_TOKEN_ENDPOINT=url, GATEWAY_CA_FILE=str(ca_file))
    assert trusted.token == "opaque"
    missing = desk.run(GATEWAY_TOKEN_ENDPOINT=url, GATEWAY_CA_FILE="/nowhere.pem", HOME="/nowhere")
    assert missing.status == 2


@pytest.fixture(scope="module")
def tls_issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The double behind TLS, with an unknown certificate."""
    folder = tmp_path_factory.mktemp("tls")
    authority, ca_file = trustme.CA(), folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with Endpoint() as endpoint:
        endpoint.socket = context.wrap_socket(endpoint.socket, server_side=True)
        yield f"https://localhost:{endpoint.server_port}/token", ca_file
