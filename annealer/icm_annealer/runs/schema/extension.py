"""The lines of `extend.jsonl`: a header, the calibration, chunks, an end; and the rows of an extension."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from icm_annealer.core.estimate import Estimate
from icm_annealer.data.task import Task
from icm_annealer.runs.schema.base import Record, Versioned
from icm_annealer.runs.schema.journal import ContextWindow
from icm_annealer.runs.schema.metrics import AlarmRecord
from icm_annealer.runs.schema.verdict import VerdictName
from icm_client.contract.wire import ModelIdentity


class ExtensionSettings(Record):
    """See `extending.settings.ExtendSettings`."""

    mode: str
    contexts: int
    shots: int
    reads: float
    sample: int
    seed: int


class DataSource(Record):
    """Where the rows came from, and how they were read."""

    place: str
    """The path from the root of this machine, or an address without its password."""
    columns: list[str]
    encoding: str | None


class ExtensionHeader(Versioned):
    """The first line: everything that must be the same when an extension is resumed, and what the first reading of the
    data found."""

    kind: Literal["start"] = "start"
    core: str
    """The name of the core's run."""
    core_digest: str
    task: Task
    settings: ExtensionSettings
    model: ModelIdentity
    window: ContextWindow | None
    """None for a tuned model."""
    shots: list[list[str]]
    """The ids of the core's examples in each context, in order; none for a tuned model."""
    num_rows: int
    num_skipped: int
    too_long: list[int]
    """The numbers of the rows that are skipped for their length."""
    sampled: list[int]
    """The numbers of the rows in the sample, in their order there."""
    data: str
    """The digest of the rows to label."""
    source: DataSource


class CalibrationLine(Record):
    """What labels are made by from here on; see `extending.calibration`. Without contexts and rows in searches."""

    kind: Literal["calibration"] = "calibration"
    order: list[int]
    means: list[list[float]]
    """By context and label, as `factors`."""
    factors: list[list[float]]
    first_shift: list[float]
    shift: list[float]
    unclear_below: float
    num_core: int
    num_core_alike: int
    log_mass_below: float
    log_mass_mean: float
    log_mass_sd: float
    margin_below: float
    num_sampled: int
    num_sampled_alike: int
    """How many rows of the sample have the same label by the reads that they get as behind all contexts."""


class ChunkLine(Record):
    """One labelled chunk, whose rows are in both files up to these places."""

    kind: Literal["chunk"] = "chunk"
    number: int = Field(ge=0)
    num_rows: int
    digest: str
    labels_end: int = Field(ge=0)
    """In bytes from the beginning of `labels.jsonl`."""
    unlike_end: int = Field(ge=0)
    """The same of `unlike.jsonl`."""
    counts: list[int]
    """Rows by label."""
    num_read_again: int
    num_unlike: int
    num_unclear: int
    shared: list[int] | None = None
    """By a search of their own: the labels that it found for the shared examples of the core."""
    num_known: int
    num_known_alike: int
    """How many known labels are also the best ones by their rows' scores alone."""
    margins: float
    """The sum over the rows."""
    log_masses: float
    log_masses_squared: float


class CheckLine(Record):
    """A random sample, labelled by a search of its own and compared."""

    num: int
    """Rows without a known label."""
    agreement: Estimate
    verdict: str


class SharedLabels(Record):
    """How far independent searches found the same labels for the same examples of the core."""

    num: int
    """Examples that all searches labelled."""
    num_searches: int
    with_each_other: float
    """The share of pairs of searches that agree on an example, the mean over the examples."""
    with_core: float
    """The share of their labels that are the core's."""


class ExtensionMetrics(Versioned):
    """`extend.json`: the figures of a finished extension."""

    core: str
    core_verdict: VerdictName | None = None
    """On the core's run."""
    task: str
    by: str
    """The model's name."""
    num_contexts: int
    """0 for a tuned model."""
    num_rows: int
    num_skipped: int
    label_rates: dict[str, float]
    shared: SharedLabels | None = None
    """In independent searches only."""
    core_agreement: Estimate
    """The share of the core's own examples that get the label that they have in the core, behind contexts without
    them; of all its examples for a tuned model."""
    sample_agreement: float
    """The share of the sample whose labels are the same as if every row were read behind all contexts."""
    num_known: int
    known_agreement: Estimate | None
    """The share of the rows with a known label that would get it without; None if no label is known."""
    num_read_again: int
    num_unlike: int
    num_unclear: int
    prompt_tokens: int
    computed_tokens: int
    cached_tokens: int
    num_reads: int
    seconds: float
    check: CheckLine | None
    alarms: list[AlarmRecord]
