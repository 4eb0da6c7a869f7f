"""The name under which pip installs this project. A leaf: it imports nothing of ours.

It is not the name of the commands (`icm`, `icm-server`) and imports (`icm_client`, ...): `icm` on PyPI is another
program.
"""

from __future__ import annotations

DISTRIBUTION = "icm-elicitation"


def install_hint(extra: str) -> str:
    """The shell command that installs an extra of this project, such as `data`."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
