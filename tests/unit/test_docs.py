"""The pages of docs/ cannot rot: the walk-through is followed, examples are loaded, commands have their options."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from tests import commands_page
from tests.http_app import running
from tests.icm_command import Icm

import icm_annealer
import icm_client
from icm_annealer.cli.app import app as icm
from icm_annealer.data.task import Task
from icm_annealer.labelling.alarm import AlarmKind
from icm_annealer.labelling.alarms import ALARMS
from icm_annealer.labelling.verdict import MIN_COHERENT, MIN_FOUND
from icm_annealer.rules.python import PythonRule
from icm_annealer.rules.registry import RULES, rule_of
from icm_annealer.runs.schema.verdict import WORDS
from icm_annealer.sweeping.spec import SweepSpec
from icm_server.cli.app import app as icm_server
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RULES_AND_ALARMS = ROOT / "docs/rules_and_alarms.md"
COMMANDS = {"icm": typer.main.get_command(icm), "icm-server": typer.main.get_command(icm_server)}


class Block(NamedTuple):
    """One block of code in a page."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.finditer(r'^```(\w*)(?: title="([^"\n]*)")?\n(.*?)^```$', page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(match[1], match[2] or "", match[3]) for match in found]


class Reader:
    """Follows a page in an empty folder: saves its files and runs its commands, block by block, but for the
    installation. `icm` runs in this process, all else in a shell."""

    def __init__(self, folder: Path, icm_command: Icm, monkeypatch: pytest.MonkeyPatch):
        self._folder, self._icm = folder, icm_command
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)

    def follow(self, page: Path) -> None:
        out = ""
        for block in blocks(page):
            if block.language == "sh" and block.title != "in the repository":
                lines = block.text.splitlines()
                if all(line.startswith("icm ") for line in lines):
                    out = "".join(self._run_icm(line) for line in lines)
                else:
                    shell = ["bash", "-euo", "pipefail", "-c", block.text]
                    ended = subprocess.run(shell, capture_output=True, text=True, check=False)
                    assert ended.returncode == 0, (block.text, ended)
                    out = ended.stdout
            elif block.title == "what it prints":
                assert block.text in out
            elif re.fullmatch(r"[\w.]+\.\w+", block.title):
                (self._folder / block.title).write_text(block.text)

    def _run_icm(self, line: str) -> str:
        ended = self._icm(*shlex.split(line)[1:])
        assert ended.code == 0, (line, ended)
        return ended.out


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Reader]:
    """Who has a fake model, since nothing here depends on how good labels are; all else is as a page says."""

    async def make_engine() -> FakeEngine:
        return FakeEngine()

    with running(create_app(make_engine)) as url:
        monkeypatch.setenv("ICM_SCORER_URL", url)
        yield Reader(tmp_path, Icm(monkeypatch, capsys), monkeypatch)


@pytest.mark.slow
def test_the_walk_through_can_be_followed(reader: Reader, tmp_path: Path) -> None:
    reader.follow(ROOT / "docs/own_task.md")
    runs = tmp_path / "runs"
    assert len((runs / "articles/labels.jsonl").read_text().splitlines()) == 96
    assert json.loads((runs / "articles/eval.json").read_text())["num_test"] == 48
    assert (runs / "articles/export.csv").read_text().count(",articles,") == 96
    assert "articles" in (runs / "articles/report.html").read_text()
    assert "again" in (tmp_path / "compared.html").read_text()
    assert len([json.loads(line)["completion"] for line in (tmp_path / "train.jsonl").read_text().splitlines()]) == 80


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tasks_and_rules_are_such(page: Path) -> None:
    for block in blocks(page):
        content = yaml.safe_load(block.text) if block.language == "yaml" else {}
        if "template" in content:
            Task.model_validate(content)
        elif {"tasks", "seeds"} <= content.keys():
            SweepSpec.model_validate(content)
        elif "rules" in content:
            assert all(map(rule_of, content["rules"]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    """Of every command in the page's code, whose options are not all tried elsewhere."""
    text = page.read_text().replace("\\\n", " ")
    code = re.findall(r"^(?:    )?(?:\.venv/bin/)?(icm(?:-server)? [^|>#\n]*)", text, re.MULTILINE)
    code += re.findall(r"`(icm(?:-server)? [^`]*)`", text)
    for line in code:
        unknown = unknown_option(shlex.split(line))
        assert unknown is None, f"{line}: {unknown}"


def test_what_is_unknown_is_found() -> None:
    assert unknown_option(["icm", "run", "--task", "x", "--tasks", "y"]) == "--tasks"
    assert unknown_option(["icm-server", "keys"]) == "keys"
    assert unknown_option(["icm", "task", "check", "x", "--data", "y"]) is None


def unknown_option(words: list[str]) -> str | None:
    """The first word that is no command."""
    command = COMMANDS[words.pop(0)]
    while words and hasattr(command, "commands") and not words[0].startswith("-") and not words[0].isupper():
        if words[0] not in command.commands:
            return words[0]
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    return next((word for word in words if word.startswith("--") and word not in known), None)


def test_every_rule_and_every_alarm_has_its_paragraph() -> None:
    headings = set(re.findall(r"^### (\S+)$", RULES_AND_ALARMS.read_text(), re.MULTILINE))
    assert "at_most_one" in RULES
    of_runs = {kind.code for kind in ALARMS}
    assert set(RULES) | of_runs | _alarms_of_other_commands() == headings


def _alarms_of_other_commands() -> set[str]:
    """Their codes, as the source states them: an alarm's line ends with a link to its heading."""
    stated = re.compile(r'AlarmKind\(\s*"([a-z-]+)"|code="([a-z-]+)",\s*level="')
    files = [path for room in ("annealer/icm_annealer", "trainer/icm_trainer") for path in (ROOT / room).rglob("*.py")]
    found = {one or other for path in files for one, other in stated.findall(path.read_text())}
    assert {"core-lost", "round-worse", "kl-ceiling"} <= found
    return found


def test_the_table_of_rules_is_the_registrys() -> None:
    rows = re.findall(r"^\| `(\w+)`(?: \(([^)]*)\))? \| (.*) \|$", (ROOT / "docs/tasks.md").read_text(), re.MULTILINE)
    table = [(kind, re.findall(r"`(\w+)(?:: [^`]*)?`", fields), text) for kind, fields, text in rows if kind in RULES]
    registered = [
        (kind, [field for field in rule.model_fields if field != "kind"], rule.help) for kind, rule in RULES.items()
    ]
    assert table == registered


def test_the_table_of_verdicts_is_that_of_the_code() -> None:
    section = RULES_AND_ALARMS.read_text().partition("## The verdict\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| ([a-z, -]+) \| `([a-z-]+)` \|", section, re.MULTILINE)
    assert [(name, words) for words, name in table] == list(WORDS.items())
    assert set(re.findall(r"\d+ %", section)) == {
        f"{limit:.0%}".replace("%", " %") for limit in (MIN_FOUND, MIN_COHERENT)
    }


@pytest.mark.parametrize("kind", ALARMS, ids=lambda kind: kind.code)
def test_an_alarm_is_described_as_it_is_registered(kind: AlarmKind[Any]) -> None:
    text = RULES_AND_ALARMS.read_text()
    assert f"| [`{kind.code}`](#{kind.code}) | {kind.level} | {kind.help} |\n" in text
    assert re.search(rf"^### {kind.code}\n\n\*{kind.level.capitalize()}\b", text, re.MULTILINE)


def test_the_rule_in_python_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rules.py").write_text(
        next(block.text for block in blocks(RULES_AND_ALARMS) if block.title == "my_rules.py")
    )
    monkeypatch.syspath_prepend(tmp_path)
    rule = PythonRule(function="my_rules:at_most_two_spam").allowed()
    counts = [rule.count([{}] * 3, labels) for labels in (["spam", "fine", "spam"], ["spam"] * 3)]
    assert counts == [0, 1]


def test_what_the_readme_links_to_is_there() -> None:
    """The site's own links are looked at when it is built."""
    links = re.findall(r"\]\(([^)#:]+)[#)]", (ROOT / "README.md").read_text())
    assert "docs/own_task.md" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_page_of_commands_is_what_they_say() -> None:
    assert commands_page.PAGE.read_text() == commands_page.page(), "run `make commands`"


@pytest.mark.parametrize("package", [icm_annealer, icm_client], ids=lambda package: package.__name__)
def test_every_public_name_is_on_the_page_of_python(package: ModuleType) -> None:
    shown = set(re.findall(rf"^::: {package.__name__}\.(\w+)", (ROOT / "docs/python.md").read_text(), re.MULTILINE))
    assert shown == set(getattr(package, "__all__", ()))


def test_every_page_is_in_the_menu() -> None:
    menu = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(menu) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    for name in ("client", "server", "annealer", "trainer", "lab"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert {page.stem for page in pages} == {page.stem for page in (ROOT / "docs").rglob("*.md")} | {"404"}
    assert "answers keep the order of the prompts" in (tmp_path / "site/python.html").read_text()
    for page in pages:
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"?([^\s\">]+)", page.read_text())
        loaded += re.findall(
            r"<link[^>]*rel=\"?(?:stylesheet|icon|preconnect)[^>]*href=\"?([^\s\">]+)", page.read_text()
        )
        assert loaded
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)]
