"""The base models of all files: strict types, a format number, and one-line errors. A leaf."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import pydantic
import pydantic_core
from pydantic import BaseModel, ConfigDict

from icm_client.contract.errors import RequestError
from icm_client.text.validation import first_error

CHANGED = "the file was changed or damaged: write it again with the command that made it, or move it away"


class Record(BaseModel):
    """A part of a file. Types are strict, numbers must be finite, and unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Versioned(Record):
    """A JSON file, or the first line of a file with several. Its format changes when older readers would misread it."""

    format: int = 1


class NewerFormatError(RequestError):
    """The file was written by a newer version of this program."""

    code = "newer_format"


RecordT = TypeVar("RecordT", bound=Record)
VersionedT = TypeVar("VersionedT", bound=Versioned)


def parsed_as(model: type[RecordT], content: str | bytes) -> RecordT:
    """Parses JSON into a model. Raises ValueError, in one line."""
    try:
        return model.model_validate_json(content)
    except pydantic.ValidationError as error:
        raise ValueError(first_error(error)) from None


def versioned(model: type[VersionedT], content: str | bytes, where: str) -> VersionedT:
    """Like `parsed_as`, but checks the format number first. `where` names the file in NewerFormatError."""
    known: int = model.model_fields["format"].default
    found = _format_of(content)
    if isinstance(found, int) and found > known:
        raise NewerFormatError(
            f"{where} was written by a newer version (format {found}; this one reads {known}): upgrade this program"
        )
    if found is not None and found != known:
        raise ValueError(f"format: {str(found)[:40]} is not {known}")
    return parsed_as(model, content)


def read_file(path: Path, model: type[VersionedT]) -> VersionedT | None:
    """The file at `path`; None if there is none.

    Raises NewerFormatError, or RequestError (code `bad_run`) for a file that cannot be read or does not fit the model.
    """
    try:
        return versioned(model, path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}", code="bad_run") from None
    except ValueError as error:
        raise RequestError(f"{path}: {error}; {CHANGED}", code="bad_run") from None


def _format_of(content: str | bytes) -> object:
    try:
        value = pydantic_core.from_json(content)
    except ValueError:
        return None  # parsed_as reports the error
    return value.get("format") if isinstance(value, dict) else None
