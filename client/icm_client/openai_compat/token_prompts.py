"""Scores by token ids: sends prompts as tokens and requests the labels' ids, both from the endpoint's own tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from icm_client.contract.errors import RequestError, ScorerError
from icm_client.contract.label_tokens import check_shown, label_after, label_merges
from icm_client.contract.label_trie import LabelTrie, TokenPath, TrieRead, clashes
from icm_client.openai_compat.endpoint import TokenIds, checked, token_name
from icm_client.openai_compat.gathered import gathered
from icm_client.openai_compat.joined import JoinedPrompt
from icm_client.openai_compat.reads import EndpointAnswers, EndpointRead, Reader, Scored

MAX_TOKENIZING = 32
"""Texts that are tokenized concurrently."""
MIN_LAST_CHARS = 16
"""A prompt's last piece, if it has at least this many characters, replaces the whole prompt in finding a label's
tokens."""
MAX_REMEMBERED = 200_000
"""The most short texts whose tokens are cached."""


class TokenPrompts:
    """A prompt's tokens are exactly those of its joined text, after the tokenizer's `bos`; a label's tokens are those
    that follow the prompt's when both are tokenized together."""

    def __init__(self, reader: Reader, model: str, bos: TokenIds, window: int):
        self._reader, self._model, self._bos, self._window = reader, model, bos, window
        self._known: dict[str, TokenIds] = {}

    async def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text by itself."""
        known = await self._remembered(texts)
        return [len(known[text]) for text in texts]

    async def score(
        self, prompts: Sequence[JoinedPrompt], labels: list[list[str]], following: str | None, model: str
    ) -> Scored:
        """`following` is the text after a label in a context. Raises RequestError naming the wrong prompt or label,
        ScorerError for an invalid answer."""
        whole = await self._tokenized(prompt.text for prompt in prompts)
        paths = await self._label_paths(prompts, whole, [text for texts in labels for text in texts])
        if following:
            place = min(range(len(prompts)), key=lambda place: prompts[place].number)
            await self._check_shown(prompts[place], paths[place], following)
        tries: dict[tuple[TokenPath, ...], LabelTrie] = {}
        reads, owners = [], []
        for place, (prompt, found) in enumerate(zip(prompts, paths, strict=True)):
            key = tuple(found.values())
            if key not in tries:
                _check_apart(found)
                tries[key] = LabelTrie([[found[text] for text in texts] for texts in labels])
            ids = [*self._bos, *whole[prompt.text]]
            self._check_window(prompt, len(ids) + tries[key].max_path)
            for read in tries[key].reads:
                reads.append(EndpointRead([*ids, *read.path], read.ids))
                owners.append((place, read))
        answers = await self._reader.read(model, reads)
        answers = answers._replace(prompt_tokens=self._checked_length(reads, answers))
        values: list[dict[TrieRead, list[float]]] = [{} for _ in prompts]
        for (place, read), top in zip(owners, answers.tops, strict=True):
            after = f"after prompt {prompts[place].number}"
            values[place][read] = [checked(top.get(token_name(token)), f"token {token} {after}") for token in read.ids]
        rows = [tries[tuple(found.values())].logprobs(each) for found, each in zip(paths, values, strict=True)]
        lengths = [len(self._bos) + len(whole[prompt.text]) for prompt in prompts]
        return Scored(rows, lengths, len(reads), answers)

    async def _label_paths(
        self, prompts: Sequence[JoinedPrompt], whole: dict[str, TokenIds], texts: Sequence[str]
    ) -> list[dict[str, TokenPath]]:
        """For every prompt, each label text's tokens after it.

        They are found after the prompt's last piece alone, if the prompt's tokens end in that piece's tokens: only
        adjacent text affects which tokens merge with a label. So each piece is tokenized once over all passes.
        """
        tokens = whole | await self._remembered(p.last for p in prompts if len(p.last) >= MIN_LAST_CHARS)
        bases = [p.last if p.last in tokens and _ends_in(tokens[p.text], tokens[p.last]) else p.text for p in prompts]
        short = {prompt.last for prompt, base in zip(prompts, bases, strict=True) if base is not prompt.text}
        tokens |= await self._remembered(base + text for base in short for text in texts)
        tokens |= await self._tokenized(base + text for base in bases if base not in short for text in texts)
        return [
            {text: _label_tokens(prompt, tokens[base], text, tokens[base + text]) for text in texts}
            for prompt, base in zip(prompts, bases, strict=True)
        ]

    async def _check_shown(self, prompt: JoinedPrompt, paths: dict[str, TokenPath], following: str) -> None:
        """Checks that a context contains a label in the tokens that are scored."""
        base = prompt.last if len(prompt.last) >= MIN_LAST_CHARS else prompt.text
        shown = await self._tokenized([base, *(base + text + following for text in paths)])
        start = len(shown[base])
        for text, path in paths.items():
            check_shown(text, path, shown[base + text + following][start:], following)

    def _check_window(self, prompt: JoinedPrompt, length: int) -> None:
        if length > self._window:
            raise RequestError(
                f"prompt {prompt.number} has {length} tokens; the model's limit is {self._window}: use fewer examples",
                code="prompt_too_long",
                details={"prompt": prompt.number, "tokens": length, "limit": self._window},
            )

    def _checked_length(self, reads: Sequence[EndpointRead], answers: EndpointAnswers) -> int:
        """The tokens of all reads. Raises ScorerError if the endpoint counts a different number, because it truncates
        prompts or adds to them."""
        sent = sum(len(read.prompt) for read in reads)
        if answers.prompt_tokens not in (None, sent):
            raise ScorerError(
                f"{self._reader.endpoint.url} counts {answers.prompt_tokens} prompt tokens where {sent} were sent: it "
                "truncates prompts, or adds to them",
                code="other_prompt",
            )
        return sent

    async def _remembered(self, texts: Iterable[str]) -> dict[str, TokenIds]:
        """Tokens of short texts, cached."""
        distinct = dict.fromkeys(texts)
        found = await self._tokenized(text for text in distinct if text not in self._known)
        if len(self._known) + len(found) > MAX_REMEMBERED:
            self._known = {text: self._known[text] for text in distinct if text in self._known}
        self._known |= found
        return {text: self._known[text] for text in distinct}

    async def _tokenized(self, texts: Iterable[str]) -> dict[str, TokenIds]:
        """The tokens of each distinct text, without special tokens."""
        distinct = list(dict.fromkeys(texts))

        async def tokenize(text: str) -> TokenIds:
            return await self._reader.endpoint.tokenize(self._model, text) if text else []

        return dict(zip(distinct, await gathered(tokenize, distinct, MAX_TOKENIZING), strict=True))


def _ends_in(tokens: TokenIds, last: TokenIds) -> bool:
    return len(last) > 0 and tokens[-len(last) :] == last


def _label_tokens(prompt: JoinedPrompt, tokens: TokenIds, label: str, joined: TokenIds) -> TokenPath:
    found = label_after(tokens, joined) if tokens else None
    if found is None:
        raise label_merges(prompt.number, prompt.text, label)
    return found


def _check_apart(paths: Mapping[str, TokenPath]) -> None:
    """Raises RequestError if one label text's tokens are the beginning of another's."""
    for clash in clashes((path, text) for text, path in paths.items()):
        raise RequestError(
            f"the tokens of the label {clash.text!r} are the beginning of those of {clash.other!r}, and only an "
            "icm-server can tell such labels apart: use other labels",
            code="ambiguous_labels",
            details={"labels": [clash.text, clash.other]},
        )
