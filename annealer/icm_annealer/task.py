"""A task: how an example becomes text, what its labels are called, and what may not be labelled together."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from icm_annealer.columnar import HUB
from icm_annealer.rules import DifferentKeys, Rule, SameKey
from icm_client.errors import RequestError
from icm_client.wire import label_texts

BUILT_IN = Path(__file__).parent / "tasks"


class Task(BaseModel):
    """One task file (YAML). `template` is filled with the fields of a data row; the label follows it directly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[\w-]+$")
    title: str = ""
    template: str
    """The example's text, such as "Word: {word}\\nGroup:"; `{field}` stands for a field of the row."""
    separator: str = "\n\n"
    """Leads every shot but the first of a prompt."""
    labels: dict[str, str | list[str]] = Field(min_length=2, max_length=256)
    """Label name -> its verbalizer, the text that the model sees (with its leading space), or several aliases;
    the first of them stands in contexts."""
    data: str | None = None
    """The data file, relative to the task file, or `hf:owner/name[:config][:split]`; `--data` overrides it."""
    builder: str = Field(default="", exclude=True)
    """How data for a task that ships none are made; told to whom uses the task without."""
    gold: str | None = None
    """The field that holds reference labels; split off at loading, for evaluation only."""
    gold_values: dict[str, str] = {}
    """Value of the gold field -> label name, where they differ (JSON values as text: "true", "1")."""
    id: str = "id"
    """The field that names a row; rows without it are numbered."""
    group: str | None = None
    """The field whose equal values tie rows together for `rules` and `leave_out: group`."""
    leave_out: Literal["example", "group"] = "example"
    """What is left out of its own context: the example, or its whole group, needed where a rule lets one
    member's label be read off another's."""
    rules: list[Rule] = []
    """What makes labels of one group contradict each other."""
    source: str = ""
    notes: str = ""

    @property
    def label_names(self) -> list[str]:
        return list(self.labels)

    @property
    def verbalizers(self) -> list[str]:
        """The text that stands for each label in a context."""
        return [label_texts(texts)[0] for texts in self.labels.values()]

    def seen(self) -> dict[str, Any]:
        """What shapes a search: all but the gold field, where the data are, and what is for people."""
        return self.model_dump(exclude={"data", "source", "notes", "title", "gold", "gold_values"})

    def render(self, row: dict[str, Any]) -> str:
        """The example's text; raises KeyError with the missing field's name."""
        return self.template.format_map(row)

    @property
    def fields(self) -> list[str]:
        """The row's fields that template, group and rules need."""
        return [*template_fields(self.template), *([self.group] if self.group else []), *self.rule_keys]

    @property
    def rule_keys(self) -> list[str]:
        """The fields whose values rules compare."""
        return [rule.key for rule in self.rules if isinstance(rule, DifferentKeys | SameKey)]


def template_fields(template: str) -> list[str]:
    """The fields that a template names, in order. Raises ValueError if it holds anything but plain field names.

    A template is data from outside: no attribute or index look-ups, and no formats, which may hold look-ups.
    """
    fields = []
    for _, field, form, conversion in string.Formatter().parse(template):
        if field is not None:
            if not field.isidentifier() or form or conversion:
                raise ValueError(f"template: {{{field}}} is not a plain field name")
            fields.append(field)
    return fields


class LoadedTask(BaseModel):
    """A task with the place that it was read from, which its data file is relative to."""

    model_config = ConfigDict(frozen=True)

    task: Task
    path: Path

    @property
    def data_path(self) -> Path | str | None:
        """Where the task's own data are; None if it has none."""
        if self.task.data is None or self.task.data.startswith(HUB):
            return self.task.data
        return self.path.parent / self.task.data


def built_in_tasks() -> list[str]:
    """The names of the tasks in the package."""
    return sorted(path.parent.name for path in BUILT_IN.glob("*/task.yaml"))


def load_task(name_or_path: str) -> LoadedTask:
    """A task of the package by name, or a user's own by path. Raises RequestError in one line."""
    path = BUILT_IN / name_or_path / "task.yaml"
    if name_or_path not in built_in_tasks():
        path = Path(name_or_path)
        if not path.is_file():
            raise RequestError(
                f"no task {name_or_path!r}: it is neither a file nor one of {', '.join(built_in_tasks())}",
                code="unknown_task",
            )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        task = Task.model_validate(raw)
        template_fields(task.template)
        for rule in task.rules:
            label, key = getattr(rule, "label", None), getattr(rule, "key", None)
            if label is not None and label not in task.labels:
                raise ValueError(f"rules: {rule.kind} names the label {label!r}, which is none of the task's")
            if key is not None and key == task.gold:
                raise ValueError(f"rules: {rule.kind} looks at the gold field {key!r}, which a search never sees")
            if rule.kind != "python" and task.group is None:
                raise ValueError(f"rules: {rule.kind} judges groups, and the task names no group field")
        seen: dict[str, str] = {}
        for label, texts in task.labels.items():
            if not label_texts(texts):
                raise ValueError(f"labels: {label!r} needs a text")
            for text in label_texts(texts):
                if not text.strip() or text in seen:
                    raise ValueError(f"labels: {label!r} needs a text of its own, not {text!r}")
                seen[text] = label
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise RequestError(f"{path}: {where}: {first['msg']}", code="bad_task") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError, ValueError) as error:
        raise RequestError(f"{path}: {' '.join(str(error).split())}", code="bad_task") from None
    return LoadedTask(task=task, path=path)
