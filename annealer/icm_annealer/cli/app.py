"""`icm`: the annealer's command line. A thin caller of the library; argv and environment are read here only."""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import typer

from icm_annealer.benchmarks.case import TaskData
from icm_annealer.benchmarks.demo import DemoPlan, prepare_demo, print_table, run_demo
from icm_annealer.benchmarks.search_presets import CONTESTANTS
from icm_annealer.benchmarks.searches.plan import FULL, GOLD, SHORT, BenchPlan, check_names
from icm_annealer.cli.after_search import evaluate, report, runs
from icm_annealer.cli.baselines import baselines
from icm_annealer.cli.data import app as data_app
from icm_annealer.cli.ending import ended_in_order
from icm_annealer.cli.export import export
from icm_annealer.cli.options import (
    DEFAULT_SCORER,
    AllowCodeOption,
    DataOption,
    EngineOption,
    KeyOption,
    ScorerModelOption,
    ScorerOption,
    TaskOption,
    WaitOption,
    check_scorer,
    connect,
    interruptible,
    load_data,
)
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.core.objective import unit_of_u
from icm_annealer.data.examples import first_of
from icm_annealer.data.task import built_in_tasks, load_task
from icm_annealer.data.task_check import Findings, look_at_data, look_at_task, three_shots
from icm_annealer.evaluation.task_probe import look_with_model
from icm_annealer.labelling.label_dataset import label
from icm_annealer.runs.atomic_write import try_place
from icm_annealer.runs.directory import LABELS, METRICS, SCORER_LOG, RunDir
from icm_annealer.scoring.passes import check_request
from icm_annealer.search.blocks import BlockSettings
from icm_annealer.search.bootstrap import BootstrapSettings
from icm_annealer.search.gibbs import GibbsSettings
from icm_annealer.search.joint import JointSettings
from icm_annealer.search.settings import SearchName, Settings
from icm_annealer.tracking.beside import tracked
from icm_annealer.tracking.tracker import Target
from icm_client import IcmError, RequestError, ScoreRequest

BENCH_MODEL = "tiny-random"
"""Plans are compared on a model that hardly takes time and has a window for 256 long shots."""
USUAL_START_S, USUAL_DEMO_S = 45.0, 240.0
"""What a local scorer's start and a demo's single seed take on two cores; shown only until something is measured."""

