"""Options of `icm baselines`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from icm_annealer.benchmarks.baselines.methods import Method, Offer
from icm_client.contract.errors import RequestError

MAX_PREFIX_BYTES = 1_000_000


@dataclass(frozen=True)
class BaselinesPlan:
    """Methods, sizes and seeds of a comparison."""

    offer: Offer
    methods: Sequence[Method] = ()
    num_examples: int = 128
    num_test: int = 200
    num_seeds: int = 5
    first_seed: int = 0
    num_known: int = 0
    """Random examples whose gold labels are given to the searches as known."""
    stops: bool = True
    """Whether the other searches stop at ICM's token count for the same seed."""

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.num_seeds)

    def has(self, name: str) -> bool:
        return any(method.name == name for method in self.methods)


def read_prefix(file: Path) -> str:
    """The file's text without trailing white space; a separator follows it in prompts. Raises RequestError."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_PREFIX_BYTES + 1)
        text = content.decode("utf-8-sig").rstrip()
    except OSError as error:
        raise RequestError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{file} is no text in UTF-8") from None
    if len(content) > MAX_PREFIX_BYTES:
        raise RequestError(f"{file} holds more than {MAX_PREFIX_BYTES:,} bytes: no window has room for that")
    if not text:
        raise RequestError(f"{file} is empty: there is nothing to put in front of prompts")
    return text
