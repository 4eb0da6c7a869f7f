"""Every export format by its name. Another one is a file with an ExportFormat and a line here, or an entry point of
another installed package."""

from __future__ import annotations

from icm_annealer.export.base import ExportFormat
from icm_annealer.export.review import CLEANLAB, LABEL_STUDIO
from icm_annealer.export.tables import CSV, HF, JSONL, PARQUET
from icm_annealer.export.training import DPO, KTO, RM, SFT
from icm_client.contract.entry_points import installed_names, load_installed
from icm_client.contract.errors import RequestError

GROUP = "icm.exporters"
"""The entry points of installed packages: the name is the format's, the value an ExportFormat."""
BUILT_IN = {form.name: form for form in (JSONL, CSV, PARQUET, HF, SFT, DPO, KTO, RM, CLEANLAB, LABEL_STUDIO)}


def format_names() -> list[str]:
    """All formats, the built-in ones first; imports none that is installed."""
    return [*BUILT_IN, *(name for name in installed_names(GROUP) if name not in BUILT_IN)]


def find_format(name: str) -> ExportFormat:
    """The format of this name, whose library is installed. Raises RequestError; a built-in format is never replaced."""
    form = BUILT_IN.get(name) or load_installed(GROUP, name, "export format", ExportFormat)
    if form is None:
        raise RequestError(f"no export format {name!r}: choose one of {', '.join(format_names())}")
    form.check_installed()
    return form


def formats_help() -> str:
    """One line for `--help`."""
    built_in = [f"{form.name} ({form.help})" for form in BUILT_IN.values()]
    return ", ".join([*built_in, *format_names()[len(BUILT_IN) :]])
