"""Checks a task and its data before any search. Besides evaluation only this module uses gold labels, and only to
print findings."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import NamedTuple

import numpy as np

from icm_annealer.data.examples import Example, Loaded, consistency_of, labels_of
from icm_annealer.data.given_labels import NUM_SHOWN, named_ids
from icm_annealer.data.label_columns import label_column_text, label_columns
from icm_annealer.data.rates import rates_text
from icm_annealer.data.task import Task
from icm_annealer.data.text_check import texts_alike
from icm_annealer.rules.base import Rule
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import label_texts
from icm_client.text.counts import counted

MIN_RATE, MAX_RATE = 0.1, 0.9
"""Accuracy is a poor measure if a label rate lies outside this range."""
LONG_CHARS, LONG_TIMES = 2000, 8.0
"""An example is very long if it has more characters than this, and is this many times longer than the median."""
FIRST_WORD = re.compile(r"\s*(?:\w+|\W)")
OPENING = "([{\"'“‘«"
"""A label that follows one of these needs no leading space."""


class Findings(NamedTuple):
    """Lines of text for the user: facts, and likely mistakes."""

    facts: list[str]
    wrong: list[str]

    def __add__(self, other: Findings) -> Findings:  # type: ignore[override]
        return Findings(self.facts + other.facts, self.wrong + other.wrong)


def three_shots(task: Task, loaded: Loaded) -> str:
    """The first three examples as shots, with gold labels where known, otherwise with the labels in rotation."""
    shots = []
    for number, example in enumerate(loaded.examples[:3]):
        label = loaded.gold.get(example.id, task.label_names[number % len(task.labels)])
        shots.append(example.text + task.verbalizers[task.label_names.index(label)])
    return task.separator.join(shots)


def look_at_task(task: Task) -> Findings:
    """Checks the template and the labels."""
    wrong = []
    end = task.template[-1:]
    if end in (" ", "\t"):
        wrong.append(
            "the template ends in a space, which the model expects as the beginning of the next word: end it without, "
            'and begin the labels with one (" True")'
        )
    if not task.separator:
        wrong.append("the separator is empty, so that an example begins in the middle of the label before it")
    texts = [(label, text) for label, given in task.labels.items() for text in label_texts(given)]
    for label, text in texts:
        if not text[0].isspace() and not end.isspace() and end not in OPENING:
            wrong.append(
                f"the label {label!r} does not begin with a space, so that the model reads "
                f"{task.template.splitlines()[-1][-12:] + text!r}: write {' ' + text!r}"
            )
        if text != text.rstrip():
            wrong.append(f"the label {label!r} ends in white space ({text!r})")
    wrong += _begin_alike(texts)
    if task.leave_out == "group" and task.group is None:
        wrong.append("leave_out: group does nothing, since no group field is named")
    if task.leave_out == "example":
        wrong += [
            f"the rule {rule.title} lets one label be read off another's of its group, so that copying looks coherent: "
            "use leave_out: group"
            for rule in task.rules
            if rule.traits.reveals_labels
        ]
    return Findings([], wrong)


def look_at_data(task: Task, loaded: Loaded) -> Findings:
    """Checks lengths, duplicates, texts, groups, known labels and stated rates, and, if there are gold labels, these
    against known labels, rates and rules."""
    texts = Findings([], texts_alike(task, loaded.examples))
    checks = _lengths(loaded) + _duplicates(loaded) + texts + _groups(task, loaded.examples)
    return checks + _given(task, loaded) + _gold(task, loaded)


def _begin_alike(texts: list[tuple[str, str]]) -> list[str]:
    by_word: dict[str, dict[str, str]] = {}
    for label, text in texts:
        match = FIRST_WORD.match(text)
        by_word.setdefault(match[0] if match else text, {}).setdefault(label, text)
    alike = sorted((list(labels.values()) for labels in by_word.values() if len(labels) > 1), key=len, reverse=True)
    if not alike:
        return []
    shown = "; ".join(_some(labels) for labels in alike[:NUM_SHOWN])
    more = f"; and {len(alike) - NUM_SHOWN} more such words" if len(alike) > NUM_SHOWN else ""
    return [
        f"{sum(map(len, alike))} labels begin with the same word as others, so that the first token does not tell them "
        f"apart: {shown}{more}. Other words are scored faster and more evenly"
    ]


def _some(texts: list[str]) -> str:
    more = f" and {len(texts) - NUM_SHOWN} more" if len(texts) > NUM_SHOWN else ""
    return ", ".join(repr(text) for text in texts[:NUM_SHOWN]) + more


def _lengths(loaded: Loaded) -> Findings:
    chars = np.array([len(example.text) for example in loaded.examples])
    longest, median = int(chars.argmax()), float(np.median(chars))
    name = loaded.examples[longest].id
    facts = [
        f"{counted(len(chars), 'example')} of {chars.mean():,.0f} characters in the mean, {median:,.0f} in the median; "
        f"the longest, of id {name!r}, has {chars[longest]:,}"
    ]
    num_long = int((chars > max(LONG_CHARS, LONG_TIMES * median)).sum())
    wrong = []
    if num_long:
        wrong.append(
            f"{counted(num_long, 'example is', 'examples are')} very long: {name!r} takes the place of "
            f"{chars[longest] / median:.0f} others"
        )
    return Findings(facts, wrong)


def _duplicates(loaded: Loaded) -> Findings:
    by_text: dict[str, list[str]] = {}
    for example in loaded.examples:
        by_text.setdefault(_as_read(example.text), []).append(example.id)
    twice = [ids for ids in by_text.values() if len(ids) > 1]
    if not twice:
        return Findings([], [])
    differing = sum(len({loaded.gold[i] for i in ids if i in loaded.gold}) > 1 for ids in twice)
    return Findings(
        [],
        [
            f"{counted(len(twice), 'text stands', 'texts stand')} there more than once (such as "
            f"{twice[0][0]!r} and {twice[0][1]!r}), so that a label can be copied from its twin"
            + (f"; {counted(differing, 'of them has', 'of them have')} differing gold labels" * bool(differing))
        ],
    )


def _as_read(text: str) -> str:
    """What remains of a text for a person: composed characters, and single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _groups(task: Task, examples: list[Example]) -> Findings:
    if task.group is None:
        return Findings(["no groups"], [])
    sizes = Counter(Counter(example.group for example in examples).values())
    shown = ", ".join(f"{num:,} of {size}" for size, num in sorted(sizes.items())[:8])
    facts = [f"{counted(sizes.total(), 'group')}: {shown}" + (", ..." if len(sizes) > 8 else "")]
    wrong = []
    if task.rules and sizes[1] == sizes.total():
        wrong.append(f"rules judge groups, and every value of {task.group!r} stands there once: is it the right field?")
    wrong += [line for rule in task.rules for line in rule.odd_groups(sizes, len(task.labels))]
    largest = max(sizes)
    if task.leave_out == "group" and largest > len(examples) / 2:
        wrong.append(f"a group has {largest:,} of all examples, which are all left out of each other's contexts")
    return Findings(facts, wrong)


