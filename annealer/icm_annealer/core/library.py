"""Optional libraries, which an extra installs. A leaf."""

from __future__ import annotations

import importlib.util
from typing import NamedTuple

from icm_client.contract.errors import RequestError
from icm_client.text.distribution import install_hint


class Library(NamedTuple):
    """An optional module, and the extra of this project that installs it (None if another package needs the module)."""

    module: str
    extra: str | None

    def check(self, needed_by: str) -> None:
        """Raises RequestError if it is not installed; imports nothing."""
        if importlib.util.find_spec(self.module) is None:
            how = install_hint(self.extra) if self.extra else f"install the package that provides {self.module!r}"
            raise RequestError(f"{needed_by} needs its library: {how}", code="missing_package")
