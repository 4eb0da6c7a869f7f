"""What a rehearsal says that work costs is what it costs on a scorer that remembers nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests import planted
from tests.conftest import Serving, fake_scorer
from tests.finished import PAIRS
from tests.hand_clock import HandClock

from icm_annealer.api.job import LabelJob
from icm_annealer.cli.shared.dry_run import DryRun
from icm_annealer.cli.shared.price import Price
from icm_annealer.labelling.label_dataset import label_dataset
from icm_annealer.runs.costs import read_costs
from icm_annealer.runs.directory import RunDir
from icm_annealer.scoring.context_fit import ContextFit
from icm_annealer.scoring.forecast import Rehearsed, forecast
from icm_annealer.scoring.limited_scorer import BudgetSpentError, LimitedScorer
from icm_annealer.scoring.measured_rate import measured_rate
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import LongRehearsalError, Rehearsal
from icm_annealer.searches.blocks import BlockSettings
from icm_annealer.searches.joint import JointSettings
from icm_annealer.searches.settings import Settings
from icm_client import ScoreRequest, ScoreResponse

LONG_LABELS = planted.TASK.replace('" hot"', '" very hot indeed"').replace('" cool"', '" cool or cold"')
"""Labels of several tokens, whose tries have several reads."""
FIXED = {
    "blocks": BlockSettings(max_passes=2, max_chains=2, num_final_orders=1),
    "joint": JointSettings(num_rounds=1),
    "bootstrap": None,
}
"""Searches whose passes do not depend on the answers, or hardly."""


async def costs(folder: Path, task_file: Path, scorer: Scorer, search: str) -> list[int]:
    """The computed tokens of each pass, and of what is asked again at the end."""
    loaded_task, loaded = planted.load(task_file)
    settings = Settings(search=search, options=FIXED[search])
    await label_dataset(RunDir(folder), loaded.examples, loaded_task.task, scorer, settings)
    return [cost.computed_tokens for cost in read_costs(folder)]


@pytest.mark.parametrize(
    "task", [pytest.param(planted.TASK, marks=pytest.mark.slow), LONG_LABELS], ids=["short labels", "long labels"]
)
@pytest.mark.parametrize("search", FIXED)
async def test_tokens_are_those_of_the_run(tmp_path: Path, serving: Serving, search: str, task: str) -> None:
    # The fewer examples, the more a pass of bootstrap depends on what the one before it found.
    task_file = planted.write_task(tmp_path / "data", 64 if search == "bootstrap" else 40, task=task)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with serving() as scorer:
        spent = await costs(tmp_path / "a", task_file, scorer, search)
        rehearsal = Rehearsal(scorer)
        counted = await costs(tmp_path / "b", task_file, rehearsal, search)
    assert rehearsal.usage.computed_tokens == sum(counted)
    num = 7 if search == "blocks" else len(spent)  # how many answers it evaluates depends on what was found
    # How many shots the final passes leave out, so that no label is far commoner than another, depends on the labels.
    assert sum(counted[:num]) == pytest.approx(sum(spent[:num]), rel=0.1)
    assert len(counted) == len(spent) or search == "blocks"


class Slow:
    """A scorer with a clock: so many seconds for each token that it computes, and for each request."""

    def __init__(self, scorer: Scorer, clock: HandClock, token_s: float, request_s: float):
        self._scorer, self._clock, self._token_s, self._request_s = scorer, clock, token_s, request_s
        self.model, self.count_tokens = scorer.model, scorer.count_tokens

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        answer = await self._scorer.score(request)
        self._clock.now += self._request_s + self._token_s * answer.usage.computed_tokens
        return answer


@pytest.mark.parametrize("token_s", [0.0005, pytest.param(0.02, marks=pytest.mark.slow)])
async def test_seconds_are_those_of_the_run(tmp_path: Path, token_s: float) -> None:
    """Of a fast scorer whole requests are measured, of a slow one parts."""
    loaded_task, loaded = planted.load(planted.write_task(tmp_path / "data", 24))
    settings = Settings(search="bootstrap")
    async with fake_scorer() as scorer:
        clock = HandClock()
        slow = Slow(scorer, clock, token_s, 0.01)
        job = LabelJob(loaded_task.task, loaded, loaded.examples, settings, None, RunDir(tmp_path / "run"))  # type: ignore[arg-type]
        found = await forecast(slow, job.rehearse, clock=lambda: clock.now)
        assert found.measured_s < 15
        start = clock.now
        await label_dataset(RunDir(tmp_path), loaded.examples, loaded_task.task, slow, settings)
    spent = sum(cost.computed_tokens for cost in read_costs(tmp_path))
    assert found.computed_tokens == pytest.approx(spent, rel=0.15)
    assert found.seconds == pytest.approx(clock.now - start, rel=0.25)
    assert 0 < found.window_share < 0.1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("search", ["zero_shot", pytest.param("blocks", marks=pytest.mark.slow)])
async def test_what_is_spent_lies_between_the_least_and_the_most(tmp_path: Path, search: str) -> None:
    """A clear case, whose cost is nearly the least, and one in which nothing is found."""
    loaded_task, loaded = planted.load(planted.write_task(tmp_path / "data", 24, task=PAIRS))
    noise = loaded._replace(examples=[replace(one, text=f"{one.id}-{one.id}") for one in loaded.examples])
    for number, data in enumerate((loaded, noise)):
        async with fake_scorer() as scorer:
            job = LabelJob(
                loaded_task.task, data, data.examples, Settings(search=search), None, RunDir(tmp_path / "run")
            )  # type: ignore[arg-type]
            found = await forecast(scorer, job.rehearse, measuring_s=0.0)
            place = tmp_path / str(number)
            place.mkdir()
            await label_dataset(RunDir(place), data.examples, loaded_task.task, scorer, job.settings)
        spent = sum(cost.computed_tokens for cost in read_costs(place))
        assert found.least_tokens <= spent <= found.most_tokens
        assert found.least_tokens <= found.computed_tokens <= found.most_tokens
        if search == "zero_shot":  # all its stages are in every run
            assert (found.least_tokens, found.most_tokens) == pytest.approx((spent, spent), rel=0.1)
        else:
            assert found.most_tokens > 2 * found.least_tokens


async def test_stages_that_no_rehearsal_has_together_are_added() -> None:
    """By one scenario the first stage is short and the second long, by another the reverse."""
    request = ScoreRequest(segments=["a b c", " d"], prefixes=[[None, 0]], prompts=[[0, 1]], labels=[[" x"], [" y"]])

    async def work(rehearsal: Rehearsal) -> Rehearsed:
        await rehearsal.score(request)
        stages = {"all": 1, "one": 2} if rehearsal.number % 2 else {"all": 1, "other": 3}
        return Rehearsed(stages=stages)

    async with fake_scorer() as scorer:
        found = await forecast(scorer, work, num_times=100, measuring_s=0.0)
    whole = found.computed_tokens / 100
    assert (found.least_tokens, found.most_tokens) == (
        round(95 * (1 + whole - 4)),
        round(105 * (1 + 2 + 3 + whole - 3)),
    )


async def test_contexts_that_are_cut_are_told_before_anything_is_scored(tmp_path: Path) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path / "data", 80))
    task, settings, said = loaded_task.task, Settings(search="zero_shot"), list[object]()
    async with fake_scorer(max_prompt_tokens=200) as scorer:
        job = LabelJob(task, loaded, loaded.examples, settings, None, RunDir(tmp_path / "run"))  # type: ignore[arg-type]
        found = await forecast(scorer, job.rehearse, varies=False, measuring_s=0.0)
        assert found.cut is not None
        (tmp_path / "a").mkdir()
        await label_dataset(
            RunDir(tmp_path / "a"), loaded.examples, task, scorer, settings, on_pass=said.append, on_cut=said.append
        )
        assert said[0] == found.cut
        assert found.cut.num_shots < found.cut.num_wanted == 40
        (line,) = (line for line in DryRun(Price(None, None)).lines(found) if line.startswith("Contexts are cut: "))
        assert f"a core of at most {found.cut.num_core} rows" in line
        (tmp_path / "b").mkdir()
        core = loaded.examples[: found.cut.num_core]
        await label_dataset(RunDir(tmp_path / "b"), core, task, scorer, settings, on_cut=said.append)
    assert len(said) > 1
    assert [one for one in said if isinstance(one, ContextFit)] == [found.cut]


async def test_long_work_is_extrapolated(tmp_path: Path) -> None:
    clock = HandClock()

    async def work(rehearsal: Rehearsal) -> Rehearsed:
        request = ScoreRequest(
            segments=["a b c", " d"], prefixes=[[None, 0]], prompts=[[0, 1]], labels=[[" x"], [" y"]]
        )
        await rehearsal.score(request)
        clock.now += 1000.0
        with pytest.raises(LongRehearsalError):
            await rehearsal.score(request)
        return Rehearsed(share=0.01)

    async with fake_scorer() as scorer:
        found = await forecast(scorer, work, varies=False, clock=lambda: clock.now)
        assert (found.num_requests, found.prompt_tokens, found.share) == (100, 400, 0.01)
        again = await forecast(scorer, work, num_times=3, varies=False, clock=lambda: clock.now)
        assert again.num_requests == 300


async def test_a_scorer_that_computes_nothing_has_no_rate() -> None:
    request = ScoreRequest(segments=["a", "b"], prefixes=[[None, 0]], prompts=[[0, 1]], labels=[[" x"], [" y"]])
    clock = HandClock()
    async with fake_scorer() as scorer:
        await scorer.score(request)
        rate = await measured_rate(scorer, [request], 10.0, lambda: clock.now)
    assert not rate.parts
    assert rate.tokens_per_s != rate.tokens_per_s  # NaN


async def test_the_speed_is_that_of_a_machine_that_does_nothing_else() -> None:
    """It is three times as slow for four of the ten seconds that are measured."""
    request = ScoreRequest(
        segments=["a b c", *(f" d{number}" for number in range(2000))],
        prefixes=[[None, 0]],
        prompts=[[0, 1 + number] for number in range(2000)],
        labels=[[" x"], [" y"]],
    )
    clock, token_s = HandClock(), 0.002
    start = clock.now

    class Busy(Slow):
        async def score(self, request: ScoreRequest) -> ScoreResponse:
            self._token_s = 3 * token_s if 3 <= clock.now - start < 7 else token_s
            return await super().score(request)

    async with fake_scorer() as scorer:
        rate = await measured_rate(Busy(scorer, clock, token_s, 0.0), [request], 10.0, lambda: clock.now)
        assert clock.now - start < 15.0
    assert rate.tokens_per_s == pytest.approx(1 / token_s, rel=0.1)
    assert rate.parts[-1].tokens_per_s < 0.5 * rate.tokens_per_s  # which the spread tells


async def test_a_limited_scorer_ends_at_its_tokens_or_its_time() -> None:
    clock = HandClock()

    def request(number: int) -> ScoreRequest:
        return ScoreRequest(prompts=[f"prompt number {number} is"], labels=[" x", " y"])

    async with fake_scorer() as scorer:
        limited = LimitedScorer(scorer, 6, None)
        assert (await limited.score(request(0))).usage.computed_tokens == 4
        await limited.score(request(1))
        with pytest.raises(BudgetSpentError):
            await limited.score(request(2))
        timed = LimitedScorer(scorer, None, 5.0, lambda: clock.now)
        await timed.score(request(3))
        clock.now += 5.0
        with pytest.raises(BudgetSpentError):
            await timed.score(request(4))