WrongUsage: Any = typer.BadParameter.__bases__[0]
"""What options and arguments are refused with."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Label a dataset with what a language model finds most coherent. No labels needed.\n\n"
    "Start with [bold]icm demo[/]. For your own data, write a task file and use [bold]icm run[/].",
)

task_app = typer.Typer(no_args_is_help=True, help="Look at a task.")
app.add_typer(task_app, name="task")
app.add_typer(data_app, name="data")


@app.command()
def run(
    task: TaskOption,
    out: Annotated[Path, typer.Option("--out", help="Folder for journal, labels and metrics of this run.")],
    scorer: ScorerOption = DEFAULT_SCORER,
    data: DataOption = None,
    examples: Annotated[
        int | None, typer.Option(min=2, help="Label only the first N rows, and the rest of the groups that they begin.")
    ] = None,
    search: Annotated[
        SearchName, typer.Option(help="Our search (blocks), the paper's (official), or a baseline.")
    ] = "blocks",
    plan: Annotated[
        str | None,
        typer.Option(
            help="How labels are weighed: tree (exact), folds=k (cheaper), fixed (as published), chain (by the chain "
            "rule, another measure)."
        ),
    ] = None,
    measure: Annotated[
        Literal["information", "logprob", "sum", "margin"] | None, typer.Option(help="What U measures.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    chains: Annotated[int, typer.Option(min=1, max=64, help="Chains of a block search.")] = BlockSettings().num_chains,
    passes: Annotated[
        int | None,
        typer.Option(
            min=1, max=10_000, help="The most passes of a chain (blocks), rounds (joint, bootstrap) or sweeps (gibbs)."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew in --out.")] = False,
    experiment: Annotated[str, typer.Option(help="The name that the scorer counts this work for.")] = "default",
    wait: WaitOption = 300.0,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    engine: EngineOption = "vllm",
    track: Annotated[
        str | None,
        typer.Option(help="Also show the run in mlflow[:URI] or trackio[:PROJECT]; it does not depend on them."),
    ] = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Label a dataset: search for the most coherent labels and write them to OUT/labels.jsonl.

    Example: icm run --task my_task.yaml --data rows.jsonl --scorer http://gpu-box:8000 --out runs/first
    """
    console = Terminal()
    loaded_task, loaded = load_data(task, data, allow_code=allow_code)
    rows = loaded.examples if examples is None else first_of(loaded.examples, examples)
    counts = {
        "read": len(loaded.examples),
        "blank_lines": loaded.num_blank_lines,
        "labelled": len(rows),
        "left_out": len(loaded.examples) - len(rows),
    }
    left_out = f" ({counts['left_out']:,} left out by --examples)" if counts["left_out"] else ""
    settings = Settings(
        search=search,
        plan=plan,
        measure=measure,
        seed=seed,
        blocks=BlockSettings(num_chains=chains, max_passes=passes or BlockSettings().max_passes),
        joint=JointSettings(num_rounds=passes or JointSettings().num_rounds),
        gibbs=GibbsSettings().within(passes) if passes else GibbsSettings(),
        bootstrap=BootstrapSettings(num_rounds=passes or BootstrapSettings().num_rounds),
    )
    settings.plan_kind()  # a wrong plan, name or tracker is told before anything is started
    check_request(loaded_task.task, experiment)
    target = Target.parse(track) if track else None
    check_scorer(scorer, api_key_file)
    folder = RunDir(out)
    folder.prepare(resume=resume, overwrite=overwrite)

    async def work() -> None:
        with RunProgress(console, loaded_task.task.name, loaded_task.task.label_names) as progress:
            progress.expect(settings.usual_passes() or 0)
            async with connect(
                scorer, engine, wait, api_key_file, progress, folder / SCORER_LOG, scorer_model
            ) as client:
                progress.status(f"searching labels for {len(rows)} examples")
                labelling = await label(
                    folder,
                    rows,
                    loaded_task.task,
                    client,
                    settings,
                    resume=resume,
                    on_pass=progress.on_pass,
                    experiment=experiment,
                )
        summary = labelling.summary()
        metrics = {"task": loaded_task.task.name, "settings": settings.to_dict(), "rows": counts, **summary}
        folder.write_json(METRICS, metrics)
        console.say(
            f"U {summary['u']:+.3f} ± {summary['u_se']:.3f} {unit_of_u(settings.measure)}; "
            f"{summary['num_passes']} passes, {summary['computed_tokens']:,} tokens computed. "
            f"Labels: {folder / LABELS}"
        )
        console.say(f"{loaded.told}, {len(rows):,} labelled{left_out}.")
        if labelling.had_ended:
            told = f"note: this run had already ended; {folder / LABELS} stays as it is"
            console.say(told)
        for alarm in labelling.alarms:
            console.say(f"{alarm.level}: {alarm}", wraps=True)

    with tracked(folder, target, console.say):
        interruptible(work(), console, f"icm run ... --out {out} --resume")


