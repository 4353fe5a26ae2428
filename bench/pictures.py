"""The charts of docs/benchmarks.md, by name, and how the page shows one."""

from __future__ import annotations

from dataclasses import dataclass

FOLDER = "pictures"
"""Beside the page."""


@dataclass(frozen=True)
class Picture:
    name: str
    text: str
    """In place of the picture, for those who can't see it."""

    def markdown(self) -> str:
        """Light or dark as the reader's page is."""
        return (
            "<picture>\n"
            f'<source media="(prefers-color-scheme: dark)" srcset="{FOLDER}/{self.name}-dark.svg">\n'
            f'<img alt="{self.text}" src="{FOLDER}/{self.name}-light.svg">\n'
            "</picture>\n"
        )


ENVOY = Picture("through-envoy", "Bar chart: requests per second through Envoy, by kind of authorization")
ENVOY_CPU = Picture("through-envoy-cpu", "Bar chart: CPU seconds of Envoy and of the service for 100,000 requests")
GRPC = Picture("grpc-alone", "Bar chart: checks per second of Claimgate as multiples of the empty server")
MODULE = Picture("inside-envoy", "Bar chart: requests per second with Claimgate inside Envoy and next to it")
GROWTH = Picture("growth", "Bar chart: checks per second with few and with many tokens, keys, issuers and routes")
PEERS = Picture("peers", "Bar chart: checks per second of authorization services as multiples of an empty server")
