"""An option's name has one meaning, one type and one default in all commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from tests import options_page
from tests.icm_command import OPTION
from tests.options_page import EXEMPT, by_name, differing, uses

from icm_server.cli.app import app as icm_server

ROOT = Path(__file__).parents[4]
PACKAGES = ("client", "server", "annealer", "trainer", "lab")
USES = by_name(list(uses()))
OTHERS = {
    *("--help", "--version", "--no-chain"),  # of typer, and the other half of --chain
    *("--no-deps", "--model-base-url", "--model_args", "--tasks"),  # of pip, inspect and lm-eval
    *("--sweep", "--fast_demo_order"),  # of published code
    *("--enable-lora", "--max-lora-rank", "--max-model-len", "--override-generation-config"),  # of vLLM's own server
}
"""Options in texts that are of no command here."""


@pytest.mark.parametrize("name", [name for name, found in USES.items() if len(found) > 1])
def test_an_option_is_the_same_in_every_command(name: str) -> None:
    """To let one differ, say why in `EXEMPT` of tests/options_page.py; better give it a name of its own."""
    allowed = EXEMPT[name].aspects if name in EXEMPT else ()
    wrong = {aspect: {getattr(use, aspect): use.command for use in USES[name]} for aspect in differing(USES[name])}
    assert {aspect: found for aspect, found in wrong.items() if aspect not in allowed} == {}


@pytest.mark.parametrize("name", EXEMPT)
def test_what_may_differ_does(name: str) -> None:
    assert sorted(differing(USES[name])) == sorted(EXEMPT[name].aspects)


def test_every_option_that_a_text_names_exists() -> None:
    """That it is one of the command which prints the text, `Icm` of tests/icm_command.py checks for every error."""
    known = {*USES, *by_name(list(uses(icm_server))), *OTHERS}
    sources = [path for room in PACKAGES for path in (ROOT / room).rglob("*.py")]
    named = {(option, path.name) for path in sources for option in OPTION.findall(path.read_text(encoding="utf-8"))}
    assert {(option, name) for option, name in named if option not in known} == set()


def test_what_differs_is_found() -> None:
    app = typer.Typer()

    @app.command()
    def one(test: Annotated[int, typer.Option(min=1, help="How many.")] = 200) -> None: ...

    @app.command()
    def two(test: Annotated[str | None, typer.Option("--test", metavar="FILE", help="A file.")] = None) -> None: ...

    found = by_name(list(uses(app)))["--test"]
    assert [use.command for use in found] == ["one", "two"]
    assert differing(found) == ("type", "bounds", "form", "default", "meaning")


def test_every_number_has_a_lowest_and_a_highest_value() -> None:
    numbers = [use for found in USES.values() for use in found if {"int", "float"} & set(use.type.split(" or "))]
    assert len(numbers) > 100
    assert [(use.command, use.name, use.bounds) for use in numbers if "" in use.bounds.split("..")] == []


def test_commands_that_print_a_result_print_it_as_json() -> None:
    """All but `icm review`, which serves a page until it is stopped."""
    commands = {use.command for found in USES.values() for use in found}
    assert commands - {use.command for use in USES["--json"]} == {"review"}


def test_the_page_of_options_is_that_of_the_commands() -> None:
    assert options_page.PAGE.read_text() == options_page.page(), "run `make commands`"
