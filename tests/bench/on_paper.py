"""A million claims on paper: tokens, time and money by the way in which they are labelled, on 1, 8 and 64 GPUs.

    python -m tests.bench.on_paper      prints the table of docs/many_machines.md; a test compares the two

Everything follows from what was measured (docs/measurements.md) and from the default settings. Nothing is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from icm_annealer.console.terminal import Terminal
from icm_annealer.extending.neighbours import NUM_NEIGHBOURS
from icm_annealer.extending.settings import ExtendSettings

NUM_ROWS, SHOT_TOKENS = 1_000_000, 37
"""Claims of the size of TruthfulQA's, by the task's notes."""
GPUS, GPUS_A_SCORER, PRICE_PER_HOUR = (1, 8, 64), 8, 2.50


class MeasuredPass(NamedTuple):
    """One pass over 128 examples by a Llama of 8B on one H100."""

    seconds: float
    tokens_per_s: float
    reads: int = 128


LONG, SHORT = MeasuredPass(2.01, 31_400), MeasuredPass(0.44, 26_600)
"""Of 60-token and of 10-token shots, by `tree`."""
EXTENSION_SHOTS = 1.1
"""Computed shots a row of `icm extend`, at the default reads a row."""
SEARCH_SHOTS = 30
"""Computed shots an example of a search."""
PASS_SHOTS = 2
"""Computed shots for each read of a pass in two halves."""
FRONT_EXTENSION, FRONT_NEIGHBOURS, FRONT_PASSES = 4_710, 3_410, 3_860
"""Reads for each processor second of a front (`python -m tests.bench front`)."""


class EngineSpeed(NamedTuple):
    """A GPU's time, a part for each token and a part for each read, by which measured passes take what they took."""

    token_s: float
    read_s: float

    @classmethod
    def of(cls, one: MeasuredPass, other: MeasuredPass) -> EngineSpeed:
        tokens = [each.seconds * each.tokens_per_s for each in (one, other)]
        token_s = (one.seconds - other.seconds * one.reads / other.reads) / (
            tokens[0] - tokens[1] * one.reads / other.reads
        )
        return cls(token_s, (one.seconds - token_s * tokens[0]) / one.reads)


SPEED = EngineSpeed.of(LONG, SHORT)


@dataclass(frozen=True)
class Way:
    """One way to label all rows."""

    name: str
    shots: float
    """Computed for each row."""
    reads: float
    """Made for each row."""
    front_row_s: float
    """Processor seconds of the front for each row."""

    @property
    def row_tokens(self) -> float:
        return self.shots * SHOT_TOKENS

    @property
    def gpu_s(self) -> float:
        """The seconds that one GPU has to work for all rows."""
        return NUM_ROWS * (self.row_tokens * SPEED.token_s + self.reads * SPEED.read_s)

    @property
    def front_s(self) -> float:
        """The processor seconds of fronts for all rows; each can use one core."""
        return NUM_ROWS * self.front_row_s

    @property
    def gpus_a_front(self) -> float:
        """GPUs that one front keeps at work."""
        return self.gpu_s / self.front_s

    def seconds(self, num_gpus: int) -> float:
        """With a scorer, so a front, for every GPUS_A_SCORER GPUs, and rows shared evenly."""
        return max(self.gpu_s / num_gpus, self.front_s / math.ceil(num_gpus / GPUS_A_SCORER))


def ways() -> list[Way]:
    reads, again = ExtendSettings().reads, ExtendSettings().share_read_again
    a_read = EXTENSION_SHOTS / reads
    neighbours = a_read + again * (NUM_NEIGHBOURS + a_read)
    by_search = SEARCH_SHOTS / PASS_SHOTS
    return [
        Way("`icm extend`", EXTENSION_SHOTS, reads, reads / FRONT_EXTENSION),
        Way("`--mode neighbours`", neighbours, 1 + again, 1 / FRONT_EXTENSION + again / FRONT_NEIGHBOURS),
        Way("`--mode batches`", SEARCH_SHOTS, by_search, by_search / FRONT_PASSES),
    ]


def duration(seconds: float) -> str:
    """In two figures."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{float(f'{seconds:.2g}'):g} s"


def table() -> list[str]:
    """The lines of the table, in Markdown."""
    times = " | ".join(f"{num} GPU{'s' * (num > 1)}" for num in GPUS)
    lines = [
        f"| | tokens a row | tokens | GPU hours | price | {times} | GPUs that one front keeps at work |",
        "|---|---|---|---|---|" + "---|" * (len(GPUS) + 1),
    ]
    for way in ways():
        hours = way.gpu_s / 3600
        cells = [
            way.name,
            f"{way.row_tokens:,.0f}",
            f"{NUM_ROWS * way.row_tokens / 1e6:,.0f} million",
            f"{hours:.2g}",
            f"{hours * PRICE_PER_HOUR:.2f}",
            *(duration(way.seconds(num)) for num in GPUS),
            f"{way.gpus_a_front:.2g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    for line in table():
        Terminal().say(line)
