"""`icm score`. A thin caller."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import pydantic
import typer

from icm_annealer.cli.shared.options import (
    EngineOption,
    KeyOption,
    ScorerModelOption,
    ScorerOption,
    WaitOption,
    interruptible,
    named_scorer,
)
from icm_annealer.cli.shared.work_options import JsonOption, QuietOption
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress
from icm_annealer.data.rows import MAX_LIST_BYTES
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_client import RequestError, ScoreRequest, ScoreResponse
from icm_client.text.counts import counted
from icm_client.text.validation import first_error


def score(
    file: Annotated[
        Path, typer.Argument(help="A JSON file, such as {'prompts': [...], 'labels': [...]}; - is standard input.")
    ],
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the log-probabilities of labels after prompts, one JSON line per prompt."""
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as source:
            content = source.read(MAX_LIST_BYTES + 1)
        if len(content) > MAX_LIST_BYTES:
            raise RequestError(f"{file}: more than {MAX_LIST_BYTES:,} bytes")
        request = ScoreRequest.model_validate_json(content)
    except OSError as error:
        raise RequestError(f"{file}: {error.strerror}") from None
    except pydantic.ValidationError as error:
        raise RequestError(f"{file}: {first_error(error)}") from None
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)
    output = Output(quiet=quiet, as_json=as_json)

    async def work() -> ScoreResponse:
        with RunProgress(output.aside, "score", []) as progress:
            async with named.open(progress.status, progress.note) as client:
                progress.status(f"scoring {counted(len(request.prompts), 'prompt')}")
                return await client.score(request)

    answer: ScoreResponse = interruptible(work(), output)
    rows = [{"prompt": prompt, "logprobs": row} for prompt, row in zip(request.prompts, answer.logprobs, strict=True)]
    for row in rows:
        output.say(json.dumps(row, ensure_ascii=False))
    output.inform(json.dumps(answer.usage.model_dump()))
    output.json({"prompts": rows, "usage": answer.usage, "model": answer.model})
