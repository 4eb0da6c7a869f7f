"""Every export format by its name. Another one is a file with an ExportFormat and a line here, or an entry point of
another installed package."""

from __future__ import annotations

from icm_annealer.export.base import ExportFormat
from icm_annealer.export.review import CLEANLAB, LABEL_STUDIO
from icm_annealer.export.tables import CSV, HF, JSONL, PARQUET
from icm_annealer.export.training import DPO, KTO, RM, SFT
from icm_client.contract.entry_points import EntryPointGroup
from icm_client.contract.errors import RequestError

BUILT_IN = {form.name: form for form in (JSONL, CSV, PARQUET, HF, SFT, DPO, KTO, RM, CLEANLAB, LABEL_STUDIO)}
INSTALLED = EntryPointGroup("icm.exporters", "export format", ExportFormat, BUILT_IN)


def format_names() -> list[str]:
    """All formats, the built-in ones first; imports none that is installed."""
    return [*BUILT_IN, *INSTALLED.names()]


def find_format(name: str) -> ExportFormat:
    """The format of this name, whose library is installed. Raises RequestError."""
    form = INSTALLED.load(name) or BUILT_IN.get(name)
    if form is None:
        raise RequestError(f"no export format {name!r}: choose one of {', '.join(format_names())}")
    form.check_installed()
    return form


def formats_help() -> str:
    """One line for `--help`."""
    built_in = [f"{form.name} ({form.help})" for form in BUILT_IN.values()]
    return ", ".join([*built_in, *INSTALLED.names()])
