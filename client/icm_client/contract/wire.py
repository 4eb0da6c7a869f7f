"""The contract between scorer and client, as data. A leaf: no behaviour beyond checking shapes.

`POST /v1/score` takes a `ScoreRequest` and answers a `ScoreResponse`; asked for `application/x-ndjson`, it answers a
`StreamLine` a line as results come; blank lines mean nothing. `POST /v1/tokens` takes a `TokensRequest` and answers a
`TokensResponse`; `GET /v1/model` answers a `ModelInfo`.

A request names each text once (`segments`), builds contexts out of them as a prefix tree (`prefixes`), and asks for
the log-probability of every label after every prompt:

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
"""In a request as a program makes it; the client cuts it into bodies of the ModelInfo.max_prompts that it was told."""
MAX_SEGMENTS = 262_144
MAX_PREFIXES = 262_144
MAX_LABELS = 256
MAX_TEXTS = 16_384
MAX_LABEL_CHARS = 1000
MAX_TEXT_CHARS = 2**21
MAX_REQUEST_CHARS = 2**26
MAX_ROW = 2**18
MAX_REQUEST_NUMBERS = 2**21
"""Numbers in all rows of a request together."""
MAX_PRIORITY = 4
STREAM_TYPE = "application/x-ndjson"
DEFAULT_EXPERIMENT = "default"
"""What a request counts for that names no experiment."""

Text = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
"""More characters than any window holds."""

LabelText = Annotated[str, Field(max_length=MAX_LABEL_CHARS)]

Label = LabelText | Annotated[list[LabelText], Field(min_length=1, max_length=64, fail_fast=True)]
"""One label: its text, or several texts (aliases) whose probabilities are added."""

Row = Annotated[list[int | None], Field(min_length=1, max_length=MAX_ROW, fail_fast=True)]

Prompt = Text | Row
"""One prompt: plain text, or `[prefix or null, segment, segment, ...]`."""


MAX_COUNT = 2**48
"""No count of an answer is higher."""
MAX_NAME_CHARS = 1024
MAX_ADAPTERS = 4096

Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""Of tokens, reads or prompts."""

Name = Annotated[str, Field(max_length=MAX_NAME_CHARS, pattern=r"^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$")]
"""One line that a terminal shows as it is."""

LogprobRows = Annotated[
    list[Annotated[list[float], Field(max_length=MAX_LABELS, fail_fast=True)]],
    Field(max_length=MAX_PROMPTS, fail_fast=True),
]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ScoreRequest(_Wire):
    """How likely is each of these labels after each of these prompts?"""

    segments: list[Text] = Field(default=[], max_length=MAX_SEGMENTS, fail_fast=True)
    """Texts, each sent once; prefixes and prompts refer to them by number."""

    prefixes: list[Row] = Field(default=[], max_length=MAX_PREFIXES, fail_fast=True)
    """The prefix tree, parents first: `[parent prefix or null, segments appended ...]`."""

    prompts: list[Prompt] = Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True)
    """What to score after; answers come in the same order."""

    labels: list[Label] = Field(min_length=1, max_length=MAX_LABELS, fail_fast=True)
    """The labels whose log-probabilities are wanted, with their leading space if they have one."""

    terminator: Annotated[str, Field(max_length=MAX_LABEL_CHARS)] | None = None
    """The text that follows a label inside a context (the separator). Named, it is checked that a label keeps its
    tokens in front of it, and a label whose tokens begin another label's is scored together with it."""

    experiment: str = Field(default=DEFAULT_EXPERIMENT, min_length=1, max_length=128, pattern=r"^[\w.:@/+-]+$")
    """What the work is counted for: the experiment of that name of whoever asks (the holder of the API key)."""

    model: str = Field(default="base", min_length=1, max_length=256)
    """`base`, or the name of an adapter that the scorer serves."""

    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    """Whatever has a higher one goes first, of all experiments; within one priority they share fairly."""

    special_tokens: bool = False
    """False: texts are only text, so that `<|endoftext|>` in one is tokenized as the characters that it is. True: what
    reads like one of the tokenizer's special tokens, in any text, label or terminator, is that token."""

    fresh: bool = False
    """True: every read is made now; none is answered by one that was made before, or for somebody else."""

    deadline_s: float | None = Field(default=None, gt=0, le=30 * 86_400, allow_inf_nan=False)
    """Seconds until the answer is not wanted any more: what is not read by then is given up (504, code `deadline`)."""

    def body(self) -> bytes:
        """The request as it travels. What is left to its default is left out, so older scorers read newer clients."""
        return self.model_dump_json(exclude_defaults=True).encode()


