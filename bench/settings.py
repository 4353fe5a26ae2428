"""The length of a run."""

from __future__ import annotations

from dataclasses import dataclass

import tools


@dataclass(frozen=True)
class Effort:
    """The amounts that determine how long a run takes."""

    repetitions: int
    seconds: int
    """How long the load lasts each time."""
    tokens: int
    """How many known tokens are many."""

    @staticmethod
    def say(text: str) -> None:
        tools.say(text)


FULL = Effort(repetitions=11, seconds=1, tokens=100_000)
QUICK = Effort(repetitions=2, seconds=1, tokens=5_000)
