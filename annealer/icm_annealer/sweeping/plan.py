"""The runs of a sweep: each with its name, its job, and what it is apart from the model. Nothing is started here."""

from __future__ import annotations

import fnmatch
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, NoReturn

import pydantic

from icm_annealer.api.inputs import load_data, with_known_labels
from icm_annealer.api.job import LabelJob
from icm_annealer.data.examples import Example, Loaded, first_of
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.label_columns import label_column_text, label_columns
from icm_annealer.data.rows import ReadAs
from icm_annealer.data.task import Task, built_in_tasks, with_rates
from icm_annealer.labelling.search_run import run_header
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.experiment import own_experiment
from icm_annealer.runs.schema.journal import RunHeader, RunSettings
from icm_annealer.runs.schema.state import StartState
from icm_annealer.scorers.kind import Opening
from icm_annealer.scorers.registry import NamedScorer, find_scorer
from icm_annealer.searches.settings import Settings
from icm_annealer.sources.encoding import check_encoding
from icm_annealer.sweeping.mistakes import Mistakes
from icm_annealer.sweeping.spec import ScorerEntry, SettingEntry, SweepSpec, TaskEntry
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import DEFAULT_EXPERIMENT, ModelInfo
from icm_client.http.address import shown
from icm_client.http.api_key import read_key
from icm_client.text.validation import first_error

UNKNOWN = ModelInfo(name="?", digest="?", dtype="?", engine="?", max_prompt_tokens=1, adds_bos=False)
"""In the header of a planned run, whose scorer was not asked for its model."""


class Group(NamedTuple):
    """What the runs that differ only in their seeds have in common, by the names of the sweep's file."""

    task: str
    setting: str
    scorer: str
    model: str

    @property
    def name(self) -> str:
        """The folder of the group's runs."""
        return ".".join([self.task, self.setting, self.scorer, *([] if self.model == "base" else [self.model])])


@dataclass(frozen=True)
class PlannedRun:
    """One run."""

    group: Group
    seed: int
    job: LabelJob
    """Its `open_scorer` opens a scorer for this run alone."""
    header: RunHeader
    """Its journal's first line, with the model UNKNOWN."""

    @property
    def name(self) -> str:
        """The run's folder, below the sweep's."""
        return f"{self.group.name}/seed-{self.seed}"

    @property
    def num_passes(self) -> int:
        """About how many passes it takes; 0 if that depends on the answers."""
        expected = self.job.settings.expected_passes(len(self.job.examples))
        return expected.num if expected else 0


@dataclass(frozen=True)
class SweepScorer:
    """A scorer of the sweep."""

    named: NamedScorer
    started: StartState
    """As each of its runs keeps it, apart from the experiment."""


@dataclass(frozen=True)
class ScorerDefaults:
    """What a scorer of the file takes from the command line."""

    scorer: str
    """For a file that names no scorer."""
    engine: str = "vllm"
    """With this engine."""
    wait_s: float | None = None
    read_key: Callable[[], str | None] = lambda: None
    """For scorers without a key file of their own."""
    api_key_file: str | None = None
    """The file that `read_key` reads."""
    experiment: str | None = None
    """Of all runs; None is one of each run's own."""


class SweepSource(NamedTuple):
    """What a plan is made of, besides data; see `make_plan`."""

    spec: SweepSpec
    beside: Path
    defaults: ScorerDefaults
    allow_code: bool


@dataclass(frozen=True)
class SweepPlan:
    """All runs of a sweep, those of one group together."""

    folder: Path
    runs: Sequence[PlannedRun]
    scorers: dict[str, SweepScorer]
    source: SweepSource
    notes: Sequence[str] = ()
    """What the user should know of the data."""

    @property
    def groups(self) -> list[Group]:
        return list(dict.fromkeys(run.group for run in self.runs))

    def started(self, run: PlannedRun) -> StartState:
        """What is written into the run's folder of how it is started."""
        started = self.scorers[run.group.scorer].started
        return started.model_copy(update={"experiment": run.job.counted_as})

    def only(self, pattern: str | None) -> SweepPlan:
        """The runs with such names, as `living.*`; all for None. Raises RequestError if there is none."""
        runs = [run for run in self.runs if pattern is None or fnmatch.fnmatchcase(run.name, pattern)]
        if not runs:
            raise RequestError(f"no run is chosen; their names are such as {self.runs[0].name}")
        return replace(self, runs=runs)


