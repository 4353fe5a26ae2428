"""A measured number: the median of its repetitions, and their range."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TypeVar

T = TypeVar("T")

DIGITS = 6
"""Significant ones that are kept."""


@dataclass(frozen=True)
class Figure:
    median: float
    least: float | None = None
    """None where the range was not kept."""
    greatest: float | None = None

    @classmethod
    def of(cls, samples: Iterable[T], what: Callable[[T], float] = float) -> Figure:
        values = [what(sample) for sample in samples]
        return cls(statistics.median(values), min(values), max(values))

    @classmethod
    def read(cls, kept: float | list[float]) -> Figure:
        """From a file: the median alone, or with the range."""
        return cls(*kept) if isinstance(kept, list) else cls(kept)

    def kept(self) -> float | list[float]:
        """For a file."""
        if self.least is None:
            return _rounded(self.median)
        return [_rounded(value) for value in (self.median, self.least, self.greatest)]

    def scaled(self, factor: float) -> Figure:
        """In another unit."""
        ends = [None if end is None else end * factor for end in (self.least, self.greatest)]
        return Figure(self.median * factor, *ends)

    def text(self, decimals: int = 0) -> str:
        """The median, and the range in brackets if it is known."""
        range_ = self.range(decimals)
        return f"{number(self.median, decimals)}{f' ({range_})' if range_ else ''}"

    def range(self, decimals: int = 0) -> str:
        if self.least is None:
            return ""
        return f"{number(self.least, decimals)}–{number(self.greatest, decimals)}"


def number(value: float, decimals: int = 0) -> str:
    """With separators, rounded as it is written and not as it is stored."""
    unit = Decimal(1).scaleb(-decimals)
    return f"{Decimal(repr(float(value))).quantize(unit, ROUND_HALF_EVEN):,}"


def count(size: int, things: str) -> str:
    """One thing or several."""
    return f"{size:,} {things.removesuffix('s') if size == 1 else things}"


def _rounded(value: float) -> float:
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() else short
