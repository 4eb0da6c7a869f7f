"""What a scorer is started with. A leaf; the command line reads its defaults from here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icm_client.wire import MAX_PROMPTS

LogFormat = Literal["auto", "json", "text"]
Count = Annotated[int, Field(ge=1)]


class Limits(BaseModel):
    """How much work is let in. Tokens are counted as a perfect prefix cache computes them: a shared prefix once.

    An experiment's limits are for one name under one key. `max_requests`, `max_reads` and `max_tokens` are for all
    together; where there are keys, each may have as much as stays free: half of it alone, a third beside another one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_prompts: int = Field(default=2**16, ge=1, le=MAX_PROMPTS)
    """In one body."""
    max_request_tokens: Count = 2**24
    """In one request; four bytes each are held until it is done."""
    max_experiment_requests: Count = 1024
    max_experiment_reads: Count = 2**17
    max_experiment_tokens: Count = 2**25
    max_requests: Count = 4096
    max_reads: Count = 2**19
    max_tokens: Count = 2**27


class ScoringConfig(BaseModel):
    """How work is let in, shared out and remembered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: Limits = Limits()
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """An experiment's part beside the others of its key that have work; 1 if it is not named."""
    reuse_memory_bytes: int = Field(default=64 * 2**20, ge=0)
    """For finished reads."""
    reuse_file: Path | None = None
    """Where finished reads outlive the process."""
    reuse_file_bytes: int = Field(default=2 * 2**30, ge=2**20)
    has_keys: bool = False
    """Several keys share the scorer. Set by the application."""
    isolate_reuse: bool = False
    """Experiments are not answered from each other's reads, and share no prefix in the engine's cache."""


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
    """None: bfloat16 where the machine computes in it, else float16 on a GPU and float32 on a CPU."""
    engine_args: dict[str, Any] = {}
    """vLLM engine arguments, over the preset."""
    adapters: dict[str, str] = {}
    """LoRA adapters: name -> folder."""
    cache: Path = Path("~/.cache/icm/models")
    """Where packaged models are converted to."""
    scoring: ScoringConfig = ScoringConfig()
    max_body_bytes: int = Field(default=256 * 1024 * 1024, ge=1)
    keys_file: Path | None = None
    """The API keys; see `keys_file.py`. None asks for none, which is refused where others can reach the scorer."""
    allow_no_keys: bool = False
    """No keys there all the same."""
    published_at: str | None = None
    """The address at which others reach it, where that is not `host`: a container's port on its machine."""
    ready_file: Path | None = None
    """Written once the scorer is ready: {"url": ...}."""
    drain_s: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    """How long requests under way may take to end once the scorer is asked to."""
    log_format: LogFormat = "auto"
    """`auto`: text on a terminal, JSON elsewhere."""
    verbose: bool = False
