"""The alarm about the engine's noise. A note, since noise does not affect labels with a large margin."""

from __future__ import annotations

from icm_annealer.labelling.alarm import AlarmText
from icm_annealer.labelling.rescore import Rescored
from icm_client.text.counts import counted

MAX_SPREAD = 0.1
"""Nats: a probability changes by a tenth when it is scored again."""


def engine_spread(rescored: Rescored) -> AlarmText | None:
    if rescored.spread <= MAX_SPREAD:
        return None
    changed = counted(rescored.num_changed, "of them prefers", "of them prefer")
    return AlarmText(
        f"Asked again for {counted(len(rescored.first), 'example')} of the last pass, the engine's log-probabilities "
        f"differ by {rescored.spread:.2f} nats from before, and {changed} another label.",
        "Labels of small margin are chance then, and will differ from run to run: serve the model with a higher "
        "precision (icm-server serve --dtype float32) or smaller batches, on a GPU with VLLM_BATCH_INVARIANT=1, and "
        "compare seeds.",
    )
