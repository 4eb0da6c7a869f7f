"""`icm sweep`. A thin caller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.bounds import MAX_TOKENS
from icm_annealer.cli.shared.dry_run import DryRun, DryRunOption, amount_of
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    EngineOption,
    KeyOption,
    ScorerOption,
    WaitOption,
    interruptible,
)
from icm_annealer.cli.shared.price import HourPriceOption, Price, PriceOption
from icm_annealer.cli.shared.work_options import ExperimentOption, JsonOption, OverwriteOption, QuietOption, out_folder
from icm_annealer.console.output import Output
from icm_annealer.console.sweep_progress import SweepProgress
from icm_annealer.runs.directory import REPORT
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_annealer.sweeping.folder import FIGURES, ROWS, prepared, write_table
from icm_annealer.sweeping.forecasts import SweepForecast, sweep_forecast
from icm_annealer.sweeping.held import Held, held_runs
from icm_annealer.sweeping.mistakes import Mistakes, SweepMistakesError
from icm_annealer.sweeping.place import Place
from icm_annealer.sweeping.plan import ScorerDefaults, SweepPlan, make_plan
from icm_annealer.sweeping.ray_cluster import place_of
from icm_annealer.sweeping.shown_table import print_table
from icm_annealer.sweeping.spec import read_spec
from icm_annealer.sweeping.sweep import SweepLimits, Swept, run_sweep
from icm_client.text.counts import counted

LIMITS = SweepLimits()


def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.YAML", help="The file that describes the runs.")],
    out: Annotated[
        Path | None, out_folder("the sweep: a folder for each run, and their table", "runs/NAME, by the file's name")
    ] = None,
    max_parallel: Annotated[
        int, typer.Option("--max-parallel", min=1, max=64, help="The most runs at a time on each scorer.")
    ] = LIMITS.max_parallel,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            metavar="N",
            min=1,
            max=MAX_TOKENS,
            help="Ask for nothing more once the engines have computed N tokens for all runs together; a larger N "
            "continues.",
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            help="How often to try a run again that failed, other than by a mistake, with growing pauses.",
        ),
    ] = LIMITS.num_retries,
    only: Annotated[
        str | None,
        typer.Option("--only", metavar="PATTERN", help="Only runs with such names: 'living.*', '*/seed-0'."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Make the runs on the Ray cluster at HOST:PORT, or auto for the one of this machine. All nodes must "
            "see --out, the file and what it names.",
            show_default="in this process",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    dry_run: DryRunOption = False,
    price: PriceOption = None,
    price_per_hour: HourPriceOption = None,
    experiment: ExperimentOption = None,
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = DEFAULT_ENGINE,
    wait: WaitOption = None,
    api_key_file: KeyOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make many runs that one file describes, and compare them: tasks x settings x models x scorers x seeds.

    Without any option the same command continues a sweep that was stopped: finished runs are kept, begun ones resumed,
    failed ones tried again. --overwrite replaces runs of other data or settings than the file has now. --scorer and
    --engine are for a file that names no scorers. Every run is a folder that all
    other commands take, OUT/TASK.SETTING.SCORER/seed-N.

    Exit code 1 means that runs are not done: they are listed, and the others are made all the same.

    Example of a file (`settings`, `models`, `scorers` and `seeds` may be left out):

        tasks: {living: living, mine: my_task.yaml}

        settings: {blocks: blocks, many: {search: blocks, chains: 16}}

        scorers: {small: "local:smollm2-135m", large: "http://gpu-box:8000"}

        seeds: 5

    Example: icm sweep sweep.yaml --dry-run

    Example: icm sweep sweep.yaml --max-parallel 16 --max-tokens 5000000

    Example: icm sweep sweep.yaml --ray auto --max-parallel 64
    """
    output = Output(quiet=quiet, as_json=as_json)
    folder = out or Path("runs") / file.stem
    key_file = str(api_key_file.path.absolute()) if api_key_file else None
    defaults = ScorerDefaults(
        scorer, engine, wait, lambda: api_key_file.key if api_key_file else None, key_file, experiment
    )
    with _listed(output):
        mistakes = Mistakes()
        spec = read_spec(file, mistakes)
        whole = make_plan(spec, file.parent, folder, defaults, allow_code=allow_code, mistakes=mistakes)
        plan = whole.only(only)
    for note in plan.notes:
        output.note(note)
    prices = Price(price, price_per_hour)
    if dry_run:
        with _listed(output):
            held = held_runs(plan, overwrite=overwrite)
        _show_cost(output, DryRun(prices), plan, held)
        return
    with _listed(output), prepared(whole, plan, overwrite=overwrite) as held, place_of(ray, plan) as place:
        work = _made(output, plan, held, SweepLimits(max_parallel, max_tokens, retries), place)
        swept: Swept = interruptible(work, output, f"icm sweep {file} ...")
        _show(output, plan, swept, prices)
    if any(one.ended != "done" for one in swept.outcomes.values()):
        raise typer.Exit(1)


@contextlib.contextmanager
def _listed(output: Output) -> Iterator[None]:
    """Prints all mistakes that are found inside, and exits."""
    try:
        yield
    except SweepMistakesError as error:
        for line in error.lines:
            output.fail(line)
        raise typer.Exit(2) from None


async def _made(output: Output, plan: SweepPlan, held: Mapping[str, Held], limits: SweepLimits, place: Place) -> Swept:
    with SweepProgress(output.aside, f"sweep: {plan.folder.name}") as progress:
        return await run_sweep(plan, held, limits, progress, place)


def _show_cost(output: Output, dry: DryRun, plan: SweepPlan, held: Mapping[str, Held]) -> None:
    cost: SweepForecast = dry.found(
        output, "dry run", lambda shown: sweep_forecast(plan, held, shown.status, shown.note)
    )
    for group, one in cost.groups.items():
        output.say(f"{group.name}: {amount_of(one)} tokens")
    output.say(f"{counted(cost.num_runs, 'run')} to make, {cost.num_finished:,} finished. All together:")
    dry.show_cost(output, cost.total)


def _show(output: Output, plan: SweepPlan, swept: Swept, prices: Price) -> None:
    """Writes the sweep's table and page, and prints the table."""
    outcomes, folder = swept.outcomes, plan.folder
    table = write_table(plan, outcomes)
    print_table(output.text, table)
    num_done, num_kept = len(outcomes) - len(table.failed), sum(not one.is_new for one in outcomes.values())
    output.say(
        f"{num_done:,} of {counted(len(outcomes), 'run')} done"
        + (f", {num_kept:,} of them before" if num_kept else "")
        + f". Written to {folder / FIGURES}, {folder / ROWS} and {folder / REPORT}"
    )
    runs, seconds = [run for group in table.groups for run in group.runs], swept.scorer_seconds
    tokens = sum(run.tokens for run in runs)
    for line in prices.lines(tokens, sum(run.prompt_tokens for run in runs), seconds):
        output.say(line)
    fields = table.model_dump(exclude={"format"})
    output.json({"folder": plan.folder, **fields, **prices.fields(tokens, seconds)})
