"""An adapter's folder as the body of an upload, read while it is sent."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE
from icm_client.contract.errors import RequestError

PIECE_BYTES = 2**20


@dataclass(frozen=True)
class AdapterFiles:
    """The two files of a folder. Create it with `of`."""

    folder: Path
    boundary: str
    sizes: tuple[int, int]

    @classmethod
    def of(cls, folder: Path) -> AdapterFiles:
        """Raises RequestError for a folder that lacks a file."""
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                pickled = next(iter(sorted(folder.glob("adapter_model.*"))), None)
                hint = f"; {pickled.name} is not read, since a pickle can run code" if pickled else ""
                raise RequestError(
                    f"{folder} is not an adapter: it has no {name}, which peft writes with save_pretrained{hint}",
                    code="bad_adapter",
                )
        sizes = [(folder / name).stat().st_size for name in (CONFIG_FILE, WEIGHTS_FILE)]
        return cls(folder, secrets.token_hex(16), (sizes[0], sizes[1]))

    @property
    def headers(self) -> dict[str, str]:
        """Of the request."""
        heads = (self._head(CONFIG_FILE), self._head(WEIGHTS_FILE), self._end)
        return {
            "Content-Type": f"multipart/form-data; boundary={self.boundary}",
            "Content-Length": str(sum(self.sizes) + sum(map(len, heads))),
        }

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body. Raises RequestError if a file changes meanwhile, or cannot be read."""
        for name, size in zip((CONFIG_FILE, WEIGHTS_FILE), self.sizes, strict=True):
            yield self._head(name)
            left = size
            try:
                with (self.folder / name).open("rb") as file:
                    while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                        left -= len(piece)
                        if left < 0:
                            break
                        yield piece
            except OSError as error:
                raise RequestError(f"{self.folder / name}: {error.strerror}") from None
            if left:
                raise RequestError(f"{self.folder / name} has changed while it was sent: send it again")
        yield self._end

    def _head(self, name: str) -> bytes:
        line = f'Content-Disposition: form-data; name="{name}"; filename="{name}"'
        begin = "" if name == CONFIG_FILE else "\r\n"
        return f"{begin}--{self.boundary}\r\n{line}\r\n\r\n".encode()

    @property
    def _end(self) -> bytes:
        return f"\r\n--{self.boundary}--\r\n".encode()
