"""Every hint of what to install, in code, docs and docstrings, names this project and extras that it has."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from icm_annealer.export.registry import BUILT_IN as FORMATS
from icm_annealer.tracking.registry import BUILT_IN as TRACKERS
from icm_client.text.distribution import DISTRIBUTION, install_hint

ROOT = Path(__file__).parents[4]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = set(PROJECT["optional-dependencies"])
PACKAGES = ("client", "server", "annealer", "trainer", "lab")
CODE = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docker").rglob("*"))]
TEXTS = [path for path in CODE + PAGES if path.is_file()]
HERE = {DISTRIBUTION, "."}
OTHERS = {"httpx"}
"""Other projects whose extras are named."""


def bracketed(text: str) -> Iterator[tuple[str, list[str]]]:
    """Every `name[extra,...]` in quotes behind `pip install`, and every further one of ours."""
    pattern = rf"pip install [^\n]*?['\"]([\w.-]+)\[([\w,-]+)\]|\b({DISTRIBUTION}|icm)\[([\w,-]+)\]"
    for found in re.finditer(pattern, text):
        yield found[1] or found[3], (found[2] or found[4]).split(",")


def test_the_distribution_is_called_what_hints_say() -> None:
    assert PROJECT["name"] == DISTRIBUTION
    assert install_hint("data") == "pip install 'icm-elicitation[data]'"


def test_hints_name_this_project_and_its_extras() -> None:
    hints = [(path, *hint) for path in TEXTS for hint in bracketed(path.read_text(errors="replace"))]
    assert len(hints) > 10
    assert not [
        (str(path), name, extras)
        for path, name, extras in hints
        if name not in OTHERS and not (name in HERE and set(extras) <= EXTRAS)
    ]


def test_the_docs_list_every_extra_for_users() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", (ROOT / "docs/index.md").read_text(), re.MULTILINE)
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(rows))) == sorted(EXTRAS - {"dev", "docs"})


def test_a_wrong_hint_is_found() -> None:
    assert list(bracketed("x (`pip install 'icm[data]'`), or icm-elicitation[no]")) == [
        ("icm", ["data"]),
        (DISTRIBUTION, ["no"]),
    ]


def test_code_hints_at_extras_that_there_are() -> None:
    named = {part.library.extra for part in [*FORMATS.values(), *TRACKERS.values()] if part.library}
    for text in filter(re.compile(r"\binstall_hint\(").search, (path.read_text() for path in CODE)):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "install_hint":
                named |= {text.value for text in ast.walk(node) if isinstance(text, ast.Constant)}
    assert {"data", "server-cpu"} <= named <= EXTRAS
