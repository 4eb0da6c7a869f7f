"""What the columns of a data file hold: which could be texts, labels or ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from icm_annealer.data.label_values import folded, value_text
from icm_annealer.data.row_reader import MAX_COLUMNS, is_absent
from icm_annealer.data.task import ID
from icm_client.text.visible import visible

MAX_LABELS = 100
"""The most values of a column that is taken for labels without being named."""
MAX_LABEL_CHARS = 80
ROWS_A_LABEL = 5
"""A column with fewer rows for each of its values is taken for labels only if it has two of them."""
TEXT_WORDS = 2.5
"""A column with fewer words a row holds names, dates or addresses rather than text."""
MAX_HASHES = 1_000_000
NO_LABEL = frozenset({"n/a", "na", "nan", "null", "?", "-"})
"""Values that mean that there is no label."""
IDS = re.compile(r"(^|[_ -])(id|ids|uid|uuid|guid|index|url|date|time|timestamp)$", re.IGNORECASE)
MIXED_CASE_ID = re.compile(r"[a-z]I[Dd]$")


class Column:
    """One column, of which rows are counted and only values that could be labels are kept."""

    def __init__(self, name: str):
        self.name = name
        self.num = 0
        """The rows that have a value."""
        self.max_chars = 0
        self._num_chars = self._num_words = self._num_with_letters = 0
        self._is_plain = True
        self._forms: dict[str, Counter[str]] | None = {}
        self._is_id = name.casefold() == ID or bool(IDS.search(name) or MIXED_CASE_ID.search(name))
        self._hashes: set[int] = set()
        self._repeats = False

    def add(self, value: Any) -> None:
        """Counts the value of one more row."""
        if is_absent(value) or value == "":
            return
        self.num += 1
        self._is_plain &= not isinstance(value, dict | list)
        text = str(value)
        self._num_chars += len(text)
        self._num_words += len(text.split())
        self._num_with_letters += any(map(str.isalpha, text[:1000]))
        self.max_chars = max(self.max_chars, len(text))
        self._note_form(value)
        if self.is_id and not self._repeats and len(self._hashes) < MAX_HASHES:
            self._repeats = hash(text) in self._hashes
            self._hashes.add(hash(text))

    @property
    def mean_chars(self) -> float:
        return self._num_chars / max(self.num, 1)

    @property
    def labels(self) -> dict[str, str]:
        """The values that differ in more than case and outer spaces, and the most frequent form of each; in
        alphabetical order, which says nothing about the rows. Empty if there are more than `MAX_LABELS`."""
        forms = {key: max(sorted(count), key=count.__getitem__) for key, count in sorted((self._forms or {}).items())}
        return {key: form.strip() for key, form in forms.items() if key not in NO_LABEL}

    @property
    def empty_labels(self) -> list[str]:
        """The values that mean that there is no label, as they are written."""
        return sorted({text.strip() for key in NO_LABEL & set(self._forms or {}) for text in (self._forms or {})[key]})

    @property
    def can_be_labels(self) -> bool:
        """Whether there are few values, each in several rows."""
        return (
            self._is_plain and 2 <= len(self.labels) <= max(2, self.num // ROWS_A_LABEL) and self.num > len(self.labels)
        )

    @property
    def can_be_in_template(self) -> bool:
        """Whether a template can name it: the name holds no braces, and the values are plain."""
        return bool(self.num) and self._is_plain and not set("{}") & set(self.name) and self.name == self.name.strip()

    @property
    def is_plain(self) -> bool:
        """Whether no value is a list or an object."""
        return self._is_plain

    @property
    def is_id(self) -> bool:
        """Whether its name is that of an id, a date or an address."""
        return self._is_id

    @property
    def can_be_group(self) -> bool:
        """Whether it is an id that several rows have."""
        return self._repeats and self.can_be_in_template

    @property
    def is_text(self) -> bool:
        """Whether it holds running text."""
        return self._num_words >= TEXT_WORDS * self.num and self.has_letters

    @property
    def has_letters(self) -> bool:
        """Whether most values have some, so that they are more than numbers."""
        return 2 * self._num_with_letters > self.num

    def describe(self, num_rows: int) -> str:
        """What it holds, in one line."""
        empty = f", {num_rows - self.num:,} empty" if self.num < num_rows else ""
        if self.can_be_labels:
            values = list(self.labels.values())
            more = ", ..." if len(values) > 8 else ""
            return visible(f"{self.name}: {len(values)} values ({', '.join(values[:8])}{more}){empty}")
        return visible(f"{self.name}: {self.mean_chars:,.0f} characters in the mean, {self.max_chars:,} at most{empty}")

    def _note_form(self, value: Any) -> None:
        if self._forms is None:
            return
        try:
            text = value_text(value) or ""
        except TypeError:  # a date, say
            self._forms = None
            return
        if not text.strip():
            return
        counts = self._forms.setdefault(folded(text), Counter())
        if len(counts) < MAX_LABELS or text in counts:
            counts[text] += 1
        if len(self._forms) > MAX_LABELS + len(NO_LABEL) or len(text) > MAX_LABEL_CHARS:
            self._forms = None


def surveyed(rows: Iterable[Any]) -> dict[str, Column]:
    """The columns by name, in the order of the rows, which are dictionaries; others are bad rows and are passed
    over."""
    columns: dict[str, Column] = {}
    for row in rows:
        for name, value in row.items() if isinstance(row, dict) else ():
            if name not in columns:
                if len(columns) >= MAX_COLUMNS:
                    continue
                columns[name] = Column(name)
            columns[name].add(value)
    return columns
