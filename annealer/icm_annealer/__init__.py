"""Unsupervised elicitation of language models: labels for a dataset, without labels to learn from.

    import icm_annealer as icm

    result = icm.label(rows, template="Text: {text}\\nLabel:", labels=["spam", "ham"], scorer="local:smollm2-135m")

Names are imported when they are first used, so that the import itself takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from icm_annealer.api.extend import extend
    from icm_annealer.api.extension_result import ExtensionResult, open_extension
    from icm_annealer.api.label import anneal, label
    from icm_annealer.api.label_result import LabelResult, open_run
    from icm_annealer.api.report import Report
    from icm_annealer.data.task import Task, built_in_tasks, load_task
    from icm_annealer.labelling.alarm import Alarm
    from icm_annealer.runs.schema.verdict import Verdict
    from icm_annealer.scoring.passes import Scorer
    from icm_annealer.searches.settings import Settings
    from icm_annealer.sweeping.call import sweep
    from icm_annealer.sweeping.sweep_result import SweepResult, open_sweep
    from icm_client.contract.errors import IcmError, RequestError

__all__ = [
    "Alarm",
    "ExtensionResult",
    "IcmError",
    "LabelResult",
    "Report",
    "RequestError",
    "Scorer",
    "Settings",
    "SweepResult",
    "Task",
    "Verdict",
    "anneal",
    "built_in_tasks",
    "extend",
    "label",
    "load_task",
    "open_extension",
    "open_run",
    "open_sweep",
    "sweep",
]

_MODULES = {
    "Alarm": "icm_annealer.labelling.alarm",
    "ExtensionResult": "icm_annealer.api.extension_result",
    "IcmError": "icm_client.contract.errors",
    "LabelResult": "icm_annealer.api.label_result",
    "Report": "icm_annealer.api.report",
    "RequestError": "icm_client.contract.errors",
    "Scorer": "icm_annealer.scoring.passes",
    "Settings": "icm_annealer.searches.settings",
    "SweepResult": "icm_annealer.sweeping.sweep_result",
    "Task": "icm_annealer.data.task",
    "Verdict": "icm_annealer.runs.schema.verdict",
    "anneal": "icm_annealer.api.label",
    "built_in_tasks": "icm_annealer.data.task",
    "extend": "icm_annealer.api.extend",
    "label": "icm_annealer.api.label",
    "load_task": "icm_annealer.data.task",
    "open_extension": "icm_annealer.api.extension_result",
    "open_run": "icm_annealer.api.label_result",
    "open_sweep": "icm_annealer.sweeping.sweep_result",
    "sweep": "icm_annealer.sweeping.call",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
