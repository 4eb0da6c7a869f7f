"""`icm score`. A thin caller."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import pydantic
import typer

from icm_annealer.cli.options import (
    DEFAULT_SCORER,
    EngineOption,
    KeyOption,
    ScorerModelOption,
    ScorerOption,
    WaitOption,
    connect,
    interruptible,
)
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_client import RequestError, ScoreRequest
from icm_client.contract.validation import first_error


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
        raise RequestError(f"{file}: {first_error(error)}") from None
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
