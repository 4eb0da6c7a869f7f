"""Plans requests: from texts to quanta of reads. Blocking, so it runs in a separate thread."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

from icm_client.contract.errors import TooLargeError
from icm_client.contract.label_trie import LabelTrie
from icm_client.contract.wire import ScoreRequest
from icm_server.scheduling.parts import interleaved, parts_of
from icm_server.scheduling.planned_read import PlannedRead
from icm_server.scheduling.subtrees import units
from icm_server.sharing.fair_queue import Quantum
from icm_server.sharing.steps import STEP_ITEMS, Steps
from icm_server.tokens.prefix_tokens import PrefixTokenizer, Tokenized, TokenizedPrompt
from icm_server.tokens.request_tree import RequestTree, depth_first, read_tree
from icm_server.tokens.token_path import DIGEST_BYTES, FreshTokens
from icm_server.tokens.window import prompt_too_long

QUANTUM_TOKENS = 512
"""Tokens that a quantum computes, unless its first read alone computes more: a few shots, so that turns are short."""

STEP_READS = 256
"""Reads made between two yields: for very long labels each token takes microseconds."""

Known = Callable[[Sequence[bytes]], dict[bytes, bytes]]
"""Looks up cached answers by key."""


class RequestPlan(NamedTuple):
    """A request that is ready to be queued."""

    prompts: list[TokenizedPrompt]
    first_of: list[int]
    """For each prompt, the number of the first identical prompt."""
    quanta: list[Quantum[PlannedRead]]
    known: list[tuple[PlannedRead, bytes]]
    """Reads that are answered already, with their answers."""
    num_reads: int
    estimated_new_tokens: int
    """How many tokens the engine probably computes for the reads of all quanta."""
    joined_texts: int


class Planner:
    """Plans requests. Steps of several plans may be interleaved, but only one step may run at a time."""

    def __init__(
        self,
        plain: PrefixTokenizer,
        special: PrefixTokenizer,
        max_prompt_tokens: int,
        known: Known,
        max_reads: int,
    ):
        """`plain` tokenizes special tokens as text; `special` is for requests that set `special_tokens`."""
        self._plain, self._special, self._max_prompt_tokens = plain, special, max_prompt_tokens
        self._known, self._max_reads = known, max_reads

    def plan(self, request: ScoreRequest, context: bytes, num_parts: int = 1) -> Steps[RequestPlan]:
        """`context` identifies everything besides tokens that answers depend on; `num_parts` engines share the request.

        Raises RequestError naming the prompt or label that is wrong, TooLargeError for too many reads or tokens.
        """
        tree = yield from read_tree(request)
        tokenizer = self._special if request.special_tokens else self._plain
        tokenized = yield from tokenizer.tokenize(tree, request.terminator)
        self._check_window(tokenized)
        yield
        first_of = _first_of(tokenized)
        yield
        in_order = yield from depth_first(tree)
        numbers = list(dict.fromkeys(first_of[number] for number in in_order))
        self._check_reads(tokenized.prompts, numbers)
        yield
        reads = yield from _reads(numbers, tokenized, context)
        found = yield from self._found(reads)
        missing = [read for read in reads if read.key not in found]
        yield
        yield from _estimate(missing, tokenized.prompts)
        parts = yield from parts_of(missing, tree, num_parts)
        quanta = []
        for part in parts:
            quanta.append((yield from _quanta(part, tree, len(parts))))
        return RequestPlan(
            prompts=tokenized.prompts,
            first_of=first_of,
            quanta=interleaved(quanta),
            known=[(read, found[read.key]) for read in reads if read.key in found],
            num_reads=len(missing),
            estimated_new_tokens=sum(read.estimated_new_tokens for read in missing),
            joined_texts=tokenized.joined_texts,
        )

    def _check_window(self, tokenized: Tokenized) -> None:
        """A prompt and its longest label path have to fit; the engine needs the last token of the window itself."""
        limit = self._max_prompt_tokens
        for number, prompt in enumerate(tokenized.prompts):
            length = prompt.path.length + prompt.trie.max_path
            if length > limit:
                raise prompt_too_long("prompt", number, length, limit)

    def _check_reads(self, prompts: list[TokenizedPrompt], numbers: list[int]) -> None:
        num_reads = sum(len(prompts[number].trie.reads) for number in numbers)
        if num_reads > self._max_reads:
            raise TooLargeError(
                f"the request needs {num_reads} reads; the limit per request is {self._max_reads} "
                "(a label of several tokens needs several reads per prompt): send fewer prompts per request",
                details={"reads": num_reads, "limit": self._max_reads},
            )

    def _found(self, reads: list[PlannedRead]) -> Steps[dict[bytes, bytes]]:
        """The cached answers, by key."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(reads), STEP_ITEMS):
            found |= self._known([read.key for read in reads[start : start + STEP_ITEMS]])
            yield
        return found


