"""The variants of searches in comparisons, by their names in tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from icm_annealer.search.kind import Preset, SearchKind
from icm_annealer.searches.registry import BUILT_IN, DEFAULT, find_search, presets_of, search_names
from icm_annealer.searches.settings import Settings
from icm_client.contract.errors import RequestError


class ComparedSearch(NamedTuple):
    """A search with its options in comparisons."""

    kind: SearchKind
    preset: Preset

    @property
    def name(self) -> str:
        return self.preset.name

    def settings(self, seed: int) -> Settings:
        return Settings(search=self.kind.name, plan=self.preset.plan, seed=seed, options=self.preset.options)


PRESETS: Mapping[str, ComparedSearch] = {
    preset.name: ComparedSearch(kind, preset) for kind in BUILT_IN.values() for preset in presets_of(kind)
}
"""The variants of the built-in searches. Only `blocks` evaluates its several answers itself, and those tokens are
counted; the tokens of the common evaluation of all answers are not."""
REFERENCE = PRESETS[DEFAULT.name]
"""The reference search: its rows are made first, set the budgets of the others, and are the basis of ratios."""


def compared_names() -> list[str]:
    """The names of all variants; an installed search has one with its own name. Imports no installed search."""
    return [*PRESETS, *(name for name in search_names() if name not in BUILT_IN)]


def find_compared(name: str) -> ComparedSearch:
    """The search with the options of this preset; for an installed search, its first preset.

    Raises RequestError if there is none, or if the import fails.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name not in compared_names():
        raise RequestError(f"no search {name!r}: choose of {', '.join(compared_names())}", code="unknown_search")
    kind = find_search(name)
    return ComparedSearch(kind, presets_of(kind)[0]._replace(name=name))
