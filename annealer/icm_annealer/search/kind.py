"""The registration record of a search: its function, its options, and the metadata for commands and comparisons.
Imports nothing of this room but `base`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from icm_annealer.core.objective import Measure
from icm_annealer.scoring.passes import PassRequest
from icm_annealer.search.base import Problem, Search


class ExpectedPasses(NamedTuple):
    """The approximate number of a search's passes, for progress."""

    num: int
    purpose: str | None = None
    """Count only passes with this purpose; None counts all."""

    def counts(self, request: PassRequest) -> bool:
        """Whether this pass is counted."""
        return self.purpose in (None, request.purpose)


class Iterations(NamedTuple):
    """For a search with iterations: it can be ended early and its tokens extrapolated."""

    total: Callable[[Any, int], int]
    """The number of iterations for these options and this number of examples."""
    limited: Callable[[Any, int, int], Any]
    """These options, limited to a number of iterations for this number of examples."""


class Preset(NamedTuple):
    """Options with which a search takes part in comparisons. A comparison evaluates all answers itself, so a search
    with a single answer has no final orders here."""

    name: str
    """Its name in tables."""
    options: Any
    plan: str | None = None
    """None uses the search's default."""
    takes_part: Literal["always", "full", "named"] = "named"
    """Which runs of `icm search-bench` include it: all, those with --long, or only those that name it."""


def _unknown(options: Any, num_examples: int) -> ExpectedPasses | None:
    return None


def _usual_shots(options: Any, num_examples: int) -> float:
    return 40.0 * num_examples


@dataclass(frozen=True)
class SearchKind:
    """A registered search, in `registry.BUILT_IN` or as an entry point `icm.searches` of another package."""

    name: str
    """Its name for `--search`; an installed search has the name of its entry point."""
    help: str
    """A few words for `--help`."""
    options: type
    """The options class: a frozen dataclass or a pydantic model whose fields all have defaults."""
    start: Callable[[Problem, Any, int], Search]
    """Starts the search with a problem, options and a seed."""
    plan: str = "folds=2"
    """The default plan of passes."""
    measure: Measure = "information"
    """The default measure of U."""
    expected_passes: Callable[[Any, int], ExpectedPasses | None] = _unknown
    """The expected passes for these options and this number of examples; None if they depend on the answers."""
    expected_shots: Callable[[Any, int], float] = _usual_shots
    """The approximate number of shots computed for these options and this number of examples; used for the time
    left."""
    with_chains: Callable[[Any, int], Any] | None = None
    """Sets the number of chains in the options (`--chains`); None for a search without chains."""
    with_passes: Callable[[Any, int], Any] | None = None
    """Sets the number of passes, rounds or sweeps in the options (`--passes`); None for a search without them."""
    passes_help: str = ""
    """The unit that `--passes` counts."""
    can_stop: bool = False
    """Whether it ends with its current labels when StopSearch is thrown into it, however often."""
    is_stopped: bool = False
    """Whether comparisons stop it at the token count of the reference search. It must be one that can stop."""
    num_answers: int = 1
    """About how many answers it evaluates at its end; a budget reserves a pass for each."""
    iterations: Iterations | None = None
    respects_rates: bool = False
    """Whether its labels have the problem's label rates."""
    starts_from_labels: bool = False
    """Whether it starts from the problem's start labels where there are some."""
    needs_known: bool = False
    """Whether it is of use only where labels are known."""
    presets: tuple[Preset, ...] = ()
    """Its variants in comparisons; if empty, its name with the default options."""
