"""A policy: a model that writes responses, beside the start that it was made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from icm_annealer.data.task import Task
from icm_client.contract.errors import RequestError
from icm_server.engines.base import encoded
from icm_trainer.models.base_model import BaseModel

AT_A_TIME = 64
"""Responses that transformers writes together."""
TAIL = 8
"""Tokens at the end of a response that are read for a stop text, besides those of a stop text's length."""


class Response(NamedTuple):
    """What a policy wrote."""

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    """With the end-of-text token, or the token in which the stop text ends, if there is one."""
    text: str
    """Without the stop text and special tokens."""
    logprobs: tuple[float, ...] = ()
    """log p of each token, by what wrote it; empty if the policy itself did."""


class Writer(Protocol):
    """What writes the responses that a policy learns from."""

    def write(self, prompts: Sequence[tuple[int, ...]], tokens: int, stop: str) -> list[Response]:
        """One response to each prompt, of at most `tokens`, which ends in front of the text `stop`. It is drawn at
        temperature 1 from the whole distribution, by torch's global generator, so that what is written is what the
        policy's probabilities say."""
        ...


class Weighed(NamedTuple):
    """The probabilities of responses; tensors in float32, whose padded positions are 0."""

    chosen: Any
    """[response, position]: log p of the token that was written."""
    kl: Any
    """[response, position]: KL to the start of what the policy says comes next, summed over the whole vocabulary."""
    mask: Any
    """[response, position]: 1 where there is a token."""
    apart: Any
    """[response, position]: log p of the token that was written, less what its writer had; 0 if the policy wrote it."""


