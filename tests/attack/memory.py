"""What a scorer has in memory, of its process or of what it says itself."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import httpx

EVERY_S = 0.1


class Memory:
    """Resident bytes of one scorer; nothing is known of one elsewhere that nobody may ask."""

    def __init__(self, pid: int | None, url: str, admin_key: str | None = None):
        self._pid, self._url, self._admin_key = pid, url, admin_key
        self._peak = 0

    async def now(self) -> int | None:
        if self._pid is not None:
            return self._status("VmRSS")
        if self._admin_key is None:
            return None
        headers = {"Authorization": f"Bearer {self._admin_key}"}
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(headers=headers, timeout=5) as http:
                text = (await http.get(f"{self._url}/metrics")).text
            found = re.search(r"^process_resident_memory_bytes ([\d.e+]+)", text, re.MULTILINE)
            return int(float(found[1])) if found else None
        return None

    async def begin(self) -> None:
        """The peak begins anew."""
        self._peak = await self.now() or 0
        if self._pid is not None:
            with contextlib.suppress(OSError):
                Path(f"/proc/{self._pid}/clear_refs").write_text("5")

    async def watch(self) -> None:
        """Looks every now and then, for ever; only needed where the kernel does not tell the peak."""
        while True:
            self._peak = max(self._peak, await self.now() or 0)
            await asyncio.sleep(EVERY_S if self._pid is not None else 1.0)

    def peak(self) -> int | None:
        """Since `begin`."""
        if self._pid is not None:
            return self._status("VmHWM")
        return self._peak or None

    def _status(self, name: str) -> int:
        """Raises RuntimeError if the process has ended."""
        try:
            text = Path(f"/proc/{self._pid}/status").read_text()
            return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name)) * 1024
        except (OSError, StopIteration):
            raise RuntimeError("the scorer has ended") from None
