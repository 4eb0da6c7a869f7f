"""Rows of Parquet files and of Hugging Face datasets. Both libraries are optional and imported only here."""

from __future__ import annotations

import datetime
import decimal
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from icm_client.contract.errors import RequestError
from icm_client.text.distribution import install_hint

HUB = "hf:"
BATCH_ROWS = 1000
SAVED_DATASET = {"dataset_info.json", "state.json", "dataset_dict.json"}
"""Files of which `save_to_disk` writes one into its folder."""


def parquet_rows(file: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    """The rows of an open, seekable Parquet file, with one batch in memory at a time. Raises RequestError."""
    parquet = required("pyarrow.parquet", f"{name}: a Parquet file")
    try:
        with parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(batch_size=BATCH_ROWS):
                yield from _plain_rows(batch)
    except OSError as error:  # of the system, or pyarrow's own for broken data
        raise RequestError(f"{name}: {error.strerror or _one_line(error)}", code="bad_data") from None
    except ValueError as error:  # pyarrow's errors for broken files derive from it
        raise RequestError(f"{name}: not a Parquet file ({_one_line(error)})", code="bad_data") from None


def saved_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a dataset that `datasets` saved with `save_to_disk`. Raises RequestError."""
    if not any((folder / name).is_file() for name in SAVED_DATASET):
        raise RequestError(
            f"{folder}: is a directory, and not one that `save_to_disk` of the library datasets wrote", code="bad_data"
        )
    datasets = required("datasets", f"{folder}: a saved dataset")
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # the library's boundary: many kinds of errors, none of them shared
        raise RequestError(f"{folder}: {_one_line(error)}", code="bad_data") from None
    yield from _split_rows(loaded, str(folder), f"{folder}/{{split}}")


def hub_rows(source: str) -> Iterator[dict[str, Any]]:
    """The rows of `hf:owner/name[:config][:split]`; a single word is a config if one has that name, else a split.

    Downloads into the library's cache on first use. Raises RequestError.
    """
    name, *rest = source.removeprefix(HUB).split(":")
    if not name or len(rest) > 2:
        raise RequestError(f"{source}: write hf:owner/name, hf:owner/name:split or hf:owner/name:config:split")
    datasets = required("datasets", f"{source}: a dataset of the hub")
    config, split = [*rest, "", ""][:2]
    try:
        if len(rest) == 1 and config not in datasets.get_dataset_config_names(name):
            config, split = "", config
        loaded = datasets.load_dataset(name, config or None, split=split or None)
    except Exception as error:  # the library's boundary: many kinds of errors, none of them shared
        raise RequestError(f"{source}: {_one_line(error)}", code="bad_data") from None
    yield from _split_rows(loaded, source, f"hf:{name}:{config}:{{split}}")


def _split_rows(loaded: Any, source: str, of_a_split: str) -> Iterator[dict[str, Any]]:
    if isinstance(loaded, dict):  # a DatasetDict: split name -> Dataset
        if len(loaded) != 1:
            such_as = of_a_split.format(split=next(iter(loaded), "train"))
            raise RequestError(f"{source}: holds the splits {', '.join(loaded)}; name one, as {such_as}")
        (loaded,) = loaded.values()
    for table in loaded.with_format("arrow").iter(batch_size=BATCH_ROWS):  # images and audio stay undecoded
        yield from _plain_rows(table)


def _plain_rows(table: Any) -> Iterator[dict[str, Any]]:
    for row in table.to_pylist():
        yield {str(name): plain(value) for name, value in row.items()}


def plain(value: Any) -> Any:
    """The value in JSON types: dates and decimals become text, and what JSON cannot represent becomes None."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat() if value == value else None  # NaT is unequal to itself
    return str(value) if isinstance(value, decimal.Decimal) else None


def required(module: str, what: str) -> Any:
    """Imports an optional module. Raises RequestError, saying that `what` needs it and how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.split(".")[0]
        raise RequestError(
            f"{what} needs the package {package}: {install_hint('data')}", code="missing_package"
        ) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