@dataclass(frozen=True)
class Policy:
    """A LoRA model of peft, whose start is the same without the adapter. Create it with `of`."""

    model: Any
    tokenizer: Any
    ends: tuple[int, ...]

    @classmethod
    def of(cls, model: Any, base: BaseModel) -> Policy:
        """Of the base with an adapter, or of the base alone, which is its own start."""
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(base.folder)
        ends = model.generation_config.eos_token_id
        there = [tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])]
        return cls(model, tokenizer, tuple(dict.fromkeys(end for end in there if end is not None)))

    def write(self, prompts: Sequence[tuple[int, ...]], tokens: int, stop: str) -> list[Response]:
        """See `Writer`: by transformers."""
        written = []
        for first in range(0, len(prompts), AT_A_TIME):
            written += self._written(prompts[first : first + AT_A_TIME], tokens, stop)
        return written

    def _written(self, prompts: Sequence[tuple[int, ...]], tokens: int, stop: str) -> list[Response]:
        import torch
        from transformers import GenerationConfig, StoppingCriteriaList

        self.model.eval()
        end = self.ends[0] if self.ends else 0
        config = GenerationConfig(
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            repetition_penalty=1.0,
            max_new_tokens=tokens,
            pad_token_id=end,
            eos_token_id=list(self.ends) or None,
        )
        self.model.generation_config = config  # a base's own settings would fill in what is left out
        ids, is_there = _padded(prompts, left=True)
        device = next(self.model.parameters()).device
        width = ids.shape[1]

        def stops(written: Any, scores: Any, **_: Any) -> Any:
            num = TAIL + len(stop)
            tails = (self._decoded(row[width:][-num:].tolist(), special=True) for row in written)
            return torch.tensor([stop in tail for tail in tails], device=written.device)

        with torch.no_grad(), _autocast(device):
            written = self.model.generate(
                input_ids=ids.to(device),
                attention_mask=is_there.to(device),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([stops] if stop else []),
            )
        return [self.response(prompt, row[width:].tolist(), stop) for prompt, row in zip(prompts, written, strict=True)]

    def response(self, prompt: tuple[int, ...], ids: list[int], stop: str) -> Response:
        """What was written by `ids`, which may go on behind its end. A stop text may hold special tokens of the
        tokenizer."""
        length = next((number + 1 for number, token in enumerate(ids) if token in self.ends), len(ids))
        ids = ids[:length]
        if not stop or stop not in self._text(prompt, ids, special=True):
            return Response(prompt, tuple(ids), self._text(prompt, ids))
        # The fewest tokens that hold the stop text.
        held = (num for num in range(1, len(ids) + 1) if stop in self._text(prompt, ids[:num], special=True))
        ids = ids[: next(held)]
        whole = self._text(prompt, ids, special=True)
        behind = self._plain(whole[whole.index(stop) :], ids)
        return Response(prompt, tuple(ids), self._text(prompt, ids).removesuffix(behind))

    def _plain(self, text: str, ids: Sequence[int]) -> str:
        """The text without those of its special tokens that are among `ids`."""
        for token, content in self.tokenizer.added_tokens_decoder.items():
            if content.special and token in ids:
                text = text.replace(content.content, "")
        return text

    def has_ended(self, response: Response, stop: str) -> bool:
        """Whether an end of text, or the stop text, is at its end."""
        is_stopped = bool(stop) and stop in self._text(response.prompt, response.ids, special=True)
        return response.ids[-1] in self.ends or is_stopped

    def _text(self, prompt: tuple[int, ...], ids: Sequence[int], *, special: bool = False) -> str:
        """The text that follows the prompt's: some tokenizers drop a space at the beginning of what they decode."""
        before = self._decoded(prompt, special=special)
        whole = self._decoded([*prompt, *ids], special=special)
        return whole[len(before) :] if whole.startswith(before) else self._decoded(ids, special=special)

    def _decoded(self, ids: Sequence[int], *, special: bool) -> str:
        """With `special`, special tokens are text too: a stop text may be one of them."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=not special, clean_up_tokenization_spaces=False)
        )

    def weighed(self, responses: Sequence[Response]) -> Weighed:
        """The probabilities of these responses, with gradients where they are enabled."""
        import torch

        self.model.eval()  # with dropout, it would be another policy

        left, there = _padded([one.prompt for one in responses], left=True)
        right, mask = _padded([one.ids for one in responses], left=False)
        device = next(self.model.parameters()).device
        ids, is_there = torch.cat([left, right], 1).to(device), torch.cat([there, mask], 1).to(device)
        num = right.shape[1]
        right, mask = right.to(device), mask.to(device).float()

        def logprobs() -> Any:
            with _autocast(device):
                answer = self.model(
                    input_ids=ids,
                    attention_mask=is_there,
                    position_ids=(is_there.cumsum(1) - 1).clamp(min=0),
                    logits_to_keep=num + 1,
                    use_cache=False,
                )
            return answer.logits[:, :-1].float().log_softmax(-1)

        with torch.no_grad(), self.as_start():
            start = logprobs()
        own = logprobs()
        kl = (own.exp() * (own - start)).sum(-1)
        chosen = own.gather(-1, right[..., None])[..., 0] * mask
        apart = torch.zeros_like(mask)
        for number, one in enumerate(responses):
            if one.logprobs:
                theirs = torch.tensor(one.logprobs, device=device)
                apart[number, : len(theirs)] = chosen[number, : len(theirs)].detach() - theirs
        return Weighed(chosen, kl * mask, mask, apart)

    @contextlib.contextmanager
    def as_start(self) -> Iterator[None]:
        """The start in the policy's place."""
        with self.model.disable_adapter() if hasattr(self.model, "disable_adapter") else contextlib.nullcontext():
            yield


def prompt_tokens(texts: Sequence[str], task: Task, base: BaseModel, tokens: int) -> list[tuple[int, ...]]:
    """The tokens of prompts, with the one that the tokenizer puts in front of every text. Raises RequestError for a
    prompt that leaves no room for a response of `tokens`, or has no tokens."""
    used = base.tokenizer.with_special_tokens() if task.special_tokens else base.tokenizer
    found = [(*base.tokenizer.bos, *one.ids) for one in encoded(used, texts)]
    for text, ids in zip(texts, found, strict=True):
        if not ids:
            raise RequestError(
                f"a prompt has no tokens ({task.template!r} begins with the response): {base.name} needs something to "
                "continue",
                code="empty_prompt",
            )
        if len(ids) + tokens > base.window:
            raise RequestError(
                f"a prompt of {len(ids):,} tokens and a response of {tokens:,} (`icm train rl --tokens`) do not fit "
                f"into the {base.window:,} tokens of {base.name}: {text[:40]!r}",
                code="too_long",
            )
    return found


def _padded(rows: Sequence[Sequence[int]], *, left: bool) -> tuple[Any, Any]:
    """[row, position]: the tokens, filled up with 0 on one side; and 1 where there is one."""
    import torch

    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    is_there = torch.zeros(len(rows), width, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[number, place] = torch.tensor(row, dtype=torch.long)
        is_there[number, place] = 1
    return ids, is_there


def _autocast(device: Any) -> Any:
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
