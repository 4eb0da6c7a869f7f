"""`icm data`: makes data files for tasks that come without data. A thin caller of the builders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from icm_annealer.builders.built import Built, Report, write_rows
from icm_annealer.builders.completions import Completions
from icm_annealer.builders.gsm8k import Sampling, problems_of, solutions
from icm_annealer.builders.opposites import gender_pairs, sun_pairs
from icm_annealer.builders.pairs import FIELDS, GOLD, mirror
from icm_annealer.builders.preferences import preferences
from icm_annealer.builders.truthfulqa import claims, preference_pairs
from icm_annealer.cli.shared.bounds import MAX_COUNT
from icm_annealer.cli.shared.ending import run_to_end
from icm_annealer.cli.shared.options import finite
from icm_annealer.cli.shared.work_options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
    gold_option,
    out_file,
)
from icm_annealer.console.output import Output
from icm_annealer.console.terminal import Terminal
from icm_annealer.data.rows import counts_text, read_rows
from icm_annealer.runs.directory import check_result
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError
from icm_client.http.address import shown
from icm_client.http.api_key import read_key
from icm_client.text.counts import counted
from icm_client.text.visible import visible

GROUP = "consistency_id"
"""The field that holds the group in built rows."""
QUIET_S, AGAIN_S = 2.0, 10.0
"""Seconds before progress is shown, and between two lines of it where output is not a terminal."""

app = typer.Typer(no_args_is_help=True, help="Make data files for tasks, from published files or a pairs file.")

SourceArgument = Annotated[
    str, typer.Argument(help="A file or pipe (- is standard input), an http(s) URL, or hf:owner/name[:config][:split].")
]
OutOption = Annotated[Path, out_file("the rows, as JSON lines")]


@app.command()
def truthfulqa(
    source: SourceArgument,
    out: OutOption,
    preference: Annotated[bool, typer.Option("--preference", help="Pairs of answers instead of claims.")] = False,
    claims_: Annotated[int, typer.Option("--claims", min=1, max=64, help="Claims per question.")] = 4,
    pairs_per_question: Annotated[
        int, typer.Option(min=1, max=1000, help="With --preference: the largest number of pairs per question.")
    ] = 8,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make claims about questions from TruthfulQA's public CSV (columns Question, Correct Answers, Incorrect Answers).

    Example: icm data truthfulqa TruthfulQA.csv --out truthfulqa.jsonl
    """
    output = Output(quiet=quiet, as_json=as_json)
    if preference:
        _build(
            output,
            source,
            out,
            overwrite,
            lambda rows, _: preference_pairs(rows, seed, pairs_per_question),
            "truthfulqa-preference",
        )
    else:
        _build(
            output,
            source,
            out,
            overwrite,
            lambda rows, _: claims(rows, seed, claims_),
            "truthfulqa",
        )


@app.command()
def gsm8k(
    source: SourceArgument,
    out: OutOption,
    endpoint: Annotated[str, typer.Option(help="URL of an OpenAI-compatible server with /v1/completions.")],
    endpoint_model: Annotated[
        str | None, typer.Option(help="The model's name there.", show_default="the first listed")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, max=64, help="Solutions per problem.")] = Sampling().num_solutions,
    problems: Annotated[int | None, typer.Option(min=1, max=MAX_COUNT, help="Only the first N problems.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, max=5.0, callback=finite)] = Sampling().temperature,
    solution_tokens: Annotated[
        int, typer.Option(min=1, max=65_536, help="The most tokens per solution.")
    ] = Sampling().max_tokens,
    connections: Annotated[
        int, typer.Option(min=1, max=1024, help="Problems solved at the same time.")
    ] = Sampling().num_connections,
    endpoint_key_file: Annotated[Path | None, typer.Option(help="A file with the endpoint's API key.")] = None,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sample solutions of GSM8K's problems (fields question, answer) from a completions endpoint.

    Example: icm data gsm8k train.jsonl --endpoint http://gpu-box:8000 --out gsm8k.jsonl
    """
    output = Output(quiet=quiet, as_json=as_json)
    sampling = Sampling(samples, temperature, solution_tokens, seed, connections)
    key = read_key(endpoint_key_file)

    def build(rows: Iterator[Row], report: Report) -> Built:
        async def sample() -> Built:
            async with Completions(endpoint, model=endpoint_model, api_key=key) as client:
                report(f"{await client.model()} at {shown(endpoint)} solves {counted(len(chosen), 'problem')}")
                return await solutions(chosen, client, sampling, report)

        chosen = problems_of(rows, problems)
        return run_to_end(sample())

    _build(output, source, out, overwrite, build, "gsm8k")


@app.command()
def alpaca(
    source: SourceArgument,
    out: OutOption,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make both orders of preference pairs from AlpacaFarm's fields (instruction, input, output_1, output_2,
    preference) or from prompt, chosen, rejected.

    Example: icm data alpaca alpaca_human_preference.json --out alpaca.jsonl
    """
    output = Output(quiet=quiet, as_json=as_json)
    _build(output, source, out, overwrite, lambda rows, _: preferences(rows, seed), "alpaca")


@app.command()
def gender(
    source: SourceArgument,
    out: OutOption,
    pairs: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many pairs.")] = 500,
    min_chars: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="The fewest characters of a post.")] = 200,
    max_chars: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="The most characters of a post.")] = 1000,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make pairs of blog posts, a man's and a woman's, from the Blog Authorship Corpus (columns id, gender, text).

    Example: icm data gender blogtext.csv --out gender.jsonl
    """
    output = Output(quiet=quiet, as_json=as_json)
    _build(
        output,
        source,
        out,
        overwrite,
        lambda rows, _: gender_pairs(rows, seed, pairs, min_chars, max_chars),
        "gender",
    )


@app.command()
def poems(
    source: SourceArgument,
    out: OutOption,
    pairs: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many pairs.")] = 500,
    seed: SeedOption = 0,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make pairs of poems (field poem or text): one with the word "sun", the better one by gold, and one without.

    Example: icm data poems my_poems.jsonl --out poems.jsonl
    """
    output = Output(quiet=quiet, as_json=as_json)
    _build(
        output,
        source,
        out,
        overwrite,
        lambda rows, _: sun_pairs(rows, seed, pairs),
        "poems",
    )


