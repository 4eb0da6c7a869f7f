"""The review page's server: who may ask what, and that no decision is lost."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from tests import planted
from tests.conftest import fake_scorer
from tests.finished import PAIRS, finished
from tests.review_page import Page, lines, served

from icm_annealer.evaluation.agreement import random_order
from icm_annealer.reviewing.handler import MAX_BODY_BYTES
from icm_annealer.reviewing.review import Review
from icm_annealer.reviewing.server import ReviewServer
from icm_annealer.runs.directory import LABELS, REVIEW
from icm_annealer.runs.record import RunRecord
from icm_client import RequestError

NUM = 12
OTHER = {"hot": "cool", "cool": "hot"}
HOSTILE = "</pre><script>alert(1)</script>\u202e"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review")

    async def label() -> None:
        async with fake_scorer() as scorer:
            await finished(scorer, folder / "run", planted.write_task(folder / "data", NUM, task=PAIRS))

    asyncio.run(label())
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def page(run: Path) -> Iterator[Page]:
    with served(run) as page:
        yield page


def test_rows_come_least_certain_first_with_their_texts(page: Page, run: Path) -> None:
    record = RunRecord.read(run)
    rows = record.rows()
    numbers = page.numbers()
    assert numbers == sorted(range(NUM), key=lambda number: rows[number].rank)
    assert page.numbers(order="random") == list(random_order(NUM))
    assert page.numbers(order="data") == list(range(NUM))
    shown = page.get("rows", numbers=f"{numbers[0]},{numbers[1]}")["rows"]
    assert [row["id"] for row in shown] == [record.ids[number] for number in numbers[:2]]
    first = rows[numbers[0]]
    assert shown[0]["text"] == record.examples()[numbers[0]].text
    assert shown[0]["label"] == shown[0]["found"] == first.label
    assert shown[0]["probs"] == list(first.probs.values())
    assert shown[0]["group"] == first.group
    assert page.get("run")["labels"] == ["hot", "cool"]


def test_rows_are_filtered_by_label_certainty_text_and_state(page: Page, run: Path) -> None:
    rows = RunRecord.read(run).rows()
    texts = [example.text for example in RunRecord.read(run).examples()]
    assert set(page.numbers(label="hot")) == {n for n, row in enumerate(rows) if row.label == "hot"}
    assert set(page.numbers(below=0.6)) == {n for n, row in enumerate(rows) if row.certainty <= 0.6}
    assert set(page.numbers(text="WARM")) == {n for n, text in enumerate(texts) if "warm" in text}
    assert page.numbers(text=rows[3].id, order="data")[0] in (3, *range(NUM))
    page.decide(page.row(0), rows[0].label)
    page.decide(page.row(1), OTHER[rows[1].label])
    assert set(page.numbers()) == set(range(2, NUM))
    assert page.numbers(state="decided", order="data") == [0, 1]
    assert page.numbers(state="changed") == [1]
    assert set(page.numbers(state="all", label=OTHER[rows[1].label])) >= {1}
    for wrong in ({"order": "best"}, {"state": "lost"}, {"below": "nan"}, {"below": "much"}):
        answer = page.http.get("numbers", params=wrong)
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]


def test_decisions_are_saved_at_once_and_counted(page: Page, run: Path) -> None:
    order = random_order(NUM)
    first, second = page.row(order[0]), page.row(order[1])
    assert page.decide(first, first["label"]).status_code == 200
    counts = page.decide(second, OTHER[second["label"]]).json()["counts"]
    assert (counts["accepted"], counts["changed"], counts["sampled"], counts["kept"]) == (1, 1, 2, 1)
    assert counts["share"][0] == 0.5
    assert lines(run).decisions == [
        {"format": 1, "id": first["id"], "label": first["label"], "was": first["label"]},
        {"format": 1, "id": second["id"], "label": OTHER[second["label"]], "was": second["label"]},
    ]
    changed = page.row(order[1])
    assert (changed["label"], changed["is_changed"]) == (OTHER[second["label"]], True)
    assert page.decide(changed, None).json()["row"]["label"] == second["label"]  # undone
    assert page.get("run")["counts"]["changed"] == 0
    assert RunRecord.read(run).rows()[order[0]].certainty == 1


def test_of_two_windows_the_later_one_is_asked_again(page: Page, run: Path) -> None:
    with served(run) as other:  # another program, too
        seen, label = page.row(3), page.row(3)["label"]
        assert other.decide(other.row(3), OTHER[label]).status_code == 200
        answer = page.decide(seen, label)
        assert answer.status_code == 409
        assert answer.json()["row"]["label"] == OTHER[label]
        assert len(lines(run).decisions) == 1
        assert page.decide(answer.json()["row"], label).status_code == 200
        assert other.row(3)["label"] == label
        # The same decision twice, as after an answer that was lost, is one.
        assert other.decide(seen, label).status_code == 200
        assert len(lines(run).decisions) == 2


def edit(run: Path, number: int, label: str) -> None:
    rows = lines(run).labels
    rows[number]["label"] = label
    planted.write_rows(run / LABELS, rows)


def test_an_edit_of_the_labels_meanwhile_is_shown_as_a_conflict(page: Page, run: Path) -> None:
    seen = page.row(5)
    found, other = seen["label"], OTHER[seen["label"]]
    edit(run, 5, other)
    assert page.decide(seen, found).status_code == 409  # the row is not as it was seen
    assert page.decide(page.row(5), found).status_code == 200
    assert RunRecord.read(run).rows()[5].label == found
    edit(run, 5, found)
    assert not page.row(5)["is_superseded"]  # now they agree
    assert page.decide(page.row(5), other).status_code == 200
    rows = [row | {"label": OTHER[row["label"]]} if n == 5 else row for n, row in enumerate(lines(run).labels)]
    planted.write_rows(run / LABELS, rows)
    assert page.row(5)["label"] == other
    assert len(lines(run).decisions) == 2


def test_an_edit_after_the_review_is_used_and_shown(run: Path) -> None:
    edit(run, 4, OTHER[RunRecord.read(run).rows()[4].label])
    with served(run) as page:
        row = page.row(4)
        found = row["found"]
        assert row["is_changed"]
        assert page.decide(row, row["label"]).status_code == 200
        edit(run, 4, found)
        row = page.row(4)
        assert (row["label"], row["is_superseded"]) == (found, True)
        assert page.numbers(state="superseded") == [4]
        assert page.decide(row, found).status_code == 200
        assert not page.row(4)["is_superseded"]


def test_a_file_that_cannot_be_read_for_a_while_is_no_end(page: Page, run: Path) -> None:
    content = (run / LABELS).read_bytes()
    (run / LABELS).write_bytes(content[:100])
    answer = page.http.get("rows", params={"numbers": "0"})
    assert answer.status_code == 422
    assert "labels.jsonl" in answer.json()["error"]
    (run / LABELS).write_bytes(content)
    assert page.row(0)["id"]


async def test_another_run_in_the_folder_is_not_reviewed_by_mistake(page: Page, run: Path) -> None:
    seen = page.row(0)
    async with fake_scorer() as scorer:
        await finished(scorer, run, planted.write_task(run.parent / "data", NUM, seed=2))
    answer = page.decide(seen, seen["label"])
    assert answer.status_code == 422
    assert "holds another run now" in answer.json()["error"]
    assert not (run / REVIEW).exists()


class Asked(NamedTuple):
    """An answer's status and its bytes."""

    status: int
    content: bytes


