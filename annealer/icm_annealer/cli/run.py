"""`icm run`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
from icm_annealer.labelling.label_dataset import label
from icm_annealer.runs.directory import LABELS, SCORER_LOG, RunDir
from icm_annealer.runs.schema.metrics import RowCounts
from icm_annealer.scoring.passes import check_request
from icm_annealer.search.registry import DEFAULT, passes_help, searches_help
from icm_annealer.search.settings import Settings, options_for
from icm_annealer.tracking.beside import tracked
from icm_annealer.tracking.registry import tracker_usages
from icm_annealer.tracking.target import Target


def run(
    task: TaskOption,
    out: Annotated[Path, typer.Option("--out", help="Folder for journal, labels and metrics of this run.")],
    scorer: ScorerOption = DEFAULT_SCORER,
    data: DataOption = None,
    examples: Annotated[
        int | None, typer.Option(min=2, help="Label only the first N rows, and the rest of the groups that they begin.")
    ] = None,
    search: Annotated[
        str, typer.Option(metavar="NAME", help=f"How labels are searched for. {searches_help()}.")
    ] = DEFAULT.name,
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
    chains: Annotated[int | None, typer.Option(min=1, max=64, help="Chains, of a search that has several.")] = None,
    passes: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help=f"The most {passes_help()}."),
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
        typer.Option(help=f"Also show the run in {' or '.join(tracker_usages())}; it does not depend on them."),
    ] = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Label a dataset: search for the most coherent labels and write them to OUT/labels.jsonl.

    Example: icm run --task my_task.yaml --data rows.jsonl --scorer http://gpu-box:8000 --out runs/first
    """
    console = Terminal()
    loaded_task, loaded = load_data(task, data, allow_code=allow_code)
    rows = loaded.examples if examples is None else first_of(loaded.examples, examples)
    counts = RowCounts(
        read=len(loaded.examples),
        blank_lines=loaded.num_blank_lines,
        labelled=len(rows),
        left_out=len(loaded.examples) - len(rows),
    )
    left_out = f" ({counts.left_out:,} left out by --examples)" if counts.left_out else ""
    settings = Settings(
        search=search,
        plan=plan,
        measure=measure,
        seed=seed,
        options=options_for(search, chains=chains, passes=passes),
    )
    settings.plan_kind()  # a wrong plan, name or tracker is told before anything is started
    check_request(loaded_task.task, experiment)
    target = Target.parse(track) if track else None
    check_scorer(scorer, api_key_file)
    folder = RunDir(out)
    folder.prepare(resume=resume, overwrite=overwrite)

    async def work() -> None:
        with RunProgress(console, loaded_task.task.name, loaded_task.task.label_names) as progress:
            expected = settings.expected_passes(len(rows))
            progress.expect(expected.num if expected else 0)
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
                    rows=counts,
                )
        metrics = labelling.metrics
        console.say(
            f"U {metrics.u:+.3f} ± {metrics.u_se:.3f} {unit_of_u(settings.measure)}; "
            f"{metrics.num_passes} passes, {metrics.computed_tokens:,} tokens computed. "
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