@app.command()
def demo(
    task: TaskOption = "living",
    examples: Annotated[int, typer.Option(min=8, help="How many examples to label.")] = DemoPlan().num_examples,
    test: Annotated[int, typer.Option(min=1, help="How many unseen examples to test on.")] = DemoPlan().num_test,
    seeds: Annotated[int, typer.Option(min=1, help="How many times, with other examples and starts.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    scorer: ScorerOption = DEFAULT_SCORER,
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out")] = Path("runs/demo"),
    engine: EngineOption = "vllm",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Label words with a real language model, then see how well the labels prompt it on unseen words.

    Starts a scorer (vLLM on this machine), labels, compares with zero-shot, random and gold labels, and writes
    metrics.json, labels.jsonl, journal.jsonl and report.html. An earlier demo in the same folder is replaced, any
    other run there is not.
    """
    console = Terminal()
    start = time.monotonic()
    loaded_task, loaded = load_data(task, data, allow_code=allow_code)
    if not loaded.gold:
        raise RequestError(f"the demo compares with gold labels, and {task!r} has none; use `icm run` instead")
    check_scorer(scorer, api_key_file)
    folder = RunDir(out)
    prepare_demo(folder)
    plan = DemoPlan(examples, test, seeds, seed)

    async def work() -> dict[str, Any]:
        with RunProgress(console, f"demo: {loaded_task.task.name}", loaded_task.task.label_names) as progress:
            progress.guess(USUAL_START_S + USUAL_DEMO_S * seeds * examples / DemoPlan().num_examples)
            async with connect(
                scorer, engine, 300.0, api_key_file, progress, folder / SCORER_LOG, scorer_model
            ) as client:
                return await run_demo(
                    folder,
                    loaded,
                    loaded_task.task,
                    client,
                    Settings(),
                    plan,
                    progress,
                    lambda: time.monotonic() - start,
                )

    metrics = interruptible(work(), console)
    console.say(f"{loaded.told}.")
    print_table(console, loaded_task.task, metrics, folder)


@app.command()
def score(
    file: Annotated[
        Path, typer.Argument(help="JSON, such as {'prompts': [...], 'labels': [...]}; - is standard input.")
    ],
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = "vllm",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = 60.0,
) -> None:
    """Log-probabilities of labels after prompts, without any search: one JSON line a prompt on standard output."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        request = ScoreRequest.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{file}: {error}") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"{file}: {'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None
    console, out = Terminal(stderr=True), Terminal()

    async def work() -> None:
        with RunProgress(console, "score", []) as progress:
            async with connect(scorer, engine, wait, api_key_file, progress, None, scorer_model) as client:
                progress.status(f"scoring {len(request.prompts)} prompts")
                answer = await client.score(request)
        for prompt, row in zip(request.prompts, answer.logprobs, strict=True):
            out.say(json.dumps({"prompt": prompt, "logprobs": row}, ensure_ascii=False))
        console.print(json.dumps(answer.usage.model_dump(), indent=2))

    interruptible(work(), console)


@app.command()
def tasks() -> None:
    """The built-in tasks."""
    console = Terminal()
    for name in built_in_tasks():
        task = load_task(name).task
        console.say(f"{name:22} {task.title}" + ("" if task.data else f" (needs --data, see `{task.builder} --help`)"))


@task_app.command(name="check")
def check_task(
    file: Annotated[str, typer.Argument(help="A task file, or a built-in task's name.")],
    data: DataOption = None,
    scorer: Annotated[
        str | None,
        typer.Option(envvar="ICM_SCORER_URL", help="Also ask a model: a scorer's URL, `local:MODEL` or `openai:URL`."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which examples a model is asked about.")] = 0,
    engine: EngineOption = "vllm",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = 60.0,
    allow_code: AllowCodeOption = False,
) -> None:
    """Look at a task before using it: three shots as the model sees them, lengths, groups, gold, what looks wrong.

    Example: icm task check my_task.yaml --data rows.csv --scorer local:smollm2-135m
    """
    loaded_task, loaded = load_data(file, data, allow_code=allow_code)
    task = loaded_task.task
    console = Terminal()
    labels = "gold labels" if any(e.id in loaded.gold for e in loaded.examples[:3]) else "labels in turn, not gold"
    console.rule(f"{task.name}: the first three examples as shots, with {labels}")
    console.print(three_shots(task, loaded), soft_wrap=True)
    console.rule()
    findings = look_at_task(task) + look_at_data(task, loaded)
    if scorer is not None:

        async def ask() -> Findings:
            with RunProgress(Terminal(stderr=True), "task check", []) as progress:
                async with connect(scorer, engine, wait, api_key_file, progress, None, scorer_model) as client:
                    progress.status("asking the model")
                    return await look_with_model(task, loaded, client, seed)

        findings += interruptible(ask(), console)
    console.say(f"{loaded.told}.")
    for fact in findings.facts:
        console.say(fact)
    for wrong in findings.wrong:
        console.say(f"looks wrong: {wrong}")
    if not findings.wrong:
        console.say("Nothing looks wrong.")


@app.command()
def bench(
    out: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("bench.json"),
    scorer: ScorerOption = f"local:{BENCH_MODEL}",
    engine: EngineOption = "vllm",
    sizes: Annotated[str, typer.Option(help="Numbers of examples.")] = "64,128,256",
    shot_tokens: Annotated[str, typer.Option(help="Tokens a shot.")] = "10,60",
) -> None:
    """Measure the plans: tokens computed, seconds and body bytes of `tree` against `fixed` on the same engine."""
    from icm_annealer.benchmarks.plans import bench_plans, print_plans
    from icm_annealer.benchmarks.results_file import check_figures, save_figures

    console = Terminal()
    check_scorer(scorer, None)
    check_figures(out)
    numbers, tokens = _numbers(sizes), _numbers(shot_tokens)

    async def work() -> None:
        with RunProgress(console, "bench", []) as progress:
            async with connect(scorer, engine, 300.0, None, progress, None) as client:
                figures = await bench_plans(client, numbers, tokens, progress)
        save_figures(out, **figures)
        print_plans(console, figures)
        console.say(f"Written to {out}")

    interruptible(work(), console)


@app.command(name="search-bench")
def search_bench(
    out: Annotated[
        Path, typer.Option("--out", help="Where the figures go; a page of the same name in .html stands beside it.")
    ] = Path("bench.json"),
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="10 seeds, 64 and 128 examples, living and kinds, all searches: hours on a CPU; see --resume.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what --out has of the same model, data and settings.")
    ] = False,
    tasks: Annotated[str | None, typer.Option(help="Built-in tasks or files. [default: living]")] = None,
    sizes: Annotated[str | None, typer.Option(help="Numbers of examples. [default: 64]")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds. [default: 1]")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    searches: Annotated[
        str | None,
        typer.Option(
            help=f"Of {', '.join([*CONTESTANTS, GOLD])}. All baselines that could go on are stopped at the tokens of "
            f"blocks. [default: {','.join(SHORT)}]"
        ),
    ] = None,
    test: Annotated[int, typer.Option(min=1, help="How many unseen examples to test on.")] = BenchPlan([]).num_test,
    orders: Annotated[
        int, typer.Option(min=1, max=100, help="Common fresh orders that all labels are weighed on.")
    ] = BenchPlan([]).num_orders,
    weigh_plan: Annotated[str, typer.Option(help="The plan by which they are weighed.")] = BenchPlan([]).weigh_plan,
    official_iterations: Annotated[
        int | None,
        typer.Option(min=1, help="Stop the published search after so many iterations, and extrapolate its tokens."),
    ] = None,
    official_plan: Annotated[
        str, typer.Option(help="How the published search really asks: tree (cheap), or fixed as published (slow).")
    ] = BenchPlan([]).official_plan,
    chain: Annotated[
        bool | None,
        typer.Option("--chain/--no-chain", help="Compare U by the chain rule with U by tree. [default: with --full]"),
    ] = None,
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = "vllm",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Searches side by side on the same engine and examples: what they cost, and what they find.

    The short form takes minutes. All of it, which can be stopped and gone on with: icm search-bench --full --resume
    """
    from icm_annealer.benchmarks.results_file import check_figures
    from icm_annealer.benchmarks.searches.contest import run_contest
    from icm_annealer.benchmarks.searches.page import render_page
    from icm_annealer.benchmarks.searches.standings import heats
    from icm_annealer.benchmarks.searches.tables import print_chain, print_heats

    console = Terminal()
    plan = BenchPlan(
        check_names((searches or ",".join(FULL if full else SHORT)).split(",")),
        _numbers(sizes or ("64,128" if full else "64")),
        seeds or (10 if full else 1),
        seed,
        test,
        orders,
        weigh_plan,
        official_iterations,
        official_plan,
        full if chain is None else chain,
    )
    plan.check()
    loaded = [
        load_data(name, None, allow_code=allow_code)
        for name in (tasks or ("living,kinds" if full else "living")).split(",")
    ]
    check_scorer(scorer, api_key_file)
    check_figures(out)
    try_place(out.with_suffix(".html"))

    async def work() -> Any:
        with RunProgress(console, "search-bench", []) as progress:
            async with connect(scorer, engine, 300.0, api_key_file, progress, None, scorer_model) as client:
                bench_tasks = [TaskData(loaded_task.task, data) for loaded_task, data in loaded]
                return await run_contest(out, client, bench_tasks, plan, progress, resume=resume)

    found = interruptible(work(), console, "icm search-bench ... --resume")
    standing = heats(found.searches)
    page = RunDir(out.parent).write_text(out.with_suffix(".html").name, render_page(standing, found.model))
    print_heats(console, standing)
    print_chain(console, found.checks)
    console.say(f"Written to {out} and {page}")


app.command()(runs)
app.command()(report)
app.command(name="eval")(evaluate)
app.command()(baselines)
app.command()(export)

LABORATORY = "icm_lab"
"""Builds on this package, so it is not imported by its name; it may be missing."""
if importlib.util.find_spec(LABORATORY):
    importlib.import_module(f"{LABORATORY}.cli").extend(app)


def main() -> None:
    """Runs the command line; a user's mistake ends in one line and exit code 2, a scorer's failure in 1."""
    try:
        with ended_in_order():
            sys.exit(app(standalone_mode=False))
    except WrongUsage as error:
        if told := error.format_message().replace("Value error, ", ""):  # none where help is shown instead
            _told(f"{told.rstrip('.')} (see `{error.ctx.command_path} --help`)" if error.ctx else told)
        sys.exit(2)
    except IcmError as error:
        _told(error.message)
        sys.exit(2 if isinstance(error, RequestError) else 1)
    except OSError as error:
        _told(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(2)
    except Exception:  # a mistake of this program: its texts may be anybody's all the same
        Terminal(stderr=True).print(traceback.format_exc(), soft_wrap=True)
        sys.exit(1)


def _told(text: str) -> None:
    Terminal(stderr=True).say(f"error: {text}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise RequestError(f"{text!r} is not a list of numbers such as 64,128") from None


if __name__ == "__main__":
    main()
