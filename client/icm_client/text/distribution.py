"""The name under which pip installs this project. A leaf: it imports nothing of ours.

It is not the name of the commands (`icm`, `icm-server`) and imports (`icm_client`, ...): `icm` on PyPI is another
program.
"""

from __future__ import annotations

import importlib.metadata

DISTRIBUTION = "icm-elicitation"


def version() -> str:
    """The version of the installed distribution; "unknown" where it is not installed, as in a checkout."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def install_hint(extra: str) -> str:
    """The shell command that installs an extra of this project, such as `data`."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
