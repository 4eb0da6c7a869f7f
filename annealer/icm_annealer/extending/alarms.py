"""What is wrong with an extension as a whole: drift over the file, rows unlike the core, a core that is incoherent or
not reproduced, a sample whose own search disagrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.labelling.alarm import Alarm, AlarmKind, AlarmText
from icm_annealer.runs.schema.extension import CalibrationLine, CheckLine, ChunkLine
from icm_annealer.runs.schema.verdict import Verdict

NUM_PARTS = 20
"""The most parts of the file that are compared."""
MIN_ROWS = 100
"""Of a part."""
MIN_Z = 5.0
MIN_SHARE = 0.1
"""The least difference between a label's share in a part and in the whole file."""
MIN_EFFECT = 0.5
"""The least difference of a part's mean log label mass from that of the whole file, in standard deviations of a row."""
MOST_UNLIKE = 0.1
LEAST_ALIKE = 0.85
"""Of the core's own labels: below this, shots of the core do not carry its labels over."""
LEAST_AGREEMENT = 0.8
LEAST_KNOWN = 0.85
"""Of the rows with a known label: below this, the other rows' labels are about as often wrong."""


class Part(NamedTuple):
    """Successive chunks."""

    begin: int
    end: int
    """Rows, from `begin` to before `end`."""
    rates: Array
    margin: float
    """The mean over the rows."""
    log_mass: float

    @property
    def num_rows(self) -> int:
        return self.end - self.begin


@dataclass(frozen=True)
class ExtensionEvidence:
    """What the alarms of an extension look at."""

    names: Sequence[str]
    calibration: CalibrationLine
    chunks: Sequence[ChunkLine]
    check: CheckLine | None
    core: Verdict | None = None
    """The verdict of the core's run."""

    @property
    def num_rows(self) -> int:
        return sum(chunk.num_rows for chunk in self.chunks)

    @property
    def core_agreement(self) -> Estimate:
        return wilson(self.calibration.num_core_alike, self.calibration.num_core)


def parts(chunks: Sequence[ChunkLine]) -> list[Part]:
    """The file in at most `NUM_PARTS` parts of about equally many rows."""
    found: list[Part] = []
    begin = 0
    for some in np.array_split(np.arange(len(chunks)), min(NUM_PARTS, len(chunks))):
        chosen = [chunks[number] for number in some]
        num = sum(chunk.num_rows for chunk in chosen)
        counts = np.array([chunk.counts for chunk in chosen]).sum(axis=0)
        margin = sum(chunk.margins for chunk in chosen) / num
        mass = sum(chunk.log_masses for chunk in chosen) / num
        found.append(Part(begin, begin + num, counts / num, margin, mass))
        begin += num
    return found


def _label_drift(seen: ExtensionEvidence) -> AlarmText | None:
    """A label's share in a part of the file differs from that in the whole file by more than a tenth, and surely."""
    counts = np.array([chunk.counts for chunk in seen.chunks]).sum(axis=0)
    whole, furthest = counts / counts.sum(), None
    for part in parts(seen.chunks):
        if part.num_rows < MIN_ROWS:
            continue
        away = np.abs(part.rates - whole)
        sure = away / np.sqrt(np.maximum(whole * (1 - whole), 1e-9) / part.num_rows) > MIN_Z
        label = int(np.where(sure, away, 0).argmax())
        if sure[label] and away[label] > max(MIN_SHARE, furthest[0] if furthest else 0):
            furthest = float(away[label]), label, part
    if furthest is None:
        return None
    _, label, part = furthest
    return AlarmText(
        f"Rows {part.begin + 1:,} to {part.end:,} have the label {seen.names[label]!r} at "
        f"{part.rates[label]:.0%}, the whole file at {whole[label]:.0%}.",
        "If the file is not sorted, these rows differ from the others: look at some of them.",
    )


