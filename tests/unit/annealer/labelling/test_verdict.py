"""Each verdict is given for data made for it, and changes no label."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.conftest import Serving
from tests.unit.annealer.labelling.test_alarms import changed

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import Measure, Objective, information_by_example
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.labelling.alarms import alarms
from icm_annealer.labelling.label_dataset import label_dataset
from icm_annealer.labelling.verdict import MIN_COHERENT, MIN_FOUND, verdict
from icm_annealer.rules.consistency import Consistency
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.journal import read_lines
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.journal import EndLine
from icm_annealer.runs.schema.verdict import WORDS, Verdict, VerdictName
from icm_annealer.scoring.passes import PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import AtRates, Candidate, Problem, Result, lead_by_example
from icm_annealer.searches.settings import Settings
from icm_client import ScorerClient
from icm_server.engines.fake import FakeEngine

NUM = 60
GOOD = np.random.default_rng(0).permutation(np.arange(NUM) % 2)
OTHER = changed(GOOD, 8)
FIRM = 0.99
"""A probability of labels that leaves no doubt."""
EVEN = 0.5


def problem(num: int = NUM, measure: Measure = "information") -> Problem:
    units = [np.array([i]) for i in range(num)]
    judge = Consistency([], units, [{}] * num, ["a", "b"])
    return Problem(num, 2, units, judge, Objective(measure), PlanKind("tree"))


def said(labels: Ints, probs: float | Array) -> Array:
    """Log-probabilities by which these labels have `probs`."""
    own = np.broadcast_to(np.asarray(probs, dtype=float), labels.shape)[:, None]
    return np.log(np.where(np.arange(2) == labels[:, None], own, 1 - own))


def candidate(labels: Ints, probs: float | Array, name: str = "random", num_orders: int = 3) -> Candidate:
    """A candidate of this probability on each of its orders."""
    logprobs = said(labels, probs)
    us = [Objective().u(logprobs, labels, 0)] * num_orders
    gains = information_by_example(logprobs, labels) if us else None
    return Candidate((name,), labels, us[0] if us else float("nan"), logprobs, us, said(labels, 0.8), gains)


def result(*candidates: Candidate, zero_shot: Ints = OTHER) -> Result:
    return Result(list(candidates), PassResult(said(zero_shot, 0.7)))


def name_of(found: Result, measure: Measure = "information") -> VerdictName:
    return verdict(problem(measure=measure), found).name


def prob_of(share: float) -> float:
    """The probability of even labels at which U is this share of ln 2."""
    return float(0.5 * 2.0**share)


TIED = result(candidate(GOOD, FIRM), candidate(OTHER, FIRM, "zero-shot"))


def test_labels_far_above_those_of_zero_shot_are_found() -> None:
    assert name_of(result(candidate(GOOD, FIRM), candidate(OTHER, 0.6, "zero-shot"))) == "found"
    assert name_of(result(candidate(GOOD, FIRM))) == "found"  # zero-shot's were not evaluated
    assert name_of(Result([candidate(GOOD, FIRM)], None)) == "found"  # there was no zero-shot pass


def test_labels_between_the_limits_are_weakly_coherent() -> None:
    between = prob_of((MIN_COHERENT + MIN_FOUND) / 2)
    assert name_of(result(candidate(GOOD, between), candidate(OTHER, EVEN, "zero-shot"))) == "weak"


def test_labels_as_coherent_as_those_of_zero_shot_are_no_better() -> None:
    assert name_of(TIED) == "zero-shot"
    above = result(candidate(GOOD, 0.9), candidate(OTHER, FIRM, "zero-shot"))
    assert name_of(above) == "zero-shot"
    assert "zero-shot labels are no less coherent (the lead over them is -0.10" in verdict(problem(), above).observation


@pytest.mark.parametrize(("num_better", "name"), [(1, "weak"), (NUM // 2, "found")])
def test_a_lead_that_comes_from_few_examples_is_not_clear(num_better: int, name: VerdictName) -> None:
    probs = np.where(np.arange(NUM) < num_better, 0.3, FIRM)
    found = verdict(problem(), result(candidate(GOOD, FIRM), candidate(OTHER, probs, "zero-shot")))
    assert found.name == name
    assert found.observation.endswith("above that of zero-shot labels, not a clear lead.") == (name == "weak")


def test_zero_shot_labels_that_won_are_named() -> None:
    found = verdict(problem(), result(candidate(GOOD, FIRM), zero_shot=GOOD))
    assert found.name == "zero-shot"
    assert found.observation.endswith("; the labels are those of zero-shot, which no labelling found clearly exceeds.")
    assert "--search zero_shot" in found.advice


@pytest.mark.parametrize("probs", [EVEN, prob_of(MIN_COHERENT / 2), 0.2])
def test_labels_about_which_others_say_little_are_nothing(probs: float) -> None:
    assert name_of(result(candidate(GOOD, probs), candidate(OTHER, EVEN, "zero-shot"))) == "nothing"


@pytest.mark.parametrize("probs", [FIRM, EVEN, prob_of(MIN_COHERENT - 0.01), prob_of(MIN_COHERENT + 0.01)])
def test_the_alarm_about_little_information_comes_with_the_verdict(probs: float) -> None:
    found, examples = result(candidate(GOOD, probs)), [Example(str(k), "", None, {}) for k in range(NUM)]
    codes = [alarm.code for alarm in alarms(problem(), found, examples)]
    assert ("little-information" in codes) == (name_of(found) == "nothing")


def test_u_that_changes_with_the_order_is_nothing() -> None:
    unsure = replace(candidate(GOOD, FIRM), us=[0.0, 0.2, 1.2])
    assert name_of(result(unsure)) == "nothing"


def test_without_evidence_the_verdict_is_unknown() -> None:
    measures: list[Measure] = ["logprob", "sum", "margin"]
    assert {name_of(TIED, measure) for measure in measures} == {"unknown"}
    assert name_of(result(candidate(GOOD, FIRM, num_orders=0))) == "unknown"


def test_one_example_is_no_evidence_of_a_lead() -> None:
    one, other = np.array([0]), np.array([1])
    assert lead_by_example(candidate(one, FIRM), candidate(other, FIRM))[1] == np.inf


def test_stated_rates_change_no_verdict() -> None:
    """U weighs all labels alike, so it has the same bound at any rates."""
    labels = np.random.default_rng(2).permutation(np.arange(NUM) < 6).astype(np.int64)
    stated = LabelRates(*np.array([[0.9, 0.1]] * 2))
    for us, name in ((0.25, "weak"), (0.4, "found")):
        found = Result([replace(candidate(labels, FIRM), us=[us] * 3)], None)
        assert verdict(problem(), found).name == name
        assert verdict(replace(problem(), rates=stated), found).name == name


def test_every_verdict_has_its_words() -> None:
    assert set(WORDS) == set(get_args(VerdictName))
    assert len(set(WORDS.values())) == len(WORDS)
    text = str(verdict(problem(), result(candidate(GOOD, FIRM))))
    assert text.startswith("found. U is 0.")
    assert str(Verdict("nothing")) == "nothing coherent."


scores = st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.booleans(), st.booleans()), min_size=4, max_size=30)


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_examples_and_the_names_of_labels_change_nothing(
    drawn: list[tuple[float, float, bool, bool]], random: object
) -> None:
    """A verdict depends on log-probabilities and labels alone: it has no gold, no texts, no ids."""
    ours, theirs, labels, zero_shot = (np.array(column) for column in zip(*drawn, strict=True))
    num = len(drawn)
    order = np.array(getattr(random, "sample")(range(num), num))  # noqa: B009  (hypothesis types it as object)

    def of(order: Ints, exchanged: int) -> Verdict:
        def one(log_odds: Array, names: NDArray[np.bool_]) -> Candidate:
            logprobs = np.stack([-np.logaddexp(0, log_odds), -np.logaddexp(0, -log_odds)], axis=1)[order]
            numbers = names.astype(np.int64)[order]
            if exchanged:
                logprobs, numbers = logprobs[:, ::-1], 1 - numbers
            us = [Objective().u(logprobs, numbers, 0)]
            gains = information_by_example(logprobs, numbers)
            return Candidate(("random",), numbers, us[0], logprobs, us, contributions=gains)

        found, other = one(ours, labels), one(theirs, zero_shot)
        return verdict(problem(num), Result([found, other], PassResult(said(other.labels, 0.7))))

    straight = of(np.arange(num), 0)
    assert of(order, 0).name == straight.name
    assert of(np.arange(num), 1).name == straight.name


# Whole runs on an engine that reads labels off the words: `ay` is hot, `bee` is cool, and `sea` is hot without context,
# cool behind one. So the search finds one label that zero-shot does not, which is weak evidence.

TASK = Task(name="words", template="{text}\nKind:", labels={"hot": " hot", "cool": " cool"})


class WordsTell(FakeEngine):
    """Shots do not count, only that there are some."""

    def _logprobs(self, ids: NDArray[np.int64], target_ids: Sequence[int], seed: int) -> list[float]:
        bounds = np.flatnonzero(np.isin(ids, self._separators))
        query = set(ids[int(bounds[-1]) + 1 if len(bounds) else 0 :].tolist())
        ay, bee, hot = self.tokenizer.encode_many([" ay bee hot"])[0].ids
        odds = 4.0 if ay in query else -4.0 if bee in query else -4.0 if len(bounds) else 2.0
        p_hot = 1 / (1 + np.exp(-odds))
        return [float(np.log(p_hot if target == hot else 1 - p_hot)) for target in target_ids]


@pytest.fixture
async def words(serving: Serving) -> AsyncIterator[ScorerClient]:
    async with serving(engine=WordsTell) as client:
        yield client


def examples() -> list[Example]:
    kinds = ["ay"] * 8 + ["bee"] * 8 + ["sea"]
    return [Example(str(k), f"text {k} {kind}\nKind:", None, {"text": kind}) for k, kind in enumerate(kinds)]


async def test_the_labels_with_the_highest_u_are_written_whatever_their_lead(
    tmp_path: Path, words: ScorerClient
) -> None:
    folder = RunDir(tmp_path / "run")
    folder.prepare()
    done = await label_dataset(folder, examples(), TASK, words, Settings())
    record = RunRecord.read(tmp_path / "run")
    assert [row.label for row in record.rows()] == ["hot"] * 8 + ["cool"] * 9
    assert record.u == max(answer.u for answer in done.metrics.answers)
    assert len(done.metrics.answers) > 1
    assert record.verdict == done.run.verdict == done.metrics.verdict
    assert done.run.verdict.name == "weak"
    assert "not a clear lead" in done.run.verdict.observation
    *_, end = read_lines(tmp_path / "run" / "journal.jsonl")
    assert isinstance(end, EndLine)
    assert (end.verdict, end.labels) == ("weak", done.run.labels.tolist())
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["verdict"]["name"] == "weak"


RARE = (np.arange(NUM) < 9).astype(np.int64)


def at_rates(labels: Ints, share: float, u: float, error: float = 0.03) -> AtRates:
    # Alternating, so that the difference of two has a standard error, too.
    spread = error * np.sqrt(NUM - 1) * np.where(np.random.default_rng(int(1e4 * share)).permutation(NUM) % 2, 1, -1)
    return AtRates(np.array([1 - share, share]), labels, said(labels, 0.8), u, u + spread)


def uneven(*others: AtRates, share: float = 0.15, labels: Ints = RARE) -> Result:
    """The winner is the answer with this share of the rarer label."""
    found = [at_rates(GOOD, 0.5, 0.3), at_rates(labels, share, 0.55), *others]
    return replace(result(candidate(labels, FIRM), candidate(OTHER, 0.6, "zero-shot")), at_rates=found)


def test_labels_at_uneven_rates_that_were_found_are_named_with_the_rates_that_u_cannot_tell_apart() -> None:
    near = at_rates(changed(RARE, 3), 0.09, 0.50)
    far = at_rates(changed(RARE, 6), 0.27, 0.45)
    found = verdict(problem(), uneven(near, far), ["ham", "spam"])
    assert (found.name, found.words) == ("uneven", "uneven, threshold uncertain")
    assert found.observation == (
        "U is 0.55 ± 0.03 nats at rates of ham 0.85, spam 0.15, 0.30 at ham 0.50, spam 0.50; "
        "not clearly lower at ham 0.85 to 0.91, spam 0.09 to 0.15."
    )
    assert "--rates" in found.advice
    assert "--known" in found.advice
    assert "label 1 0.15" in verdict(problem(), uneven()).observation


def test_rates_near_even_ones_are_no_reason_for_doubt() -> None:
    quarter = (np.arange(NUM) < 15).astype(np.int64)
    assert name_of(uneven(share=0.25, labels=quarter)) == "found"
    assert name_of(uneven(share=0.24, labels=quarter)) == "uneven"


def test_uneven_answers_that_do_not_win_are_named_unless_they_are_clearly_less_coherent() -> None:
    level, lower = (
        replace(result(candidate(GOOD, FIRM)), at_rates=[at_rates(GOOD, 0.5, 0.3), at_rates(RARE, 0.15, u)])
        for u in (0.25, 0.15)
    )
    assert level.uneven is lower.uneven is None
    assert name_of(lower) == "found"
    assert name_of(level) == "uneven"
    assert "0.30 ± 0.03 nats at rates of a 0.50, b 0.50; not clearly lower at a 0.50 to 0.85" in (
        verdict(problem(), level, ["a", "b"]).observation
    )
    other = replace(level, at_rates=[at_rates(OTHER, 0.5, 0.3), at_rates(RARE, 0.15, 0.25)])  # not of the winner
    observation = verdict(problem(), other, ["a", "b"]).observation
    assert "; rates were compared for another answer. Its U is 0.30 ± 0.03 nats at rates of a 0.50" in observation
    assert name_of(other) == "uneven"
    even_first = replace(uneven(), at_rates=[at_rates(RARE, 0.15, 0.55)])  # nobody made its rates uneven
    assert even_first.uneven is None
    assert name_of(replace(uneven(), candidates=[candidate(RARE, EVEN)])) == "nothing"
