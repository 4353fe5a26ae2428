"""examples/compose/: the Compose file is valid, and its services work together.

Docker is not needed: each service's command runs here, with the files and the
environment that it would have in its container, in one network where the
services' names lead to this machine.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import own_network
import tools
import web

EXAMPLE = tools.ROOT / "examples" / "compose"
COMPOSE = yaml.safe_load((EXAMPLE / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
ISSUER, AUDIENCE = "http://127.0.0.1:4400", "https://api.example.com"

# What an image would have, in place of its program's name.
PROGRAMS = {
    "python": lambda: [sys.executable],
    "envoy": lambda: [tools.envoy(), "--disable-hot-restart", "--concurrency", "1"],
    "serve": lambda: [tools.claimgate(), "serve"],
}


def test_the_file_is_a_compose_file():
    checker = tools.venv(tools.HERE / "compose" / "requirements.txt") / "bin" / "check-jsonschema"
    command = [checker, "--builtin-schema", "vendor.compose-spec", EXAMPLE / "compose.yaml"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_envoys_file_is_the_minimal_one_with_other_addresses():
    minimal = yaml.safe_load((EXAMPLE.parent / "envoy" / "minimal.yaml").read_text())
    own = yaml.safe_load((EXAMPLE / "envoy.yaml").read_text())
    resources = minimal["static_resources"]
    [listener], clusters = resources["listeners"], resources["clusters"]
    listener["address"]["socket_address"]["address"] = "0.0.0.0"
    for cluster in clusters:
        cluster["type"] = "STRICT_DNS"
        [[endpoint]] = [group["lb_endpoints"] for group in cluster["load_assignment"]["endpoints"]]
        endpoint["endpoint"]["address"]["socket_address"]["address"] = cluster["name"]
    assert own == minimal


def test_what_it_builds_and_mounts_is_there():
    assert (EXAMPLE / SERVICES["claimgate"]["build"] / "Dockerfile").is_file()
    for service in SERVICES.values():
        assert all(source.is_file() for source in mounts(service).values())


def test_what_envoy_waits_for_is_in_the_image():
    """`service_healthy` of a service without a health check never comes."""
    assert SERVICES["envoy"]["depends_on"]["claimgate"] == {"condition": "service_healthy"}
    image = (tools.ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert "HEALTHCHECK" in image and 'CMD ["/usr/bin/claimgate", "health"]' in image


@pytest.mark.skipif(not own_network.available(), reason="needs a network of its own for the file's ports")
def test_its_services_work_together(tmp_path: Path):
    lines = [f"{tools.node()} {tools.oidc_provider()} 4400 >/dev/null &",
             f"until curl -sf {ISSUER}/jwks -o /dev/null; do sleep 0.1; done"]
    for name, service in SERVICES.items():
        variables = " ".join(f"{key}={value}" for key, value in environment(service).items())
        words = " ".join(f"'{word}'" for word in command(service))
        lines.append(f"env {variables} {words} > {name}.log 2>&1 &")
    lines += [
        'claimgate() { "$CLAIMGATE" "$@"; }',
        "for try in $(seq 300); do claimgate health --address 127.0.0.1:9003 && break; sleep 0.1; done",
        "until curl -sf http://127.0.0.1:9901/ready -o /dev/null; do sleep 0.1; done",
        "token=$(claimgate token --no-cache)",
        "curl -s http://127.0.0.1:8080/orders -o denied.json",
        'curl -s http://127.0.0.1:8080/orders -H "authorization: Bearer $token" -o allowed.json',
        "curl -s http://127.0.0.1:8080/health -o public.json",
        "kill $(jobs -p)",
    ]
    ran = subprocess.run(
        own_network.command("bash", "-euc", "\n".join(lines), hosts=tuple(SERVICES)),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CLAIMGATE": str(tools.claimgate()),
             "GATEWAY_TOKEN_ENDPOINT": f"{ISSUER}/token", "GATEWAY_CLIENT_ID": "machine",
             "GATEWAY_CLIENT_SECRET": "machine-secret", "GATEWAY_RESOURCE": AUDIENCE, "GATEWAY_SCOPE": "invoke"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    logs = "\n".join(f"{log.name}: {log.read_text()}" for log in tmp_path.glob("*.log"))
    assert ran.returncode == 0, f"{ran.stderr}\n{logs}"
    answers = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("denied", "allowed", "public")}
    assert answers["denied"]["error_description"] == "no bearer token was sent"
    assert web.Seen(**answers["allowed"]).get("x-auth-subject") == "machine"
    assert web.Seen(**answers["public"]).path == "/health"


def mounts(service: dict) -> dict[str, Path]:
    """The files on this machine, by their paths in the container."""
    parts = [volume.split(":") for volume in service.get("volumes", [])]
    assert all(mode == "ro" for _, _, mode in parts)
    return {inside: (EXAMPLE / source).resolve() for source, inside, _ in parts}


def command(service: dict) -> list[str]:
    """Its command, with this machine's programs and files."""
    program, *arguments = service["command"]
    return [str(word) for word in [*PROGRAMS[program](), *(mounts(service).get(word, word) for word in arguments)]]


def environment(service: dict) -> dict[str, str]:
    """Its variables, those of the image included."""
    given = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE}
    own = {name: re.sub(r"\$\{(\w+):\?.*\}", lambda named: given[named[1]], value)
           for name, value in service.get("environment", {}).items()}
    config = mounts(service).get("/etc/claimgate/gateway.yaml")
    return {**own, **({"CLAIMGATE_CONFIG": str(config)} if config else {})}
