"""What a scorer is started with. A leaf; the command line reads its defaults from here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ServerConfig(BaseModel):
    """All settings of one scorer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "smollm2-135m"
    """A packaged model's name, a folder, or a hub id."""
    engine: Literal["vllm", "fake"] = "vllm"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free one."""
    dtype: str | None = None
    """None: bfloat16 where the machine computes in it, else float32."""
    engine_args: dict[str, Any] = {}
    """vLLM engine arguments, over the preset."""
    adapters: dict[str, str] = {}
    """LoRA adapters: name -> folder."""
    cache: Path = Path("~/.cache/icm/models")
    """Where packaged models are converted to."""
    max_body_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    ready_file: Path | None = None
    """Written once the scorer is ready: {"url": ...}."""
    verbose: bool = False
