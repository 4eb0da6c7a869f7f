"""What is registered of a search: its function, its options, and all that commands and comparisons ask of it. A leaf
but for what a search is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from icm_annealer.core.objective import Measure
from icm_annealer.scoring.passes import PassRequest
from icm_annealer.search.base import Problem, Search


class ExpectedPasses(NamedTuple):
    """About how many passes a search asks; progress is measured by it."""

    num: int
    purpose: str | None = None
    """Only passes of this purpose are counted; None counts all."""

    def counts(self, request: PassRequest) -> bool:
        """Whether this pass is one of them."""
        return self.purpose in (None, request.purpose)


class Iterations(NamedTuple):
    """For a search that goes by iterations and so can be ended early, its tokens extrapolated."""

    total: Callable[[Any, int], int]
    """Of these options and so many examples."""
    limited: Callable[[Any, int, int], Any]
    """These options for so many examples and iterations."""


class Preset(NamedTuple):
    """Options with which a search takes part in comparisons. These weigh all answers themselves, so a search that
    finds a single answer has no final orders here."""

    name: str
    """How tables call it."""
    options: Any
    plan: str | None = None
    """None is the search's own default."""
    takes_part: Literal["always", "full", "named"] = "named"
    """In which searches' benches: all, those with --full, or those that name it."""


def _unknown(options: Any, num_examples: int) -> ExpectedPasses | None:
    return None


def _usual_shots(options: Any, num_examples: int) -> float:
    return 40.0 * num_examples


@dataclass(frozen=True)
class SearchKind:
    """A search, as `registry.BUILT_IN` lists it, or as another package registers it in the entry points
    `icm.searches`."""

    name: str
    """What `--search` calls it; an installed one has its entry point's name."""
    help: str
    """A few words for `--help`."""
    options: type
    """A frozen dataclass, or a pydantic model, whose fields all have defaults."""
    start: Callable[[Problem, Any, int], Search]
    """The search at its beginning, from the problem, the options, and a seed."""
    plan: str = "folds=2"
    """The plan that passes have by default."""
    measure: Measure = "information"
    """What U measures by default."""
    expected_passes: Callable[[Any, int], ExpectedPasses | None] = _unknown
    """Of these options and so many examples; None where it depends on the answers."""
    expected_shots: Callable[[Any, int], float] = _usual_shots
    """About how many shots it computes of these options and so many examples; only the time left depends on it."""
    with_chains: Callable[[Any, int], Any] | None = None
    """These options with so many chains (`--chains`); None for a search that has no chains."""
    with_passes: Callable[[Any, int], Any] | None = None
    """These options with so many passes, rounds or sweeps (`--passes`); None for a search that has none of them."""
    passes_help: str = ""
    """What `--passes` counts."""
    is_stopped: bool = False
    """Whether comparisons stop it at the tokens of the reference search: it has no end of its own, and goes on to its
    result when StopSearch is thrown into it."""
    iterations: Iterations | None = None
    presets: tuple[Preset, ...] = ()
    """How it takes part in comparisons; empty for its name and its default options."""
