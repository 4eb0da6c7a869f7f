"""A sweep's file: tasks x settings x models x scorers x seeds. Strict, and bounded in the number of runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from icm_annealer.core.objective import Measure
from icm_annealer.data.rates import Rates
from icm_annealer.searches.registry import DEFAULT
from icm_annealer.searches.settings import MAX_SEED, Settings, options_for
from icm_annealer.sweeping.mistakes import Mistakes
from icm_client.contract.adapters import ADAPTER_NAME, MAX_ADAPTER_NAME
from icm_client.contract.errors import RequestError
from icm_client.text.strict_yaml import MAX_CHARS, YAMLError, one_line, read_yaml
from icm_client.text.validation import all_errors

MAX_RUNS, MAX_SEEDS, MAX_NAMES = 10_000, 1000, 1000
"""The most runs of a sweep, seeds, and names of one kind."""

Name = Annotated[str, Field(pattern=r"^[\w-]+$", max_length=60)]
"""A name within the sweep. It becomes a part of a folder's name."""
ModelName = Annotated[str, Field(pattern=ADAPTER_NAME, max_length=MAX_ADAPTER_NAME)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TaskEntry(_Part):
    """One task, and which of its examples are labelled. Files are relative to the sweep's file."""

    task: str
    """A built-in task or a task file; by default the entry's name."""
    data: str | None = None
    """As `--data`."""
    first: int | None = Field(default=None, ge=2)
    """As `--first`."""
    rates: Rates | None = None
    """In place of the task's own; `{}` discards them."""
    known: str | None = None
    """As `--known`."""
    columns: list[str] = []
    encoding: str | None = None
    skip_bad: bool = False


class SettingEntry(_Part):
    """How labels are searched for; the fields are those of `Settings`, besides seed and model."""

    search: str
    plan: str | None = None
    measure: Measure | None = None
    alpha: float = Field(default=Settings.model_fields["alpha"].default, gt=0)
    chains: int | None = Field(default=None, ge=1, le=64)
    passes: int | None = Field(default=None, ge=1, le=10_000)
    options: dict[str, Any] | None = None
    """The search's options; in place of `chains` and `passes`."""

    def settings(self, seed: int, model: str) -> Settings:
        """Raises RequestError or ValidationError for settings that the search does not have."""
        if self.options is not None and (self.chains, self.passes) != (None, None):
            raise RequestError("give either options, or chains and passes")
        settings = Settings(
            search=self.search,
            seed=seed,
            model=model,
            options=self.options or options_for(self.search, chains=self.chains, passes=self.passes),
            plan=self.plan,
            measure=self.measure,
            alpha=self.alpha,
        )
        settings.plan_kind()
        return settings


class ScorerEntry(_Part):
    """A scorer. Its name in the sweep stands for the model that it serves."""

    scorer: str
    """As `--scorer`."""
    engine: str = "vllm"
    """As `--engine`."""
    scorer_model: str | None = None
    """As `--scorer-model`."""
    api_key_file: str | None = None
    """A file with the scorer's API key, relative to the sweep's file; by default that of `--api-key-file`."""


def _seeds(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MAX_SEEDS:
            raise ValueError(f"a number of seeds between 1 and {MAX_SEEDS:,} is needed")
        return list(range(value))
    return value


def _by_name(value: Any, field: str, name_of: Callable[[str], str] = str) -> Any:
    """A list of texts, or one text, as entries by name; a text in an entry's place is the entry's first field."""
    values = [value] if isinstance(value, str) else value
    if isinstance(values, list) and all(isinstance(one, str) for one in values):
        entries = {name_of(one): {field: one} for one in values}
        if len(entries) < len(values):
            raise ValueError("two entries would have the same name; write them as NAME: ...")
        return entries
    if isinstance(values, Mapping):
        return {name: {field: one} if isinstance(one, str) else one for name, one in values.items()}
    return value


class SweepSpec(_Part):
    """A sweep's file. Every combination of a task, a setting, a model, a scorer and a seed is one run."""

    tasks: dict[Name, TaskEntry] = Field(min_length=1, max_length=MAX_NAMES)
    settings: dict[Name, SettingEntry] = Field(
        default={DEFAULT.name: SettingEntry(search=DEFAULT.name)}, min_length=1, max_length=MAX_NAMES
    )
    models: list[ModelName] = Field(default=["base"], min_length=1, max_length=MAX_NAMES)
    """`base`, and adapters that every scorer of the sweep serves."""
    scorers: dict[Name, ScorerEntry] | None = Field(default=None, min_length=1, max_length=MAX_NAMES)
    """None takes the one of `--scorer`, with the name `scorer`."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, le=MAX_SEED)]], BeforeValidator(_seeds)] = Field(
        default=[0], min_length=1, max_length=MAX_SEEDS
    )
    """Seeds, or how many, from 0 on."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _task_entries(cls, value: Any) -> Any:
        entries = _by_name(value, "task", lambda task: Path(task).stem)
        if not isinstance(entries, Mapping):
            return entries
        return {name: {"task": name, **(one or {})} if _is_part(one) else one for name, one in entries.items()}

    @field_validator("settings", mode="before")
    @classmethod
    def _setting_entries(cls, value: Any) -> Any:
        return _by_name(value, "search")

    @field_validator("scorers", mode="before")
    @classmethod
    def _scorer_entries(cls, value: Any) -> Any:
        return _by_name(value, "scorer", lambda _: "scorer")

    @model_validator(mode="after")
    def _bounded(self) -> SweepSpec:
        for field, values in (("seeds", self.seeds), ("models", self.models)):
            if len(set(map(str, values))) < len(values):
                raise ValueError(f"{field}: one is named twice")
        if self.num_runs > MAX_RUNS:
            raise ValueError(f"{self.num_runs:,} runs are more than {MAX_RUNS:,}: divide the sweep")
        return self

    def of_one(self, task: str, setting: str, scorer: ScorerEntry, model: str, seed: int) -> SweepSpec:
        """The sweep of one of its runs, on this scorer, with the name `scorer`."""
        one = {"tasks": {task: self.tasks[task]}, "settings": {setting: self.settings[setting]}}
        return self.model_copy(update={**one, "models": [model], "scorers": {"scorer": scorer}, "seeds": [seed]})

    @property
    def num_runs(self) -> int:
        num = len(self.tasks) * len(self.settings) * len(self.models) * len(self.seeds)
        return num * len(self.scorers or [None])


def _is_part(entry: Any) -> bool:
    return entry is None or isinstance(entry, Mapping)


class _Rest(SweepSpec):
    """What is left of a file without its mistakes; possibly nothing. It has no runs, but may have other mistakes."""

    tasks: dict[Name, TaskEntry] = {}
    settings: dict[Name, SettingEntry] = {}
    scorers: dict[Name, ScorerEntry] | None = None


def read_spec(path: Path, mistakes: Mistakes) -> SweepSpec:
    """The sweep that a YAML file describes. Adds what is wrong in it to `mistakes`, and then returns what is left of
    it. Raises SweepMistakesError if nothing can be read."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            found = read_yaml(file.read(MAX_CHARS + 1))
        if not isinstance(found, dict):
            raise ValueError("not a sweep: a mapping with `tasks` is needed (`icm sweep --help` shows one)")
    except YAMLError as error:
        what = one_line(error)
    except OSError as error:
        what = error.strerror or str(error)
    except ValueError as error:  # not UTF-8, not a mapping
        what = " ".join(str(error).split())
    else:
        return spec_of(found, mistakes, str(path))
    mistakes.add(str(path), what)
    raise mistakes.error()


def spec_of(found: Mapping[Any, Any], mistakes: Mistakes, where: str = "the sweep") -> SweepSpec:
    """The sweep that a mapping of a file's shape describes. Adds what is wrong in it to `mistakes`, with `where`, and
    then returns what is left of it."""
    try:
        return SweepSpec.model_validate(dict(found))
    except pydantic.ValidationError as error:
        for line in all_errors(error):
            mistakes.add(where, line)
        wrong = [each["loc"] for each in error.errors(include_url=False, include_context=False, include_input=False)]
    try:
        return _Rest.model_validate(_without(found, wrong))
    except pydantic.ValidationError:  # such as a list of tasks of which one is none
        return _Rest()


def _without(found: Mapping[Any, Any], wrong: Iterable[tuple[int | str, ...]]) -> dict[Any, Any]:
    """The file without the entries, and without the fields that hold none, that are wrong."""
    rest = {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}
    for field, *inner in (place for place in wrong if place):
        entries = rest.get(field)
        if isinstance(entries, dict) and inner:
            entries.pop(inner[0], None)
        else:
            rest.pop(field, None)
    return rest
