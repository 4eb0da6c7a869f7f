"""The journal is the run: stopped anywhere and resumed, it ends as if it had never been stopped."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import planted
from tests.conftest import Serving, fake_scorer
from tests.finished import HEADER

from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.labelling.label_dataset import Labelling, label_dataset
from icm_annealer.runs.directory import COSTS, JOURNAL, LABELS, RESCORE, RunDir
from icm_annealer.runs.journal import Journal, JournalError
from icm_annealer.runs.record import RunRecord
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest, PassResult, Scorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.searches.blocks import BlockSettings
from icm_annealer.searches.official import OfficialSettings
from icm_annealer.searches.settings import Settings
from icm_client import ModelInfo, RequestError, ScorerClient, ScoreRequest, ScoreResponse, UnavailableError

BLOCKS = BlockSettings(num_chains=2, max_passes=2, num_final_orders=2)
SETTINGS = Settings(seed=3, options=BLOCKS)
OFFICIAL = Settings(seed=1, search="official", options=OfficialSettings(iterations_per_example=1.0))


class Data:
    """Examples and task of a planted data set."""

    def __init__(self, folder: Path, num: int = 12, seed: int = 0):
        loaded_task, loaded = planted.load(planted.write_task(folder, num, seed=seed))
        self.task: Task = loaded_task.task
        self.examples: list[Example] = loaded.examples


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / "data")


async def run(
    folder: Path,
    data: Data,
    scorer: Scorer,
    settings: Settings = SETTINGS,
    *,
    resume: bool = False,
) -> Labelling:
    place = RunDir(folder)
    place.prepare(resume=resume)
    return await label_dataset(place, data.examples, data.task, scorer, settings, resume=resume)


def cuts(content: bytes, num: int = 12) -> Iterator[int]:
    """Where a write may have ended: at and around the ends of lines, and at places in between."""
    ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    around = {0, 1, ends[0] // 2, *(end + by for end in ends for by in (-1, 0, 1))}
    between = np.random.default_rng(0).integers(1, len(content), size=num).tolist()
    yield from sorted(cut for cut in {*around, *between} if cut <= len(content))


class Counted:
    """A scorer that counts, and that breaks down at its `last` request if one is named."""

    def __init__(self, scorer: Scorer, last: int | None = None):
        self._scorer, self._last = scorer, last
        self.num_requests = 0

    async def model(self) -> ModelInfo:
        return await self._scorer.model()

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        self.num_requests += 1
        if self._last is not None and self.num_requests > self._last:
            raise UnavailableError("the scorer went away")
        return await self._scorer.score(request)


@pytest.mark.slow
async def test_a_run_that_finds_uneven_rates_is_resumed_among_its_passes_with_hidden_shots(
    tmp_path: Path, scorer: ScorerClient
) -> None:
    task_file, rng = planted.write_task(tmp_path / "data", 8), np.random.default_rng(0)
    drawn = [("hot", planted.WARM)] * 12 + [("cool", planted.COLD)] * 68
    rows = [
        {"id": f"row-{k}", "words": " ".join(rng.choice(words, 4, replace=False)), "label": label}
        for k, (label, words) in enumerate(drawn)
    ]
    planted.write_rows(tmp_path / "data" / "data.jsonl", [rows[k] for k in rng.permutation(80)])
    loaded_task, loaded = planted.load(task_file)
    settings = Settings(options=BlockSettings(num_chains=2, max_passes=4, num_hot_passes=1))

    async def labelled(*, resume: bool) -> Labelling:
        place = RunDir(tmp_path / "run")
        place.prepare(resume=resume)
        return await label_dataset(place, loaded.examples, loaded_task.task, scorer, settings, resume=resume)

    whole = await labelled(resume=False)
    assert whole.metrics.at_rates is not None
    assert [one.is_winner for one in whole.metrics.at_rates].count(True) == 1
    assert whole.metrics.verdict.name == "uneven"
    assert "uneven-labels" not in [alarm.code for alarm in whole.alarms]
    assert dict.fromkeys(whole.metrics.label_rates) == dict.fromkeys(RunRecord.read(tmp_path / "run").rates)
    journal = (tmp_path / "run" / JOURNAL).read_bytes()
    lines = journal.splitlines(keepends=True)
    hiding = [number for number, line in enumerate(lines) if b'"hidden":[' in line]
    assert len(hiding) > 3
    (tmp_path / "run" / JOURNAL).write_bytes(b"".join(lines[: hiding[len(hiding) // 2] + 1]))
    again = await labelled(resume=True)
    assert (tmp_path / "run" / JOURNAL).read_bytes() == journal
    assert again.metrics.at_rates == whole.metrics.at_rates


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SETTINGS, OFFICIAL], ids=["blocks", "official"])
async def test_a_run_killed_at_any_byte_resumes_to_the_same(
    tmp_path: Path, data: Data, scorer: ScorerClient, settings: Settings
) -> None:
    whole = await run(tmp_path / "whole", data, scorer, settings)
    journal, labels = (tmp_path / "whole" / JOURNAL).read_bytes(), (tmp_path / "whole" / LABELS).read_text()
    places = list(cuts(journal))
    for cut in places if settings is SETTINGS else places[:: max(1, len(places) // 15)]:
        folder = tmp_path / "again" / "whole"
        folder.mkdir(parents=True, exist_ok=True)
        for name in (LABELS, RESCORE):
            (folder / name).unlink(missing_ok=True)
        (folder / JOURNAL).write_bytes(journal[:cut])
        counted = Counted(scorer)
        again = await run(folder, data, counted, settings, resume=True)
        assert (folder / JOURNAL).read_bytes() == journal, f"cut at {cut}"
        assert (folder / LABELS).read_text() == labels
        assert (again.run.result.winner.us, again.run.num_passes) == (whole.run.result.winner.us, whole.run.num_passes)
        num_known = journal[: journal.rfind(b"\n", 0, cut) + 1].count(b'{"kind":"pass"')
        # The scorer remembers the whole run, so some of the last pass is asked again only where it was recorded.
        assert counted.num_requests == (whole.run.num_passes - num_known or 1)
    counted = Counted(scorer)
    await run(folder, data, counted, settings, resume=True)
    assert counted.num_requests == 0  # a finished run asks nothing


@pytest.mark.parametrize("last", [0, 1, 2, 4, 7])
async def test_a_run_whose_scorer_broke_down_can_be_resumed(
    tmp_path: Path, data: Data, scorer: ScorerClient, last: int
) -> None:
    await run(tmp_path / "whole", data, scorer)
    with pytest.raises(UnavailableError):
        await run(tmp_path / "broken", data, Counted(scorer, last))
    assert len((tmp_path / "broken" / JOURNAL).read_bytes().splitlines()) <= last + 1
    await run(tmp_path / "broken", data, scorer, resume=True)
    assert (tmp_path / "broken" / JOURNAL).read_bytes() == (tmp_path / "whole" / JOURNAL).read_bytes()


async def test_a_run_stopped_before_its_journal_began_is_resumed_as_a_new_one(
    tmp_path: Path, data: Data, scorer: ScorerClient
) -> None:
    RunDir(tmp_path / "early").prepare()
    await run(tmp_path / "early", data, scorer, resume=True)
    await run(tmp_path / "whole", data, scorer)
    assert (tmp_path / "early" / JOURNAL).read_bytes() == (tmp_path / "whole" / JOURNAL).read_bytes()


async def test_what_a_run_has_cost_is_that_of_all_its_processes(
    tmp_path: Path, data: Data, scorer: ScorerClient
) -> None:
    await unfinished(tmp_path / "run", data, scorer)
    resumed = await run(tmp_path / "run", data, scorer, resume=True)
    costs = [json.loads(line) for line in (tmp_path / "run" / COSTS).read_text().splitlines()]
    assert [cost["pass"] for cost in costs] == [*range(1, resumed.run.num_passes + 1), None]
    metrics = resumed.metrics
    for name in ("prompt_tokens", "computed_tokens", "cached_tokens"):
        assert getattr(metrics, name) == sum(cost[name] for cost in costs)
    assert metrics.search_seconds == pytest.approx(sum(cost["waited"] for cost in costs[:-1]))


async def test_labels_that_were_corrected_stay_when_a_finished_run_is_resumed(
    tmp_path: Path, data: Data, scorer: ScorerClient
) -> None:
    await run(tmp_path / "run", data, scorer)
    path = tmp_path / "run" / LABELS
    corrected = path.read_text().replace('"label": "hot"', '"label": "cool"', 1)
    path.write_text(corrected)
    assert (await run(tmp_path / "run", data, scorer, resume=True)).had_ended
    assert path.read_text() == corrected


async def unfinished(folder: Path, data: Data, scorer: ScorerClient) -> bytes:
    """A run that stopped after three passes; returns its journal."""
    with pytest.raises(UnavailableError):
        await run(folder, data, Counted(scorer, 3))
    return (folder / JOURNAL).read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that stopped after three passes, which no test changes."""
    folder = tmp_path_factory.mktemp("made")

    async def make() -> None:
        async with fake_scorer() as scorer:
            await unfinished(folder / "run", Data(folder / "data"), scorer)

    asyncio.run(make())
    return folder / "run"


