"""Headers that Envoy hides from Claimgate: the effect, and the settings that help.

Claimgate tells Envoy to remove each header of the request whose name an upstream
may take for an identity header's. With `allowed_headers` it does not see all of
them, and can't remove those that it does not see.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import standard
import tools
import web
from envoy_config import EXT_AUTHZ, envoy_config
from stack import Stack

UNDERSCORES = [("x_auth_subject", "forged"), ("x_auth-client_id", "forged")]
OTHERS = [("x.auth.subject", "forged"), ("x~auth!subject", "forged"), ("x.auth.client-id", "forged")]
AS_CONFIGURED = [("x-auth-subject", "forged"), ("X-Auth-Client-Id", "forged")]

ALIKE = "x[^a-z0-9]auth[^a-z0-9](subject|scopes|method|provider|client[^a-z0-9]id)"
"""Every name that an upstream may take for that of an identity header: those of
the defaults, and the one that most pages add."""


def allowed(*more: dict) -> dict:
    """Of the ext_authz filter: only these headers of the request are sent."""
    return {"allowed_headers": {"patterns": [{"exact": "authorization"}, *more]}}


def underscores(action: str) -> dict:
    """Of the connection manager."""
    return {"common_http_protocol_options": {"headers_with_underscores_action": action}}


def removed_early(*matchers: dict) -> dict:
    """Of the connection manager: removes headers before any filter sees them."""
    kind = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    mutations = [{"remove_on_match": {"key_matcher": matcher}} for matcher in matchers]
    config = {"@type": f"type.googleapis.com/{kind}", "mutations": mutations}
    name = "envoy.http.early_header_mutation.header_mutation"
    return {"early_header_mutation_extensions": [{"name": name, "typed_config": config}]}


def config(claimgate: str, upstream: str, authz: dict, manager: dict) -> dict:
    """The usual configuration with more settings for the filter and for the
    connection manager."""
    made = envoy_config(claimgate, upstream)
    [listener] = made["static_resources"]["listeners"]
    found = listener["filter_chains"][0]["filters"][0]["typed_config"]
    found |= manager
    [ext_authz] = [each for each in found["http_filters"] if each["name"] == EXT_AUTHZ]
    ext_authz["typed_config"] |= authz
    return made


def names(headers: web.Headers) -> set[str]:
    return {name.lower() for name, _ in headers}


HIDDEN = {
    "allowed_headers": (allowed(), {}),
    "disallowed_headers": ({"disallowed_headers": {"patterns": [{"safe_regex": {"regex": ALIKE}}]}}, {}),
    "underscores dropped": (allowed(), underscores("DROP_HEADER")),
}
CURED = {
    "allowed_headers left out": ({}, {}),
    "look-alikes in the list": (allowed({"safe_regex": {"regex": ALIKE}}), {}),
    "removed early": (allowed(), removed_early({"safe_regex": {"regex": ALIKE}})),
}
"""Settings of the ext_authz filter and of the connection manager."""


@dataclass
class Services:
    """The programs around every Envoy here."""

    stack: Stack
    claimgate: str
    upstream: str

    def forged(self, authz: dict, manager: dict, path: str, own: web.Headers) -> set[str]:
        """The names of forged headers that arrive, each sent alone."""
        envoy = self.stack.envoy(config(self.claimgate, self.upstream, authz, manager))
        arrived = set()
        for header in [*UNDERSCORES, *OTHERS, *AS_CONFIGURED]:
            seen = web.get(envoy.address, path, [header, *own]).seen
            arrived |= names(each for each in seen.headers if each[1] == "forged")
        envoy.stop()
        return arrived


@pytest.fixture(scope="module")
def services(module_stack: Stack) -> Services:
    issuer = module_stack.issuer(*standard.CLIENTS)
    claimgate = module_stack.claimgate(standard.CONFIG, ISSUER_URL=issuer.url)
    return Services(module_stack, claimgate.grpc, module_stack.upstream())


CASES = [("/orders", web.bearer("job-key")), ("/public", [])]


@pytest.mark.parametrize(("path", "own"), CASES, ids=["allowed", "public"])
@pytest.mark.parametrize("setting", HIDDEN)
def test_what_is_hidden_is_not_removed(services: Services, setting: str, path: str, own: web.Headers):
    """The configured names are removed, whether Claimgate sees them or not."""
    arrived = services.forged(*HIDDEN[setting], path, own)
    dropped = names(UNDERSCORES) if "underscores" in setting else set()
    assert arrived == names([*UNDERSCORES, *OTHERS]) - dropped


@pytest.mark.parametrize(("path", "own"), CASES, ids=["allowed", "public"])
@pytest.mark.parametrize("setting", CURED)
def test_what_cures_it(services: Services, setting: str, path: str, own: web.Headers):
    assert services.forged(*CURED[setting], path, own) == set()


@pytest.mark.parametrize("setting", CURED)
def test_other_headers_stay(services: Services, setting: str):
    envoy = services.stack.envoy(config(services.claimgate, services.upstream, *CURED[setting]))
    others = [("x-auth-token", "a"), ("x_auth_token", "b"), ("x-auth-subject-2", "c"), ("x-oauth-subject", "d")]
    seen = web.get(envoy.address, "/orders", [*others, *web.bearer("job-key")]).seen
    assert {name: seen.get(name) for name, _ in others} == dict(others)


def test_underscores_can_be_refused(services: Services):
    """This leaves the other look-alikes."""
    made = config(services.claimgate, services.upstream, allowed(), underscores("REJECT_REQUEST"))
    envoy = services.stack.envoy(made)
    for header in UNDERSCORES:
        assert web.get(envoy.address, "/orders", [header, *web.bearer("job-key")]).status == 400
    for header in OTHERS:
        assert web.get(envoy.address, "/orders", [header, *web.bearer("job-key")]).seen.get(header[0])


def test_a_route_can_remove_what_it_names(services: Services):
    """After Claimgate's response, so that it need not have seen them."""
    made = config(services.claimgate, services.upstream, allowed(), {})
    manager = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    listed = ["x_auth_subject", "x.auth.subject"]
    manager["route_config"]["request_headers_to_remove"] = listed
    envoy = services.stack.envoy(made)
    seen = web.get(envoy.address, "/orders", [*UNDERSCORES, *OTHERS, *web.bearer("job-key")]).seen
    arrived = names(each for each in seen.headers if each[1] == "forged")
    assert arrived == names([*UNDERSCORES, *OTHERS]) - set(listed)
    assert seen.get("x-auth-subject") == "job"


@pytest.mark.parametrize("file", ["docs/envoy.md", "examples/envoy/edge.yaml"])
def test_the_pattern_that_is_shown_is_the_one_tried_here(file: str):
    assert f'regex: "{ALIKE}"' in (tools.ROOT / file).read_text()


def test_envoy_gateway_is_given_the_same():
    page = (tools.ROOT / "docs" / "envoy-gateway.md").read_text()
    assert f'{{type: RegularExpression, value: "{ALIKE}"}}' in page
