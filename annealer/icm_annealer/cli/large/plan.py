"""`icm plan`. A thin caller."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.large.extend import DEFAULTS, CheckOption, ContextsOption, CoreShotsOption, ReadsOption
from icm_annealer.cli.shared.bounds import MAX_AMOUNT, MAX_COUNT
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    ColumnsOption,
    EncodingOption,
    EngineOption,
    KeyOption,
    RowsOption,
    ScorerModelOption,
    ScorerOption,
    SkipBadOption,
    WaitOption,
    finite,
    interruptible,
    named_scorer,
    read_as,
)
from icm_annealer.cli.shared.price import HourPriceOption
from icm_annealer.cli.shared.work_options import JsonOption, QuietOption
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress, duration
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.jobs.modes import extend_settings
from icm_annealer.extending.jobs.plan import LargePlan, PlannedWork, planned
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_client import RequestError

GPUS = (1, 2, 4, 8, 16, 32, 64)
NARROW = 0.02
"""The share of the tokens up to which the range in which they lie is not printed."""


def plan(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, the core.")],
    data: RowsOption,
    contexts: ContextsOption = None,
    shots: CoreShotsOption = None,
    reads: ReadsOption = None,
    check: CheckOption = None,
    runs: Annotated[
        int, typer.Option(metavar="N", min=0, max=MAX_COUNT, help="Also the cost of N further runs like RUN.")
    ] = 0,
    tokens_per_s: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            min=0.001,
            max=MAX_AMOUNT,
            callback=finite,
            help="Tokens that one GPU computes in a second.",
            show_default="measured with the scorer in 10 seconds, as that of one GPU",
        ),
    ] = None,
    price_per_hour: HourPriceOption = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what labelling many rows will cost, in each mode of `icm extend` and by a tuned model: tokens, hours of 1 to
    64 GPUs, money, and what would halve it.

    Nothing is labelled or written. GPUs are taken to share the work without loss, and each costs
    --price-per-hour.

    Example: icm plan runs/first --data all.parquet --scorer http://gpu-box:8000 --price-per-hour 2.5
    """
    core = Core.read(run, allow_code=allow_code)
    settings = extend_settings(DEFAULTS.mode, DEFAULTS.seed, {"contexts": contexts, "shots": shots, "reads": reads})
    source = Source(data, core.task, read_as(columns, encoding, skip_bad))
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)
    if not core.num_tokens:
        raise RequestError(f"{run} has no costs (costs.jsonl), so that a search's cost is unknown")
    output = Output(quiet=quiet, as_json=as_json)

    async def work() -> LargePlan:
        with RunProgress(output.aside, f"plan: {core.name}", []) as progress:
            async with named.open(progress.status, progress.note) as client:
                return await planned(
                    core,
                    source,
                    settings,
                    client,
                    num_checked=check,
                    num_runs=runs,
                    tokens_per_s=tokens_per_s,
                    report=progress.status,
                )

    found: LargePlan = interruptible(work(), output)
    rates = [part.tokens_per_s for part in found.measured.parts] if found.measured else []
    ways = [asdict(way) for way in found.ways]
    output.json({"ways": ways, "tokens_per_s": found.tokens_per_s, "measured_tokens_per_s": rates})
    for way in found.ways:
        for line in lines(way, found.tokens_per_s, price_per_hour):
            output.say(line)
    if found.measured is not None and found.measured.parts:
        output.say(f"Speed: {found.tokens_per_s:,.0f} tokens a second ({found.measured}).")
    if not math.isfinite(found.tokens_per_s):
        output.say("Time: unknown, since the scorer computed nothing for what was measured; name --tokens-per-s.")


def lines(way: PlannedWork, tokens_per_s: float, price_per_hour: float | None) -> list[str]:
    """One way, line by line."""
    is_wide = way.most_tokens - way.least_tokens > NARROW * way.tokens
    span = f" (at least {way.least_tokens:,}, at most {way.most_tokens:,})" if is_wide else ""
    said = [
        f"{way.name}: {way.what}",
        f"  about {way.tokens:,} tokens computed{span}, {way.tokens / way.num_rows:.1f} a row of {way.num_rows:,}",
    ]
    if math.isfinite(tokens_per_s):
        hours = way.gpu_hours(tokens_per_s)
        price = f", price {hours * price_per_hour:,.2f}" if price_per_hour is not None else ""
        said.append(f"  {hours:,.2f} GPU hours at {tokens_per_s:,.0f} tokens a second{price}")
        times = ", ".join(f"{num}: {duration(3600 * hours / num)}" for num in GPUS)
        said.append(f"  time by the number of GPUs: {times}")
    halving = next((saving for saving in way.savings if saving.halves), None)
    if halving is not None:
        said.append(f"  {halving.setting} would halve it: {halving.share:.0%} of the tokens are left")
    elif way.savings:
        best = way.savings[-1]
        said.append(f"  no setting halves it; {best.setting} leaves {best.share:.0%} of the tokens")
    return said
