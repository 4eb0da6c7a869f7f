"""The settings of a scorer. A leaf; the command line takes its defaults from here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icm_client.contract.wire import MAX_PROMPTS

LogFormat = Literal["auto", "json", "text"]
MAX_ENGINES = 64
MAX_SCORERS = 1024
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Limits(BaseModel):
    """Limits on accepted work. Tokens are counted as a perfect prefix cache computes them: a shared prefix once.

    `max_experiment_...` apply to each experiment of each tenant; `max_requests`, `max_reads` and `max_tokens` to all
    tenants together. With keys, a tenant may use as much of these as it leaves free: half of it alone, a third beside
    one other tenant.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_prompts: int = Field(default=2**16, ge=1, le=MAX_PROMPTS)
    """The most prompts in one body."""
    max_request_tokens: Count = 2**24
    """The most tokens in one request; each takes four bytes of memory until the request is done."""
    max_experiment_requests: Count = 1024
    max_experiment_reads: Count = 2**17
    max_experiment_tokens: Count = 2**25
    max_requests: Count = 4096
    max_reads: Count = 2**19
    max_tokens: Count = 2**27


class ConnectionLimits(BaseModel):
    """Limits on the number and the slowness of connections: bodies and answers have to make progress, so that a stalled
    connection does not hold memory."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_connections: Count = 4096
    """Fewer if the process may open fewer files. Three quarters are reserved for connections that have shown a key; a
    new connection displaces the oldest one that has not."""
    max_per_address: Count = 256
    """The most connections without a key from one address (for IPv6: from one /64 network)."""
    max_header_bytes: int = Field(default=2**15, ge=1024)
    """The most bytes of a request's first line and headers together."""
    max_headers: Count = 100
    header_s: Seconds = 10.0
    """How long a request's headers may take, from the connection's start or the last answer."""
    keep_alive_s: Seconds = 30.0
    """How long an idle connection stays open: longer than clients keep theirs (httpx: 5 s), so that it is not closed
    while a request is on its way."""
    body_silence_s: Seconds = 60.0
    """The longest pause within a body."""
    body_grace_s: Seconds = 30.0
    """How long a body may take in addition to its size divided by `min_bytes_per_s`."""
    min_bytes_per_s: Count = 4096
    """The slowest allowed transfer, of bodies as sent (compressed or not) and of answers."""
    answer_stall_s: Seconds = 120.0
    """The interval over which an answer's transfer rate is measured."""


class ScoringConfig(BaseModel):
    """How work is accepted, scheduled and cached."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: Limits = Limits()
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """Shares of experiments relative to other experiments of the same tenant; 1 by default."""
    read_cache_memory_bytes: int = Field(default=64 * 2**20, ge=0)
    """The memory limit of the read cache."""
    read_cache_file: Path | None = None
    """A file in which the read cache survives restarts."""
    read_cache_file_bytes: int = Field(default=2 * 2**30, ge=2**20)
    has_keys: bool = False
    """The scorer has API keys. Set by the application."""
    isolate_experiments: bool = False
    """Experiments share neither results in the read cache nor prefixes in the engine's cache."""


class AdapterLimits(BaseModel):
    """Limits on adapters that keys put while the scorer runs. With keys, a tenant may have as much of the totals as it
    leaves free."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_adapters: Count = 64
    """In total. The engine keeps all of them in the machine's memory."""
    max_adapters_mb: Count = 4096
    """The size of all of them on disk."""
    max_adapter_mb: Count = 512
    """The size of one."""


class AdapterConfig(BaseModel):
    """Which LoRA adapters a scorer serves beside the base model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    given: dict[str, str] = {}
    """Adapters that it is started with, for all keys: name -> folder."""
    store: Path | None = None
    """The folder in which adapters that keys put are kept, also over a restart. None: none can be put."""
    folders: Path | None = None
    """The folder below which a key may name an adapter's folder. None: adapters have to be sent."""
    limits: AdapterLimits = AdapterLimits()


class ServerConfig(BaseModel):
    """All settings of one scorer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "smollm2-135m"
    """A packaged model's name, a folder, or a hub id."""
    engine: str = "vllm"
    """A name from `engines.registry`."""
    engines: int = Field(default=1, ge=1, le=MAX_ENGINES)
    """Engines of the same model, each in a process of its own."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0 for any free port."""
    dtype: str | None = None
    """None: bfloat16 if the hardware supports it, otherwise float16 on a GPU and float32 on a CPU."""
    engine_args: dict[str, Any] = {}
    """The engine's own arguments, which override the preset."""
    adapters: AdapterConfig = AdapterConfig()
    cache: Path = Path("~/.cache/icm/models")
    """The folder for converted packaged models."""
    scoring: ScoringConfig = ScoringConfig()
    max_body_bytes: int = Field(default=64 * 2**20, ge=1)
    """The largest body. Parsing it blocks the event loop: 0.4 s for this much."""
    connections: ConnectionLimits = ConnectionLimits()
    allow_hosts: tuple[str, ...] = ()
    """More accepted host names; see `known_hosts.py`."""
    keys_file: Path | None = None
    """The file of API keys; see `keys_file.py`. For a folder, the keys.yaml in it. None: no keys, which is an error if
    other machines can connect."""
    one_of: int = Field(default=1, ge=1, le=MAX_SCORERS)
    """The number of scorers that clients use together: each grants this part of `max_queued_tokens` of every key."""
    allow_no_keys: bool = False
    """Start without keys although other machines can connect."""
    published_at: str | None = None
    """The addresses, separated by commas, at which the scorer is reachable if not at `host`: of a container's published
    port, and of a reverse proxy."""
    ready_file: Path | None = None
    """Written once the scorer is ready: {"url": ...}."""
    drain_s: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    """How long running requests may take to finish after SIGTERM."""
    log_format: LogFormat = "auto"
    """`auto`: text on a terminal, JSON elsewhere."""
    verbose: bool = False
