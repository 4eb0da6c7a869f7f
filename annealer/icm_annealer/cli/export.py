"""`icm export`: a thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.bounds import MAX_COUNT
from icm_annealer.cli.shared.options import AllowCodeOption, RunDataOption, RunTaskOption
from icm_annealer.cli.shared.work_options import (
    AbstainOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    out_file,
)
from icm_annealer.console.output import Output
from icm_annealer.export.base import ExportJob, Written
from icm_annealer.export.labelled import Labelled, abstaining, most_certain
from icm_annealer.export.reading import Reading, reading
from icm_annealer.export.registry import find_format, formats_help
from icm_annealer.runs.atomic_write import write_whole
from icm_annealer.runs.directory import check_result
from icm_annealer.runs.gold import read_again
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.review_file import Decided
from icm_client.text.counts import counted


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    format_: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help=f"One of {formats_help()}."),
    ],
    out: Annotated[Path | None, out_file("the labels; hf makes a folder", "in the run's folder")] = None,
    abstain_below: AbstainOption = None,
    top: Annotated[int | None, typer.Option(min=1, max=MAX_COUNT, help="Only the N most certain labels.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="dpo, kto, rm: the prompt, a template such as 'Question: {question}'.")
    ] = None,
    response: Annotated[
        str | None,
        typer.Option(help="dpo, kto, rm: the field that holds the response, or two that a label compares: A,B."),
    ] = None,
    better: Annotated[
        str | None, typer.Option(help="dpo, kto, rm: the label of a good response; of two, that the first is better.")
    ] = None,
    data: RunDataOption = None,
    task: RunTaskOption = None,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="csv: no apostrophe in front of texts that a spreadsheet would take for formulas."),
    ] = False,
    overwrite: OverwriteOption = False,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Hand a run's labels on: to training, to review, or to a table.

    With --abstain-below, jsonl, csv, parquet, hf and label-studio keep uncertain rows without a label; other formats
    leave them out. --data, with --task, is only for runs whose folder does not hold its examples.

    Example: icm export runs/first --format sft --abstain-below 0.8 --out sft.jsonl
    """
    form = find_format(format_)
    record = RunRecord.read(run)
    rows = record.rows()
    place = out or run / form.file_name
    check_result(place, overwrite=overwrite, is_folder=form.is_folder, reads=[data or "", task or ""])
    reference = read_again(record, task, data, allow_code=allow_code)
    everything = [Labelled(example, row) for example, row in zip(reference.examples, rows, strict=True)]
    chosen = everything if top is None else most_certain(everything, top)
    if abstain_below is not None:
        chosen = abstaining(chosen, abstain_below)
    labelled = chosen if form.holds_unlabelled else [one for one in chosen if not one.abstains]

    def read() -> Reading:
        return reading(record.task, reference.examples, prompt, response, better)

    job = ExportJob(record.task, labelled, f"icm-{record.header.model.name}", place.suffix.lower(), read, raw)
    written: list[Written] = []
    write_whole(place, lambda path: written.append(form.write(path, job)))
    num_left_out, num_unlabelled = len(rows) - len(labelled), sum(one.abstains for one in labelled)
    uncertain = [f"{num_left_out:,} of {len(rows):,} left out as uncertain"] if num_left_out else []
    uncertain += [f"{num_unlabelled:,} without a label, as uncertain"] if num_unlabelled else []
    aside = f" ({'; '.join(uncertain)})" if uncertain else ""
    output = Output(quiet=quiet, as_json=as_json)
    for note in written[0].notes:
        output.inform(note)
    output.say(f"{counted(written[0].num_rows, 'row')}{aside}: {place}")
    decided = Decided.of(rows)
    if decided.is_any:
        output.note(str(decided))
    output.json(
        {
            "file": place,
            "format": form.name,
            "num_rows": written[0].num_rows,
            "num_left_out": num_left_out,
            "num_unlabelled": num_unlabelled,
            "notes": written[0].notes,
        }
    )
