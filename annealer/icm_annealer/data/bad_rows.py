"""The rows of a source that cannot be used: all of them are counted, and reported together."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Iterable

from icm_annealer.data.label_values import LabelValues, NotALabel
from icm_annealer.data.task import Task
from icm_annealer.sources.row import Fault, Row
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

MAX_KINDS, MAX_PLACES, MAX_SHOWN = 1000, 5, 20
"""The most kinds of faults that are told apart, places kept of each, and kinds and values shown."""
MAX_KEPT = 1_000_000
OTHER = "other faults"


class BadRowsError(RequestError):
    """Rows cannot be used. The message is one line; `table` shows every kind of fault, and what to do."""

    def __init__(self, message: str, table: list[str]):
        super().__init__(message, code="bad_data")
        self.table = table


class BadRows:
    """Collects the bad rows of one source."""

    def __init__(self, name: str, task: Task, *, skip: bool | None):
        """`skip`: whether they are left out; None where the caller cannot ask for that."""
        self.kept: list[Fault] = []
        """The bad rows; all of them if they are skipped, otherwise the first."""
        self.num = 0
        self.name = name
        """The source."""
        self._task, self._skip = task, skip
        self._kinds: Counter[str] = Counter()
        self._places: dict[str, list[Fault]] = {}
        self._values: Counter[str] = Counter()

    def add(self, fault: Fault) -> None:
        self.num += 1
        kind = fault.kind if fault.kind in self._kinds or len(self._kinds) < MAX_KINDS else OTHER
        self._kinds[kind] += 1
        places = self._places.setdefault(kind, [])
        if len(places) < MAX_PLACES:
            places.append(fault)
        if not self.kept or self._skip:
            self.kept.append(fault)
        if len(self.kept) > MAX_KEPT:
            raise RequestError(f"{fault.where}: more than {MAX_KEPT:,} rows cannot be used", code="bad_data")

    def add_value(self, row: Row, values: LabelValues, wrong: NotALabel) -> None:
        """Adds a row whose label is none of the task's."""
        what = values.refusal(wrong)
        if not wrong.is_several and (wrong.text in self._values or len(self._values) < MAX_KINDS):
            self._values[wrong.text] += 1
        self.add(Fault(row.where, what, what, row.value))

    def skipped(self, num_rows: int) -> list[Fault]:
        """The rows that are left out of `num_rows`. Raises RequestError if there are any and they are not to be
        skipped, or if no other row is left."""
        if (self.num and self.num == num_rows) or not self._skip:
            self._refuse(num_rows)
        return self.kept

    def _refuse(self, num_rows: int) -> None:
        if not self.num:
            return
        if self.num == 1:
            hint = "".join(f"; {line}" for line in self._advice(one_line=True))
            raise RequestError(f"{self.kept[0].message}{hint}", code="bad_data")
        kinds = self._kinds.most_common(3)
        some = "; ".join(f"{kind} ({num:,})" for kind, num in kinds)
        left = len(self._kinds) - len(kinds)
        more = f"; and {counted(left, 'more kind of faults', 'more kinds of faults')}" if left else ""
        other = (
            ", or label the rest with --skip-bad (skip_bad in Python and in a sweep's file)"
            if self._skip is not None and self.num < num_rows
            else ""
        )
        raise BadRowsError(
            f"{self.name}: {self.num:,} of {num_rows:,} rows cannot be used: {some}{more}. The first is "
            f"{self.kept[0].message.removeprefix(f'{self.name}, ')}. Correct them{other}",
            [*self._table(), *self._advice(one_line=False)],
        )

    def _table(self) -> Iterable[str]:
        yield f"{self.name}:"
        for kind, num in self._kinds.most_common(MAX_SHOWN):
            places = [fault.where.removeprefix(f"{self.name}, ") for fault in self._places[kind]]
            what = self._places[kind][0].what if num == 1 else kind
            yield f"  {num:>9,}  {what}  [{', '.join(places)}{', ...' if num > len(places) else ''}]"
        if len(self._kinds) > MAX_SHOWN:
            yield f"  {sum(self._kinds.values()) - sum(n for _, n in self._kinds.most_common(MAX_SHOWN)):>9,}  others"

    def _advice(self, *, one_line: bool) -> Iterable[str]:
        """What to add to the task, so that values stand for labels."""
        if not self._values:
            return
        entries = []
        for text, num in self._values.most_common(MAX_SHOWN):
            label = near(text, self._task.label_names, 0.7) or "LABEL"
            entries.append((f"{_quoted(text)}: {_quoted(label)}", num))
        if one_line:
            yield f"if it stands for one, add `gold_values: {{{entries[0][0]}}}` to the task"
            yield f"if it means no label, `no_label: [{_quoted(next(iter(self._values)))}]`"
            return
        yield "Values that stand for a label go into the task, where LABEL is one of its labels:"
        yield "gold_values:"
        for entry, num in entries:
            yield f"  {entry}  # {counted(num, 'row')}"
        yield "Values that mean that there is no label go into its list no_label: [...]"


def near(name: str, names: Collection[str], cutoff: float = 0.8) -> str | None:
    """The name that was probably meant; None if none is as much like it as `cutoff`, between 0 and 1."""
    folded = {other.strip().casefold(): other for other in names}
    found = difflib.get_close_matches(name.strip().casefold()[:200], list(folded)[:1000], n=1, cutoff=cutoff)
    return folded[found[0]] if found else None


def _quoted(text: str) -> str:
    """The text as YAML has it in double quotes, shortened."""
    plain = "".join(character if character.isprintable() else "?" for character in text[:80])
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
