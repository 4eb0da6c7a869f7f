"""The whole of an extension: the folder, the labelling, the check, the figures, the page and the file of labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icm_annealer.evaluation.intervals import wilson
from icm_annealer.export.streamed import check_form, write_form
from icm_annealer.extending.alarms import ExtensionEvidence, extension_alarms
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import By, Extension, Progress, all_counts
from icm_annealer.extending.jobs.batches import BATCHES, shared_labels
from icm_annealer.extending.jobs.check import checked
from icm_annealer.extending.jobs.page import render_page
from icm_annealer.extending.journal import CHECK, JOURNAL, LABELS, METRICS, OUR_FILES, REPORT, ExtensionJournal
from icm_annealer.extending.labelled_rows import folder_of
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.runs.atomic_write import write_whole
from icm_annealer.runs.costs import read_costs, spent
from icm_annealer.runs.directory import RunDir, check_result
from icm_annealer.runs.experiment import own_experiment
from icm_annealer.runs.lock import hold
from icm_annealer.runs.schema.extension import CheckLine, ExtensionMetrics
from icm_annealer.runs.schema.metrics import AlarmRecord
from icm_annealer.runs.set_aside import put_back, set_aside
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError

CHECKED_ROWS = 64
MANY_ROWS = 10_000
"""From so many rows on, a sample is checked unless the caller says otherwise: a search costs 20 to 40 shots a row."""


def rows_to_check(asked: int | None, num_rows: int) -> int:
    """How many of `num_rows` rows a search of their own labels, too: those `asked` for; if None, `CHECKED_ROWS` of many
    rows, and none of fewer."""
    if asked is not None:
        return min(asked, num_rows)
    return CHECKED_ROWS if num_rows >= MANY_ROWS else 0


@dataclass(frozen=True)
class ExtendJob:
    """What to extend, to which rows, and where the labels go."""

    core: Core
    source: Source
    out: Path
    settings: ExtendSettings
    resume: bool = False
    overwrite: bool = False
    num_checked: int | None = None
    """Rows that a search of its own labels, too; see `rows_to_check`."""
    experiment: str | None = None
    """The name under which the scorer counts this work; None is one of the folder's own."""

    @property
    def folder(self) -> RunDir:
        """Beside the file of labels."""
        return folder_of(self.out)

    @property
    def counted_as(self) -> str:
        """The name under which the scorer counts this work."""
        return self.experiment or own_experiment(self.folder.path, self.out.stem)

    def prepare(self) -> None:
        """Checks what can be checked before any work, and makes and locks the folder. Raises RequestError."""
        check_form(self.out)
        check_result(self.out, overwrite=self.overwrite or self.resume, reads=[self.source.place])
        folder = self.folder.path
        has_begun = (folder / JOURNAL).exists()
        if has_begun and not self.resume and not self.overwrite:
            raise RequestError(
                f"{folder} holds an extension that was begun: use --resume to continue it, or --overwrite to begin "
                "again",
                code="run_exists",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"{folder}: {error.strerror}", code="run_folder") from None
        hold(folder)
        put_back(folder)
        if not self.resume:
            set_aside(folder, (*OUR_FILES, CHECK, BATCHES))

    async def run(
        self,
        by: By,
        scorer: Scorer | None,
        progress: Progress,
        on_pass: Callable[[PassEvent], None] = lambda event: None,
    ) -> ExtensionMetrics:
        """Labels all rows, checks a sample by a search with `scorer` (None checks nothing), and writes all files.
        Raises the errors of `Extension.run`."""
        folder = self.folder
        extension = Extension(self.core, self.source, by, self.settings, folder, progress)
        journal = await extension.run()
        check = None
        num = rows_to_check(self.num_checked, journal.header.num_rows)
        if scorer is not None and num >= 2:
            progress.say(f"checking {num:,} rows by a search of their own")
            rows = extension.sampled(journal.header)
            place, labels = folder / CHECK, folder / LABELS
            check = await checked(place, labels, rows, num, self.core, scorer, self.counted_as, on_pass)
        metrics = self._metrics(journal, by, check)
        folder.write(METRICS, metrics)
        assert journal.calibration is not None
        folder.write_text(REPORT, render_page(metrics, journal.header, journal.calibration, journal.chunks))
        write_whole(self.out, lambda place: write_form(folder / LABELS, place, self.out.suffix, self.core.task))
        return metrics

    def _metrics(self, journal: ExtensionJournal, by: By, check: CheckLine | None) -> ExtensionMetrics:
        header, chunks, line = journal.header, journal.chunks, journal.calibration
        assert line is not None
        names = self.core.task.label_names
        seen = ExtensionEvidence(names, line, chunks, check, self.core.verdict)
        counts = np.array(all_counts(chunks))
        num_known = sum(chunk.num_known for chunk in chunks)
        cost = spent(read_costs(self.folder.path))
        return ExtensionMetrics(
            core=header.core,
            core_verdict=self.core.verdict.name if self.core.verdict else None,
            task=self.core.task.name,
            by=by.model.name,
            num_contexts=by.scorer.num_contexts if header.shots else 0,
            num_rows=header.num_rows,
            num_skipped=header.num_skipped,
            label_rates=dict(zip(names, (counts / counts.sum()).tolist(), strict=True)),
            core_agreement=wilson(line.num_core_alike, line.num_core),
            shared=shared_labels(chunks, self.core, self.settings.seed),
            sample_agreement=line.num_sampled_alike / line.num_sampled if line.num_sampled else 1.0,
            num_known=num_known,
            known_agreement=wilson(sum(c.num_known_alike for c in chunks), num_known) if num_known else None,
            num_read_again=sum(chunk.num_read_again for chunk in chunks),
            num_unlike=sum(chunk.num_unlike for chunk in chunks),
            num_unclear=sum(chunk.num_unclear for chunk in chunks),
            prompt_tokens=cost.usage.prompt_tokens,
            computed_tokens=cost.usage.computed_tokens,
            cached_tokens=cost.usage.cached_tokens,
            num_reads=cost.usage.num_reads,
            seconds=cost.search_seconds,
            check=check,
            alarms=[
                AlarmRecord(code=alarm.code, level=alarm.level, observation=alarm.observation, advice=alarm.advice)
                for alarm in extension_alarms(seen)
            ],
        )
