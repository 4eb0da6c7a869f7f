"""Probes a task with a model: tokens, the probability of the labels, and accuracy with a few shots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.data.examples import Example, Loaded, labels_of, sample
from icm_annealer.data.rates import label_rates_of
from icm_annealer.data.task import Task
from icm_annealer.data.task_check import Findings
from icm_annealer.evaluation.calibration import calibrated_to
from icm_annealer.evaluation.many_shot import accuracy
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Label, ScoreRequest, ScoreResponse, label_texts
from icm_client.text.counts import counted

NUM_SHOTS, NUM_QUERIES = 16, 64
MIN_SHOWN_MASS = 0.5
"""A lower label mass with shots is a finding. Without shots it may be small even for tasks that work well."""
MAX_LABELS_TOLD = 16


async def look_with_model(task: Task, loaded: Loaded, scorer: Scorer, seed: int) -> Findings:
    """Scores a random part of the data. A refusal by the scorer (labels, long prompts) is a finding; other errors of
    the scorer's client are raised."""
    num_shots = min(NUM_SHOTS, len(loaded.examples) // 2)
    shots, queries = sample(loaded.examples, num_shots, NUM_QUERIES, np.random.default_rng(seed))
    if not queries:  # a single group, say
        shots, queries = [], loaded.examples[:NUM_QUERIES]
    given, kind = labels_of(shots, loaded.gold, task), "gold"
    if not (given >= 0).all():
        given, kind = np.random.default_rng([seed, 1]).integers(len(task.labels), size=len(shots)), "random"
    gold = labels_of(queries, loaded.gold, task)
    check = ModelCheck(task, scorer, (await scorer.model()).max_prompt_tokens)
    findings = Findings([], [])
    try:
        findings += await check.label_tokens(queries[0].text)
        zero = await check.score("", queries)
        chars_per_token = sum(len(example.text) for example in queries) / zero.usage.prompt_tokens
        findings += await check.lengths(loaded, chars_per_token)
        findings += _zero_shot(np.array(zero.logprobs), gold, label_rates_of(task.rates, task.label_names))
        context = check.context(shots, given, chars_per_token, max(len(example.text) for example in queries))
        if context:
            shown = await check.score("".join(context), queries)
            findings += _few_shot(np.array(shown.logprobs), gold, f"{counted(len(context), 'shot')} with {kind} labels")
    except RequestError as error:
        findings += Findings([], [f"the scorer refuses: {error.message}"])
    return findings


class ModelCheck:
    """Measurements of one task with one model."""

    def __init__(self, task: Task, scorer: Scorer, window: int):
        self._task, self._scorer, self._window = task, scorer, window
        self._labels: list[Label] = [label_texts(texts) for texts in task.labels.values()]

    async def score(self, context: str, queries: Sequence[Example]) -> ScoreResponse:
        """Scores the labels of every query, with the same context (shots or nothing)."""
        lead = self._task.separator if context else ""
        texts = list(dict.fromkeys(lead + query.text for query in queries))
        number = {text: place for place, text in enumerate(texts)}
        return await self._scorer.score(
            ScoreRequest(
                segments=[*texts, context] if context else texts,
                prefixes=[[None, len(texts)]] if context else [],
                prompts=[[0 if context else None, number[lead + query.text]] for query in queries],
                labels=self._labels,
                terminator=self._task.separator or None,
                special_tokens=self._task.special_tokens,
            )
        )

    async def label_tokens(self, text: str) -> Findings:
        """How many tokens the labels have; a scorer makes one read for each inner node of the trie over them."""
        verbalizers = self._task.verbalizers[:MAX_LABELS_TOLD]
        counts = await self._scorer.count_tokens(verbalizers, special_tokens=self._task.special_tokens)
        most = sum(count - 1 for count in counts) + 1
        try:
            together = await self._num_reads(text, verbalizers) or most  # 0 if the scorer had the answer in its cache
        except RequestError as error:
            if error.code != "ambiguous_labels":
                raise
            together = 0  # one label's tokens begin another's: a terminator tells them apart
        shown = ", ".join(f"{text!r} {count}" for text, count in zip(verbalizers, counts, strict=True))
        shared = (
            "labels share first tokens, which do not tell them apart: other words are scored faster and more evenly"
        )
        return Findings([f"tokens of the labels: {shown}"], [shared] if most > together else [])

    async def _num_reads(self, text: str, labels: Sequence[str]) -> int:
        request = ScoreRequest(prompts=[text], labels=list(labels), special_tokens=self._task.special_tokens)
        return (await self._scorer.score(request)).usage.num_reads

    async def lengths(self, loaded: Loaded, chars_per_token: float) -> Findings:
        """Tokens of a shot, of the longest example, and how many shots the window holds."""
        end = len(self._task.separator) + max(map(len, self._task.verbalizers))
        mean = sum(len(example.text) + end for example in loaded.examples) / len(loaded.examples) / chars_per_token
        longest = max(loaded.examples, key=lambda example: len(example.text))
        try:
            tokens = (await self.score("", [longest])).usage.prompt_tokens
        except RequestError as error:
            return Findings([], [f"the longest example, {longest.id!r}: {error.message}"])
        room = max(int((self._window - tokens) / mean), 0)
        fact = (
            f"about {mean:.0f} tokens a shot; the longest example, {longest.id!r}, has {tokens:,}; "
            f"in front of it the model's window of {self._window:,} holds {counted(room, 'mean shot')}"
        )
        few = (
            f"only {counted(room, 'mean shot fits', 'mean shots fit')} in front of the longest example: leave out the "
            "longest, or use a larger window"
        )
        return Findings([fact], [few] if room < min(NUM_SHOTS, len(loaded.examples) - 1) else [])

    def context(self, shots: Sequence[Example], labels: Ints, chars_per_token: float, query_chars: int) -> list[str]:
        """As many shots, in order, as fit the window before a query with a tenth to spare; a separator precedes all but
        the first."""
        texts: list[str] = []
        room = 0.9 * self._window * chars_per_token - query_chars
        for example, label in zip(shots, labels, strict=True):
            text = example.text + self._task.verbalizers[label]
            room -= len(text) + len(self._task.separator)
            if room >= 0:
                texts.append(self._task.separator * bool(texts) + text)
        return texts


def _zero_shot(logprobs: Array, gold: Ints, rates: LabelRates | None) -> Findings:
    mass = float(np.exp(logprobs).sum(axis=1).mean())
    facts = [f"zero-shot, {counted(len(gold), 'example')}: the labels have {mass:.2%} of the probability"]
    if (gold >= 0).any():
        raw, shifted = (accuracy(scores.argmax(axis=1), gold) for scores in (logprobs, calibrated_to(rates, logprobs)))
        facts[0] += f"; accuracy {raw}, calibrated {shifted}"
    return Findings(facts, [])


def _few_shot(logprobs: Array, gold: Ints, shots: str) -> Findings:
    mass = float(np.exp(logprobs).sum(axis=1).mean())
    facts = [f"behind {shots}: the labels have {mass:.1%} of the probability"]
    wrong = []
    if mass < MIN_SHOWN_MASS:
        wrong.append(f"even behind shots the labels have only {mass:.1%} of the probability: are they read as meant?")
    if "gold" in shots and (gold >= 0).any():
        predicted = logprobs.argmax(axis=1)
        facts[0] += f"; accuracy {accuracy(predicted, gold)}"
        if len(set(predicted.tolist())) == 1 and len(set(gold[gold >= 0].tolist())) > 1:
            wrong.append("behind gold shots the model gives every example the same label")
    return Findings(facts, wrong)