def _first_of(tokenized: Tokenized) -> list[int]:
    first: dict[tuple[bytes, int], int] = {}
    pairs = zip(tokenized.digests, tokenized.prompts, strict=True)
    return [first.setdefault((digest, id(prompt.trie)), number) for number, (digest, prompt) in enumerate(pairs)]


def _reads(numbers: list[int], tokenized: Tokenized, context: bytes) -> Steps[list[PlannedRead]]:
    """All reads of these prompts, in order."""
    endings: dict[int, list[bytes]] = {}
    reads: list[PlannedRead] = []
    for number in numbers:
        prompt, before = tokenized.prompts[number], context + tokenized.digests[number]
        if id(prompt.trie) not in endings:
            endings[id(prompt.trie)] = yield from _endings(prompt.trie)
        for read, ending in zip(prompt.trie.reads, endings[id(prompt.trie)], strict=True):
            digest = hashlib.blake2b(before, digest_size=DIGEST_BYTES)
            digest.update(ending)
            reads.append(PlannedRead(number, read, digest.digest(), prompt.path.length + len(read.path)))
            if not len(reads) % STEP_READS:
                yield
    return reads


def _endings(trie: LabelTrie) -> Steps[list[bytes]]:
    """The part of each read's key that depends on its trie node, in the trie's order."""
    endings = []
    for read in trie.reads:
        endings.append(array("i", [len(read.path), *read.path, *read.ids]).tobytes())
        yield
    return endings


def _estimate(reads: list[PlannedRead], prompts: list[TokenizedPrompt]) -> Steps[None]:
    """Estimates the tokens that a perfect prefix cache would compute."""
    fresh = FreshTokens()
    for number, read in enumerate(reads):
        read.estimated_new_tokens = fresh.of(prompts[read.prompt].path) + len(read.read.path)
        if not number % STEP_READS:
            yield


def _quanta(reads: list[PlannedRead], tree: RequestTree, num_parts: int) -> Steps[list[Quantum[PlannedRead]]]:
    """The largest subtrees of at most QUANTUM_TOKENS, or single reads; neighbours are joined while they fit.

    While a quantum of one part is read, the other parts need as much of the cache.
    """
    every = yield from units(reads, tree, QUANTUM_TOKENS)
    quanta: list[Quantum[PlannedRead]] = []
    quantum: list[PlannedRead] = []
    tokens = 0
    for number, unit in enumerate(every):
        unit_tokens = unit.tokens
        if quantum and tokens + unit_tokens > QUANTUM_TOKENS:
            quanta.append(_quantum(quantum, num_parts))
            quantum, tokens = [], 0
        quantum.extend(unit.reads)
        tokens += unit_tokens
        if not number % STEP_READS:
            yield
    return [*quanta, _quantum(quantum, num_parts)] if quantum else quanta


def _quantum(reads: list[PlannedRead], num_parts: int) -> Quantum[PlannedRead]:
    tokens = reads[0].prompt_tokens + sum(read.estimated_new_tokens for read in reads[1:])
    return Quantum(reads, num_parts * tokens)
