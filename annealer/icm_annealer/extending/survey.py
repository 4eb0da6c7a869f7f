"""The first reading of the data: every row is checked, counted, and may be drawn into the sample."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.examples import consistency_of
from icm_annealer.data.row_reader import ReadRow
from icm_annealer.data.rows import REMOTE
from icm_annealer.data.task import Task
from icm_annealer.extending.chunks import Source, chunked, examples_of, known_of
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.scoring.passes import Scorer
from icm_annealer.search.problem import possible_labels
from icm_annealer.sources.byte_source import STANDARD_INPUT, is_stream
from icm_annealer.sources.row import Fault
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

REPORTED_ROWS = 100_000


class Survey(NamedTuple):
    """What the first reading found."""

    num_rows: int
    """Rows to label."""
    skipped: list[Fault]
    too_long: list[int]
    """The numbers of the rows that were skipped for their length."""
    sample: list[ReadRow]
    """Rows drawn at random, in whole groups."""
    others: list[ReadRow]
    """Further ones that were drawn."""
    digest: str
    """A hash of all rows to label."""


def check_source(source: Source) -> None:
    """Raises RequestError for a file that is not there, and for data that cannot be read twice."""
    is_path = not str(source.place).startswith(REMOTE) and source.place != STANDARD_INPUT
    if is_path and not Path(source.place).exists():
        raise RequestError(f"{source.name}: there is no such file", code="no_data")
    if is_stream(source.place):
        raise RequestError(
            f"{source.name}: the data are read twice, once to check and to sample them, and a pipe can be read only "
            "once: write them to a file"
        )


async def survey(
    source: Source,
    scorer: Scorer | None,
    most_tokens: int,
    settings: ExtendSettings,
    report: Callable[[str], None],
    *,
    num_drawn: int | None = None,
) -> Survey:
    """Reads the data once. Rows of more than `most_tokens` tokens are bad ones; None for `scorer` counts none. Draws
    `num_drawn` rows, the sample among them; by default as many as the largest sample has.

    Raises RequestError for bad rows, unless they are to be skipped, for groups that do not follow each other, and for
    known labels that contradict each other.
    """
    bad = BadRows(source.name, source.task, skip=source.read_as.skip_bad)
    draw = _Reservoir(num_drawn or settings.sample, settings.seed)
    lengthy: list[ReadRow] = []
    num_rows, digest = 0, ""

    def watched() -> Iterator[ReadRow]:
        for number, row in enumerate(source.rows(bad), start=1):
            if number % REPORTED_ROWS == 0:
                report(f"{number:,} rows read")
            # A token has at least one byte, or is one of the few that a tokenizer adds.
            if len(row.text) * 4 > most_tokens and len(row.text.encode(errors="replace")) > most_tokens:
                lengthy.append(row)
            yield row

    too_long: list[int] = []
    for chunk in chunked(watched(), source):
        num_rows, digest = num_rows + len(chunk.rows), chunk.digest
        _check_known(chunk.rows, source.task)
        if scorer is not None and lengthy:
            texts = [source.task.separator + row.text for row in lengthy]
            counts = await _counts(scorer, texts, source.task.special_tokens)
            for row, count in zip(lengthy, counts, strict=True):
                if count is None or count > most_tokens:
                    too_long.append(row.number)
                    num = "more tokens than any prompt may have" if count is None else f"{count:,} tokens"
                    what = f"{num}: of the model's window, {most_tokens:,} are left for a row"
                    bad.add(Fault(f"{source.name}, row {row.number + 1}", what, "longer than the window", row.facts))
        lengthy.clear()
        draw.add(chunk.rows)
    if not num_rows and not bad.num:
        raise RequestError(f"{source.name}: no rows", code="bad_data")
    skipped = bad.skipped(num_rows + bad.num - len(too_long))
    if too_long:  # the hash is that of the rows to label
        left = set(too_long)
        draw.remove(left)
        unused = BadRows(source.name, source.task, skip=True)
        for chunk in chunked(source.rows(unused), source, without=left):
            digest = chunk.digest
        num_rows -= len(too_long)
    report(f"{counted(num_rows, 'row')} to label" + (f", {len(skipped):,} skipped" if skipped else ""))
    sample, others = draw.rows(settings.num_sampled(num_rows))
    return Survey(num_rows, skipped, too_long, sample, others, digest)


def _check_known(rows: list[ReadRow], task: Task) -> None:
    """Raises RequestError for known labels that the rules do not allow together."""
    groups = {row.group for row in rows if row.known is not None} - {None}
    if task.rules and groups:
        some = [row for row in rows if row.group in groups]
        examples = examples_of(some)
        possible_labels(known_of(some, task), consistency_of(task, examples), task, examples)


async def _counts(scorer: Scorer, texts: list[str], special_tokens: bool) -> list[int | None]:
    """The number of tokens of each text; None for one that the scorer refuses to count, being far too long."""
    try:
        return list(await scorer.count_tokens(texts, special_tokens=special_tokens))
    except RequestError as error:
        if error.code != "prompt_too_long":
            raise
    if len(texts) == 1:
        return [None]
    half = len(texts) // 2
    return [count for part in (texts[:half], texts[half:]) for count in await _counts(scorer, part, special_tokens)]


class _Reservoir:
    """A random sample of groups (or of rows without a group) from a stream (Vitter's algorithm R)."""

    def __init__(self, most: int, seed: int):
        self._most, self._rng = most, random.Random(seed)
        self._kept: list[list[ReadRow]] = []
        self._num = 0

    def add(self, rows: list[ReadRow]) -> None:
        """Rows of whole groups."""
        begin = 0
        for end in range(1, len(rows) + 1):
            if end < len(rows) and rows[end].group is not None and rows[end].group == rows[begin].group:
                continue
            self._num += 1
            if len(self._kept) < self._most:
                self._kept.append(rows[begin:end])
            elif (place := self._rng.randrange(self._num)) < self._most:
                self._kept[place] = rows[begin:end]
            begin = end

    def remove(self, numbers: set[int]) -> None:
        self._kept = [rows for rows in self._kept if all(row.number not in numbers for row in rows)]

    def rows(self, num: int) -> tuple[list[ReadRow], list[ReadRow]]:
        """About `num` of them, in whole groups and random order, and the others."""
        chosen, others = list[ReadRow](), list[ReadRow]()
        for rows in self._rng.sample(self._kept, len(self._kept)):
            (others if len(chosen) >= num else chosen).extend(rows)
        return chosen, others
