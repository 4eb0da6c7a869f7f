"""Adapters in a running vLLM engine. It does not import vLLM: `vllm.py` passes what is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from icm_client.contract.errors import RequestError
from icm_server.adapters.weights_file import Shapes
from icm_server.engines.base import EngineDiedError


class VllmAdapters:
    """See AdapterHost. vLLM keys its prefix cache by an adapter's name and path, and its weights by a number, so a key
    and a number belong to one content for ever."""

    def __init__(self, engine: Any, request: Callable[[str, int, str], Any], dead: type[Exception], base: Shapes):
        """`request` makes vLLM's LoRARequest; `dead` is its error for an engine that has died."""
        self._engine, self._request, self._dead, self.base = engine, request, dead, base
        self.max_rank = int(engine.vllm_config.lora_config.max_lora_rank)
        self._loaded: dict[str, Any] = {}

    async def add(self, key: str, number: int, folder: Path) -> None:
        lora = self._request(key, number, str(folder.absolute()))
        try:
            await self._engine.add_lora(lora)
        except self._dead as error:
            raise EngineDiedError(str(error)) from error
        except Exception as error:  # vLLM raises many kinds; all mean that it does not apply this adapter
            with contextlib.suppress(Exception):  # it may have begun to
                await self._engine.remove_lora(number)
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise RequestError(f"vLLM does not apply this adapter: {first[:400]}", code="bad_adapter") from None
        self._loaded[key] = lora

    async def remove(self, key: str) -> None:
        await self._engine.remove_lora(self._loaded.pop(key).lora_int_id)

    def request_of(self, key: str) -> Any:
        """vLLM's name for the adapter; None for the base model. Raises KeyError if it is not loaded."""
        return None if key == "base" else self._loaded[key]
