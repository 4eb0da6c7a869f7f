"""A task: the template that turns an example into text, the labels, and the rules between labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from icm_annealer.data.rates import Rates, check_rates
from icm_annealer.data.rows import REMOTE
from icm_annealer.data.template import filled, template_fields
from icm_annealer.rules.python import ALLOW_CODE
from icm_annealer.rules.registry import AnyRule
from icm_annealer.sources.delimited import check_columns
from icm_annealer.sources.encoding import check_encoding
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import MAX_LABEL_CHARS, ScoreRequest, label_texts
from icm_client.text.strict_yaml import MAX_CHARS, YAMLError, one_line, read_yaml
from icm_client.text.validation import first_error

RATES: TypeAdapter[Rates] = TypeAdapter(Rates)
ID = "id"
"""The field with a row's id, unless the task names another."""
BUILT_IN = Path(__file__).parents[1] / "tasks"


class Task(BaseModel):
    """One task file (YAML). `template` is filled with the fields of a data row; the label follows it directly.

    Raises pydantic's ValidationError if a field is missing, unknown, or of the wrong type. Conditions on several
    fields, such as that rules name labels of the task, are checked when the task is used.

    Examples:
        >>> import icm_annealer as icm
        >>> task = icm.Task(
        ...     name="answers",
        ...     template="Question: {question}\\nAnswer: {answer}\\nTrue or false:",
        ...     labels={"true": " true", "false": " false"},
        ...     group="question",
        ...     rules=[{"kind": "at_most_one", "label": "true"}],
        ... )
        >>> task.label_names
        ['true', 'false']
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w-]+$", max_length=100)
    title: str = ""
    template: str
    """The example's text, such as "Word: {word}\\nGroup:"; `{field}` stands for a field of the row."""
    separator: str = "\n\n"
    """Precedes every shot of a prompt except the first."""
    labels: dict[str, str | list[str]] = Field(min_length=2, max_length=256)
    """Label name -> its verbalizer, the text in prompts (with its leading space), or several aliases; contexts use the
    first one."""
    data: str | None = Field(default=None, pattern=r"^[^\x00-\x1f]+$")
    """The data file, relative to the task file, or `hf:owner/name[:config][:split]`; `--data` overrides it."""
    builder: str = Field(default="", exclude=True)
    """The command that makes the data of a task that ships none; named in the error if the data are missing."""
    gold: str | None = None
    """The field with gold labels; separated when data are loaded, for evaluation only."""
    gold_values: dict[str, str] = {}
    """Value of the gold field, or of `known` -> label name, if they differ (JSON values as text: "true", "1")."""
    known: str | None = None
    """The field with known labels, empty where a label is unknown. A search never changes them; it sees no other use of
    the field."""
    rates: Rates = {}
    """Label name -> the share of examples that have it, or its least and greatest share ([0.1, 0.2]). Labels that are
    not named share the rest freely."""
    no_label: list[str] = []
    """Values of these fields that mean that there is no label, as an empty one does."""
    columns: list[str] = []
    """The columns' names, for a table without a header."""
    encoding: str | None = None
    """The text encoding of the data, if it is neither UTF-8 nor UTF-16."""
    id: str = ID
    """The field with a row's id; rows without it are numbered."""
    group: str | None = None
    """The field whose equal values tie rows together for `rules` and `leave_out: group`."""
    leave_out: Literal["example", "group"] = "example"
    """What leave-one-out removes from an example's context: the example, or its whole group, which is needed if one
    member's label determines another's under a rule."""
    rules: list[AnyRule] = []
    """What makes labels of one group contradict each other."""
    special_tokens: bool = False
    """Whether control tokens (`<|im_start|>`, `</s>`) in texts act as control tokens; by default they are plain
    text."""
    source: str = ""
    notes: str = ""

    @property
    def label_names(self) -> list[str]:
        return list(self.labels)

    @property
    def verbalizers(self) -> list[str]:
        """The text of each label in a context."""
        return [label_texts(texts)[0] for texts in self.labels.values()]

    def seen(self) -> dict[str, Any]:
        """The fields that affect a search: all except the fields with gold and known labels, where the data are and how
        they are read, and descriptions for people."""
        seen = self.model_dump(
            exclude={
                *("data", "columns", "encoding", "source", "notes", "title"),
                *("gold", "gold_values", "no_label", "known"),
            }
        )
        for name in ("special_tokens", "rates"):
            if not seen[name]:
                del seen[name]
        return seen

    def render(self, row: dict[str, Any]) -> str:
        """The example's text; raises KeyError with the missing field's name."""
        return filled(self.template, row)

    @property
    def fields(self) -> list[str]:
        """The row fields that the template, group and rules use."""
        return [*template_fields(self.template), *([self.group] if self.group else []), *self.rule_keys]

    @property
    def rule_keys(self) -> list[str]:
        """The fields whose values the rules compare."""
        return [key for rule in self.rules for key in rule.keys]


