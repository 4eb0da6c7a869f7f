"""A whole relabelling, into a folder that everything reads as a run's."""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.core.objective import Objective, label_rates
from icm_annealer.data.examples import digest
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.label_columns import searched_fields
from icm_annealer.labelling.search_run import label_rows
from icm_annealer.runs.directory import JOURNAL, LABELS, LABELS_BEFORE, METRICS, RunDir
from icm_annealer.runs.examples_file import write_examples
from icm_annealer.runs.journal import Journal, read_header
from icm_annealer.runs.schema.journal import ContextWindow, EndLine, RunHeader, RunSettings, WeighedCandidate
from icm_annealer.runs.schema.metrics import AlarmRecord, AnswerMetrics, RunMetrics
from icm_annealer.runs.schema.verdict import Verdict
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem
from icm_annealer.search.driver import drive
from icm_annealer.search.problem import problem_of
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelIdentity
from icm_trainer.learning.disk import check_room
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.lora import check_rank
from icm_trainer.relabel.alarms import alarms_of, verdict_of
from icm_trainer.relabel.record import (
    MARGIN_SHARES,
    PAGE,
    RELABELLING,
    TUNING,
    BatchFigures,
    RelabelRecord,
    RoundFigures,
)
from icm_trainer.relabel.search import JudgedRound, Labelled, Relabelling, mean_error, relabel
from icm_trainer.relabel.settings import RelabelSettings
from icm_trainer.relabel.start import Start
from icm_trainer.relabel.tuned_passes import NewProgress, TunedPasses
from icm_trainer.sft.labelled import LabelledExample, LabelSet
from icm_trainer.sft.prepared import CHECKPOINT_S
from icm_trainer.sft.record import BaseRecord
from icm_trainer.sft.rows import training_rows

SEARCH = "relabel"
"""The name of the search in the journal."""
BYTES_PER_NUMBER = 20


