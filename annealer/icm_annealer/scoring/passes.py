"""A pass: a search's request is laid out by a plan, rendered as text, scored, and returned as an array."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import pydantic

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import normalized
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.scoring.context_fit import ContextFit, context_fit
from icm_annealer.scoring.long_texts import CODE, check_lengths, uncountable
from icm_annealer.scoring.prefix_plan import PlanKind, PrefixPlan, behind_all
from icm_client.contract.batches import subset
from icm_client.contract.errors import RequestError, ScorerError
from icm_client.contract.wire import MAX_PROMPTS, Label, ModelInfo, ScoreRequest, ScoreResponse, Usage, label_texts

WINDOW_MARGIN = 16
"""Tokens of the window reserved for labels of several tokens."""


class Scorer(Protocol):
    """The interface that a search needs; `ScorerClient` has it. The methods are all coroutines, or all blocking.

    `score` returns log-probabilities [prompt, label] in nats; `count_tokens` the number of tokens of each text by
    itself; `model` the model's identity and its longest accepted prompt. They raise IcmError.

    Examples:
        >>> import icm_annealer as icm
        >>> from icm_client import ModelInfo, ScoreResponse, Usage
        >>> class Longest:
        ...     def model(self):
        ...         return ModelInfo(name="x", digest="x", dtype="x", engine="x", max_prompt_tokens=9, adds_bos=False)
        ...     def count_tokens(self, texts, *, special_tokens=False):
        ...         return [1 for text in texts]
        ...     def score(self, request):
        ...         rows = [[-1.0, -2.0] for prompt in request.prompts]
        ...         return ScoreResponse(logprobs=rows, usage=Usage(), model=self.model())
        >>> icm.label(["a", "b", "c"], template="{x}:", labels=["yes", "no"], scorer=Longest()).labels
        ['yes', 'yes', 'yes']
    """

    async def score(self, request: ScoreRequest) -> ScoreResponse: ...

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]: ...

    async def model(self) -> ModelInfo: ...


@dataclass(frozen=True)
class PassRequest:
    """A search's request for one pass.

    `labels[i]` is example i's label, -1 for an example that is in no context. `queries` are the examples to score,
    labelled or not. `plan` leaves their own unit out of the context; if no example of the unit is labelled, the context
    is all labelled examples. `order` is the permutation of units in contexts. `hidden` are labelled examples that keep
    their place in the plan, but whose shots are left out of all contexts.
    """

    labels: Ints
    queries: Ints
    order: Ints
    plan: PlanKind
    purpose: str = "pass"
    temperature: float | None = None
    """The search's current temperature, in its own units; None if it has none. For display only."""
    hidden: tuple[int, ...] = ()


@dataclass(frozen=True)
class PassResult:
    """The answer to a PassRequest: `logprobs[k, c]` is log p(label c) for the k-th query, in nats, raw."""

    logprobs: Array
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    num_dropped: int = 0

    @property
    def label_mass(self) -> Array:
        """The total probability of all labels, by query."""
        mass: Array = np.exp(self.logprobs).sum(axis=1)
        return mass

    @property
    def normalized(self) -> Array:
        """Log-probabilities renormalised over the labels."""
        return normalized(self.logprobs)


class TextLengths(NamedTuple):
    """Lengths in tokens."""

    separator: int
    """The tokens that the separator adds to a text; alone it may have fewer tokens ("\\n\\n" in GPT-2's tokenizer)."""
    lead: int
    """The common start of all texts, with the separator."""
    labels: Array
    texts: Array
    """Each example's text, with the separator."""
    preamble: int
    """The text at the start of every prompt."""

    def shots(self, labels: Ints) -> Array:
        """The length of every example's shot with these labels; of its text alone if it has no label."""
        shots: Array = self.texts + np.where(labels >= 0, self.labels[labels], 0)
        return shots


def common_start(texts: Sequence[str]) -> str:
    """The common start of all texts, up to a word's end. It is that of the first and last text in alphabetical
    order."""
    first, last = min(texts), max(texts)
    num = next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return re.sub(r"\s*\S*$", "", first[:num])


async def _measured(scorer: Scorer, task: Task, texts: Sequence[str], preamble: str) -> TextLengths:
    """Requests the lengths of all texts from the scorer; `preamble` is the text at the start of every prompt."""
    separated = [task.separator + text for text in texts]
    lead = task.separator + common_start(texts)
    asked = [texts[0], lead, *task.verbalizers, *separated, preamble]
    alone, num_lead, *counts, num_preamble = await scorer.count_tokens(asked, special_tokens=task.special_tokens)
    labels, lengths = np.array(counts[: len(task.labels)]), np.array(counts[len(task.labels) :])
    return TextLengths(int(lengths[0]) - alone, num_lead, labels, lengths, num_preamble)