def asked(page: Page, path: str, headers: dict[str, str], method: str = "GET", body: str | None = None) -> Asked:
    """As no well-behaved client asks."""
    where = urlsplit(page.url)
    with contextlib.closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)) as connection:
        connection.putrequest(method, path, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body.encode() if body is not None else None)
        answer = connection.getresponse()
        return Asked(answer.status, answer.read())


def test_nothing_is_answered_without_the_token(page: Page) -> None:
    where = urlsplit(page.url)
    token = where.path.strip("/")
    assert len(token) >= 32
    for path in ("/", "/run", f"/{token[:-1]}/run", f"/{token}x/run", "//run", "/%00/", "/%C3%A9/"):
        assert asked(page, path, {"Host": where.netloc}) == (404, b'{"error": ""}'), path
    assert asked(page, f"/{token}/run", {"Host": where.netloc}).status == 200
    assert asked(page, f"/{token}/../run", {"Host": where.netloc}).status == 404


def test_other_hosts_origins_and_kinds_of_body_are_refused(page: Page, run: Path) -> None:
    where = urlsplit(page.url)
    host = {"Host": where.netloc}
    for wrong in ("evil.example", f"evil.example:{where.port}", "127.0.0.1", ""):
        assert asked(page, f"{where.path}run", {"Host": wrong}).status == 421
    assert asked(page, f"{where.path}run", {}).status == 421
    assert asked(page, f"{where.path}run", {"Host": f"localhost:{where.port}"}).status == 200
    row = page.row(0)
    body = json.dumps({"number": 0, "label": row["label"], "revision": row["revision"]})
    sent = host | {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    path = f"{where.path}decisions"
    refused: list[tuple[dict[str, str], int]] = [
        (sent | {"Origin": "http://evil.example"}, 403),
        (sent | {"Origin": "null"}, 403),
        (sent | {"Content-Type": "text/plain"}, 415),
        (sent | {"Content-Length": str(MAX_BODY_BYTES + 1)}, 413),
        (sent | {"Content-Length": "9" * 30}, 411),
        (sent | {"Content-Length": "-1"}, 411),
        ({name: value for name, value in sent.items() if name != "Content-Length"}, 411),
        (sent | {"Transfer-Encoding": "chunked"}, 411),
    ]
    for headers, status in refused:
        assert asked(page, path, headers, "POST", body).status == status, headers
    assert asked(page, path, sent, "PUT", body).status == 501
    assert asked(page, path, sent, "GET").status == 404
    assert not (run / REVIEW).exists()
    assert asked(page, path, sent | {"Origin": f"http://{where.netloc}"}, "POST", body).status == 200


@pytest.mark.parametrize(
    "body", [b"", b"[", b"\xff", b"[]", b'{"number":0}', b'{"number":"0","label":"hot","revision":""}', b"[" * 60_000]
)
def test_a_body_that_is_no_choice_is_refused(page: Page, body: bytes) -> None:
    answer = page.http.post("decisions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize(("changes", "says"), [({"number": NUM}, "no row 12"), ({"label": "warm"}, "hot, cool")])
def test_a_choice_that_cannot_be_is_refused(page: Page, changes: dict[str, Any], says: str) -> None:
    row = page.row(0)
    choice = {"number": 0, "label": row["label"], "revision": row["revision"]} | changes
    answer = page.http.post("decisions", json=choice)
    assert answer.status_code == 422
    assert says in answer.json()["error"]


@pytest.mark.parametrize("numbers", ["", "x", "1,,2", "-1", "9" * 40, ",".join(["1"] * 21), "\u0661"])
def test_numbers_that_are_none_are_refused(page: Page, numbers: str) -> None:
    assert page.http.get("rows", params={"numbers": numbers}).status_code == 400


def test_the_page_may_load_nothing_and_run_no_text(page: Page) -> None:
    answer = page.http.get("")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    for name in ("page.css", "review.css", "review.js"):
        assert name in answer.text
        assert page.http.get(name).status_code == 200
    script = page.http.get("review.js").text
    assert "innerHTML" not in script
    assert "http" not in answer.text.replace("http-equiv", "") + script


async def test_texts_stay_texts(tmp_path: Path) -> None:
    task_file = planted.write_task(tmp_path / "data", 4)
    rows = planted.rows(4)
    rows[0]["words"] = HOSTILE
    planted.write_rows(tmp_path / "data/data.jsonl", rows)
    async with fake_scorer() as scorer:
        await finished(scorer, tmp_path / "run", task_file)
    with served(tmp_path / "run") as page:
        assert page.row(0)["text"] == f"Words: {HOSTILE}\nKind:"
        assert page.http.get("rows", params={"numbers": "0"}).headers["Content-Type"] == "application/json"


def test_only_this_machine_is_served(run: Path) -> None:
    with ReviewServer(Review(run)) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        with pytest.raises(RequestError, match=rf"port {server.port} of 127\.0\.0\.1: .*--port"):
            ReviewServer(Review(run), server.port)


def test_a_connection_that_says_nothing_holds_up_no_other(page: Page) -> None:
    where = urlsplit(page.url)
    with socket.create_connection((where.hostname or "", where.port or 0)) as silent:
        silent.send(b"GET /")
        assert page.row(0)["id"]
