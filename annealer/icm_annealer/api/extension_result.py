"""The result of an extension, read from its files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from icm_annealer.api.report import Report
from icm_annealer.core.arrays import Array
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.columnar import required
from icm_annealer.extending.journal import LABELS, METRICS, REPORT
from icm_annealer.extending.labelled_rows import folder_of
from icm_annealer.labelling.alarm import Alarm
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.extension import ExtensionMetrics
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted


class ExtensionResult:
    """The labels of an extension, in the order of the rows, and its figures.

    `extend` and `open_extension` return one. Nothing is in memory before it is asked for; `rows()` reads row by row.

    Examples:
        >>> import icm_annealer as icm
        >>> words = ["red", "blue", "rose", "navy", "ruby", "teal"]
        >>> core = icm.label(words, template="{word}:", labels=["warm", "cold"], scorer="fake:", progress=False)
        >>> more = icm.extend(core, ["scarlet", "azure", "crimson"], scorer="fake:", progress=False)
        >>> more.probs.shape, len(more.certainty), sum(row["known"] for row in more.rows())
        ((3, 2), 3, 0)
    """

    out: Path
    """The file of labels."""
    folder: Path
    """The folder beside it: journal, labels, rows unlike the core, figures, page."""
    alarms: list[Alarm]
    """Possible problems with the labels. Empty if there are none."""

    def __init__(self, out: Path):
        self.out, self.folder = out, folder_of(out).path
        metrics = read_file(self.folder / METRICS, ExtensionMetrics)
        if metrics is None or not (self.folder / LABELS).is_file():
            raise RequestError(f"{out} is no file of a finished extension: {self.folder} has no {METRICS}")
        self._metrics = metrics
        self.alarms = [Alarm(**alarm.model_dump()) for alarm in metrics.alarms]

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the file, one by one: row, id, label, certainty, known, probs, margin, label_mass, contexts, and
        group if the task has groups."""
        with (self.folder / LABELS).open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    @property
    def label_names(self) -> list[str]:
        """The task's labels, in its order: the columns of `probs`."""
        return list(self._metrics.label_rates)

    @property
    def label_rates(self) -> dict[str, float]:
        """The share of the rows that have each label."""
        return self._metrics.label_rates

    @cached_property
    def labels(self) -> list[str]:
        """The name of each row's label."""
        return [row["label"] for row in self.rows()]

    @cached_property
    def certainty(self) -> Array:
        """How certain each row's label is: its probability in `probs`, or 1 if it was known; shape [rows]."""
        return np.fromiter((row["certainty"] for row in self.rows()), dtype=np.float64)

    @cached_property
    def probs(self) -> Array:
        """The labels' probabilities, shape [rows, labels]."""
        return np.array([list(row["probs"].values()) for row in self.rows()])

    @property
    def core_agreement(self) -> Estimate:
        """The share of the core's own examples that get its labels behind shots of others, with a 95 % interval."""
        return self._metrics.core_agreement

    @property
    def known_agreement(self) -> Estimate | None:
        """The share of the rows with a known label that would get it without; None if no label is known."""
        return self._metrics.known_agreement

    @property
    def computed_tokens(self) -> int:
        """The tokens that the model computed, summed over all processes that worked on the extension."""
        return self._metrics.computed_tokens

    def to_pandas(self) -> Any:
        """A DataFrame with one row per row of the file, and for each label `probs.NAME` in place of `probs`.

        Raises RequestError if pandas is not installed.
        """
        pandas = required("pandas", "to_pandas()")
        return pandas.DataFrame([row | {f"probs.{k}": p for k, p in row.pop("probs").items()} for row in self.rows()])

    def report(self) -> Report:
        """The page of the extension, shown inline in a notebook."""
        return Report((self.folder / REPORT).read_text(encoding="utf-8"))

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.label_rates.items())
        lines = [
            f"ExtensionResult: {counted(self._metrics.num_rows, 'label')} ({shares})",
            f"  {counted(self.computed_tokens, 'token')} computed; the core's other examples get its labels: "
            f"{self.core_agreement}",
            f"  labels: {self.out}",
        ]
        return "\n".join([*lines, *(f"  {alarm.line}" for alarm in self.alarms)])


def open_extension(out: str | os.PathLike[str]) -> ExtensionResult:
    """The result of a finished extension, made by `extend` or `icm extend`, by its file of labels.

    Raises RequestError if there is none.

    Examples:
        >>> import icm_annealer as icm
        >>> words = ["red", "blue", "rose", "navy", "ruby", "teal"]
        >>> core = icm.label(words, template="{word}:", labels=["warm", "cold"], scorer="fake:", progress=False)
        >>> more = icm.extend(core, ["scarlet", "azure", "crimson"], scorer="fake:", progress=False)
        >>> icm.open_extension(more.out).labels == more.labels
        True
    """
    return ExtensionResult(Path(out))