def _labels(task: Task) -> list[Label]:
    return [label_texts(texts) for texts in task.labels.values()]


def _row_of(plan: PrefixPlan) -> dict[int, int]:
    """The number of the read that scores each example."""
    return {example: row for row, (_, example) in enumerate(plan.reads)}


def window_of(model: ModelInfo) -> dict[str, int]:
    """The window that contexts must fit. With another window, the same request has other contexts."""
    return {"max_prompt_tokens": model.max_prompt_tokens, "cache_block_tokens": model.cache_block_tokens}


def check_request(task: Task, experiment: str, adapter: str = "base") -> None:
    """Raises RequestError for values that every scorer would refuse."""
    try:
        ScoreRequest(
            prompts=["x"], labels=_labels(task), terminator=task.separator, experiment=experiment, model=adapter
        )
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"{first['loc'][0]}: {first['msg']}, not {first['input']!r}") from None


class PassScorer:
    """Scores PassRequests over one dataset through one scorer. Create it with `open`."""

    def __init__(
        self,
        scorer: Scorer,
        task: Task,
        texts: Sequence[str],
        lengths: TextLengths,
        units: Sequence[Ints],
        model: ModelInfo,
        experiment: str,
        adapter: str,
        preamble: str,
    ):
        self._scorer, self._task, self._texts, self._preamble = scorer, task, texts, preamble
        self._units, self._experiment, self._adapter = units, experiment, adapter
        self.lengths, self.model = lengths, model
        self._labels, self._verbalizers = _labels(task), task.verbalizers

    @classmethod
    async def open(
        cls,
        scorer: Scorer,
        task: Task,
        examples: Sequence[Example],
        units: Sequence[Ints],
        model: ModelInfo,
        experiment: str = "default",
        adapter: str = "base",
        preamble: str = "",
    ) -> PassScorer:
        """Checks the common parts of all passes, then requests the lengths of the texts.

        `preamble` is a text at the start of every prompt, followed by a separator.
        """
        if len(examples) > MAX_PROMPTS:
            raise RequestError(
                f"{len(examples)} examples are more than a pass can hold ({MAX_PROMPTS}); label them in parts",
                code="too_many_examples",
            )
        check_request(task, experiment, adapter)
        texts = [example.text for example in examples]
        try:
            lengths = await _measured(scorer, task, texts, preamble)
        except RequestError as error:

            async def count(some: Sequence[Example]) -> object:
                asked = [task.separator + example.text for example in some]
                return await scorer.count_tokens(asked, special_tokens=task.special_tokens)

            named = await uncountable(examples, count) if error.code == CODE else None
            raise (named or error) from None
        alone = lengths.texts - lengths.separator + int(model.adds_bos) + int(lengths.labels.max()) - 1
        check_lengths(examples, alone.astype(np.int64), model.max_prompt_tokens)
        num_longest = lengths.preamble + int(lengths.texts.max()) + WINDOW_MARGIN
        if preamble and num_longest > model.max_prompt_tokens:
            raise RequestError(
                f"a text of {lengths.preamble} tokens in front of every prompt leaves no room for the examples: with "
                f"the longest it takes {num_longest} tokens, and the model's window holds {model.max_prompt_tokens}"
            )
        return cls(scorer, task, texts, lengths, units, model, experiment, adapter, preamble)

    @property
    def has_preamble(self) -> bool:
        return bool(self._preamble)

    def fit(self, kind: PlanKind) -> ContextFit | None:
        """How much of the data fits the contexts of a pass over all examples; None if that is all of it."""
        shots, longest = self.lengths.texts + float(self.lengths.labels.mean()), float(self.lengths.texts.max())
        return context_fit(self._units, shots, kind, self._room(longest), self.model.max_prompt_tokens)

    def _room(self, longest: float) -> float:
        """The tokens that a context may have if the longest text behind it has so many."""
        return self.model.max_prompt_tokens - self.lengths.preamble - longest - WINDOW_MARGIN

    async def lengths_alone(self) -> list[int]:
        """Requests the number of tokens of each example's text without a separator."""
        return await self._scorer.count_tokens(self._texts, special_tokens=self._task.special_tokens)

    async def score(self, request: PassRequest) -> PassResult:
        """Scores one pass. Raises the client's errors, and ScorerError if the scorer's model has changed."""
        plan = self.plan(request)
        sent = self._request(plan, request.labels)
        return await self._scored(sent, request.queries, _row_of(plan), plan.num_dropped)

    async def again(self, request: PassRequest, queries: Ints) -> PassResult:
        """Scores the prompts of `queries` again, bypassing the scorer's cache of answers. Raises the same errors."""
        plan = self.plan(request)
        row_of = _row_of(plan)
        numbers = sorted(row_of[int(query)] for query in queries)
        sent = subset(self._request(plan, request.labels), numbers).model_copy(update={"fresh": True})
        places = {number: place for place, number in enumerate(numbers)}
        return await self._scored(sent, queries, {int(i): places[row_of[int(i)]] for i in queries}, plan.num_dropped)

    def request(self, request: PassRequest) -> ScoreRequest:
        """The request that `score` sends."""
        return self._request(self.plan(request), request.labels)

    async def _scored(
        self, request: ScoreRequest, queries: Ints, row_of: Mapping[int, int], num_dropped: int
    ) -> PassResult:
        start = time.monotonic()
        response = await self._scorer.score(request)
        seconds = time.monotonic() - start
        self._check_model(response.model)
        rows = [row_of[int(query)] for query in queries]
        return PassResult(np.array(response.logprobs)[rows], response.usage, seconds, num_dropped)

    def plan(self, request: PassRequest) -> PrefixPlan:
        """The prefix tree of a pass."""
        units: list[Ints] = []
        in_context: dict[int, int] = {}  # example -> a member of its unit that is in contexts
        for unit in (self._units[int(number)] for number in request.order):
            labelled = unit[request.labels[unit] >= 0]
            if len(labelled):
                units.append(labelled)
                in_context.update({int(i): int(labelled[0]) for i in unit})
        lengths = self.lengths.shots(request.labels)
        lengths[list(request.hidden)] = 0
        room = self._room(float(self.lengths.texts[request.queries].max()))
        reads_at: dict[int, list[int]] = {}
        outside: list[int] = []
        for query in request.queries.tolist():
            if query not in in_context:
                outside.append(query)
            else:
                reads_at.setdefault(query if request.labels[query] >= 0 else in_context[query], []).append(query)
        plan = PrefixPlan()
        if reads_at:
            plan = request.plan.build(units, lengths, room)
            is_whole = len(request.queries) == len(plan.reads) and bool((request.labels[request.queries] >= 0).all())
            plan = plan if is_whole else plan.only(reads_at)
        if outside:
            plan = plan + behind_all(units, outside, lengths, room)
        plan = plan.without(set(request.hidden))
        # A prompt's first text has no separator before it. The common start of all queries counts as context.
        before = int(self.model.adds_bos) + self.lengths.preamble - self.lengths.separator + self.lengths.lead
        before += self.lengths.separator if self._preamble else 0
        return plan if request.plan.is_exact else plan.aligned(lengths, before, self.model.cache_block_tokens)

    def _request(self, plan: PrefixPlan, labels: Ints) -> ScoreRequest:
        segments: dict[str, int] = {}

        def segment(text: str) -> int:
            return segments.setdefault(text, len(segments))

        def shot(example: int, leads: bool) -> list[int | None]:
            return [segment(self._text(example, leads=leads)), segment(self._verbalizers[labels[example]])]

        # The preamble is prefix 0, the root of all others.
        prefixes: list[list[int | None]] = [[None, segment(self._preamble)]] if self._preamble else []
        root, shift = (0, 1) if self._preamble else (None, 0)

        def numbered(prefix: int | None) -> int | None:
            return root if prefix is None else prefix + shift

        for parent, shots in plan.prefixes:
            row: list[int | None] = [numbered(parent)]
            for place, example in enumerate(shots):
                row += shot(example, leads=row[0] is None and place == 0)
            prefixes.append(row)
        prompts: list[str | list[int | None]] = [
            [numbered(prefix), segment(self._text(i, leads=numbered(prefix) is None))] for prefix, i in plan.reads
        ]
        return ScoreRequest(
            segments=list(segments),
            prefixes=prefixes,
            prompts=prompts,
            labels=self._labels,
            terminator=self._task.separator,
            experiment=self._experiment,
            model=self._adapter,
            special_tokens=self._task.special_tokens,
        )

    def _text(self, example: int, *, leads: bool) -> str:
        return self._texts[example] if leads else self._task.separator + self._texts[example]

    def _check_model(self, model: ModelInfo) -> None:
        if (model.digest, model.dtype) != (self.model.digest, self.model.dtype):
            raise ScorerError(
                f"the scorer now serves another model ({model.name}, {model.dtype}, {model.digest[:12]}) than this run "
                f"began with ({self.model.name}, {self.model.dtype}, {self.model.digest[:12]}); "
                "start the first one again and use --resume (resume=True in Python)",
                code="model_changed",
            )
