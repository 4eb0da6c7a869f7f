"""The review page of a run, served in this process, and what a page in a browser asks of it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from icm_annealer.reviewing.review import Review
from icm_annealer.reviewing.server import ReviewServer


class Page:
    """One window."""

    def __init__(self, url: str):
        self.url = url
        self.http = httpx.Client(base_url=url, trust_env=False)

    def get(self, path: str, **fields: object) -> Any:
        answer = self.http.get(path, params={name: str(value) for name, value in fields.items()})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def numbers(self, **fields: object) -> list[int]:
        found: list[int] = self.get("numbers", **fields)["numbers"]
        return found

    def row(self, number: int) -> Any:
        return self.get("rows", numbers=number)["rows"][0]

    def decide(self, row: Any, label: str | None) -> httpx.Response:
        choice = {"number": row["number"], "label": label, "revision": row["revision"]}
        return self.http.post("decisions", json=choice)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Page]:
    """A window onto the run in `folder`, whose server ends with it."""
    with ReviewServer(Review(folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        page = Page(server.url)
        try:
            yield page
        finally:
            page.http.close()
            server.shutdown()
            thread.join()


class Lines(NamedTuple):
    """A run's own files, as they lie there."""

    labels: list[dict[str, Any]]
    decisions: list[dict[str, Any]]


def lines(folder: Path) -> Lines:
    def read(name: str) -> list[dict[str, Any]]:
        path = folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return Lines(read("labels.jsonl"), read("review.jsonl"))
