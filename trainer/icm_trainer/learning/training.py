"""One training: steps of AdamW, looks at held-out rows, the best weights. A killed one resumes with the same weights.

The loop is our own because what must be exact is short: which rows a step has, what they weigh, and that the checkpoint
holds all state.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_client.contract.errors import RequestError
from icm_trainer.learning.checkpoint import CheckpointState, LogRow, read_checkpoint, write_checkpoint
from icm_trainer.learning.schedule import PATIENCE, Schedule

MAX_NORM = 1.0
"""Gradients are clipped to this norm."""
CLOSE = 0.05
"""Mean losses of held-out rows, in nats, that differ by less say nothing."""


@dataclass(frozen=True)
class HeldOutLook:
    """The model on the held-out rows."""

    loss: float | None = None
    agreement: float | None = None
    """The share whose answer is the one given."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Whatever else was measured."""
    samples: Sequence[str] = ()
    """What the model wrote, if it writes."""


class Objective(Protocol):
    """What is learnt."""

    @property
    def weights(self) -> Any:
        """[row]: how much each row counts."""
        ...

    def begin(self, rows: Ints) -> None:
        """These are the rows of the next step, whose losses are asked for in parts."""
        ...

    def loss(self, rows: Ints) -> Any:
        """The weighted losses of these rows, summed: a tensor with gradients."""
        ...

    def look(self) -> HeldOutLook | None:
        """None without held-out rows."""
        ...

    def measured(self) -> Mapping[str, float]:
        """Figures of the rows whose losses were asked for since the last call; empty if there are none."""
        ...


Choice = Callable[[Sequence[LogRow]], LogRow | None]
"""Of all looks so far, the one whose weights are kept; None for none yet."""