class LoadedTask(BaseModel):
    """A task with the folder that its data file is relative to."""

    model_config = ConfigDict(frozen=True)

    task: Task
    path: Path

    @property
    def data_path(self) -> Path | str | None:
        """The location of the task's data; None if it names none."""
        if self.task.data is None or self.task.data.startswith(REMOTE):
            return self.task.data
        return self.path.parent / self.task.data


def built_in_tasks() -> list[str]:
    """The names of the tasks in the package, in alphabetical order.

    Examples:
        >>> import icm_annealer as icm
        >>> "living" in icm.built_in_tasks()
        True
    """
    return sorted(path.parent.name for path in BUILT_IN.glob("*/task.yaml"))


def load_task(name_or_path: str, *, allow_code: bool = False) -> LoadedTask:
    """Loads a built-in task by name, or a task file by path. Raises RequestError in one line.

    A task that names code (the rule `python`) is refused, without importing it, unless `allow_code` is set.

    Examples:
        >>> import icm_annealer as icm
        >>> icm.load_task("living").task.label_names
        ['living', 'object']
    """
    path = BUILT_IN / name_or_path / "task.yaml"
    if name_or_path not in built_in_tasks():
        path = Path(name_or_path)
        if not _is_file(path):
            raise RequestError(
                f"no task {name_or_path!r}: it is neither a file nor one of {', '.join(built_in_tasks())}",
                code="unknown_task",
            )
    try:
        task = Task.model_validate(_read(path))
        _check(task)
    except pydantic.ValidationError as error:
        raise RequestError(_line(f"{path}: {first_error(error, whole='the file')}"), code="bad_task") from None
    except (YAMLError, OSError, ValueError) as error:
        message = one_line(error) if isinstance(error, YAMLError) else str(error)
        raise RequestError(_line(f"{path}: {message}"), code="bad_task") from None
    return LoadedTask(task=allowed_task(task, str(path), allow_code=allow_code), path=path)


def allowed_task(task: Task, where: str, *, allow_code: bool) -> Task:
    """`task` with permission to run the code that its rules name. Raises RequestError if they name some and it is not
    allowed."""
    code = [rule.code for rule in task.rules if rule.code is not None]
    if code and not allow_code:
        raise RequestError(f"{where}: the rule {code[0]!r} is code, {ALLOW_CODE}", code="code_not_allowed")
    return task.model_copy(update={"rules": [rule.allowed() for rule in task.rules]})


def check_task(task: Task) -> None:
    """Checks a task created in Python in the same way as `load_task`. Raises RequestError in one line."""
    try:
        _check(task)
    except pydantic.ValidationError as error:
        raise RequestError(_line(f"the task {task.name!r}: {first_error(error)}"), code="bad_task") from None
    except ValueError as error:
        raise RequestError(_line(f"the task {task.name!r}: {error}"), code="bad_task") from None


