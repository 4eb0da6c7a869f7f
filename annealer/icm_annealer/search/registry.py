"""All searches by name. To add one, write a file with a SearchKind and add a line here, or register an entry point in
another package."""

from __future__ import annotations

from collections.abc import Mapping

from icm_annealer.search.blocks import BLOCKS
from icm_annealer.search.bootstrap import BOOTSTRAP
from icm_annealer.search.gibbs import GIBBS
from icm_annealer.search.growing import GROWING
from icm_annealer.search.joint import JOINT
from icm_annealer.search.kind import Preset, SearchKind
from icm_annealer.search.known_shots import KNOWN_SHOTS
from icm_annealer.search.official import OFFICIAL
from icm_annealer.search.zero_shot import ZERO_SHOT
from icm_client.contract.entry_points import installed_names, load_installed
from icm_client.contract.errors import RequestError

GROUP = "icm.searches"
"""The entry-point group of searches: the name is the search's name, the value a SearchKind."""
DEFAULT = BLOCKS
BUILT_IN: Mapping[str, SearchKind] = {
    kind.name: kind for kind in (BLOCKS, OFFICIAL, ZERO_SHOT, GROWING, JOINT, GIBBS, BOOTSTRAP, KNOWN_SHOTS)
}


def search_names() -> list[str]:
    """The names of all searches, built-in ones first. Imports no installed search."""
    return [*BUILT_IN, *(name for name in installed_names(GROUP) if name not in BUILT_IN)]


def find_search(name: str) -> SearchKind:
    """The search with this name. Raises RequestError if there is none, more than one, or if the import fails."""
    installed = load_installed(GROUP, name, "search", SearchKind) if name in installed_names(GROUP) else None
    if installed is None:
        if name in BUILT_IN:
            return BUILT_IN[name]
        raise RequestError(f"no search {name!r}: choose one of {', '.join(search_names())}", code="unknown_search")
    if name in BUILT_IN:
        raise RequestError(
            f"an installed package registers the search {name!r}, which is built in: uninstall it", code="bad_plugin"
        )
    if installed.name != name:
        raise RequestError(
            f"the installed search {name!r} is called {installed.name!r} by itself: its package must use one name",
            code="bad_plugin",
        )
    return installed


def presets_of(kind: SearchKind) -> tuple[Preset, ...]:
    """The variants of a search in comparisons."""
    return kind.presets or (Preset(kind.name, kind.options()),)


def searches_help() -> str:
    """One line for `--help` with all searches; built-in ones have a short description."""
    installed = [name for name in search_names() if name not in BUILT_IN]
    return "; ".join([*(f"{kind.name}: {kind.help}" for kind in BUILT_IN.values()), *installed])


def passes_help() -> str:
    """The unit that `--passes` counts, by search."""
    return ", ".join(f"{kind.passes_help} ({kind.name})" for kind in BUILT_IN.values() if kind.passes_help)