class TokensRequest(_Wire):
    """How many tokens does each of these texts have by itself?"""

    texts: list[Text] = Field(max_length=MAX_TEXTS, fail_fast=True)
    """One that clearly is longer than any prompt may be is refused (code `prompt_too_long`)."""

    special_tokens: bool = False
    """As in a ScoreRequest."""

    deadline_s: float | None = Field(default=None, gt=0, le=30 * 86_400, allow_inf_nan=False)
    """Seconds until the answer is not wanted any more (504, code `deadline`)."""


class TokensResponse(_Wire):
    """Tokens of each text by itself, in the order asked, without the beginning-of-text token."""

    counts: Annotated[list[Count], Field(max_length=MAX_TEXTS, fail_fast=True)]


class Usage(_Wire):
    """What a request cost; all counts are of tokens but the last two."""

    prompt_tokens: Count = 0
    """Tokens of all prompts as if each were sent alone."""
    computed_tokens: Count = 0
    """Tokens that the engine really computed, for this request alone."""
    cached_tokens: Count = 0
    """Tokens that the engine found in its prefix cache; the rest of its reads' tokens were computed."""
    num_reads: Count = 0
    """Reads that this request had the engine make: up to one for each inner node of the labels' trie, per prompt."""
    reused_prompts: Count = 0
    """Prompts answered without the engine: by reads that were made before, or just then for somebody else."""
    joined_texts: Count = 0
    """Boundaries at which the fast path was not safe, so that joined texts were tokenized as a whole."""

    def __add__(self, other: Usage) -> Usage:
        mine, its = self.model_dump(), other.model_dump()
        # Not checked again: a sum of many answers may be more than one may say.
        return Usage.model_construct(**{name: mine[name] + its[name] for name in mine})


class ModelIdentity(_Wire):
    """Which model it is: answers are comparable only where `digest` and `dtype` agree."""

    name: Name
    digest: Name
    """Hash of the weights' files, the tokenizer and the engine's version."""
    dtype: Name
    engine: Name
    """Engine and version, such as `vllm 0.32.0`."""


class ModelInfo(ModelIdentity):
    """Who answers, and what it accepts."""

    max_prompt_tokens: int = Field(ge=1, le=MAX_COUNT)
    """The longest prompt that is accepted, in tokens (the window less one)."""
    adds_bos: bool
    """True if every prompt starts with the tokenizer's beginning-of-text token."""
    cache_block_tokens: int = Field(default=1, ge=1, le=MAX_COUNT)
    """The prefix cache holds whole blocks of that many tokens; what a context has beyond them is computed by every
    read."""
    max_prompts: int = Field(default=MAX_PROMPTS, ge=1, le=MAX_COUNT)
    """The most prompts in one request."""
    adapters: list[Name] = Field(default=[], max_length=MAX_ADAPTERS, fail_fast=True)

    @property
    def identity(self) -> ModelIdentity:
        """What files hold of the model."""
        return ModelIdentity(**self.model_dump(include=set(ModelIdentity.model_fields)))


class ScoreResponse(_Wire):
    """Log-probabilities (natural logs), one row a prompt in the order asked, one column a label.

    Raw: not renormalised over the labels, so that the mass they miss can be seen.
    """

    logprobs: LogprobRows
    usage: Usage
    model: ModelInfo


class ErrorInfo(_Wire):
    """What is wrong: `code` for programs, `message` for people, `details` for both."""

    code: str
    message: str
    details: dict[str, Any]


class ErrorAnswer(_Wire):
    """The body of every answer that is not a success."""

    error: ErrorInfo


class StreamStart(_Wire):
    """A stream's first line: the request is taken."""

    kind: Literal["start"] = "start"
    model: ModelInfo
    num_prompts: Count


class StreamRows(_Wire):
    """Results in the order in which they are done: `logprobs[k]` is the row of prompt number `prompts[k]`."""

    kind: Literal["rows"] = "rows"
    prompts: Annotated[list[int], Field(max_length=MAX_PROMPTS, fail_fast=True)]
    logprobs: LogprobRows


class StreamEnd(_Wire):
    """A whole stream's last line: every prompt's row has been sent, once."""

    kind: Literal["end"] = "end"
    usage: Usage


class StreamFault(ErrorInfo):
    """What ended a stream early."""

    status: int = Field(ge=400, le=599)
    """The HTTP status that the answer would have had, had this been known at its start."""


class StreamError(_Wire):
    """The last line of a stream that was not completed; rows sent before it are right."""

    kind: Literal["error"] = "error"
    error: StreamFault


StreamLine = Annotated[StreamStart | StreamRows | StreamEnd | StreamError, Field(discriminator="kind")]


def label_texts(label: Label) -> list[str]:
    """A label's texts in either form."""
    return [label] if isinstance(label, str) else label


def is_logprob(value: float) -> bool:
    """A finite natural log of a probability, give or take rounding."""
    return math.isfinite(value) and value <= 1e-3
