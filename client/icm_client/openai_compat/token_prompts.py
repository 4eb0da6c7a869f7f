"""Scoring by token ids: the prompts in tokens, the labels' ids wanted, both as the endpoint itself tokenizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from icm_client.contract.errors import RequestError, ScorerError
from icm_client.openai_compat.endpoint import TokenIds, checked, token_name
from icm_client.openai_compat.gathered import gathered
from icm_client.openai_compat.joined import JoinedPrompt
from icm_client.openai_compat.label_paths import LabelPaths, TokenPath, check_apart
from icm_client.openai_compat.reads import Answers, Read, Reader, Scored

MAX_TOKENIZING = 32
"""Texts that are tokenized at a time."""
MIN_LAST_CHARS = 16
"""A prompt's last piece, if it has as many, stands for all of it where the label's tokens are looked for."""
MAX_REMEMBERED = 200_000
"""Short texts whose tokens are remembered."""


class TokenPrompts:
    """A prompt's tokens are exactly its joined text's, with the tokenizer's `bos` in front; a label's are those of
    prompt and label together, after the prompt's."""

    def __init__(self, reader: Reader, model: str, bos: TokenIds, window: int):
        self._reader, self._model, self._bos, self._window = reader, model, bos, window
        self._known: dict[str, TokenIds] = {}

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by itself."""
        known = await self._remembered(texts)
        return [len(known[text]) for text in texts]

    async def score(
        self, prompts: Sequence[JoinedPrompt], labels: list[list[str]], following: str | None, model: str
    ) -> Scored:
        """`following` is what stands behind a label inside a context. Raises RequestError naming the prompt or label
        that is wrong, ScorerError for an answer that is."""
        whole = await self._tokenized(prompt.text for prompt in prompts)
        paths = await self._label_paths(prompts, whole, [text for texts in labels for text in texts])
        if following:
            place = min(range(len(prompts)), key=lambda place: prompts[place].number)
            await self._check_shown(prompts[place], paths[place], following)
        tries: dict[tuple[TokenPath, ...], LabelPaths] = {}
        reads, owners = [], []
        for place, (prompt, found) in enumerate(zip(prompts, paths, strict=True)):
            key = tuple(found.values())
            if key not in tries:
                check_apart(found)
                tries[key] = LabelPaths([[found[text] for text in texts] for texts in labels])
            ids = [*self._bos, *whole[prompt.text]]
            self._check_window(prompt, len(ids) + tries[key].max_path)
            for node in tries[key].nodes:
                reads.append(Read([*ids, *node.path], node.wanted))
                owners.append((place, node))
        answers = await self._reader.read(model, reads)
        answers = answers._replace(prompt_tokens=self._checked_length(reads, answers))
        steps: list[dict[tuple[TokenPath, int], float]] = [{} for _ in prompts]
        for (place, node), top in zip(owners, answers.tops, strict=True):
            for token in node.wanted:
                what = f"token {token} behind prompt {prompts[place].number}"
                steps[place][node.path, token] = checked(top.get(token_name(token)), what)
        rows = [tries[tuple(found.values())].logprobs(step) for found, step in zip(paths, steps, strict=True)]
        lengths = [len(self._bos) + len(whole[prompt.text]) for prompt in prompts]
        return Scored(rows, lengths, len(reads), answers)

    async def _label_paths(
        self, prompts: Sequence[JoinedPrompt], whole: dict[str, TokenIds], texts: Sequence[str]
    ) -> list[dict[str, TokenPath]]:
        """For every prompt each label text's tokens behind it.

        Looked for behind the prompt's last piece where the prompt's tokens end in that piece's own: which tokens are
        merged with a label is settled by what stands next to it, and so each piece is tokenized once in all passes.
        """
        tokens = whole | await self._remembered(p.last for p in prompts if len(p.last) >= MIN_LAST_CHARS)
        bases = [p.last if p.last in tokens and _ends_in(tokens[p.text], tokens[p.last]) else p.text for p in prompts]
        short = {prompt.last for prompt, base in zip(prompts, bases, strict=True) if base is not prompt.text}
        tokens |= await self._remembered(base + text for base in short for text in texts)
        tokens |= await self._tokenized(base + text for base in bases if base not in short for text in texts)
        return [
            {text: _behind(prompt, tokens[base], text, tokens[base + text]) for text in texts}
            for prompt, base in zip(prompts, bases, strict=True)
        ]

    async def _check_shown(self, prompt: JoinedPrompt, paths: dict[str, TokenPath], following: str) -> None:
        """A context has to show a label in the tokens that are scored."""
        base = prompt.last if len(prompt.last) >= MIN_LAST_CHARS else prompt.text
        shown = await self._tokenized([base, *(base + text + following for text in paths)])
        start = len(shown[base])
        for text, path in paths.items():
            if tuple(shown[base + text + following][start : start + len(path)]) != path:
                raise RequestError(
                    f"the label {text!r} has other tokens in front of {following[:40]!r} than at the end of a prompt, "
                    "so what contexts show is not what is scored: end the label, or begin the separator, otherwise",
                    code="label_merges",
                    details={"label": text},
                )

    def _check_window(self, prompt: JoinedPrompt, length: int) -> None:
        if length > self._window:
            raise RequestError(
                f"prompt {prompt.number} has {length} tokens, more than the model's limit of {self._window}: put less "
                "in front of it",
                code="prompt_too_long",
                details={"prompt": prompt.number, "tokens": length, "limit": self._window},
            )

    def _checked_length(self, reads: Sequence[Read], answers: Answers) -> int:
        """Tokens of all reads. Whoever cuts prompts, or adds to them, counts others than were sent: ScorerError."""
        sent = sum(len(read.prompt) for read in reads)
        if answers.prompt_tokens not in (None, sent):
            raise ScorerError(
                f"{self._reader.endpoint.url} counts {answers.prompt_tokens} prompt tokens where {sent} were sent: it "
                "cuts prompts off, or adds to them",
                code="other_prompt",
            )
        return sent

    async def _remembered(self, texts: Iterable[str]) -> dict[str, TokenIds]:
        """Tokens of short texts, asked for once."""
        distinct = dict.fromkeys(texts)
        found = await self._tokenized(text for text in distinct if text not in self._known)
        if len(self._known) + len(found) > MAX_REMEMBERED:
            self._known = {text: self._known[text] for text in distinct if text in self._known}
        self._known |= found
        return {text: self._known[text] for text in distinct}

    async def _tokenized(self, texts: Iterable[str]) -> dict[str, TokenIds]:
        """Every distinct text's tokens, nothing added."""
        distinct = list(dict.fromkeys(texts))

        async def tokenize(text: str) -> TokenIds:
            return await self._reader.endpoint.tokenize(self._model, text) if text else []

        return dict(zip(distinct, await gathered(tokenize, distinct, MAX_TOKENIZING), strict=True))


def _ends_in(tokens: TokenIds, last: TokenIds) -> bool:
    return len(last) > 0 and tokens[-len(last) :] == last


def _behind(prompt: JoinedPrompt, tokens: TokenIds, label: str, joined: TokenIds) -> TokenPath:
    if not tokens or joined[: len(tokens)] != tokens or len(joined) == len(tokens):
        raise RequestError(
            f"the label {label!r} merges with the end of prompt {prompt.number} ({prompt.text[-40:]!r}): their tokens "
            "together are not the prompt's and then the label's. End the prompt without a space and begin the label "
            "with one",
            code="label_merges",
            details={"prompt": prompt.number, "label": label},
        )
    return tuple(joined[len(tokens) :])
