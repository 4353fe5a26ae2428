"""A pod's limits fit the memory that the program needs by default."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

import chart

SCHEMA = Path(__file__).resolve().parents[2] / "schema" / "claimgate.schema.json"

MIB = 1024 * 1024

EVERYTHING_ELSE = 30 * MIB
"""The program's memory without its caches; `tests/program/cache_memory.rs` tests it."""

HOLES = 48 * MIB
"""Fragmentation after the kind of tokens changed; tested there too."""

UNFINISHED_MESSAGES = 256 * MIB


def defaults(schema: object, key: str) -> set[int]:
    """The defaults of this key, at every place in the schema."""
    if isinstance(schema, list):
        return set().union(*(defaults(each, key) for each in schema))
    if not isinstance(schema, dict):
        return set()
    own = schema.get(key)
    found = {own["default"]} if isinstance(own, dict) and "default" in own else set()
    return found.union(*(defaults(each, key) for each in schema.values()))


def size(text: str) -> int:
    """A quantity of Kubernetes in whole MiB."""
    return int(text.removesuffix("Mi")) * MIB


def test_requests_and_limits_are_the_sum_of_all_bounds():
    schema = json.loads(SCHEMA.read_text())
    (tokens,) = defaults(schema, "token_cache_bytes")
    (answers,) = defaults(schema, "cache_bytes")
    resources = yaml.safe_load((chart.CHART / "values.yaml").read_text())["resources"]
    taken = tokens + answers + EVERYTHING_ELSE
    assert taken <= size(resources["requests"]["memory"])
    assert taken + HOLES + UNFINISHED_MESSAGES <= size(resources["limits"]["memory"])
