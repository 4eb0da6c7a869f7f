"""The contract between scorer and client, as data. A leaf: no behaviour beyond checking shapes.

`POST /v1/score` takes a `ScoreRequest` and returns a `ScoreResponse`; with `Accept: application/x-ndjson`, it streams
`StreamLine`s, one per line, as results come; blank lines have no meaning. `POST /v1/tokens` takes a `TokensRequest` and
returns a `TokensResponse`; `GET /v1/model` returns a `ModelInfo`.

A request contains each text once (`segments`), builds contexts from them as a prefix tree (`prefixes`), and is answered
with the log-probability of every label after every prompt:

    {"segments": ["Word: cod\\nGroup: living", "\\n\\nWord: cup\\nGroup:"],
     "prefixes": [[null, 0]],
     "prompts":  [[0, 1]],
     "labels":   [[" living"], [" object"]]}

The short form, for people and curl, is a prompt as plain text and a label as a plain string:

    {"prompts": ["Word: cod\\nGroup:"], "labels": [" living", " object"]}
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_PROMPTS = 262_144
"""The most prompts in a request to the client, which splits it into bodies of at most ModelInfo.max_prompts."""
MAX_SEGMENTS = 262_144
MAX_PREFIXES = 262_144
MAX_LABELS = 256
MAX_TEXTS = 16_384
MAX_LABEL_CHARS = 1000
MAX_TEXT_CHARS = 2**21
MAX_REQUEST_CHARS = 2**26
MAX_ROW = 2**18
MAX_REQUEST_NUMBERS = 2**21
"""In all rows of a request together."""
MAX_PRIORITY = 4
STREAM_TYPE = "application/x-ndjson"
DEFAULT_EXPERIMENT = "default"
"""The experiment of a request that names none. `default-NAME` stands for NAME of whoever sends it: a scorer with keys
puts the key's name in its place."""

Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
"""More characters than any context window holds."""

LabelText = Annotated[str, Field(max_length=MAX_LABEL_CHARS)]

Label = LabelText | Annotated[list[LabelText], Field(min_length=1, max_length=64, fail_fast=True)]
"""One label: a text, or several texts (aliases) whose probabilities are added."""

Row = Annotated[list[int | None], Field(min_length=1, max_length=MAX_ROW, fail_fast=True)]

Prompt = Text | Row
"""One prompt: plain text, or `[prefix or null, segment, segment, ...]`."""


MAX_COUNT = 2**48
"""The highest count in an answer."""
MAX_NAME_CHARS = 1024
MAX_ADAPTERS = 4096

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""Of tokens, reads or prompts."""

Name = Annotated[str, Field(max_length=MAX_NAME_CHARS, pattern=r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$")]
"""One line without control characters."""

LogprobRows = Annotated[
    list[Annotated[list[float], Field(max_length=MAX_LABELS, fail_fast=True)]],
    Field(max_length=MAX_PROMPTS, fail_fast=True),
]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ScoreRequest(_Wire):
    """Score every label after every prompt."""

    segments: list[Text] = Field(default=[], max_length=MAX_SEGMENTS, fail_fast=True)
    """Texts, each sent once; prefixes and prompts refer to them by index."""

    prefixes: list[Row] = Field(default=[], max_length=MAX_PREFIXES, fail_fast=True)
    """The prefix tree, parents first: each is `[parent prefix or null, appended segments ...]`."""

    prompts: list[Prompt] = Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)
    """The prompts; rows of the answer have the same order."""

    labels: list[Label] = Field(min_length=1, max_length=MAX_LABELS, fail_fast=True)
    """The labels, each with its leading space if it has one; columns of the answer have the same order."""

    terminator: Annotated[str, Field(max_length=MAX_LABEL_CHARS)] | None = None
    """The text that follows a label inside a context (the separator). If it is given, a label has to keep its tokens in
    front of it, and labels of which one's tokens are the beginning of another's are scored with it behind them."""

    experiment: str = Field(default=DEFAULT_EXPERIMENT, min_length=1, max_length=128, pattern=r"^[\w.:@/+-]+$")
    """The named run that the work is counted for. Each tenant (holder of an API key) has experiments of its own."""

    model: str = Field(default="base", min_length=1, max_length=256)
    """`base`, or the name of an adapter that the scorer serves."""

    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    """Higher priorities go first; within one, tenants and their experiments share the engine fairly."""

    special_tokens: bool = False
    """False: `<|endoftext|>` in a text is tokenized as plain characters. True: special tokens of the tokenizer are
    recognised in all texts, labels and the terminator."""

    fresh: bool = False
    """True: every read is computed now; none is answered from the read cache or by another request's read."""

    deadline_s: float | None = Field(default=None, gt=0, le=30 * 86_400, allow_inf_nan=False)
    """Seconds after which the request fails (504, code `deadline`) and its remaining work is cancelled."""

    def body(self) -> bytes:
        """The request as JSON without fields that have their defaults, so that older scorers can read it."""
        return self.model_dump_json(exclude_defaults=True).encode()


