"""The text of a task file to start from, with comments that say what each part is for."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from icm_annealer.data.task import Task
from icm_annealer.data.task_draft import Draft
from icm_annealer.evaluation.template_trial import Trial
from icm_client.text.strict_yaml import quoted
from icm_client.text.visible import visible

COMMENT_CHARS = 98


@dataclass(frozen=True)
class TaskFile:
    """What a task file says besides its drafted tasks."""

    source: str
    """What it was made from, for people."""
    data: str | None
    """The data, relative to the task file; None if they have to be named each time."""
    survey: Sequence[str] = ()
    """What its columns hold, a line for each."""
    columns: Sequence[str] = ()
    """Their names, if they had to be given."""
    encoding: str | None = None
    scorer: str = ""
    """The scorer that tried the templates, if one did."""

    def text(self, draft: Draft, trials: Sequence[Trial]) -> str:
        """YAML with comments. `trials` belong to the tasks of `draft`, in order; there are none if nothing was
        tried."""
        task = draft.tasks[0]
        parts = [
            [
                _comment(f"A task for {self.source}, made by `icm init`. Change what you like. Its columns:"),
                *(_comment(f"- {line}") for line in self.survey),
                _entry("name", task.name),
            ],
            self._templates(draft.tasks, trials),
            [
                _comment(
                    "Each label's name, and the text that the model sees for it. The text begins with the space that "
                    "precedes it in running text. Best are words that a text would use there, each with a first word "
                    "of its own. A list of texts adds up their probabilities."
                ),
                "labels:",
                *_mapping(dict(zip(task.label_names, task.verbalizers, strict=True))),
            ],
            self._data(),
            _gold(task),
            *map(_group, draft.groups),
            [
                _comment(
                    "Without rates, labels are taken to be about equally frequent. If you know better, state the share "
                    "of a label, or its range."
                ),
                f"# rates: {{{quoted(task.label_names[0])}: [0.1, 0.2]}}",
            ],
        ]
        return "\n\n".join("\n".join(part) for part in parts) + "\n"

    def _templates(self, tasks: Sequence[Task], trials: Sequence[Trial]) -> list[str]:
        lines = [
            _comment(
                "What the model reads for a row: a column's name in braces stands for its value. The label's text "
                "follows at once, so the template ends without a space."
            )
        ]
        if trials:
            lines += [
                _comment(
                    f"Tried with {self.scorer} on {trials[0].num_queries:,} rows, without gold labels. Label mass is "
                    "the probability of all labels together; behind shots it should be near 100 %. Agreement of halves "
                    "says whether two sets of shots lead to the same labels, from 0 (as by chance) to 1; the nats say "
                    "how clearly each predicts the labels of the other. The best product of these and the label mass "
                    "stands first. Label words that say the opposite of what is meant agree as well."
                ),
                _comment(f"{trials[0]}:"),
            ]
        lines.append(_entry("template", tasks[0].template))
        lines.append(
            _comment("Others:" if trials else "Others to try; `icm task check --against` compares task files:")
        )
        for number, task in enumerate(tasks[1:], start=1):
            lines += [_comment(f"{trials[number]}:")] if trials else []
            lines.append(f"# {_entry('template', task.template)}")
        return lines

    def _data(self) -> list[str]:
        if self.data is None:
            lines = [_comment("The data are named with --data.")]
        else:
            lines = [_comment("The data, relative to this file; --data names others."), _entry("data", self.data)]
        if self.columns:
            lines += [
                _comment("The columns' names, since the first row does not name them."),
                _list("columns", self.columns),
            ]
        if self.encoding is not None:
            lines.append(_entry("encoding", self.encoding))
        return lines


def _gold(task: Task) -> list[str]:
    if task.gold is None:
        return [
            _comment(
                "The column with labels that a person gave, if there is one. They are for evaluation only: a search "
                "never sees them. Any row may lack one."
            ),
            "# gold: COLUMN",
        ]
    lines = [
        _comment(
            "The column with labels that a person gave. They are for evaluation only (`icm eval`): a search never sees "
            "them. Any row may lack one."
        ),
        _entry("gold", task.gold),
    ]
    if task.gold_values:
        lines += [
            _comment("Which label a value of this column stands for."),
            "gold_values:",
            *_mapping(task.gold_values),
        ]
    if task.no_label:
        lines += [_comment("Values that mean that there is no label."), _list("no_label", task.no_label)]
    return lines


def _group(name: str) -> list[str]:
    return [
        _comment(
            f"Rows with the same {name} may belong together. If their labels can contradict each other, name the group "
            'and a rule (docs/tasks.md, "Groups with rules").'
        ),
        f"# {_entry('group', name)}",
        "# rules: [...]",
    ]


def _comment(text: str) -> str:
    lines = textwrap.wrap(visible(text), COMMENT_CHARS, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)


def _entry(name: str, text: str) -> str:
    return f"{name}: {quoted(text)}"


def _mapping(pairs: Mapping[str, str]) -> list[str]:
    return [f"  {quoted(key)}: {quoted(value)}" for key, value in pairs.items()]


def _list(name: str, values: Sequence[str]) -> str:
    return f"{name}: [{', '.join(map(quoted, values))}]"
