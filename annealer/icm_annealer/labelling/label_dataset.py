"""One labelling into one folder: the search, its journal, its costs, its labels, its alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from icm_annealer.core.objective import label_rates
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.labelling.alarm import Alarm
from icm_annealer.labelling.alarms import alarms, spread_alarms
from icm_annealer.labelling.driver import Run, anneal, run_header
from icm_annealer.labelling.rescore import Repeat, repeat
from icm_annealer.runs.costs import Spent, read_costs, spent, write_cost
from icm_annealer.runs.directory import JOURNAL, LABELS, RunDir
from icm_annealer.runs.examples_file import write_examples
from icm_annealer.runs.journal import Journal
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import Scorer
from icm_annealer.search.settings import Settings
from icm_client.contract.errors import IcmError


@dataclass(frozen=True)
class Labelling:
    """A finished run and what speaks against it."""

    run: Run
    alarms: list[Alarm]
    repeat: Repeat | None
    """A part of its last pass, asked again."""
    spent: Spent
    """By all processes that worked on it."""
    had_ended: bool
    """True if it was resumed after its end: its `labels.jsonl` stayed as it was, with labels that were corrected."""

    def summary(self) -> dict[str, Any]:
        """What `metrics.json` says of the search."""
        result = self.run.result
        usage = self.spent.usage
        rates = label_rates(self.run.labels, len(self.run.task.labels))
        return {
            "num_examples": len(self.run.examples),
            "u": result.winner.u,
            "u_se": result.winner.u_se,
            "answers": [
                {
                    "starts": candidate.starts,
                    "u": candidate.u,
                    "u_se": candidate.u_se,
                    "u_own_orders": candidate.u_own,
                    "agreement": float((candidate.labels == self.run.labels).mean()),
                }
                for candidate in result.candidates
            ],
            "chain_agreement": [float((labels == self.run.labels).mean()) for labels in result.chains],
            "label_rates": dict(zip(self.run.task.label_names, rates.tolist(), strict=True)),
            "num_passes": self.run.num_passes,
            "prompt_tokens": usage.prompt_tokens,
            "computed_tokens": usage.computed_tokens,
            "cached_tokens": usage.cached_tokens,
            "search_seconds": self.spent.search_seconds,
            "repeat_spread": self.repeat.spread if self.repeat else None,
            "alarms": [asdict(alarm) for alarm in self.alarms],
            **({"notes": result.notes} if result.notes else {}),
        }


async def label(
    folder: RunDir,
    examples: Sequence[Example],
    task: Task,
    scorer: Scorer,
    settings: Settings,
    *,
    resume: bool = False,
    on_pass: Callable[[PassEvent], None] = lambda event: None,
    experiment: str = "default",
) -> Labelling:
    """Runs (or resumes) a search in `folder`, which `prepare` has made ready, and writes its labels there.

    Labels of a run that had ended are not written again: some may have been corrected.
    """
    header = run_header(examples, task, settings, await scorer.model())
    read_costs(folder.path)  # what is wrong with them is told before anything is done
    journal = (Journal.resume if resume else Journal.begin)(folder / JOURNAL, header)
    num_dropped = 0

    def note(event: PassEvent) -> None:
        nonlocal num_dropped
        num_dropped = max(num_dropped, event.answer.num_dropped)
        if not event.resumed:
            write_cost(folder.path, event.number, event.answer.seconds, event.waited, event.answer.usage)
        on_pass(event)

    try:
        write_examples(folder, examples)
        run = await anneal(examples, task, scorer, settings, journal=journal, on_pass=note, experiment=experiment)
        found = alarms(run.problem, run.result, examples, num_dropped)
        winner = run.result.winner
        is_new = journal.write_end(
            {
                "labels": run.labels.tolist(),
                "u": winner.u,
                "u_se": winner.u_se,
                "candidates": [[list(c.starts), c.u, c.u_se] for c in run.result.candidates],
                "alarms": [alarm.code for alarm in found],
            }
        )
    finally:
        journal.close()
    had_ended = not is_new and (folder / LABELS).exists()
    if not had_ended:
        folder.write_jsonl(LABELS, run.rows(folder.path.name))
    repeated = await _repeated(folder, run)
    found += spread_alarms(repeated) if repeated else []
    return Labelling(run, found, repeated, spent(read_costs(folder.path)), had_ended)


async def _repeated(folder: RunDir, run: Run) -> Repeat | None:
    """What the engine says when asked again; None if it was not, or does not answer: a finished run can do without."""
    try:
        repeated = await repeat(run, folder)
    except IcmError:
        return None
    if repeated and repeated.usage.num_reads:
        write_cost(folder.path, "repeat", repeated.seconds, repeated.seconds, repeated.usage)
    return repeated
