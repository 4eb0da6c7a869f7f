"""GRPO's loss and its gradient, and the KL to the start, against their definitions, one unpadded response at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from icm_annealer.core.arrays import Array
from icm_annealer.data.task import Task
from icm_trainer.models.base_model import BaseModel
from icm_trainer.rl.objective import GrpoObjective
from icm_trainer.rl.policy import Policy, Response, prompt_tokens
from icm_trainer.rl.prompts import PromptForm
from icm_trainer.rl.settings import RlSettings

TASK = Task(name="t", template="Word: {word}\nGroup:{group} is", labels={"good": " living", "bad": " object"})
PENALTY = 0.3


def by_letters(texts: Sequence[str]) -> Array:
    return np.array([float(text.count("a")) for text in texts])


class Rounding:
    """Writes as the policy does, and claims other log-probabilities of first tokens."""

    APART = (0.0, np.log(1.5), np.log(10.0), -0.5, 0.0, 0.0)

    def __init__(self, policy: Policy):
        self._policy = policy

    def write(self, prompts: Sequence[tuple[int, ...]], tokens: int, stop: str) -> list[Response]:
        written = self._policy.write(prompts, tokens, stop)
        own = [self._chosen(one) for one in written]
        return [
            one._replace(logprobs=(first - apart, *rest))
            for one, (first, *rest), apart in zip(written, own, self.APART, strict=True)
        ]

    def _chosen(self, one: Response) -> list[float]:
        found: list[float] = slow_logprobs(self._policy, one)[range(len(one.ids)), list(one.ids)].tolist()
        return found


def slow_logprobs(policy: Policy, response: Response) -> Any:
    """[position, token]"""
    import torch

    ids = torch.tensor([[*response.prompt, *response.ids]])
    return policy.model(ids).logits[0, len(response.prompt) - 1 : -1].log_softmax(-1)


def test_the_loss_and_its_gradient_are_those_of_grpo(policy: Policy, tiny: BaseModel) -> None:
    import torch

    settings = RlSettings.of("cpu", tiny, group=3, tokens=5, beta=0.2, length_penalty=PENALTY, threads=1)
    texts = ["Word: salmon\nGroup:", "Word: a longer text about the hammer\nGroup:"]
    ids = prompt_tokens(texts, TASK, tiny, 5)
    prompts = list(zip(texts, ids, strict=True))
    objective = GrpoObjective(policy, Rounding(policy), PromptForm(TASK), prompts, prompts, by_letters, settings)
    torch.manual_seed(3)
    objective.begin(np.array([0, 1]))
    loss = objective.loss(np.array([0, 1]))
    torch.manual_seed(3)
    responses = policy.write([one for one in ids for _ in range(3)], 5, "")
    assert len({one.ids for one in responses}) > 3

    expected: Any = 0.0
    kls = []
    for number in range(2):
        group = responses[number * 3 : number * 3 + 3]
        read = [f"{texts[number]}{one.text.rstrip()} is" for one in group]
        rewards = [float(text.count("a")) - PENALTY * len(one.ids) for text, one in zip(read, group, strict=True)]
        assert len(set(rewards)) > 1
        mean, deviation = np.mean(rewards), np.std(rewards, ddof=1)
        for place, (one, reward) in enumerate(zip(group, rewards, strict=True)):
            own = slow_logprobs(policy, one)
            with torch.no_grad(), policy.as_start():
                start = slow_logprobs(policy, one)
            written = own[range(len(one.ids)), list(one.ids)]
            kl = (own.exp() * (own - start)).sum(-1)
            kls.append(float(kl.sum().detach()))
            # The gradient of the ratio to itself is that of the log-probability, and its value is 1.
            gained = (written - written.detach() + 1) * (reward - mean) / (deviation + 1e-4)
            weights = torch.ones(len(one.ids))
            weights[0] = min(np.exp(Rounding.APART[number * 3 + place]), 3.0)
            gained = gained * weights
            expected = expected + (0.2 * kl - gained).sum() / (3 * 5)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-4)
    weights = next(one for name, one in policy.model.named_parameters() if "lora_A" in name)
    (found,), (slow,) = torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights)
    assert slow.abs().max() > 1e-3
    assert torch.allclose(found, slow, atol=1e-4)
    measured = objective.measured()
    assert measured["kl"] == pytest.approx(np.mean(kls), abs=1e-4)
    assert measured["length"] == np.mean([len(one.ids) for one in responses])
    apart = [abs(apart) / len(one.ids) for apart, one in zip(Rounding.APART, responses, strict=True)]
    assert measured["mismatch"] == pytest.approx(np.mean(apart), abs=1e-4)
    assert objective.measured() == {}
    objective = GrpoObjective(policy, policy, PromptForm(TASK), prompts, prompts, by_letters, settings)
    before = torch.get_rng_state()
    assert objective.look() == objective.look()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_kl_is_that_of_all_responses(policy: Policy, tiny: BaseModel) -> None:
    """Over every response of two tokens: the mean of the positions' KL, weighed by what is written first, is the KL."""
    import torch

    (prompt,) = prompt_tokens(["Word: salmon\nGroup:"], TASK, tiny, 2)
    vocabulary = int(tiny.config.vocab_size)

    def both() -> Any:
        """[first, second]: log p of the response."""
        first = policy.model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
        ids = torch.tensor([[*prompt, token] for token in range(vocabulary)])
        return first[:, None] + policy.model(ids, logits_to_keep=1).logits[:, -1].log_softmax(-1)

    with torch.no_grad():
        own = both()
        with policy.as_start():
            start = both()
        exact = float((own.exp() * (own - start)).sum())
        weighed = policy.weighed([Response(prompt, (token, 0), "") for token in range(vocabulary)])
    share = weighed.chosen[:, 0].exp()
    assert exact > 0.1
    assert float((share * weighed.kl.sum(1)).sum()) == pytest.approx(exact, rel=1e-3)


def test_a_response_ends_at_the_end_of_text_or_in_front_of_the_stop_text(policy: Policy, tiny: BaseModel) -> None:
    (prompt,) = prompt_tokens(["Word: salmon\nGroup:"], TASK, tiny, 2)
    ids = tiny.tokenizer.encode_many([" living is the hammer"])[0].ids
    plain = policy.response(prompt, [*ids, *policy.ends, 5, 6], "")
    assert (plain.text, plain.ids) == (" living is the hammer", (*ids, *policy.ends))
    stopped = policy.response(prompt, list(ids), " the")
    assert stopped.text == " living is"
    assert stopped.ids == tuple(ids[: len(stopped.ids)])
    assert len(stopped.ids) < len(ids)
    # A special token is text to a stop text, and never a part of a response's text.
    (special,) = tiny.tokenizer.with_special_tokens().encode_many(["<unk>"])[0].ids
    marked = policy.response(prompt, [*ids, special, *ids], "<unk>")
    assert (marked.text, marked.ids) == (" living is the hammer", (*ids, special))
    cut = policy.response(prompt, [ids[0], special, *ids[1:]], policy._decoded(ids[:2], special=False))
    assert len(cut.ids) == len(ids) + 1
    form = PromptForm(TASK)
    assert (form.fields, form.ending) == (["word"], " is")
    assert form.text(form.prompt({"word": "salmon"}), stopped.text) == "Word: salmon\nGroup: living is is"
