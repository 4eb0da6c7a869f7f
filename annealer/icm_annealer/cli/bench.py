"""`icm bench` and `icm search-bench`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from icm_annealer.api.inputs import load_data
from icm_annealer.benchmarks.case import TaskData
from icm_annealer.benchmarks.searches.plan import FULL, SHORT, BenchPlan, bench_names, check_names
from icm_annealer.benchmarks.weighing import USUAL_WEIGHING, WeighPlan
from icm_annealer.cli.shared.bounds import MAX_COUNT
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    EngineOption,
    FiguresOption,
    KeyOption,
    ScorerModelOption,
    ScorerOption,
    WaitOption,
    interruptible,
    named_scorer,
)
from icm_annealer.cli.shared.work_options import (
    JsonOption,
    QuietOption,
    ResumeOption,
    SeedOption,
    SizesOption,
    TestSizeOption,
    methods_option,
    out_file,
    seeds_option,
    sizes_option,
)
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress
from icm_annealer.plots.drawing import saved_plots
from icm_annealer.runs.atomic_write import check_writable, make_folder
from icm_annealer.runs.directory import RunDir
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_client import RequestError

BENCH_MODEL = "tiny-random"
"""Plans are compared on a model that hardly takes time and has a window for 256 long shots."""


def bench(
    out: Annotated[Path, out_file("the figures")] = Path("bench.json"),
    scorer: ScorerOption = f"local:{BENCH_MODEL}",
    engine: EngineOption = DEFAULT_ENGINE,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    sizes: SizesOption = "64,128,256",
    shot_tokens: Annotated[str, typer.Option(metavar="N,N", help="Tokens per shot, separated by commas.")] = "10,60",
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure plans: tokens computed, seconds and request bytes of `tree` and `fixed` on the same engine."""
    from icm_annealer.benchmarks.plans import PlanFigures, bench_plans, print_plans
    from icm_annealer.benchmarks.results_file import check_figures, save_figures

    output = Output(quiet=quiet, as_json=as_json)
    named = named_scorer(scorer, engine, wait, api_key_file)
    check_figures(out)
    numbers, tokens = _numbers(sizes), _numbers(shot_tokens)

    async def work() -> PlanFigures:
        with RunProgress(output.aside, "bench", []) as progress:
            async with named.open(progress.status, progress.note) as client:
                return await bench_plans(client, numbers, tokens, progress)

    figures: PlanFigures = interruptible(work(), output)
    save_figures(out, **figures.model_dump())
    print_plans(output.text, figures)
    output.say(f"Written to {out}")
    output.json({"file": out, **figures.model_dump()})


def search_bench(
    out: Annotated[Path, out_file("the figures; the page next to it ends in .html")] = Path("bench.json"),
    long: Annotated[
        bool,
        typer.Option(
            "--long",
            help="10 seeds, 64 and 128 examples, living and kinds, all searches: hours on a CPU; see --resume.",
        ),
    ] = False,
    resume: ResumeOption = False,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", help="Built-in tasks or task files, separated by commas.", show_default="living"),
    ] = None,
    sizes: Annotated[str | None, sizes_option("64")] = None,
    seeds: Annotated[int | None, seeds_option("1")] = None,
    seed: SeedOption = 0,
    methods: Annotated[str | None, methods_option(", ".join(bench_names()), ",".join(SHORT))] = None,
    test_size: TestSizeOption = BenchPlan.num_test,
    orders: Annotated[
        int, typer.Option(min=2, max=100, help="Fresh orders, the same for all labels, on which their U is measured.")
    ] = USUAL_WEIGHING.num_orders,
    weigh_plan: Annotated[str, typer.Option(help="The plan by which it is measured.")] = str(USUAL_WEIGHING.plan),
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_COUNT,
            help="End searches that count iterations (official) after so many, and extrapolate their tokens.",
        ),
    ] = None,
    own_plans: Annotated[
        bool,
        typer.Option(
            "--own-plans", help="Let each search ask by its own default plan: official by fixed, as published (slow)."
        ),
    ] = False,
    chain: Annotated[
        bool | None,
        typer.Option(
            "--chain/--no-chain", help="Compare U by the chain rule with U by tree.", show_default="with --long"
        ),
    ] = None,
    figures: FiguresOption = None,
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare searches on the same engine and examples: what they cost, and what they find.

    Reports U of each search's labels beside U of the gold labels, on the same fresh orders.

    The short form takes minutes, --long hours. Baselines without an end of their own are stopped at the tokens of
    blocks. A bench that was stopped continues with --resume.
    """
    from icm_annealer.benchmarks.results_file import check_figures
    from icm_annealer.benchmarks.searches.bench import run_bench
    from icm_annealer.benchmarks.searches.page import bench_plots, render_page
    from icm_annealer.benchmarks.searches.summaries import task_comparisons
    from icm_annealer.benchmarks.searches.tables import print_chain, print_comparisons

    output = Output(quiet=quiet, as_json=as_json)
    plan = BenchPlan(
        check_names((methods or ",".join(FULL if long else SHORT)).split(",")),
        _numbers(sizes or ("64,128" if long else "64")),
        seeds or (10 if long else 1),
        seed,
        test_size,
        WeighPlan(orders, PlanKind.parse(weigh_plan)),
        iterations,
        own_plans,
        long if chain is None else chain,
    )
    plan.check()
    loaded = [
        load_data(name, None, allow_code=allow_code)
        for name in (tasks or ("living,kinds" if long else "living")).split(",")
    ]
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)
    check_figures(out)
    check_writable(out.with_suffix(".html"))
    if figures:
        make_folder(figures)

    async def work() -> Any:
        with RunProgress(output.aside, "search-bench", []) as progress:
            async with named.open(progress.status, progress.note) as client:
                bench_tasks = [TaskData(loaded_task.task, data) for loaded_task, data in loaded]
                return await run_bench(out, client, bench_tasks, plan, progress, resume=resume)

    found = interruptible(work(), output, "icm search-bench ... --resume")
    comparisons = task_comparisons(found.searches)
    page = RunDir(out.parent).write_text(out.with_suffix(".html").name, render_page(comparisons, found.model))
    print_comparisons(output.text, comparisons)
    print_chain(output.text, found.chain)
    output.say(f"Written to {out} and {page}")
    if figures:
        output.say(saved_plots(bench_plots(comparisons), figures))
    output.json({"file": out, "page": page, **found._asdict()})


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < number <= MAX_COUNT for number in numbers):
        raise RequestError(f"{text!r} is not a list of numbers above 0, such as 64,128")
    return numbers
