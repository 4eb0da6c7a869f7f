"""What `metrics.json`, `eval.json` and `costs.jsonl` hold: checked when they are read back, since files change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from icm_annealer.data.json_text import parsed
from icm_annealer.evaluation.metrics import FIGURES
from icm_annealer.evaluation.test_set import KINDS
from icm_annealer.runs.journal_lines import first_wrong
from icm_client.contract.errors import RequestError

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1 << 62)]
CHANGED = "the file was changed or damaged: write it anew with the command that made it, or move it away"


class _Strict(BaseModel):
    """Numbers are numbers; what is not named here does not matter."""

    model_config = ConfigDict(strict=True)


class Described(_Strict):
    """An `Estimate` as JSON holds it: None for what could not be known."""

    value: Finite | None
    low: Finite | None
    high: Finite | None


class _Answer(_Strict):
    starts: list[str]
    u: Finite
    u_se: Finite
    agreement: Finite


class _Metrics(_Strict):
    """Of a search, of a demo, or of one of its seeds. NaN stands for an accuracy that could not be known."""

    alarms: list[dict[str, str]] = []
    answers: list[_Answer] = []
    zero_shot_calibrated_label_accuracy: float = 0.0
    seconds: Finite = 0.0
    search_seconds: Finite = 0.0
    test_accuracy: dict[str, float] = {}
    test_accuracy_interval: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] = {}
    seeds: Annotated[list[_Metrics], Field(min_length=1)] | None = None

    def check(self) -> None:
        for name in self.test_accuracy:
            if name not in self.test_accuracy_interval:
                raise ValueError(f"test_accuracy_interval: has no {name!r}")
            if any(name not in seed.test_accuracy for seed in self.seeds or []):
                raise ValueError(f"seeds: one has no test_accuracy of {name!r}")


class _Figures(_Strict):
    figures: dict[str, dict[str, dict[str, Described]]]

    def check(self) -> None:
        for method, kinds in self.figures.items():
            check_figures(method, kinds)


class _Evaluation(_Figures):
    gap_recovered: dict[str, Described]
    intervals: str
    seeds: Annotated[list[_Figures], Field(min_length=1)]

    def check(self) -> None:
        super().check()
        for seed in self.seeds:
            seed.check()
            if seed.figures.keys() != self.figures.keys():
                raise ValueError("seeds: one has other methods")


class Cost(_Strict):
    """A line of `costs.jsonl`; older versions did not say what was waited for."""

    what: int | str = Field(alias="pass")
    seconds: Finite = 0.0
    waited: Finite = 0.0
    prompt_tokens: Count = 0
    computed_tokens: Count = 0
    cached_tokens: Count = 0
    num_reads: Count = 0
    read_cache_prompts: Count = 0
    joined_texts: Count = 0


def check_figures(name: str, kinds: dict[str, dict[str, Described]]) -> None:
    """Raises ValueError if a figure of either kind is missing."""
    missing = [f"{kind}.{figure}" for kind in KINDS for figure in FIGURES if figure not in kinds.get(kind, {})]
    if missing:
        raise ValueError(f"figures.{name}: has no {missing[0]}")


def read_metrics(path: Path) -> dict[str, Any]:
    """`metrics.json` of a search or a demo; empty if it is not there. Raises RequestError in one line."""

    def check(value: dict[str, Any]) -> None:
        _Metrics.model_validate(value).check()

    return _read(path, check)


def read_evaluation(path: Path) -> dict[str, Any]:
    """`eval.json`; empty if it is not there. Raises RequestError in one line."""

    def check(value: dict[str, Any]) -> None:
        if value:
            _Evaluation.model_validate(value).check()

    return _read(path, check)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object; empty if it is not there. Raises RequestError if it is something else."""
    return _read(path, lambda value: None)


def _read(path: Path, check: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        try:
            value = parsed(text)
        except ValueError as error:
            raise ValueError(f"not valid JSON ({error})") from None
        if not isinstance(value, dict):
            raise ValueError("not an object")
        check(value)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}", code="bad_run") from None
    except pydantic.ValidationError as error:
        raise RequestError(f"{path}: {first_wrong(error)}; {CHANGED}", code="bad_run") from None
    except ValueError as error:
        raise RequestError(f"{path}: {error}; {CHANGED}", code="bad_run") from None
    return value
