"""Finds parts of texts that a model could misread: separators, shots, control tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.data.template import filled, template_fields
from icm_client.contract.wire import label_texts

SPECIAL = re.compile(
    r"<[|｜][^\s|｜<>]{1,60}[|｜]>"  # <|endoftext|>, <|im_start|>, <｜User｜>
    r"|</?s>|<(?:bos|eos|pad|unk|mask|cls|sep|(?:start|end)_of_(?:turn|text|sequence|image)|endoftext)>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|CLS|SEP|PAD|MASK|UNK)\]|<</?SYS>>"
)
"""Control tokens of common tokenizers."""
PLACEHOLDER = "x"


def texts_alike(task: Task, examples: Iterable[Example]) -> list[str]:
    """Likely mistakes in the texts, one line each."""
    own = filled(task.template, dict.fromkeys(template_fields(task.template), PLACEHOLDER))
    shots, separator, owned = _shots(task, own), task.separator, _special(own)
    found = {
        "separators": _Found(lambda text: [separator] if separator.strip(" ") and _more(separator, text, own) else []),
        "shots": _Found(lambda text: [shot for shot in shots if _more(shot, text, own)]),
        "special": _Found(lambda text: list(_special(text) - owned)),
    }
    for example in examples:
        for one in found.values():
            one.look(example)
    as_what = "control tokens of the model, since special_tokens is true: whoever wrote them can end a shot"
    plain = "plain text; `special_tokens: true` in the task file would make control tokens of them"
    return [
        *_special_of_task(task, own),
        *found["separators"].lines("hold the separator", "what follows it looks like another example; take it out"),
        *found["shots"].lines("hold a label as a shot has it", "which looks like an example of its own; take it out"),
        *found["special"].lines(
            "hold what looks like special tokens",
            f"they are read as {as_what if task.special_tokens else plain}",
        ),
    ]


def _shots(task: Task, own: str) -> list[str]:
    """Strings that make a text look like a shot: the template's last words with a label, or a label and a separator."""
    tail = own.rpartition(PLACEHOLDER)[2]
    texts = [text for given in task.labels.values() for text in label_texts(given)]
    behind = [text + task.separator for text in texts] if task.separator.strip(" ") else []
    return ([tail + text for text in texts] if tail.strip() else []) + behind


def _special_of_task(task: Task, own: str) -> list[str]:
    labels = " ".join(text for given in task.labels.values() for text in label_texts(given))
    tokens = sorted(_special(" ".join([own, task.separator, labels])))
    if not tokens or task.special_tokens:
        return []
    return [
        f"template, separator or labels hold {', '.join(tokens[:4])}, which are read as plain text: say "
        "`special_tokens: true` if they are meant as the model's control tokens"
    ]


def _special(text: str) -> Counter[str]:
    """The control tokens in the text, with their counts."""
    return Counter(SPECIAL.findall(text))


def _more(part: str, text: str, own: str) -> bool:
    """Whether `part` occurs more often in the text than in the template itself."""
    return text.count(part) > own.count(part)


class _Found:
    """The texts that contain one kind of misleading part."""

    def __init__(self, parts: Callable[[str], list[str]]):
        self._parts, self._num, self._first = parts, 0, ""

    def look(self, example: Example) -> None:
        parts = self._parts(example.text)
        if parts:
            self._first = self._first or f"{parts[0]!r} in {example.id!r}"
            self._num += 1

    def lines(self, what: str, so_what: str) -> list[str]:
        return [f"{self._num:,} texts {what} ({self._first}): {so_what}"] if self._num else []
