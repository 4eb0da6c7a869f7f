"""The rows that an extension labelled, read again from their data."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.row_reader import ReadRow
from icm_annealer.data.rows import ReadAs
from icm_annealer.data.task import allowed_task
from icm_annealer.extending.chunks import Source, chunked
from icm_annealer.extending.journal import JOURNAL, METRICS, read_journal
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.schema.extension import ExtensionHeader
from icm_client.contract.errors import RequestError


def folder_of(out: Path) -> RunDir:
    """The folder of an extension, beside its file of labels."""
    return RunDir(out.with_name(f"{out.name}.extension"))


class LabelledRows(NamedTuple):
    """An extension, found by its file of labels."""

    out: Path
    header: ExtensionHeader

    @classmethod
    def of(cls, out: Path) -> LabelledRows | None:
        """The extension that wrote `out`; None if there is none beside it. Raises RequestError if it is damaged or not
        finished: `out` may hold the labels of the one before."""
        if not out.name:
            return None
        folder = folder_of(out).path
        read = read_journal(folder) if (folder / JOURNAL).is_file() else None
        if read is None:
            return None
        if not (folder / METRICS).is_file():
            raise RequestError(
                f"{out}: its extension has not ended: continue it with icm extend and --resume", code="run_unfinished"
            )
        return cls(out, read[0])

    def source(self, data: str | None = None, *, allow_code: bool = False) -> Source:
        """Where the rows are, by default where they were when they were labelled."""
        task = allowed_task(self.header.task, str(self.out), allow_code=allow_code)
        began = self.header.source
        return Source(data or began.place, task, ReadAs(began.columns, began.encoding))

    def rows(self, source: Source, numbers: Collection[int]) -> dict[int, ReadRow]:
        """The rows with these numbers, read from `source`. Raises RequestError if it cannot be read, or if its rows are
        not those that were labelled."""
        found: dict[int, ReadRow] = {}
        digest, bad = "", BadRows(source.name, source.task, skip=True)
        wanted = set(numbers)
        try:
            for chunk in chunked(source.rows(bad), source, without=set(self.header.too_long)):
                digest = chunk.digest
                found |= {row.number: row for row in chunk.rows if row.number in wanted}
        except RequestError as error:
            raise RequestError(
                f"{self.out}: the rows that it labels cannot be read ({error}): name their data with --data",
                code=error.code,
            ) from None
        if digest != self.header.data:
            raise RequestError(
                f"{source.name}: not the rows that {self.out} labels, or they have changed: name those with --data",
                code="bad_data",
            )
        return found