@app.command(name="mirror")
def mirror_command(
    source: SourceArgument,
    out: OutOption,
    fields: Annotated[str, typer.Option(help="The two fields that are exchanged.")] = ",".join(FIELDS),
    gold: Annotated[str | None, gold_option(f"{GOLD}, if there is such a field")] = None,
    group: Annotated[str, typer.Option(help="The field for the pair's number.")] = GROUP,
    id_: Annotated[str, typer.Option("--id", help="The field that names a row.")] = "id",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add to every row of a pairs file its mirror image, with the gold label reversed, for the rule `mirrored`.

    Example: icm data mirror pairs.csv --fields answer_a,answer_b --out mirrored.jsonl
    """
    output = Output(quiet=quiet, as_json=as_json)
    names = tuple(name.strip() for name in fields.split(","))
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise RequestError(f"--fields: {fields!r} is not two different fields such as {','.join(FIELDS)}")
    _build(
        output,
        source,
        out,
        overwrite,
        lambda rows, _: mirror(rows, (names[0], names[1]), gold, group, id_),
        None,
        group,
    )


def _build(
    output: Output,
    source: str,
    out: Path,
    overwrite: bool,
    build: Callable[[Iterator[Row], Report], Built],
    task: str | None,
    group: str = GROUP,
) -> None:
    check_result(out, overwrite=overwrite, reads=[source])
    with _Reports(output.aside) as report:
        rows = read_rows(source, report)
        built = build(rows, report)
    write_rows(out, built)
    for note in [counts_text(rows.num_rows, rows.num_blank_lines), *built.notes]:
        output.inform(note)
    groups = len({row.get(group) for row in built.rows})
    known = [row["label"] for row in built.rows if isinstance(row.get("label"), bool)]
    share = f", {sum(known) / len(known):.0%} of the gold labels true" if known else ""
    output.say(f"{counted(len(built.rows), 'row')} in {counted(groups, 'group')}{share}: {out}")
    if task is not None:
        output.inform(f"Look at them: icm task check {task} --data {out}")
    output.json(
        {
            "file": out,
            "num_rows": len(built.rows),
            "num_groups": groups,
            "share_true": sum(known) / len(known) if known else None,
            "num_read": rows.num_rows,
            "notes": built.notes,
        }
    )


class _Reports:
    """Shows the progress of a builder that takes longer than QUIET_S."""

    def __init__(self, console: Terminal):
        self._console = console
        self._status = console.status("")
        self._next = time.monotonic() + QUIET_S

    def __enter__(self) -> _Reports:
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, text: str) -> None:
        if time.monotonic() < self._next:
            return
        if self._console.is_terminal:
            self._next = time.monotonic() + 0.1
            self._status.update(Text(visible(text)))
            self._status.start()
        else:
            self._next = time.monotonic() + AGAIN_S
            self._console.say(text)