def _mass_drift(seen: ExtensionEvidence) -> AlarmText | None:
    """The mean log label mass of a part of the file differs from that of the whole file by half a standard deviation
    of a row, and surely."""
    num = seen.num_rows
    mean = sum(chunk.log_masses for chunk in seen.chunks) / num
    variance = sum(chunk.log_masses_squared for chunk in seen.chunks) / num - mean**2
    sd = float(np.sqrt(max(variance, 0.0)))
    found = [part for part in parts(seen.chunks) if part.num_rows >= MIN_ROWS]
    if not found or not sd:
        return None
    part = max(found, key=lambda part: abs(part.log_mass - mean))
    away = abs(part.log_mass - mean) / sd
    if away < max(MIN_EFFECT, MIN_Z / np.sqrt(part.num_rows)):
        return None
    return AlarmText(
        f"In rows {part.begin + 1:,} to {part.end:,} the labels have a total probability of "
        f"{np.exp(part.log_mass):.2g} (geometric mean), in the whole file of {np.exp(mean):.2g}.",
        "These rows differ from the others: look at some of them, and label a second core of such rows.",
    )


def _unlike(seen: ExtensionEvidence) -> AlarmText | None:
    """More than a tenth of the rows are unlike the core."""
    num = sum(chunk.num_unlike for chunk in seen.chunks)
    if num <= MOST_UNLIKE * seen.num_rows:
        return None
    return AlarmText(
        f"{num / seen.num_rows:.0%} of the rows are unlike the core: behind its shots, the labels are less likely "
        "for them than for any example of the core.",
        "unlike.jsonl lists them: search labels for a sample of them, as a second core.",
    )


def _core_incoherent(seen: ExtensionEvidence) -> AlarmText | None:
    """The core's run found nothing coherent."""
    if seen.core is None or seen.core.name != "nothing":
        return None
    return AlarmText(
        f"The verdict on the core is: {seen.core.words}. {seen.core.observation}".rstrip(),
        "Labels that are not worth using do not get better on more rows: search for a better core first.",
    )


def _core_lost(seen: ExtensionEvidence) -> AlarmText | None:
    """Behind shots of the core, its own other examples get other labels than in the core."""
    found = seen.core_agreement
    if not seen.calibration.num_core or found.high >= LEAST_ALIKE:
        return None
    return AlarmText(
        f"Behind shots of the core, only {found.value:.0%} of its other examples get the label that they have there "
        f"(95 % interval {found.low:.0%} to {found.high:.0%}).",
        "The labels of further rows are about as uncertain: use more shots or a larger model, or look at the core.",
    )


def _known_lost(seen: ExtensionEvidence) -> AlarmText | None:
    """Rows with a known label would get another one."""
    num = sum(chunk.num_known for chunk in seen.chunks)
    found = wilson(sum(chunk.num_known_alike for chunk in seen.chunks), num)
    if not num or found.high >= LEAST_KNOWN:
        return None
    return AlarmText(
        f"Only {found.value:.0%} of the {num:,} rows with a known label would get it (95 % interval {found.low:.0%} to "
        f"{found.high:.0%}).",
        "The labels of the other rows are about as often wrong: look at the core, or use a larger model.",
    )


def _check_disagrees(seen: ExtensionEvidence) -> AlarmText | None:
    """A search over a random sample of the rows found other labels."""
    check = seen.check
    if check is None or check.agreement.high >= LEAST_AGREEMENT:
        return None
    return AlarmText(
        f"A search over {check.num:,} rows drawn at random found the same labels for only {check.agreement.value:.0%} "
        f"of them (95 % interval {check.agreement.low:.0%} to {check.agreement.high:.0%}).",
        "Other labels may be coherent on the core than on the whole file: draw the core at random from the file.",
    )


ALARMS: tuple[AlarmKind[ExtensionEvidence], ...] = (
    AlarmKind("core-incoherent", "warning", "the verdict on the core is that nothing is coherent", _core_incoherent),
    AlarmKind("core-lost", "warning", "the core's own examples get other labels behind its shots", _core_lost),
    AlarmKind("known-lost", "warning", "rows with a known label would get another one", _known_lost),
    AlarmKind("check-disagrees", "warning", "a search over a random sample found other labels", _check_disagrees),
    AlarmKind("unlike-core", "warning", "over a tenth of the rows are unlike the core", _unlike),
    AlarmKind("label-drift", "note", "a label's share differs by over a tenth in a part of the file", _label_drift),
    AlarmKind("mass-drift", "note", "the labels' total probability differs in a part of the file", _mass_drift),
)
"""Every alarm of an extension."""


def extension_alarms(seen: ExtensionEvidence) -> list[Alarm]:
    """The alarms, warnings first."""
    return [alarm for kind in ALARMS for alarm in kind.raised(seen)]
