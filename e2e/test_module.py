"""What Claimgate inside Envoy decides, on every Envoy that is served."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

import doors
import module_gateway
import standard
import tools
import web
from module_gateway import ModuleGateway
from stack import DidNotStart, Stack

ABI = tools.ROOT / "crates" / "envoy-module" / "src" / "abi.rs"

TOKENS = """
  token_sources:
    - {header: authorization, scheme: Bearer}
    - {query: access_token}
  forward_token: false
"""


@pytest.fixture(scope="module", params=module_gateway.VERSIONS)
def inside(module_stack: Stack, request: pytest.FixtureRequest) -> ModuleGateway:
    """The usual arrangement; Envoy's own route names a route for /named."""
    version = request.param
    return module_gateway.gateway(
        module_stack,
        module_gateway.CONFIG + TOKENS,
        version=version,
        named_routes={"/named": "admin", "/lost": "nowhere"},
        access_log=module_stack.folder / f"access-{version}.jsonl",
    )


def logged(inside: ModuleGateway, path: str) -> dict:
    """What the access log says of the one request for `path`."""
    version = inside.config.stem.removeprefix("gateway-")
    file = inside.config.with_name(f"access-{version}.jsonl")

    def lines() -> list[dict]:
        return [line for line in map(json.loads, file.read_text().splitlines()) if line["path"] == path]

    web.wait_until(lines, f"the access log's line of {path}")
    (line,) = lines()
    return line


def names(path: Path, kind: str, *options: str) -> set[str]:
    """The dynamic symbols of a file that begin so."""
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", *options, path], capture_output=True, text=True, check=True
    )
    return set(re.findall(rf"\benvoy_dynamic_module_{kind}_\w+", listed.stdout))


def declared(section: str) -> set[str]:
    """Envoy's functions that abi.rs declares as required or optional."""
    table = re.search(rf"^    {section} {{\n(.*?)^    }}\n", ABI.read_text(), re.DOTALL | re.MULTILINE)
    found = re.findall(r"^        (\w+)\(", table[1] if table else "", re.MULTILINE)
    assert found
    return {f"envoy_dynamic_module_callback_{name}" for name in found}


def binary(version: str) -> Path:
    """The Envoy behind the script that starts it."""
    folder = tools.module_envoys()[version].parent.parent
    (found,) = folder.glob("lib/python*/site-packages/envoy/_bin/envoy")
    return found


@pytest.mark.parametrize("version", module_gateway.VERSIONS)
def test_every_required_function_is_in_every_envoy(version: str):
    assert declared("required") <= names(binary(version), "callback")


def test_every_optional_function_is_in_the_newest_envoy():
    assert declared("optional") <= names(binary("pinned"), "callback")


def test_every_hook_that_envoy_wants_is_exported():
    wanted = """
        config_new config_destroy new destroy request_headers request_body request_trailers
        response_headers response_body response_trailers stream_complete http_callout_done
        http_stream_headers http_stream_data http_stream_trailers http_stream_complete
        http_stream_reset scheduled config_scheduled local_reply per_route_config_new per_route_config_destroy
        downstream_above_write_buffer_high_watermark downstream_below_write_buffer_low_watermark
    """
    hooks = {f"envoy_dynamic_module_on_http_filter_{name}" for name in wanted.split()}
    hooks.add("envoy_dynamic_module_on_program_init")
    assert names(tools.envoy_module(), "on") == hooks


HOST = """
#include <dlfcn.h>
#include <stdio.h>
struct text {{ const char *start; size_t length; }};
void log_line(unsigned level, struct text line) {{
    fprintf(stderr, "log %u: %.*s\\n", level, (int)line.length, line.start);
}}
{functions}
int main(int count, char **arguments) {{
    void *module = dlopen(arguments[1], RTLD_NOW);
    if (!module) return fprintf(stderr, "%s", dlerror()), 2;
    const char *(*start)(void) = dlsym(module, "envoy_dynamic_module_on_program_init");
    const char *version = start();
    puts(version ? version : "refused");
    return 0;
}}
"""
"""A program that loads the module as Envoy does."""


