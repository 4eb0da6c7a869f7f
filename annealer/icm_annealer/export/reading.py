"""Reads examples as responses to prompts, so that their labels become judgements of responses.

An example holds one response (a claim, a solution) in the fields that differ within its group, or two responses that
its label compares. The completion follows the prompt directly, as in TRL's dataset formats
(https://huggingface.co/docs/trl/dataset_formats).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.data.template import escaped, filled, literals, template_fields
from icm_client.contract.errors import RequestError


@dataclass(frozen=True)
class Reading:
    """How an example is read as responses to a prompt."""

    prompt: str
    """A template over the row's fields."""
    lead: str
    """The text before each response, which belongs to it."""
    responses: tuple[str, ...]
    """The field that holds the response, or the two fields that a label compares."""
    better: str
    """The label for a good response; with two responses, for the first being better."""

    def __str__(self) -> str:
        what = " against ".join(self.responses)
        return f"prompt {self.prompt!r}, response {what}, {self.better!r} means " + (
            "that the first is better" if len(self.responses) == 2 else "that it is good"
        )

    def prompt_of(self, example: Example) -> str:
        return _filled(self.prompt, example, "--prompt")

    def responses_of(self, example: Example) -> list[str]:
        return [_filled(f"{self.lead}{{{field}}}", example, "--response") for field in self.responses]


def reading(
    task: Task, examples: Sequence[Example], prompt: str | None, response: str | None, better: str | None
) -> Reading:
    """The reading by the options given, with defaults from template, groups and rules. Raises RequestError if those do
    not determine it.

    Response fields are those that differ within a group; the prompt is the template's text before the first of them,
    up to its line.
    """
    fields = tuple(name.strip() for name in response.split(",")) if response else _differing(task, examples)
    if not 1 <= len(fields) <= 2 or len(set(fields)) < len(fields) or not all(map(_is_name, fields)):
        raise RequestError(f"--response: {','.join(fields)} is not one field, or two different ones: FIELD,FIELD")
    if len(fields) == 2 and len(task.labels) != 2:
        raise RequestError(f"a label compares two responses only in a task with two labels, not {len(task.labels)}")
    try:
        template_fields(prompt or "")
    except ValueError as error:
        raise RequestError(f"--prompt: {error}") from None
    lead = ""
    if prompt is None:
        prompt, lead = _prompt_before(task.template, fields)
    return Reading(prompt, lead, fields, better_label(task, better))


def _differing(task: Task, examples: Sequence[Example]) -> tuple[str, ...]:
    """The template's fields that differ within a group; two only where the task says that a label compares them."""
    if task.group is None:
        raise RequestError(
            f"the task {task.name!r} has no groups, so nothing tells a response from its prompt: name the field that "
            "holds it, or two that a label compares, with --response FIELD or --response FIELD,FIELD"
        )
    values: dict[tuple[str | None, str], set[str]] = {}
    fields = list(dict.fromkeys(template_fields(task.template)))
    for example in examples:
        for field in fields:
            values.setdefault((example.group, field), set()).add(str(example.fields.get(field)))
    differing = tuple(field for field in fields if any(len(values[e.group, field]) > 1 for e in examples))
    is_compared = any(rule.traits.compares_two for rule in task.rules)
    if len(differing) == (2 if is_compared else 1):
        return differing
    message = f"the fields {', '.join(differing)} differ" if differing else "no field of the template differs"
    raise RequestError(f"{message} within the groups of {task.name!r}: name the response with --response FIELD[,FIELD]")


def _prompt_before(template: str, fields: Sequence[str]) -> tuple[str, str]:
    """The template before the first of these fields, up to its line; and what leads the responses.

    If the field's line names others before it, the line's beginning belongs to the prompt as well, and a space at its
    end to the response, as a verbalizer's does.
    """
    head = ""
    for literal, field in literals(template):
        head += escaped(literal)
        if field in fields:
            break
        head += f"{{{field}}}" if field else ""
    else:
        head = ""  # the response is not in the template
    line = head.rfind("\n") + 1
    if not template_fields(head[line:]):
        return head[:line], ""
    stripped = head.rstrip(" ")
    return stripped, " " * (len(head) > len(stripped))


def better_label(task: Task, named: str | None) -> str:
    """The label that means good: the one named, or else that of a rule, or the first. Raises RequestError."""
    if named is not None:
        if named not in task.labels:
            raise RequestError(f"--better: {named!r} is none of {', '.join(task.labels)}")
        return named
    by_rules = [label for rule in task.rules for label in rule.label_names]
    if by_rules:
        return by_rules[0]
    if len(task.labels) > 2:
        names = ", ".join(task.labels)
        raise RequestError(
            f"the task {task.name!r} has more than two labels ({names}): name the good one with --better"
        )
    return task.label_names[0]


def _is_name(field: str) -> bool:
    return bool(field) and not set("{}") & set(field)


def _filled(template: str, example: Example, option: str) -> str:
    try:
        return filled(template, example.fields)
    except KeyError as error:
        there = ", ".join(list(example.fields)[:20])
        raise RequestError(f"{option}: no field {error} in the row {example.id!r} (there are: {there})") from None