class TokensRequest(_Wire):
    """Count the tokens of each text by itself."""

    texts: list[Text] = Field(max_length=MAX_TEXTS, fail_fast=True)
    """A text that is clearly longer than any prompt may be is rejected (code `prompt_too_long`)."""

    special_tokens: bool = False
    """As in a ScoreRequest."""

    deadline_s: float | None = Field(default=None, gt=0, le=30 * 86_400, allow_inf_nan=False)
    """Seconds after which the request fails (504, code `deadline`)."""


class TokensResponse(_Wire):
    """The number of tokens of each text, in the order of the request, without the beginning-of-text token."""

    counts: Annotated[list[Count], Field(max_length=MAX_TEXTS, fail_fast=True)]


class Usage(_Wire):
    """What a request cost."""

    prompt_tokens: Count = 0
    """Tokens of all prompts, as if each were sent alone."""
    computed_tokens: Count = 0
    """Tokens that the engine computed for this request."""
    cached_tokens: Count = 0
    """Tokens of its reads that the engine found in its prefix cache."""
    num_reads: Count = 0
    """Reads that the engine made for this request: per prompt at most one for each inner node of the labels' trie."""
    read_cache_prompts: Count = 0
    """Prompts answered without the engine: from the read cache, or by reads of another running request."""
    joined_texts: Count = 0
    """Texts that had to be tokenized as a whole, since tokens might span the boundary of two segments."""

    def __add__(self, other: Usage) -> Usage:
        own, added = self.model_dump(), other.model_dump()
        # Not validated again: the sum of many answers may exceed the limit of one.
        return Usage.model_construct(**{name: own[name] + added[name] for name in own})


class ModelIdentity(_Wire):
    """The model. Two answers are comparable only if `digest` and `dtype` agree."""

    name: Name
    digest: Name
    """Hash of the weights' files, the tokenizer and the engine's version; in answers by an adapter also of the
    adapter."""
    dtype: Name
    engine: Name
    """Engine and version, such as `vllm 0.32.0`."""


class ModelInfo(ModelIdentity):
    """The model that answers, and its limits."""

    max_prompt_tokens: int = Field(ge=1, le=MAX_COUNT)
    """The longest accepted prompt, in tokens (the context window less one)."""
    adds_bos: bool
    """True if the tokenizer's beginning-of-text token is put in front of every prompt."""
    cache_block_tokens: int = Field(default=1, ge=1, le=MAX_COUNT)
    """The prefix cache holds whole blocks of this many tokens; the rest of a context is computed by every read."""
    max_prompts: int = Field(default=MAX_PROMPTS, ge=1, le=MAX_COUNT)
    """The most prompts in one body."""
    adapters: dict[Name, Name] = Field(default={}, max_length=MAX_ADAPTERS, fail_fast=True)
    """The adapters that the key may use: name -> digest, empty if it is not known."""

    @property
    def identity(self) -> ModelIdentity:
        """The part that files hold."""
        return ModelIdentity(**self.model_dump(include=set(ModelIdentity.model_fields)))


class ScoreResponse(_Wire):
    """Log-probabilities (natural logs): a row for each prompt and a column for each label, in the request's order.

    They are not normalised over the labels, so the probability of other continuations remains visible.
    """

    logprobs: LogprobRows
    usage: Usage
    model: ModelInfo


class ErrorInfo(_Wire):
    """An error: `code` for programs, `message` for people, `details` for both."""

    code: str
    message: str
    details: dict[str, Any]


class ErrorAnswer(_Wire):
    """The body of every error."""

    error: ErrorInfo


class StreamStart(_Wire):
    """A stream's first line: the request is accepted."""

    kind: Literal["start"] = "start"
    model: ModelInfo
    num_prompts: Count


class StreamRows(_Wire):
    """Rows in the order in which they are computed: `logprobs[k]` belongs to prompt number `prompts[k]`."""

    kind: Literal["rows"] = "rows"
    prompts: Annotated[list[int], Field(max_length=MAX_PROMPTS, fail_fast=True)]
    logprobs: LogprobRows


class StreamEnd(_Wire):
    """The last line of a complete stream: the row of every prompt has been sent once."""

    kind: Literal["end"] = "end"
    usage: Usage


class StreamFault(ErrorInfo):
    """The error that ended a stream."""

    status: int = Field(ge=400, le=599)
    """The HTTP status that the answer would have had if the error had occurred before its start."""


class StreamError(_Wire):
    """The last line of a stream that failed; rows sent before it are valid."""

    kind: Literal["error"] = "error"
    error: StreamFault


StreamLine = Annotated[StreamStart | StreamRows | StreamEnd | StreamError, Field(discriminator="kind")]


def label_texts(label: Label) -> list[str]:
    """A label's texts in either form."""
    return [label] if isinstance(label, str) else label


def is_logprob(value: float) -> bool:
    """A finite natural log of a probability, give or take rounding."""
    return math.isfinite(value) and value <= 1e-3