@pytest.fixture
def stopped(made: Path, tmp_path: Path) -> Path:
    """A copy of that run, of the examples in `data`."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (SETTINGS.model_copy(update={"seed": 4}), "settings: seed was 3, is now 4"),
        (SETTINGS.model_copy(update={"measure": "margin"}), 'measure was "information", is now "margin"'),
        (SETTINGS.model_copy(update={"plan": "fixed"}), "plan"),
        (SETTINGS.model_copy(update={"options": replace(BLOCKS, num_chains=3)}), "num_chains was 2, is now 3"),
        (OFFICIAL, "search"),
    ],
)
async def test_other_settings_do_not_continue_a_run(
    stopped: Path, data: Data, scorer: ScorerClient, settings: Settings, says: str
) -> None:
    before = (stopped / JOURNAL).read_bytes()
    with pytest.raises(JournalError) as raised:
        await run(stopped, data, scorer, settings, resume=True)
    assert says in raised.value.message
    assert "\n" not in raised.value.message
    assert (stopped / JOURNAL).read_bytes() == before


async def test_other_data_do_not_continue_a_run(tmp_path: Path, data: Data, scorer: ScorerClient) -> None:
    before = await unfinished(tmp_path / "run", data, scorer)
    with pytest.raises(JournalError, match="other data"):
        await run(tmp_path / "run", Data(tmp_path / "other", seed=1), scorer, resume=True)
    assert (tmp_path / "run" / JOURNAL).read_bytes() == before


async def test_another_task_does_not_continue_a_run(tmp_path: Path, data: Data, scorer: ScorerClient) -> None:
    before = await unfinished(tmp_path / "run", data, scorer)
    data.task = data.task.model_copy(update={"labels": {"hot": " hot", "cool": " cold"}})
    with pytest.raises(JournalError, match="another task: labels"):
        await run(tmp_path / "run", data, scorer, resume=True)
    assert (tmp_path / "run" / JOURNAL).read_bytes() == before


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ({"seed": 1}, "another model: digest"),
        ({"max_prompt_tokens": 80}, "another window: max_prompt_tokens was 8191, is now 80"),
    ],
)
async def test_another_model_or_window_does_not_continue_a_run(
    tmp_path: Path, data: Data, scorer: ScorerClient, serving: Serving, engine: dict[str, int], says: str
) -> None:
    before = await unfinished(tmp_path / "run", data, scorer)
    async with serving(**engine) as other:
        with pytest.raises(JournalError, match=says):
            await run(tmp_path / "run", data, other, resume=True)
    assert (tmp_path / "run" / JOURNAL).read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "noise", "list", "empty"])
async def test_a_damaged_line_is_named(stopped: Path, data: Data, scorer: ScorerClient, damage: str) -> None:
    path = stopped / JOURNAL
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = {"cut": lines[2][:50] + b"\n", "noise": b"\0\xff\n", "list": b"[1]\n", "empty": b"\n"}[damage]
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match=r"line 3: "):
        await run(stopped, data, scorer, resume=True)
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("logprobs", 0, 0), math.nan, "logprobs.0.0: Input should be a finite number"),
        (("logprobs", 0, 0), 50.0, "logprobs: 50.0 is not a log-probability"),
        (("logprobs", 0, 0), "-1.0", "logprobs.0.0: Input should be a valid number"),
        (("logprobs", 0, 0), 10**400, "logprobs.0.0: "),
        (("logprobs", 0), [-1.0], "logprobs: not 12 rows of 2 numbers"),
        (("logprobs",), [[-1.0, -1.0]] * 11, "logprobs: not 12 rows of 2 numbers"),
        (("logprobs",), None, "logprobs: "),
        (("num_dropped",), -1, "num_dropped: "),
        (("num_dropped",), True, "num_dropped: "),
        (("number",), [], "number: "),
        (("request",), {}, "request.purpose: Field required"),
        (("request", "labels"), [0], "request.labels: 1 of them for 12 examples"),
        (("request", "labels", 0), 2, "request.labels: not numbers of the task's 2 labels"),
        (("request", "queries"), [12], "request.queries: not numbers of the examples"),
        (("u",), math.inf, "u: Input should be a finite number"),
        (("kind",), "passed", 'kind: neither "pass" nor "end"'),
        (("kind",), "start", 'kind: neither "pass" nor "end"'),
    ],
)
async def test_answers_are_checked_as_a_scorers_are(
    stopped: Path, data: Data, scorer: ScorerClient, place: tuple[Any, ...], value: Any, says: str
) -> None:
    path = stopped / JOURNAL
    lines = path.read_text().splitlines()
    line: Any = json.loads(lines[2])
    inner = line
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    lines[2] = json.dumps(line)
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    with pytest.raises(JournalError) as raised:
        await run(stopped, data, scorer, resume=True)
    assert raised.value.message.startswith(f"{path}, line 3: {says}")
    assert f"first 2 lines, and `icm resume {path.parent}` (resume=True in Python) asks again" in raised.value.message
    assert "\n" not in raised.value.message
    assert path.read_bytes() == before
    assert not (stopped / LABELS).exists()


async def test_a_journal_cut_before_a_damaged_line_is_resumed(stopped: Path, data: Data, scorer: ScorerClient) -> None:
    """As the error says to do."""
    path = stopped / JOURNAL
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    await run(stopped, data, scorer, resume=True)
    assert "NaN" not in (stopped / LABELS).read_text()


@pytest.mark.parametrize("key", ["ids", "task", "settings", "model", "data", "window"])
async def test_a_first_line_that_lacks_something_continues_nothing(
    stopped: Path, data: Data, scorer: ScorerClient, key: str
) -> None:
    path = stopped / JOURNAL
    first, *others = path.read_text().splitlines()
    header = json.loads(first)
    del header[key]
    path.write_text("\n".join([json.dumps(header), *others]) + "\n")
    with pytest.raises(JournalError, match=f"line 1: {key}: Field required"):
        await run(stopped, data, scorer, resume=True)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"first": 1}', b'{"first": [[0.0]], "again": [[NaN]]}'])
async def test_a_damaged_repeat_is_asked_again(
    tmp_path: Path, data: Data, scorer: ScorerClient, content: bytes
) -> None:
    spread = (await run(tmp_path / "run", data, scorer)).metrics.rescore_spread
    (tmp_path / "run" / RESCORE).write_bytes(content)
    async with fake_scorer() as other:  # remembers nothing, so that it can be asked
        (tmp_path / "run" / JOURNAL).write_bytes(b"")
        again = await run(tmp_path / "run", data, other, resume=True)
    assert again.metrics.rescore_spread == spread
    assert "NaN" not in (tmp_path / "run" / RESCORE).read_text()


@pytest.mark.parametrize("change", ["labels", "missing"])
async def test_answers_to_other_questions_are_refused(
    tmp_path: Path, data: Data, scorer: ScorerClient, change: str
) -> None:
    await unfinished(tmp_path / "run", data, scorer)
    path = tmp_path / "run" / JOURNAL
    lines = path.read_text().splitlines()
    if change == "labels":
        second: dict[str, Any] = json.loads(lines[2])
        second["request"]["labels"] = [each if each < 0 else 1 - each for each in second["request"]["labels"]]
        lines[2] = json.dumps(second)
    else:
        del lines[1]
    path.write_text("\n".join(lines) + "\n")
    before = path.read_bytes()
    with pytest.raises(JournalError, match="asks something else"):
        await run(tmp_path / "run", data, scorer, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ('{"kind":"pass"}', "line 1: kind: Input should be 'start'"),
        ('{"kind":"start","format":0}', "line 1: format: 0 is not 1"),
        ('{"kind":"start","format":2}', r"was written by a newer version \(format 2; this one reads 1\): upgrade"),
        ("{}", "line 1: settings: Field required"),
    ],
)
async def test_a_file_that_is_no_journal_is_refused(
    tmp_path: Path, data: Data, scorer: ScorerClient, first: str, says: str
) -> None:
    path = tmp_path / "run" / JOURNAL
    path.parent.mkdir()
    path.write_text(first + "\n")
    with pytest.raises(RequestError, match=says):
        await run(tmp_path / "run", data, scorer, resume=True)
    assert path.read_text() == first + "\n"


def test_which_shots_were_hidden_is_kept(tmp_path: Path) -> None:
    labels, order = np.array([0, 1]), np.arange(2)
    whole = PassRequest(labels, np.arange(2), order, PlanKind("folds", 2))
    hidden = replace(whole, hidden=(1,))
    answer = PassResult(np.log([[0.5, 0.5], [0.25, 0.75]]))
    journal = Journal.begin(tmp_path / JOURNAL, HEADER)
    for number, request in enumerate((whole, hidden), start=1):
        journal.write_pass(PassEvent(number, request, answer, None, None, 0, [0.5, 0.5], False, 0.0, 0))
    journal.close()
    _, first, second = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    assert "hidden" not in first["request"]
    assert second["request"]["hidden"] == [1]
    resumed = Journal.resume(tmp_path / JOURNAL, HEADER)
    assert resumed.recorded_pass(whole) is not None
    again = resumed.recorded_pass(hidden)
    assert again is not None
    assert again.logprobs == pytest.approx(answer.logprobs)
    resumed.close()
    other = Journal.resume(tmp_path / JOURNAL, HEADER)
    with pytest.raises(JournalError, match="asks something else"):
        other.recorded_pass(hidden)
    other.close()
    text = (tmp_path / JOURNAL).read_text()
    (tmp_path / JOURNAL).write_text(text.replace('"hidden":[1]', '"hidden":[2]'))
    with pytest.raises(JournalError, match=r"line 3: request\.hidden: not numbers of the examples"):
        Journal.resume(tmp_path / JOURNAL, HEADER)


def test_a_run_that_is_there_is_not_begun_again(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    Journal.begin(path, HEADER).close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="already holds a run"):
        Journal.begin(path, HEADER)
    assert path.read_bytes() == before


async def test_the_journal_holds_no_times_and_no_texts(tmp_path: Path, data: Data, scorer: ScorerClient) -> None:
    await run(tmp_path / "run", data, scorer)
    content = (tmp_path / "run" / JOURNAL).read_text()
    lines = [json.loads(line) for line in content.splitlines()]
    assert [line["kind"] for line in lines] == ["start", *["pass"] * (len(lines) - 2), "end"]
    assert not any("second" in key or "time" in key for line in lines for key in line)
    assert [line["number"] for line in lines[1:-1]] == list(range(1, len(lines) - 1))
    assert not any(example.text in content for example in data.examples)