def make_plan(
    spec: SweepSpec,
    beside: Path,
    folder: Path,
    defaults: ScorerDefaults,
    *,
    allow_code: bool = False,
    mistakes: Mistakes | None = None,
) -> SweepPlan:
    """The runs of `spec`, whose files are relative to the folder `beside`, for the sweep's own `folder`. Reads all
    data. Raises SweepMistakesError with everything that is wrong, behind the `mistakes` that the file has."""
    mistakes, notes = mistakes or Mistakes(), list[str]()
    entries = spec.scorers
    if entries is None:
        entries = {"scorer": ScorerEntry(scorer=defaults.scorer, engine=defaults.engine)}
    tasks: dict[str, _TaskData] = {}
    for name, entry in spec.tasks.items():
        with mistakes.of(f"tasks.{name}"):
            tasks[name] = _loaded(entry, beside, allow_code=allow_code)
            columns = label_columns(tasks[name].examples, tasks[name].task)
            notes += [f"tasks.{name}: {label_column_text(column)}" for column in columns]
    scorers: dict[str, SweepScorer] = {}
    for name, scorer in entries.items():
        with mistakes.of(f"scorers.{name}"):
            scorers[name] = _scorer(scorer, beside, defaults)
    settings: dict[str, SettingEntry] = {}
    for name, setting in spec.settings.items():
        with mistakes.of(f"settings.{name}"):
            _settings(setting, 0, "base")
            settings[name] = setting
    jobs: dict[tuple[str, str], LabelJob] = {}
    for task, setting_name in itertools.product(tasks, settings):
        with mistakes.of(f"tasks.{task} with settings.{setting_name}"):
            jobs[task, setting_name] = _job(tasks[task], settings[setting_name], defaults.experiment)
    mistakes.check()
    groups = [Group(*names) for names in itertools.product(tasks, settings, scorers, spec.models)]
    runs = [
        run
        for group in groups
        for run in _runs(
            group,
            jobs[group.task, group.setting],
            [_settings(settings[group.setting], seed, group.model) for seed in spec.seeds],
            scorers[group.scorer].named,
            folder,
        )
    ]
    return SweepPlan(folder, runs, scorers, SweepSource(spec, beside, defaults, allow_code), notes)


class _TaskData(NamedTuple):
    task: Task
    loaded: Loaded
    examples: Sequence[Example]


def _loaded(entry: TaskEntry, beside: Path, *, allow_code: bool) -> _TaskData:
    try:
        encoding = check_encoding(entry.encoding) if entry.encoding is not None else None
    except ValueError as error:
        raise RequestError(str(error)) from None
    name = entry.task if entry.task in built_in_tasks() else _path(entry.task, beside)
    data = None if entry.data is None else _path(entry.data, beside)
    read_as = ReadAs(entry.columns, encoding, entry.skip_bad)
    loaded_task, loaded = load_data(name, data, allow_code=allow_code, read_as=read_as)
    task = loaded_task.task
    if entry.rates is not None:
        task = with_rates(task, entry.rates)
    if entry.known is not None:
        loaded = with_known_labels(loaded, task, _path(entry.known, beside))
    rows = loaded.examples if entry.first is None else first_of(loaded.examples, entry.first)
    return _TaskData(task, loaded, rows)


def _path(name: str, beside: Path) -> str:
    """The path of a file that is named relative to `beside`; any other source as it is."""
    return str(beside / name) if (beside / name).exists() else name


def _scorer(entry: ScorerEntry, beside: Path, defaults: ScorerDefaults) -> SweepScorer:
    key_file, key = defaults.api_key_file, defaults.read_key
    if entry.api_key_file is not None:
        path = beside / entry.api_key_file
        key_file, key = str(path.absolute()), functools.cache(lambda: read_key(path))
    named = find_scorer(entry.scorer, Opening(key, entry.scorer_model, entry.engine, defaults.wait_s))
    named.check()
    started = StartState(
        scorer=entry.scorer if shown(entry.scorer) == entry.scorer else None,
        engine=entry.engine,
        scorer_model=entry.scorer_model,
        api_key_file=key_file,
        experiment=DEFAULT_EXPERIMENT,
        track=None,
    )
    return SweepScorer(named, started)


def _settings(entry: SettingEntry, seed: int, model: str) -> Settings:
    try:
        return entry.settings(seed, model)
    except pydantic.ValidationError as error:
        raise RequestError(first_error(error)) from None


def _job(data: _TaskData, setting: SettingEntry, experiment: str | None) -> LabelJob:
    """What all runs of a task with a setting have in common, checked. Raises RequestError."""

    def opens_none(*_: object) -> NoReturn:
        raise AssertionError("each run has a scorer of its own")

    settings = _settings(setting, 0, "base")
    job = LabelJob(data.task, data.loaded, data.examples, settings, opens_none, RunDir(Path()), experiment=experiment)
    job.check()
    return job


def _runs(
    group: Group, job: LabelJob, settings: Sequence[Settings], named: NamedScorer, folder: Path
) -> list[PlannedRun]:
    """The runs of one group."""
    header = run_header(job.examples, job.task, settings[0], UNKNOWN, GivenLabels(job.loaded.known))
    runs = []
    for one in settings:
        place = folder / group.name / f"seed-{one.seed}"
        experiment = job.experiment or own_experiment(place, f"{group.name}-{one.seed}")
        own = replace(job, settings=one, open_scorer=named.open, folder=RunDir(place), experiment=experiment)
        of_run = header.model_copy(update={"settings": RunSettings.model_validate(one.to_dict())})
        runs.append(PlannedRun(group, one.seed, own, of_run))
    return runs
