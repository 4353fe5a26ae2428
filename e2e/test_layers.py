"""`scripts/layers.py` finds libraries that a crate must not depend on."""

from __future__ import annotations

import pytest

import layers

FORBIDDEN = layers.FORBIDDEN["claimgate-core"]
CORE = "0claimgate-core v0.1.0 (/clone/crates/core)\n1http v1.4.0\n2bytes v1.11.0\n"

TREES = {
    "none": ("", []),
    "a name that only looks like one": ("1prosthesis v1.0.0\n1tokioten v1.0.0\n", []),
    "directly": ("1tokio v1.54.0\n", ["tokio"]),
    "through another": ("1url v2.5.0\n2idna v1.1.0\n3serde_yaml_ng v0.10.0\n1http v1.4.0\n", ["url idna serde_yaml_ng"]),
    "a part of one": ("1tracing-core v0.1.0\n1tonic-prost v0.14.0\n", ["tracing-core", "tonic-prost"]),
    "once, by the first way": ("1url v2.5.0\n2rustls v0.23.0\n1rustls v0.23.0 (*)\n", ["url rustls"]),
    "what comes along": ("1tonic v0.14.0\n2tokio v1.54.0\n3mio v1.0.0\n", ["tonic"]),
    "what comes along and is taken too": ("1tonic v0.14.0\n2tokio v1.54.0\n1tokio v1.54.0\n", ["tonic", "tokio"]),
}


@pytest.mark.parametrize("below, expected", TREES.values(), ids=TREES)
def test_the_way_to_a_forbidden_library_is_found(below: str, expected: list[str]):
    ways = [" ".join(way) for way in layers.ways_to(FORBIDDEN, CORE + below)]
    assert ways == [f"claimgate-core {way}" for way in expected]


@pytest.mark.parametrize("name", [
    "axum", "hyper", "hyper-util", "opentelemetry", "opentelemetry_sdk", "prometheus", "prost", "prost-types",
    "reqwest", "rustls", "tokio", "tokio-util", "tonic", "tracing", "tracing-subscriber",
    "serde-saphyr", "saphyr-parser", "serde_yaml", "serde_yml", "yaml-rust2", "unsafe-libyaml",
])
def test_the_engine_does_without(name: str):
    assert FORBIDDEN.fullmatch(name)


def test_a_tree_that_cannot_be_read_is_an_error():
    with pytest.raises(LookupError, match="warning: who knows"):
        list(layers.ways_to(FORBIDDEN, f"{CORE}warning: who knows\n"))


def test_a_crate_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(layers, "FORBIDDEN", {"claimgate-nowhere": FORBIDDEN})
    assert layers.main() == 2
    assert "there is no crate claimgate-nowhere in this workspace" in capfd.readouterr().err