def with_rates(task: Task, rates: Mapping[str, Any]) -> Task:
    """`task` with these label rates in place of its own. Raises RequestError in one line."""
    try:
        checked = RATES.validate_python(rates)
    except pydantic.ValidationError as error:
        raise RequestError(_line(f"rates: {first_error(error)}"), code="bad_rates") from None
    changed = task.model_copy(update={"rates": checked})
    check_task(changed)
    return changed


def _check(task: Task) -> None:
    _check_template(task)
    _check_rules(task)
    _check_labels(task)
    _check_reading(task)
    check_rates(task.rates, task.label_names)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # not a valid file name
        return False


def _read(path: Path) -> Any:
    """The fields of a task file. Raises ValueError if it holds something else."""
    with path.open(encoding="utf-8-sig") as file:
        found = read_yaml(file.read(MAX_CHARS + 1))
    if not isinstance(found, dict):
        raise ValueError("not a task: a mapping with at least `name`, `template` and `labels` is needed")
    return found


def _line(text: str) -> str:
    return " ".join(text.split())


def _check_template(task: Task) -> None:
    fields = template_fields(task.template)
    if not fields:
        doubled = "; doubled braces stand for braces in the text" * ("{{" in task.template)
        raise ValueError(
            f"template: names no field of a row, so that all examples would have the text {task.template!r:.80}; write "
            f"the name of a column in single braces where its text belongs, such as {{text}}{doubled}"
        )
    if task.known is not None and task.known == task.gold:
        raise ValueError(f"known: {task.known!r} is the gold field, which a search never sees")
    for what, named in (("template", fields), ("group", [task.group]), ("id", [task.id])):
        if task.gold is not None and task.gold in named:
            aside = (
                "; a shot's label is put behind the template by itself, so take "
                f"{{{task.gold}}} out of it; or leave `gold` out of the task, if it is no label"
            )
            raise ValueError(
                f"{what}: {task.gold!r} is the gold field, which a search never sees{aside * (what == 'template')}"
            )
        if task.known is not None and task.known in named:
            raise ValueError(f"{what}: {task.known!r} is the field with known labels, which is not part of an example")


def _check_rules(task: Task) -> None:
    for rule in task.rules:
        try:
            rule.check()
        except RequestError as error:
            raise ValueError(f"rules: {error.message}") from None
        for label in rule.label_names:
            if label not in task.labels:
                raise ValueError(f"rules: {rule.title} names the label {label!r}, which is none of the task's")
        if task.gold in rule.keys:
            raise ValueError(f"rules: {rule.title} compares the gold field {task.gold!r}, which a search never sees")
        if task.known in rule.keys:
            raise ValueError(f"rules: {rule.title} compares {task.known!r}, the field with known labels")
        if task.group is None and rule.traits.needs_group:
            raise ValueError(f"rules: {rule.title} judges groups, and the task names no group field")


def _check_reading(task: Task) -> None:
    if task.encoding is not None:
        check_encoding(task.encoding)
    check_columns(task.columns)
    for text, label in task.gold_values.items():
        if label not in task.labels:
            raise ValueError(f"gold_values: {text!r} stands for {label!r}, which is none of the task's labels")
    both = [text for text in task.no_label if text in task.labels or text in task.gold_values]
    if both:
        raise ValueError(f"no_label: {both[0]!r} also stands for a label")


def _check_labels(task: Task) -> None:
    """Refuses labels that a scorer would refuse."""
    if len(task.separator) > MAX_LABEL_CHARS:
        raise ValueError(f"separator: longer than {MAX_LABEL_CHARS} characters")
    seen: dict[str, str] = {}
    for label, texts in task.labels.items():
        if not label_texts(texts):
            raise ValueError(f"labels: {label!r} needs a text")
        for text in label_texts(texts):
            if not text.strip() or text in seen:
                raise ValueError(f"labels: {label!r} needs a text of its own, not {text!r}")
            seen[text] = label
    ScoreRequest(prompts=["x"], labels=[label_texts(texts) for texts in task.labels.values()])
