"""One line of a journal, checked against the run that it belongs to."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import pydantic
from pydantic import Field, TypeAdapter

from icm_annealer.runs.schema.journal import EndLine, PassLine, RunHeader
from icm_client.contract.wire import is_logprob
from icm_client.text.counts import counted
from icm_client.text.validation import first_error

JournalLine = PassLine | EndLine
_LINE: TypeAdapter[JournalLine] = TypeAdapter(Annotated[JournalLine, Field(discriminator="kind")])


class Shape(NamedTuple):
    """The numbers of examples and labels of a run."""

    num_examples: int
    num_labels: int

    @classmethod
    def of(cls, header: RunHeader) -> Shape:
        return cls(len(header.ids), len(header.task.labels))

    def line(self, content: bytes) -> JournalLine:
        """Parses a line after the first. Raises ValueError, in one line, if it is not a pass or an end of such a
        run."""
        try:
            line = _LINE.validate_json(content)
        except pydantic.ValidationError as error:
            kind = error.errors(include_input=False)[0]["type"]
            if kind.startswith("union_tag"):
                raise ValueError('kind: neither "pass" nor "end"') from None
            raise ValueError(first_error(error, skip=1)) from None  # the location starts with the kind of line
        if isinstance(line, EndLine):
            self._check_labels("labels", line.labels, 0)
        else:
            self._check_pass(line)
        return line

    def _check_pass(self, line: PassLine) -> None:
        self._check_labels("request.labels", line.request.labels, -1)
        queries = range(self.num_examples) if line.request.queries == "all" else line.request.queries
        if not all(0 <= query < self.num_examples for query in queries):
            raise ValueError("request.queries: not numbers of the examples")
        if not all(0 <= example < self.num_examples for example in line.request.hidden):
            raise ValueError("request.hidden: not numbers of the examples")
        if len(line.logprobs) != len(queries) or any(len(row) != self.num_labels for row in line.logprobs):
            raise ValueError(f"logprobs: not {counted(len(queries), 'row')} of {self.num_labels} numbers")
        odd = next((value for row in line.logprobs for value in row if not is_logprob(value)), None)
        if odd is not None:
            raise ValueError(f"logprobs: {odd} is not a log-probability")

    def _check_labels(self, name: str, labels: list[int], lowest: int) -> None:
        if len(labels) != self.num_examples:
            raise ValueError(f"{name}: {len(labels)} of them for {counted(self.num_examples, 'example')}")
        if not all(lowest <= label < self.num_labels for label in labels):
            raise ValueError(f"{name}: not numbers of the task's {self.num_labels} labels")