@dataclass(frozen=True)
class RelabelJob:
    """What is relabelled, by which model, and where to."""

    start: Start
    base: BaseModel
    settings: RelabelSettings
    out: Path
    cache: Path
    checkpoint_s: float = CHECKPOINT_S

    def prepare(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Checks everything that can be known before a training, and makes the folder ready. Raises RequestError."""
        if not self.settings.sft.full:
            check_rank(self.base, self.settings.sft.rank)
        any_label = self.start.task.label_names[0]
        rows = [LabelledExample(example, any_label) for example in self.start.examples]
        training_rows(LabelSet(self.start.task, rows, self.start.origin), self.base, self.settings.sft)
        self._problem  # noqa: B018  (raises for known labels that contradict each other)
        folder = RunDir(self.out)
        folder.prepare(resume=resume, overwrite=overwrite)
        num_numbers = len(rows) * len(self.start.task.labels) * (self.settings.rounds + self.settings.batches)
        try:
            check_room(self.out, BYTES_PER_NUMBER * num_numbers, "the journal of a relabelling")
        except RequestError:
            folder.release()
            raise

    async def run(self, progress: NewProgress, *, resume: bool = False) -> RelabelRecord:
        """Labels, and writes all files of the folder. Raises RequestError if a training cannot be done; what was done
        until then is kept."""
        start, folder, problem = self.start, RunDir(self.out), self._problem
        if not resume:
            folder.begun()
            for name in (RELABELLING, PAGE):
                (self.out / name).unlink(missing_ok=True)
            shutil.rmtree(self.out / TUNING, ignore_errors=True)
        journal = (Journal.resume if resume else Journal.begin)(folder / JOURNAL, self._header())
        passes = TunedPasses(
            start.task,
            start.examples,
            problem.units,
            self.base,
            self.settings,
            self.out / TUNING,
            self.cache,
            progress,
            self.checkpoint_s,
        )
        seed = self.settings.sft.seed
        search = relabel(problem, Labelled(start.labels, start.margins, None), self.settings, seed)
        try:
            write_examples(folder, start.examples, start.task)
            outcome = await drive(search, problem, passes, recorded=journal)
            found = outcome.result
            assert isinstance(found, Relabelling)
            alarms, verdict = alarms_of(problem, found, start.task.label_names), verdict_of(problem, found)
            is_new = journal.write_end(_end_line(found, alarms, verdict))
        finally:
            journal.close()
        if is_new or not (folder / LABELS).exists():
            with contextlib.suppress(FileNotFoundError):
                (folder / LABELS).replace(folder / LABELS_BEFORE)
            rows = label_rows(start.examples, start.task, problem, found.winner, self.out.resolve().name)
            folder.write_rows(LABELS, rows)
        folder.write(METRICS, self._metrics(found, alarms, verdict, outcome.costs.num_passes))
        record = self._record(found, alarms)
        folder.write(RELABELLING, record)
        shutil.rmtree(self.out / TUNING, ignore_errors=True)
        return record

    @property
    def _problem(self) -> Problem:
        start, plan = self.start, PlanKind("folds", self.settings.folds)
        problem = problem_of(start.task, start.examples, Objective(), plan, GivenLabels(start.known))
        return replace(problem, units=problem.consistency.groups)

    def _header(self) -> RunHeader:
        start, names = self.start, self.start.task.label_names
        engine = f"transformers {importlib.metadata.version('transformers')}"
        model = ModelIdentity(name=self.base.name, digest=self.base.digest, dtype="float32", engine=engine)
        labelled = zip(start.examples, start.labels, strict=True)
        return RunHeader(
            settings=self._run_settings(),
            task=start.task,
            data=digest(start.examples, searched_fields(start.examples, start.task)),
            model=model,
            window=ContextWindow(max_prompt_tokens=self.base.window, cache_block_tokens=1),
            ids=[example.id for example in start.examples],
            known=start.known or None,
            start={example.id: names[label] for example, label in labelled if label >= 0},
        )

    def _run_settings(self) -> RunSettings:
        own = self.settings.model_dump()
        return RunSettings(
            search=SEARCH,
            plan=str(PlanKind("folds", self.settings.folds)),
            seed=self.settings.sft.seed,
            measure="information",
            alpha=Objective().alpha,
            model="base",
            options=own,  # type: ignore[call-arg]
        )

    def _metrics(self, found: Relabelling, alarms: list[AlarmRecord], verdict: Verdict, num_passes: int) -> RunMetrics:
        task, winner = self.start.task, found.winner
        return RunMetrics(
            task=task.name,
            settings=self._run_settings(),
            num_examples=len(self.start.examples),
            u=winner.u,
            u_se=mean_error(winner),
            answers=[
                AnswerMetrics(
                    starts=list(one.starts),
                    u=one.u,
                    u_se=mean_error(one),
                    u_own_orders=one.u,
                    agreement=float(np.mean(one.labels == winner.labels)),
                )
                for one in found.candidates
            ],
            chain_agreement=[],
            label_rates=self._rates(winner.labels),
            stated_rates=task.rates or None,
            num_known=int(self._problem.is_known.sum()) or None,
            num_passes=num_passes,
            prompt_tokens=0,
            computed_tokens=0,
            cached_tokens=0,
            search_seconds=0.0,
            rescore_spread=None,
            alarms=alarms,
            verdict=verdict,
        )

    def _record(self, found: Relabelling, alarms: list[AlarmRecord]) -> RelabelRecord:
        base, labels = self.base, found.winner.labels
        had = found.start >= 0
        filled, batches = found.start.copy(), []
        for batch in found.batches:
            filled[batch] = found.rounds[0].labels[batch]
            batches.append(BatchFigures(num=len(batch), label_rates=self._rates(filled[filled >= 0])))
        return RelabelRecord(
            task=self.start.task.name,
            base=BaseRecord(name=base.name, folder=str(base.folder), digest=base.digest, dtype=base.dtype),
            settings=self.settings,
            origin=self.start.origin,
            num_examples=len(labels),
            num_labelled=int(had.sum()),
            num_known=int(self._problem.is_known.sum()),
            batches=batches,
            rounds=[self._figures(one) for one in found.rounds],
            taken=found.taken + 1,
            is_settled=found.is_settled,
            num_changed=int((labels != found.start)[had].sum()),
            alarms=alarms,
        )

    def _figures(self, one: JudgedRound) -> RoundFigures:
        sure = one.proposed.margins[np.isfinite(one.proposed.margins)]
        return RoundFigures(
            num_learnt=one.num_learnt,
            u=one.u,
            u_se=one.u_se,
            agreement=one.agreement,
            fold_agreement=list(one.fold_agreement),
            label_rates=self._rates(one.labels),
            change=one.change,
            proposed_rates=self._rates(one.proposed.labels),
            margins=np.quantile(sure, MARGIN_SHARES).tolist() if len(sure) else [],
        )

    def _rates(self, labels: Ints) -> dict[str, float]:
        names: Sequence[str] = self.start.task.label_names
        return dict(zip(names, label_rates(labels, len(names)).tolist(), strict=True))


def _end_line(found: Relabelling, alarms: Sequence[AlarmRecord], verdict: Verdict) -> EndLine:
    return EndLine(
        labels=found.winner.labels.tolist(),
        u=found.winner.u,
        u_se=mean_error(found.winner),
        candidates=[WeighedCandidate(list(one.starts), one.u, mean_error(one)) for one in found.candidates],
        alarms=[alarm.code for alarm in alarms],
        verdict=verdict.name,
    )


def threads_before(out: Path) -> int | None:
    """The threads of the relabelling in `out`, on which its last digits depend; None if there is none."""
    path = out / JOURNAL
    options = (read_header(path).settings.model_extra or {}).get("options", {}) if path.is_file() else {}
    threads = options.get("sft", {}).get("threads")
    return int(threads) if threads is not None else None
