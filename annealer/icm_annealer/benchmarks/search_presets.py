"""Searches as they take part in comparisons, by the names that tables have for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from icm_annealer.search.kind import Preset, SearchKind
from icm_annealer.search.registry import BUILT_IN, DEFAULT, find_search, presets_of, search_names
from icm_annealer.search.settings import Settings
from icm_client.contract.errors import RequestError


class ComparedSearch(NamedTuple):
    """A search with the options that it is compared with."""

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
"""Of the built-in searches. Our search alone weighs its answers itself, since it has several; that is counted. What
comparisons weigh all answers by is not."""
REFERENCE = PRESETS[DEFAULT.name]
"""The search whose rows are made first, set the others' budgets, and are what others are compared with."""


def compared_names() -> list[str]:
    """All that can be compared; of installed searches, each by its own name. Imports none of those."""
    return [*PRESETS, *(name for name in search_names() if name not in BUILT_IN)]


def find_compared(name: str) -> ComparedSearch:
    """The search with the options of this preset; an installed search takes part with its first one.

    Raises RequestError if there is none, or one that cannot be imported.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name not in compared_names():
        raise RequestError(f"no search {name!r}: choose of {', '.join(compared_names())}", code="unknown_search")
    kind = find_search(name)
    return ComparedSearch(kind, presets_of(kind)[0]._replace(name=name))
