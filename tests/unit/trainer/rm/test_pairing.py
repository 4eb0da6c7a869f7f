"""Pairs of compared responses, of groups, of any examples, and of files of preferences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.labelled import planted_labels

from icm_annealer.core.arrays import Array
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_client.contract.errors import RequestError
from icm_trainer.rm.pairing import AnyExamples, Groups, Pairing, PairOptions, pairing_of
from icm_trainer.rm.pairs import Pair
from icm_trainer.rm.preference_file import CONVERSATION, holds_preferences, read_preferences
from icm_trainer.sft.labelled import LabelledExample

COMPARED = Task(
    name="compared",
    template="Human: {q}\nResponse 1: {a}\nResponse 2: {b}\nThe first is better:",
    labels={"True": " True", "False": " False"},
    group="g",
    rules=[{"kind": "mirrored"}],  # type: ignore[list-item]
)


def compared(num: int) -> list[Example]:
    """Each comparison in both orders; the response with the higher number is the better one."""
    rows = []
    for number in range(num):
        low, high = f"low {number}", f"the high one {number}"
        for order, (a, b) in enumerate(((low, high), (high, low))):
            fields = {"q": f"what {number // 2}", "a": a, "b": b, "g": str(number)}
            rows.append(Example(f"{number}-{order}", COMPARED.render(fields), str(number), fields))
    return rows


def by_word(texts: Sequence[str]) -> Array:
    return np.array([float("high" in text or "hot" in text) for text in texts])


def test_a_comparison_and_its_mirror_are_one_pair_of_single_responses() -> None:
    examples = compared(4)
    truth = [LabelledExample(one, str(one.fields["a"].startswith("the high"))) for one in examples]
    pairing = pairing_of(COMPARED, examples, PairOptions())
    pairs = pairing.by_labels(truth)
    assert pairs[0] == Pair(
        chosen="Human: what 0\nthe high one 0\nThis response is",
        rejected="Human: what 0\nlow 0\nThis response is",
        group="Human: what 0\n",
    )
    assert len(pairs) == 4
    assert len({pair.group for pair in pairs}) == 2  # two comparisons of each prompt are held out together
    turned = [row._replace(label={"True": "False", "False": "True"}[row.label]) for row in truth]
    assert [(p.rejected, p.chosen) for p in pairing.by_labels(turned)] == [(p.chosen, p.rejected) for p in pairs]
    contradicting = [truth[0]._replace(label="True"), *truth[1:]]
    assert pairing.by_labels(contradicting) == pairs[1:]
    assert pairing.by_rewards(examples, by_word, 0.5) == pairs
    assert pairing.by_rewards(examples, lambda texts: np.zeros(len(texts)), 0.5) == []


def test_groups_and_blocks_put_each_good_text_over_others() -> None:
    labels = planted_labels(40)
    right = [("hot", "cool")] * 40

    def kinds(pairing: Pairing, pairs: Sequence[Pair]) -> list[tuple[str, str]]:
        label = {row.example.text: row.label for row in labels.rows}
        return [(label[pair.chosen], label[pair.rejected]) for pair in pairs]

    grouped = [
        row._replace(example=Example(row.example.id, row.example.text, row.example.fields["pair"], {}))
        for row in labels.rows
    ]
    truth = {row.example.text: float(row.label == "hot") for row in labels.rows}
    for pairing, rows, num in (
        (AnyExamples(labels.task, "hot"), labels.rows, 40),
        (Groups(labels.task, "hot"), grouped, 20),
    ):
        pairs = pairing.by_labels(rows)
        assert kinds(pairing, pairs) == right[:num]
        judged = pairing.by_rewards(
            [row.example for row in rows], lambda texts: np.array([truth[text] for text in texts]), 0.5
        )
        assert kinds(pairing, judged) == right[:num]
    assert AnyExamples(labels.task, "hot").by_labels([row for row in labels.rows if row.label == "hot"]) == []


def test_files_of_preferences_as_benchmarks_have_them(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No.", "subset": "chat"},
        {"prompt": "Why?", "chosen": ["Because."], "rejected": ["So.", "Who knows."]},
        {
            "chosen": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}],
            "rejected": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "No."}],
        },
    ]
    file = tmp_path / "bench.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert holds_preferences(str(file))
    pairs = read_preferences(str(file), CONVERSATION)
    assert pairs[0].chosen == "Human: Hi?\nAssistant: Hello.\nThis response is"
    assert [pair.group for pair in pairs] == ["0", "1", "1", "2"]
    assert pairs[0].subset == "chat"
    assert (pairs[3].chosen, pairs[3].rejected) == (pairs[0].chosen, pairs[0].rejected)
    (words,) = read_preferences(str(_written(tmp_path, {"chosen": "sun", "rejected": "ice"})), planted_labels(2).task)
    assert words.chosen == "Words: sun\nKind:"
    for bad, says in (
        ({"chosen": "a"}, "needs the fields chosen and rejected"),
        ({"chosen": 1, "rejected": "b"}, "chosen: expected a text"),
    ):
        with pytest.raises(RequestError, match=says):
            read_preferences(str(_written(tmp_path, bad)), planted_labels(2).task)


def _written(folder: Path, row: dict[str, object]) -> Path:
    path = folder / "one.jsonl"
    path.write_text(json.dumps(row) + "\n")
    return path
