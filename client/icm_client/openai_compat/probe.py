"""Finds out what an endpoint supports and whether its log-probabilities are plausible, before any other request."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from icm_client.contract.errors import AccessError, RequestError, ScorerError
from icm_client.openai_compat.endpoint import Answer, OpenAIEndpoint, TokenIds, checked, token_name
from icm_client.openai_compat.reads import MAX_PROMPTS

SHOTS = 2 * "Colour: red\nNext: blue\n\nColour: blue\nNext: red\n\n"
EASY, TURNED = SHOTS + "Colour: red\nNext:", SHOTS + "Colour: blue\nNext:"
"""Any language model finds their answers, " blue" and " red"."""
OTHER = "The days of the week are Monday, Tuesday, Wednesday,"
NUM_TOP = (20, 5)
"""Numbers of likeliest tokens to request; the first that the endpoint accepts is used."""
MAX_APART, MAX_BELOW = 0.5, 7.0
"""Two answers to one prompt are equal if no value differs by more than the first number, in nats, among the values
within the second number of the best. Batches and cached prefixes change the last digits, in 16 bits by tenths of a
nat."""


class Abilities(NamedTuple):
    """What the endpoint supports."""

    takes_tokens: bool
    """Prompts as tokens with logprob_token_ids; otherwise prompts as text, with `num_top` of the likeliest tokens."""
    num_top: int
    bos: TokenIds
    """Tokens that the tokenizer puts in front of a prompt; only their number is known if the endpoint does not accept
    tokens."""
    max_prompts: int
    """The most prompts in one request."""
    fingerprint: str | None
    notes: list[str]
    """Warnings for the user, one line each."""


async def probe(endpoint: OpenAIEndpoint, model: str) -> Abilities:
    """Raises ScorerError for an endpoint whose log-probabilities are missing, not finite, all equal, or dependent on
    the other prompts of a request; and what the endpoint raises."""
    questions = await _token_questions(endpoint, model) or await _text_questions(endpoint, model)
    first = await questions.ask([EASY])
    easy = _believable(endpoint, first.tops[0])
    turned = (await questions.ask([TURNED])).tops[0]
    other = (await questions.ask([OTHER])).tops[0]
    if easy in (turned, other):
        raise _unusable(endpoint, "its log-probabilities do not depend on the prompt", "constant")
    again = (await questions.ask([EASY])).tops[0]
    _check_same(endpoint, easy, again, "when a prompt is repeated")
    reordered = (await questions.ask([EASY], reverse=True)).tops[0]
    _check_same(endpoint, easy, reordered, "when the labels are requested in another order")
    together = await _together(questions, [OTHER, EASY, TURNED, EASY])
    for one, beside in zip([other, easy, turned, easy], together.tops if together else [], strict=bool(together)):
        _check_same(endpoint, one, beside, "when other prompts are in the same request")
    notes = list(questions.notes)
    if [_best(easy), _best(turned)] != [questions.after_easy, questions.after_turned]:
        notes.append(f"{model} gets a trivial prompt wrong: is it a trained language model?")
    # vLLM counts the cached tokens of a request's last prompt only, so if they are counted, each prompt gets a request.
    one_by_one = together is None or first.cached_tokens is not None
    return Abilities(
        questions.takes_tokens,
        questions.num_top,
        questions.bos,
        1 if one_by_one else MAX_PROMPTS,
        first.fingerprint,
        notes,
    )


@dataclass(frozen=True)
class _Questions:
    """The format of prompts for the endpoint, and the expected likeliest tokens after the test prompts."""

    endpoint: OpenAIEndpoint
    model: str
    prompts: Mapping[str, str | TokenIds]
    after_easy: str
    after_turned: str
    bos: TokenIds
    target_ids: tuple[int, ...] = ()
    num_top: int = 0
    notes: tuple[str, ...] = ()

    @property
    def takes_tokens(self) -> bool:
        return bool(self.target_ids)

    async def ask(self, texts: Sequence[str], *, reverse: bool = False) -> Answer:
        """Answers contain only the requested tokens, if there are any."""
        prompts = [self.prompts[text] for text in texts]
        target_ids = self.target_ids[::-1] if reverse else self.target_ids
        answer = await self.endpoint.complete(self.model, prompts, num_top=self.num_top, target_ids=target_ids)
        names = [token_name(token) for token in target_ids]
        tops = [{name: top[name] for name in names if name in top} if names else top for top in answer.tops]
        return answer._replace(tops=tops)


async def _token_questions(endpoint: OpenAIEndpoint, model: str) -> _Questions | None:
    """None if the endpoint has no /tokenize, or does not answer with the requested ids."""
    try:
        texts = (EASY, TURNED, OTHER, EASY + " blue", TURNED + " red")
        ids = {text: await endpoint.tokenize(model, text) for text in texts}
        full = await endpoint.tokenize(model, EASY, special=True)
        num = len(ids[EASY])
        bos = full[: next(k for k in range(len(full)) if full[k : k + num] == ids[EASY])]
        questions = _Questions(
            endpoint,
            model,
            {text: [*bos, *ids[text]] for text in (EASY, TURNED, OTHER)},
            token_name(ids[EASY + " blue"][num]),
            token_name(ids[TURNED + " red"][len(ids[TURNED])]),
            bos,
            target_ids=tuple(dict.fromkeys(ids[EASY])),
        )
        answer = await questions.ask([EASY])
    except (RequestError, ScorerError, AccessError, StopIteration, IndexError):
        return None
    return questions if len(answer.tops[0]) == len(questions.target_ids) else None


async def _text_questions(endpoint: OpenAIEndpoint, model: str) -> _Questions:
    num_top = NUM_TOP[0]
    try:
        answer = await endpoint.complete(model, ["a"], num_top=num_top)
    except RequestError:
        num_top = NUM_TOP[1]
        answer = await endpoint.complete(model, ["a"], num_top=num_top)
    if answer.prompt_tokens is None:
        raise _unusable(endpoint, "it does not count prompt tokens (usage.prompt_tokens)", "no_usage")
    note = (
        f"{endpoint.url} does not support logprob_token_ids: labels are looked up among the {num_top} most "
        "likely tokens, and the run stops if one is not among them"
    )
    bos = [0] if answer.prompt_tokens > 1 else []
    prompts = {text: text for text in (EASY, TURNED, OTHER)}
    return _Questions(endpoint, model, prompts, " blue", " red", bos, num_top=num_top, notes=(note,))


async def _together(questions: _Questions, texts: list[str]) -> Answer | None:
    """None if the endpoint accepts only one prompt per request."""
    try:
        return await questions.ask(texts)
    except (RequestError, ScorerError):
        return None


def _best(top: dict[str, float]) -> str:
    return max(top, key=lambda token: top[token])


def _believable(endpoint: OpenAIEndpoint, top: dict[str, float]) -> dict[str, float]:
    """The values, if they are log-probabilities and not all equal."""
    try:
        for token, value in top.items():
            checked(value, f"the token {token!r}")
    except ScorerError as error:
        raise _unusable(endpoint, error.message, error.code) from None
    if len(top) < 2:
        what = "log-probability only" if top else "log-probabilities"
        raise _unusable(endpoint, f"it returns {'one' if top else 'no'} {what}", "missing_value")
    if len(set(top.values())) == 1:
        raise _unusable(endpoint, f"it gives every token the same log-probability, {min(top.values())}", "constant")
    return top


def _check_same(endpoint: OpenAIEndpoint, one: dict[str, float], other: dict[str, float], when: str) -> None:
    """Checks that likely tokens have about the same value in both answers."""
    for token, value in one.items():
        if value < max(one.values()) - MAX_BELOW:
            continue
        # The last of the likeliest tokens may swap places with one that is not reported.
        beside = other.get(token, min(other.values(), default=-math.inf))
        if not abs(value - beside) <= MAX_APART:
            raise _unusable(
                endpoint,
                f"the log-probability of {token!r} changes from {value:.2f} to "
                f"{f'{beside:.2f}' if token in other else 'none'} {when}",
                "order_dependent",
            )


def _unusable(endpoint: OpenAIEndpoint, why: str, code: str) -> ScorerError:
    return ScorerError(f"{endpoint.url} cannot be used as a scorer: {why}", code=code)
