"""What a scorer is started with. A leaf; the command line reads its defaults from here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from icm_client.contract.wire import MAX_PROMPTS

LogFormat = Literal["auto", "json", "text"]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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


class ConnectionLimits(BaseModel):
    """How many connections are held, and how slow their callers may be. What is sent and what is answered has to get
    on, so that nobody holds a connection, or memory, for nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_connections: Count = 4096
    """Fewer where the process may open fewer files. Three quarters of them are for who has shown a key; a newcomer
    finds room by ending the oldest connection that has not."""
    max_per_address: Count = 256
    """Of one address (of IPv6: one /64 network), as long as they have shown no key."""
    max_header_bytes: int = Field(default=2**15, ge=1024)
    """Of a request's first line and headers in all."""
    max_headers: Count = 100
    header_s: Seconds = 10.0
    """How long a request's headers may take, and a new connection to begin them."""
    keep_alive_s: Seconds = 30.0
    """How long an idle connection stays open: longer than clients keep theirs (httpx: 5 s), so that none is closed
    under a request that is on its way."""
    body_silence_s: Seconds = 60.0
    """How long a body may come to a halt: a caller that died must not be waited for."""
    body_grace_s: Seconds = 30.0
    """How long a body may take beside the time that its bytes may, by `min_bytes_per_s`."""
    min_bytes_per_s: Count = 4096
    """Of bodies as they are sent, packed or not, and of answers that wait to be taken."""
    answer_stall_s: Seconds = 120.0
    """The time over which an answer's pace is taken."""


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
    engine: str = "vllm"
    """A name of `engines.registry`."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free one."""
    dtype: str | None = None
    """None: bfloat16 where the machine computes in it, else float16 on a GPU and float32 on a CPU."""
    engine_args: dict[str, Any] = {}
    """The engine's own arguments: vLLM's over the preset."""
    adapters: dict[str, str] = {}
    """LoRA adapters: name -> folder."""
    cache: Path = Path("~/.cache/icm/models")
    """Where packaged models are converted to."""
    scoring: ScoringConfig = ScoringConfig()
    max_body_bytes: int = Field(default=64 * 2**20, ge=1)
    """What a request can hold as text. Nothing else is done while a body is parsed: 0.4 s for so much."""
    connections: ConnectionLimits = ConnectionLimits()
    allow_hosts: tuple[str, ...] = ()
    """More names that it is reached by; what they are checked for, `known_hosts.py` says."""
    keys_file: Path | None = None
    """The API keys; see `keys_file.py`. A folder stands for the keys.yaml in it. None asks for no keys, which is
    refused where others can reach the scorer."""
    allow_no_keys: bool = False
    """No keys there all the same."""
    published_at: str | None = None
    """The address at which others reach it, or several with commas between them, where that is not `host`: a
    container's port on its machine, and a proxy's before it."""
    ready_file: Path | None = None
    """Written once the scorer is ready: {"url": ...}."""
    drain_s: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    """How long requests under way may take to end once the scorer is asked to."""
    log_format: LogFormat = "auto"
    """`auto`: text on a terminal, JSON elsewhere."""
    verbose: bool = False
