"""All searches by name. To add one, write a file with a SearchKind and add a line here, or register an entry point in
another package."""

from __future__ import annotations

from collections.abc import Mapping

from icm_annealer.search.kind import Preset, SearchKind
from icm_annealer.searches.blocks import BLOCKS
from icm_annealer.searches.bootstrap import BOOTSTRAP
from icm_annealer.searches.gibbs import GIBBS
from icm_annealer.searches.growing import GROWING
from icm_annealer.searches.joint import JOINT
from icm_annealer.searches.known_shots import KNOWN_SHOTS
from icm_annealer.searches.official import OFFICIAL
from icm_annealer.searches.zero_shot import ZERO_SHOT
from icm_client.contract.entry_points import EntryPointGroup
from icm_client.contract.errors import RequestError

DEFAULT = BLOCKS
BUILT_IN: Mapping[str, SearchKind] = {
    kind.name: kind for kind in (BLOCKS, OFFICIAL, ZERO_SHOT, GROWING, JOINT, GIBBS, BOOTSTRAP, KNOWN_SHOTS)
}
INSTALLED = EntryPointGroup("icm.searches", "search", SearchKind, BUILT_IN)


def search_names() -> list[str]:
    """The names of all searches, built-in ones first. Imports no installed search."""
    return [*BUILT_IN, *INSTALLED.names()]


def find_search(name: str) -> SearchKind:
    """The search with this name. Raises RequestError if there is none, more than one, or if the import fails."""
    found = INSTALLED.load(name) or BUILT_IN.get(name)
    if found is None:
        raise RequestError(f"no search {name!r}: choose one of {', '.join(search_names())}", code="unknown_search")
    if found.name != name:
        raise RequestError(
            f"the installed search {name!r} is called {found.name!r} by itself: its package must use one name",
            code="bad_plugin",
        )
    return found


def presets_of(kind: SearchKind) -> tuple[Preset, ...]:
    """The variants of a search in comparisons."""
    return kind.presets or (Preset(kind.name, kind.options()),)


def searches_help() -> str:
    """One line for `--help` with all searches; built-in ones have a short description."""
    return "; ".join([*(f"{kind.name}: {kind.help}" for kind in BUILT_IN.values()), *INSTALLED.names()])


def passes_help() -> str:
    """The unit that `--passes` counts, by search."""
    return ", ".join(f"{kind.passes_help} ({kind.name})" for kind in BUILT_IN.values() if kind.passes_help)