def _given(task: Task, loaded: Loaded) -> Findings:
    """Known labels and stated label rates, by themselves and beside gold."""
    facts, wrong = [], []
    if loaded.known:
        counts = Counter(loaded.known.values())
        shown = ", ".join(f"{name} {counts[name]:,}" for name in task.label_names)
        facts.append(f"known labels of {counted(len(loaded.known), 'example')}: {shown}")
        differing = [name for name, label in loaded.known.items() if loaded.gold.get(name, label) != label]
        if differing:
            wrong.append(f"the known label is not the gold label of {named_ids(differing)}")
    elif task.known:
        wrong.append(f"no row has a value in {task.known!r}, the field with known labels")
    if task.rates:
        facts.append(f"stated label rates: {rates_text(task.rates)}")
        num, gold = len(loaded.gold), Counter(loaded.gold.values())
        for name, (low, high) in task.rates.items():
            error = 2 * (0.25 / num) ** 0.5 if num else 1.0  # two standard errors of a share, at most
            if num and not low - error <= gold[name] / num <= high + error:
                stated = rates_text({name: (low, high)})
                wrong.append(f"the stated rate is {stated}, but {gold[name] / num:.4g} of the gold labels are {name}")
    return Findings(facts, wrong)


def _gold(task: Task, loaded: Loaded) -> Findings:
    if not loaded.gold:
        facts = ["no gold labels" + (f": no row has a value in {task.gold!r}" if task.gold else "")]
        return Findings([*facts, *map(label_column_text, label_columns(loaded.examples, task))], [])
    num = len(loaded.gold)
    rates = {name: count / num for name, count in Counter(loaded.gold.values()).items()}
    shown = ", ".join(f"{name} {rates.get(name, 0):.1%}" for name in task.label_names)
    facts, wrong = [f"gold labels of {counted(num, 'example')}: {shown}"], []
    if len(rates) == 1:
        wrong.append(f"all gold labels are {next(iter(rates))!r}: accuracy says nothing")
    elif not all(MIN_RATE <= rates.get(name, 0) <= MAX_RATE for name in task.label_names) and len(task.labels) == 2:
        state = "" if task.rates else "; state the label rates, if you know them without gold"
        wrong.append(f"gold is uneven: compare with always answering the more frequent label{state}")
    for rule in task.rules:
        found = _against_gold(task, rule, loaded)
        facts += found.facts
        wrong += found.wrong
    return Findings(facts, wrong)


def _against_gold(task: Task, rule: Rule, loaded: Loaded) -> Findings:
    alone = task.model_copy(update={"rules": [rule]})
    try:
        consistency = consistency_of(alone, loaded.examples)
        counts = consistency.by_group(labels_of(loaded.examples, loaded.gold, task))
    except RequestError as error:
        return Findings([], [f"the rule {rule.title}: {error.message}"])
    contradictions, groups = int(counts.sum()), int((counts > 0).sum())
    fact = (
        f"gold and the rule {rule.title}: {counted(contradictions, 'contradiction')}, in {groups:,} of "
        f"{counted(len(counts), 'group')}"
    )
    if not contradictions:
        return Findings([fact], [])
    return Findings(
        [fact],
        [
            f"gold contradicts the rule {rule.title} in {counted(groups, 'group')}, so the rule excludes "
            "what is to be found"
        ],
    )
