"""`review.jsonl`: what a person decided about rows of a run. Lines are only ever appended."""

from __future__ import annotations

from icm_annealer.runs.schema.base import Versioned


class Decision(Versioned):
    """One line. Of several about the same row, the last one counts."""

    id: str
    """The example's id."""
    label: str | None
    """The label that the person chose, which may be the one found; None takes earlier decisions back."""
    was: str
    """The row's label in `labels.jsonl` when the person decided."""

    def stands(self, in_file: str) -> bool:
        """Whether it decides the label of a row that has this label in `labels.jsonl`. An edit of that file after the
        decision supersedes it."""
        return self.label is not None and in_file in (self.was, self.label)