class Training:
    """The state of a training: a model, its optimizer, and the position in the schedule.

    `micro_batch` rows are computed at a time; their gradients are added up to those of a step. `choose` says which
    weights are kept, and `patience` after how many looks without better ones the training stops; by default these are
    `best_look` and PATIENCE.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        schedule: Schedule,
        micro_batch: int,
        choose: Choice | None = None,
        patience: int = PATIENCE,
    ):
        import torch

        self.model, self.schedule = model, schedule
        self._objective, self._micro_batch = objective, micro_batch
        self._choose, self._patience = choose or best_look, patience
        self._trained = {name: one for name, one in model.named_parameters() if one.requires_grad}
        self._optimizer = torch.optim.AdamW(self._trained.values(), lr=schedule.rate, weight_decay=0.0)
        self._losses: list[float] = []
        self._by_step: list[dict[str, float]] = []
        self._best: dict[str, Any] = {}
        self.step, self.seconds = 0, 0.0
        self.log: list[LogRow] = []
        self.best: int | None = None
        """The step of the best look so far; None before the first, and without held-out rows."""

    @property
    def is_finished(self) -> bool:
        """At the last step, or after `patience` looks without a better one."""
        waited = sum(row.step > self.best for row in self.log) if self.best is not None else 0
        return self.step >= self.schedule.num_steps or waited >= self._patience

    def learn(self) -> LogRow | None:
        """One step. Returns what a look after it saw, if there was one. Raises RequestError for a loss that is no
        number."""
        import torch

        start = time.monotonic()
        rows = self.schedule.rows(self.step)
        total = float(self._objective.weights[rows].sum())
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate_at(self.step)
        self._objective.begin(rows)
        self.model.train()
        self._optimizer.zero_grad()
        loss = 0.0
        for first in range(0, len(rows), self._micro_batch):
            part = self._objective.loss(rows[first : first + self._micro_batch]) / total
            part.backward()
            loss += float(part.detach())
        if not math.isfinite(loss):
            raise RequestError(
                f"the loss of step {self.step + 1} is {loss}: the learning rate is too high (icm train sft, rm, rl, "
                "relabel: --rate)",
                code="diverged",
            )
        torch.nn.utils.clip_grad_norm_(self._trained.values(), MAX_NORM)
        self._optimizer.step()
        self.step += 1
        self._losses.append(loss)
        if measured := self._objective.measured():
            self._by_step.append(dict(measured))
        seen = self.look() if self.schedule.looks_after(self.step) else None
        self.seconds += time.monotonic() - start
        return seen

    def look(self) -> LogRow:
        """Looks at the held-out rows now."""
        self.model.eval()
        seen = self._objective.look() or HeldOutLook()
        row = LogRow(
            step=self.step,
            epoch=round(self.step / self.schedule.steps_per_epoch, 3),
            loss=float(np.mean(self._losses)) if self._losses else 0.0,
            held_out_loss=seen.loss,
            held_out_agreement=seen.agreement,
            figures=dict(seen.figures),
            samples=list(seen.samples),
            by_step=self._by_step,
        )
        self._losses, self._by_step = [], []
        self.log.append(row)
        if self._choose(self.log) is row:
            self.best = self.step
            self._best = {name: one.detach().clone() for name, one in self._trained.items()}
        return row

    def take_best(self) -> None:
        """Puts the best weights into the model, where looks tell which these are."""
        import torch

        with torch.no_grad():
            for name, value in self._best.items():
                self._trained[name].copy_(value)
        self.model.eval()

    def save(self, folder: Path) -> None:
        """Writes a checkpoint: trained and best weights, moments, random state, log."""
        import torch

        tensors = {f"weights.{name}": one.detach().contiguous() for name, one in self._trained.items()}
        tensors |= {f"best.{name}": one.contiguous() for name, one in self._best.items()}
        for name, one in self._trained.items():
            if one in self._optimizer.state:
                for moment, value in self._optimizer.state[one].items():
                    tensors[f"{moment}.{name}"] = value.contiguous()
        tensors["rng.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        state = CheckpointState(
            tensors=f"step-{self.step}.safetensors",
            step=self.step,
            seconds=self.seconds,
            losses=self._losses,
            by_step=self._by_step,
            log=self.log,
            best=self.best,
        )
        write_checkpoint(folder, state, tensors)

    def restore(self, folder: Path) -> bool:
        """Goes on from the checkpoint in `folder`; False if there is none. Raises RequestError for a damaged one."""
        import torch

        found = read_checkpoint(folder)
        if found is None:
            return False
        parts: dict[str, dict[str, Any]] = {}
        for key, value in found.tensors.items():
            kind, _, name = key.partition(".")
            parts.setdefault(kind, {})[name] = value
        rng = parts.pop("rng")
        torch.set_rng_state(rng["cpu"])
        if "cuda" in rng and torch.cuda.is_available():
            torch.cuda.set_rng_state(rng["cuda"])
        self._best = {name: self._like(name, value) for name, value in parts.pop("best", {}).items()}
        weights = parts.pop("weights")
        if weights.keys() != self._trained.keys():
            raise RequestError(f"{folder}: a checkpoint of another model; start again with --overwrite")
        with torch.no_grad():
            for name, one in self._trained.items():
                one.copy_(weights[name])
        for name, one in self._trained.items():
            if moments := {moment: values[name] for moment, values in parts.items()}:
                self._optimizer.state[one] = {
                    moment: value if moment == "step" else self._like(name, value) for moment, value in moments.items()
                }
        state = found.state
        self.step, self.seconds, self._losses = state.step, state.seconds, list(state.losses)
        self._by_step, self.log, self.best = list(state.by_step), list(state.log), state.best
        return True

    def _like(self, name: str, value: Any) -> Any:
        """The value on the device of the weights of this name."""
        return value.to(self._trained[name].device)


def best_look(log: Sequence[LogRow]) -> LogRow | None:
    """The look with the highest agreement, and of several the last whose loss is CLOSE to the lowest of them; None
    without held-out rows.

    By the loss alone, a single wrong label among few would choose weights that are unsure of everything. Between losses
    that hardly differ, the later weights are those of the lower learning rate.
    """
    seen = [row for row in log if row.held_out_agreement is not None and row.held_out_loss is not None]
    if not seen:
        return None
    agreement = max(row.held_out_agreement or 0.0 for row in seen)
    agreeing = [row for row in seen if row.held_out_agreement == agreement]
    lowest = min(row.held_out_loss or 0.0 for row in agreeing)
    return [row for row in agreeing if (row.held_out_loss or 0.0) <= lowest + CLOSE][-1]