@pytest.mark.parametrize("missing", [None, "log", "http_set_header", "http_filter_scheduler_commit"])
def test_an_envoy_that_lacks_a_function_is_told_its_name(tmp_path: Path, missing: str | None):
    name = f"envoy_dynamic_module_callback_{missing}"
    there = sorted(declared("required") - {name})
    source, host = tmp_path / "host.c", tmp_path / "host"
    log = "envoy_dynamic_module_callback_log"
    functions = "\n".join(f"long {function}(void) {{ return 0; }}" for function in there if function != log)
    if log in there:
        functions += f"\nvoid {log}(unsigned level, struct text line) {{ log_line(level, line); }}"
    source.write_text(HOST.format(functions=functions))
    subprocess.run(["cc", "-rdynamic", "-o", host, source, "-ldl"], check=True)
    ended = subprocess.run([host, tools.envoy_module()], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == ("refused\n" if missing else "v0.1.0\n")
    said = f"this Envoy lacks {name}; Envoy 1.38 or later is needed"
    match missing:
        case None:
            assert ended.stderr == ""
        case "log":
            assert ended.stderr == f"claimgate: {said}\n"
        case _:
            level, line = ended.stderr.split(": ", 1)
            assert (level, json.loads(line)["message"]) == ("log 4", said)


def test_an_api_key_and_a_token_pass_with_their_identity(inside: ModuleGateway):
    forged = [("x-auth-subject", "root"), ("X_Auth_Scopes", "*"), ("x-auth-email", "a@example.com")]
    seen = inside.get("/orders/key", [*web.bearer("job-key"), *forged]).seen
    assert dict(seen.named("x-auth")) == {
        "x-auth-subject": "job",
        "x-auth-scopes": "invoke",
        "x-auth-method": "api_key",
        "x-auth-provider": "team-keys",
    }
    assert seen.get("authorization") is None
    seen = inside.get("/orders/token", web.bearer(inside.token())).seen
    assert (seen.get("x-auth-subject"), seen.get("x-auth-client-id")) == ("web", "web")


def test_the_token_leaves_the_query_and_the_rest_stays_as_it_was(inside: ModuleGateway):
    reply = inside.get("/orders?flag&b=%20x&access_token=job-key&a=1&access%5Ftoken=job-key")
    assert reply.seen.path == "/orders?flag&b=%20x&a=1"


def test_no_identity_is_forged_on_a_public_path(inside: ModuleGateway):
    seen = inside.get("/public", [("x-auth-subject", "root"), ("x_auth_subject", "root")]).seen
    assert seen.named("x-auth") == []


DENIALS = [
    ("/orders", [], 401, "missing_token", "16"),
    ("/orders", web.bearer("a.b.c"), 401, "malformed_token", "16"),
    ("/orders", web.bearer("gone-key"), 401, "key_revoked", "16"),
    ("/orders", [*web.bearer("job-key"), *web.bearer("job-key")], 400, "malformed_request", "13"),
    ("/admin", web.bearer("job-key"), 403, "insufficient_scope", "7"),
    ("/%61dmin/x", web.bearer("job-key"), 403, "insufficient_scope", "7"),
    ("/a/../admin", web.bearer("job-key"), 400, "ambiguous_path", "13"),
    ("/named", web.bearer("job-key"), 403, "insufficient_scope", "7"),
    ("/lost", web.bearer("job-key"), 500, "unknown_route", "2"),
]


@pytest.mark.parametrize(("path", "headers", "status", "reason", "grpc"), DENIALS)
def test_a_denial_tells_both_sides_why(
    inside: ModuleGateway, path: str, headers: list, status: int, reason: str, grpc: str
):
    path = f"{path}?{status}-{reason}-{len(headers)}"
    reply = inside.get(path, headers)
    assert reply.status == status
    assert reply.header("content-type") == "application/json"
    assert reply.header("cache-control") == "no-store"
    assert (reply.header("www-authenticate") is None) == (status == 500)
    assert set(reply.json()) == {"error", "error_description"}
    line = logged(inside, path)
    assert line["details"] == f"claimgate_denied{{{reason}}}"
    assert (line["status"], line["reason"]) == (status, reason)

    caller = [*headers, ("content-type", "application/grpc"), ("te", "trailers")]
    reply = web.send(inside.envoy.address, "POST", path + "-grpc", caller, b"")
    assert (reply.status, reply.header("grpc-status")) == (200, grpc)
    assert reply.header("content-type") == "application/grpc"
    assert logged(inside, path + "-grpc")["details"] == f"claimgate_denied{{{reason}}}"


def test_the_metadata_is_where_ext_authz_has_it(inside: ModuleGateway):
    inside.get("/metadata", web.bearer("job-key")).seen
    line = logged(inside, "/metadata")
    assert line["details"] == "via_upstream"
    told = {key: line[key] for key in ("reason", "provider", "method", "subject", "scopes")}
    assert told == {
        "reason": "ok",
        "provider": "team-keys",
        "method": "api_key",
        "subject": "job",
        "scopes": ["invoke"],
    }


def test_what_an_earlier_filter_told_is_replaced(stack: Stack):
    """A list of the metadata can only be added to."""
    upstream, file, log = stack.upstream(), stack.folder / "twice.yaml", stack.folder / "twice.jsonl"
    file.write_text(module_gateway.CONFIG)
    config = module_gateway.module_config({"config_file": str(file)}, upstream, access_log=log)
    (chain,) = config["static_resources"]["listeners"][0]["filter_chains"]
    filters = chain["filters"][0]["typed_config"]["http_filters"]
    filters.insert(1, doors.http_filter({"config_file": str(file)}, "again"))
    issuer = stack.issuer(*standard.CLIENTS)
    envoy = module_gateway.start(stack, config, ISSUER_URL=issuer.url)
    assert web.get(envoy.address, "/", web.bearer("job-key")).seen.get("x-auth-subject") == "job"
    web.wait_until(log.read_text, "the access log")
    line = json.loads(log.read_text())
    assert (line["reason"], line["scopes"]) == ("ok", ["invoke"])


def test_odd_requests(inside: ModuleGateway):
    """Bytes that are not text, 50 kB of headers, a body that is still coming."""
    odd = [("x-odd", b"\xff\xfe"), ("x-empty", ""), ("x-twice", "1"), ("x-twice", "2")]
    many = [(f"x-{number}", "v" * 2500) for number in range(20)]
    headers = [*web.bearer("job-key"), *odd, *many]
    reply = web.send(inside.envoy.address, "POST", "/orders", headers, b"b" * 100_000)
    assert reply.seen.get("x-auth-subject") == "job"


def test_envoys_statistics_have_the_metrics(inside: ModuleGateway):
    assert inside.get("/counted").status == 401

    def sample(name: str, *labels: str) -> float:
        """The value of the one series of this name with these labels, or 0."""
        text = web.get(inside.envoy.admin, "/stats/prometheus").body.decode()
        lines = [line for line in text.splitlines() if re.match(rf"\w*{name}{{", line)]
        values = [line.rsplit(" ", 1)[1] for line in lines if all(label in line for label in labels)]
        return sum(map(float, values))

    denied = ['decision="deny"', 'reason="missing_token"']
    counted = sample("claimgate_checks_total", *denied)

    def is_counted() -> bool:
        # An Envoy that counts in streams alone needs one.
        inside.get("/public")
        return sample("claimgate_checks_total", *denied) > counted

    inside.get("/counted")
    web.wait_until(is_counted, "the count of a denial")
    assert sample("claimgate_check_duration_seconds_bucket", 'decision="deny"', 'le="+Inf"') > 0
    assert sample("claimgate_jwks_keys", 'provider="machines"') == 1
    assert sample("claimgate_build_info", 'version="') == 1


def test_dashboard_and_alerts_name_what_the_module_counts():
    """Those of the process aside: Envoy's process has its own."""
    stats = (tools.ROOT / "crates" / "envoy-module" / "src" / "stats.rs").read_text()
    ours = set(re.findall(r'^    \("(claimgate_\w+)", &\[', stats, re.MULTILINE))
    chart = tools.ROOT / "charts" / "claimgate"
    files = [*chart.glob("dashboards/*.json"), chart / "files" / "alerts.yaml"]
    text = "".join(file.read_text() for file in files)
    # Names of recorded series have a colon; what else begins so is not a metric.
    named = set(re.findall(r"(?<![\w:])claimgate_\w+(?=[{\[)\s])", text))
    assert len(named) >= 8 and named <= ours, named - ours


def test_the_log_says_who_and_why(inside: ModuleGateway):
    """As the service's does; the level is Envoy's, changed while it runs."""

    def lines(path: str) -> list[dict]:
        found = [line for line in inside.envoy.log.read_text().splitlines() if f'"{path}"' in line]
        return [json.loads(line[line.index("{") :]) for line in found]

    def set_level(level: str) -> None:
        web.send(inside.envoy.admin, "POST", f"/logging?dynamic_modules={level}", body=b"")

    inside.get("/orders/logged?secret=1", web.bearer("gone-key"))
    web.wait_until(lambda: lines("/orders/logged"), "the line of a denial")
    (line,) = lines("/orders/logged")
    assert (line["message"], line["reason"], line["provider"]) == ("request denied", "key_revoked", "team-keys")
    assert (line["subject"], line["key"]) == ("gone", "gone")
    assert "revoked" in line["detail"]
    assert "gone-key" not in inside.envoy.log.read_text() and "secret" not in str(line)
    set_level("warning")
    try:
        numbers = iter(range(10**6))

        def is_quiet() -> bool:
            path = f"/orders/quiet-{next(numbers)}"
            inside.get(path)
            return not lines(path)

        web.wait_until(is_quiet, "the new level")
    finally:
        set_level("info")


def test_the_log_is_free_of_complaints(inside: ModuleGateway):
    lines = inside.envoy.log.read_text().splitlines()
    ours = [line for line in lines if "[dynamic_modules]" in line and "[info]" not in line]
    # The tests' keys are short, which is warned of.
    assert [line for line in ours if "may be guessed" not in line] == []


def test_a_configuration_that_is_refused_rejects_the_listener(stack: Stack):
    upstream = stack.upstream()
    cases = {
        "auth.providers": {"config": {"auth": {"providers": [{"name": "a", "type": "oauth"}]}}},
        "auth": {"config": {"server": {}}},
        "config_file": {},
        "no-such-file": {"config_file": "/no-such-file.yaml"},
        "filter_config.config_fil: unknown key": {"config": {"auth": {"realm": "a-secret"}}, "config_fil": "a-secret"},
        "filter_config.config_file: must be the path": {"config_file": ["a-secret"]},
        # All at once, those of files too; what the filter has no use for is not looked at.
        "(?s)(?=.*realmm: unknown key)(?=.*no-such-jwks.json)": {
            "config": {
                "server": {"grpc": {"tls": {"cert_file": "a-secret", "key_file": "a-secret"}}},
                "auth": {
                    "realmm": "a",
                    "providers": [
                        {
                            "name": "a",
                            "type": "oauth2",
                            "issuer": "https://a.example.com",
                            "audience": "a",
                            "jwks_file": "/no-such-jwks.json",
                        }
                    ],
                },
            }
        },
    }
    for word, options in cases.items():
        with pytest.raises(DidNotStart, match=word) as refused:
            module_gateway.start(stack, module_gateway.module_config(options, upstream))
        # Keys may stand there, so nothing of it is quoted.
        assert "a-secret" not in str(refused.value)


@pytest.mark.parametrize("version", module_gateway.VERSIONS)
def test_an_envoy_that_can_not_be_told_limits_says_so(stack: Stack, version: str):
    plans = "plans: {free: {requests: {per_minute: 5}}}\n  default_plan: free\n  limits: metadata"
    inside = module_gateway.gateway(
        stack, module_gateway.CONFIG.replace("auth:", f"auth:\n  {plans}", 1), version=version
    )
    said = inside.logged("auth.limits: this Envoy takes no structure from a module")
    assert said == (0 if version == "pinned" else 1)


def test_a_configuration_may_stand_in_envoys_own(stack: Stack):
    auth = {"providers": [{"name": "k", "type": "api_key", "keys": [{"name": "me", "key": "${KEY}"}]}]}
    config = module_gateway.module_config({"config": {"auth": auth}}, stack.upstream())
    envoy = module_gateway.start(stack, config, KEY="the-key-from-the-environment")
    assert web.get(envoy.address, "/").status == 401
    headers = web.bearer("the-key-from-the-environment")
    assert web.get(envoy.address, "/", headers).seen.get("x-auth-subject") == "me"
