"""Broken task files, rows, options and places: an error in one line, before anything is started; never a traceback."""

from __future__ import annotations

import errno
import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import planted
from tests.icm_command import Icm, check_refused

from icm_annealer.cli import app as cli
from icm_annealer.data.task import load_task
from icm_client import RequestError
from icm_server.cli import app as server_cli

NOBODY = "http://127.0.0.1:9"
"""Where no scorer is: who asked it would wait, and end with another code."""
LONG = "a" * 300


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return planted.write_task(tmp_path / "data", 24)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (planted.TASK.replace("{words}", "{{ words }}"), "names no field of a row"),
        (planted.TASK.replace("{words}", "words"), "names no field of a row"),
        (planted.TASK.replace("{words}", "{wordz}"), "the field 'wordz' is missing"),
        (planted.TASK.replace("{words}", "{label}"), "'label' is the gold field"),
        (planted.TASK + "group: label\n", "'label' is the gold field"),
        (planted.TASK.replace('cool: " cool"', 'hot: " cool"'), "duplicate key 'hot'"),
        (planted.TASK + "name: again\n", "duplicate key 'name'"),
        (planted.TASK.replace('" cool"', '"\\ud800"'), "half of a surrogate pair"),
        (planted.TASK + f"notes: {'[' * 3000}\n", "nested more than"),
        (planted.TASK + f"notes: {'[' * 3000 + ']' * 3000}\n", "nested more than"),
        ('{"labels":' * 3000, "nested more than"),
        (planted.TASK + "notes: 2020-99-99\n", "2020-99-99"),
        (planted.TASK.replace("data.jsonl", '"a\\0b"'), "data"),
        (planted.TASK.replace('" cool"', f'" {"x" * 2000}"'), "labels"),
        (planted.TASK.replace('" cool"', json.dumps([f" {k}" for k in range(70)])), "labels"),
        (planted.TASK + f"separator: {'-' * 2000}\n", "separator"),
        (planted.TASK.replace("planted", LONG), "name"),
        ("\x00", "not allowed"),
        ("", "not a task: a mapping"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_a_broken_task_file_is_reported_in_one_line(icm: Icm, task: Path, text: str, says: str, command: str) -> None:
    task.write_text(text, encoding="utf-8")
    out = task.parent.parent / "run"
    run = ["run", "--task", task, "--scorer", NOBODY, "--out", out]
    check_refused(icm(*(["task", "check", task] if command == "check" else run)), 2, says, str(task.parent))
    assert not out.exists()


@pytest.mark.parametrize(
    "row",
    ['{"words": "\\ud800"}', '{"words": "a", "x": ' + "[" * 3000 + "]" * 3000 + "}", "[" * 3000, '{"a":' * 3000, "[1]"],
)
def test_a_broken_row_is_reported_in_one_line(icm: Icm, task: Path, row: str) -> None:
    data, out = task.parent / "rows.jsonl", task.parent.parent / "run"
    data.write_text('{"words": "red"}\n' + row + "\n")
    for command in (["run", "--task", task, "--scorer", NOBODY, "--out", out], ["task", "check", task]):
        ended = icm(*command, "--data", data)
        check_refused(ended, 2, f"{data}, line 2")
    assert not out.exists()


@pytest.mark.parametrize("depth", [100, 300, 700, 900, 990, 1500])
def test_rows_however_deep_are_taken_or_refused(icm: Icm, task: Path, depth: int) -> None:
    data = task.parent / "rows.jsonl"
    deep = "[" * depth + "]" * depth
    data.write_text("".join(f'{{"words": "red {k}", "x": {deep if k == 1 else k}}}\n' for k in range(3)))
    ended = icm("task", "check", task, "--data", data)
    if ended.code:
        check_refused(ended, 2, str(data))


SCALARS = st.sampled_from(
    ["", " ", "{", "}", "{}", "{words}", "{{words}}", "{0}", " hot", "\n\n", "\x1b[31m", "\ud800", "\0", LONG, "[/x]"]
) | st.sampled_from([None, True, 0, -1, 10**30, 1.5, float("nan"), float("inf")])
VALUES = st.recursive(
    SCALARS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALARS | st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["mirrored", "same_key", "exactly_one", "python", "installed"]) | VALUES,
        **{name: VALUES for name in ("key", "label", "function", "rule")},
    },
)
NAMES = ["name", "title", "template", "separator", "labels", "data", "gold", "gold_values", "id", "group", "leave_out"]
FIELDS = dict.fromkeys([*NAMES, "special_tokens", "nobodys"], VALUES) | {"rules": st.lists(RULES, max_size=2) | VALUES}


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(changes=st.fixed_dictionaries({}, optional=FIELDS), cut=st.integers(0, 400), noise=st.binary(max_size=4))
def test_any_task_file_is_loaded_or_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], cut: int, noise: bytes
) -> None:
    """Fields of any values; and the same file cut off somewhere, with something behind it."""
    right = yaml.safe_load(planted.TASK)
    whole = json.dumps(right | {str(name): _plain(value) for name, value in changes.items()}).encode()
    for content in (whole, whole[:cut] + noise, planted.TASK.encode()[:cut] + noise):
        (tmp_path / "task.yaml").write_bytes(content)
        try:
            load_task(str(tmp_path / "task.yaml"))
        except RequestError as error:
            message = error.message
            assert "\n" not in message, message
            assert "task.yaml" in message, message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(changes=st.fixed_dictionaries({}, optional=FIELDS))
def test_the_command_line_takes_any_task_file_or_refuses_it_in_one_line(
    icm: Icm, tmp_path: Path, changes: dict[str, Any]
) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    right = yaml.safe_load(planted.TASK)
    task.write_text(json.dumps(right | {str(name): _plain(value) for name, value in changes.items()}))
    ended = icm("task", "check", task, "--data", tmp_path / "data" / "data.jsonl")
    if ended.code:
        check_refused(ended, 2)


def _plain(value: Any) -> Any:
    """As JSON has it: keys are text."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def numeric_options(app: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, type]]:
    """Every option of every command that takes a number: the command, the option, int or float."""
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        for field, hint in get_type_hints(command.callback, include_extras=True).items():
            kinds = {int, float} & set(_types(hint))
            if kinds:
                info = next((i for i in getattr(hint, "__metadata__", ()) if hasattr(i, "param_decls")), None)
                names = [n for n in getattr(info, "param_decls", None) or () if n.startswith("--")]
                yield (*path, name), (names or [f"--{field.replace('_', '-')}"])[0], kinds.pop()
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from numeric_options(group.typer_instance, (*path, group.name or ""))


def _types(hint: Any) -> Iterator[Any]:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    yield from get_args(hint) or (hint,)


OPTIONS = list(numeric_options(cli.app))
SERVER_OPTIONS = list(numeric_options(server_cli.app))
BELOW_ZERO = {"--max-priority"}


@pytest.mark.parametrize(("command", "option", "kind"), OPTIONS)
def test_no_number_option_takes_what_is_no_number(icm: Icm, command: tuple[str, ...], option: str, kind: type) -> None:
    for value in ("nan", "inf", "-inf", "-1", "-1e300", "x", "1" * 5000):
        if value == "1" * 5000 and kind is int:
            continue
        ended = icm(*command, f"{option}={value}")
        check_refused(ended, 2, option)


def test_the_servers_numbers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert {"--drain-s", "--port", "--weight"} <= {option for _, option, _ in SERVER_OPTIONS}
    for command, option, _ in SERVER_OPTIONS:
        for value in ("nan", "inf", "-inf", "-1e300", *(["-1"] if option not in BELOW_ZERO else ["-99"])):
            monkeypatch.setattr("sys.argv", ["icm-server", *command, f"{option}={value}"])
            with pytest.raises(SystemExit) as ended:
                server_cli.main()
            message = capsys.readouterr().err
            assert ended.value.code == 2, message
            assert message.startswith("error: ")
            assert message.count("\n") == 1
            assert option in message


def test_the_options_are_found() -> None:
    assert len(OPTIONS) > 30
    assert (("run",), "--wait", float) in OPTIONS
    assert (("data", "gsm8k"), "--temperature", float) in OPTIONS
    assert inspect.isfunction(cli.main)


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--task", "living", "--scorer", NOBODY, "--out", "PLACE"],
        ["run", "--task", "living", "--scorer", NOBODY, "--out", "PLACE/inner", "--resume"],
        ["demo", "--scorer", NOBODY, "--out", "PLACE"],
        ["baselines", "--task", "living", "--scorer", NOBODY, "--out", "PLACE"],
        ["search-bench", "--scorer", NOBODY, "--out", "PLACE"],
        ["bench", "--scorer", NOBODY, "--out", "PLACE"],
        ["reproduce", "--out", "PLACE"],
        ["lab", "tasks", "--out", "PLACE"],
        ["report", "PLACE"],
        ["report", "nothing", "--out", "PLACE"],
        ["eval", "PLACE", "--scorer", NOBODY],
        ["export", "PLACE", "--format", "jsonl"],
        ["runs", "PLACE"],
        ["data", "mirror", "nothing.csv", "--out", "PLACE"],
        ["task", "check", "PLACE"],
        ["task", "check", "living", "--data", "PLACE"],
        ["score", "PLACE", "--scorer", NOBODY],
        ["run", "--task", "living", "--scorer", NOBODY, "--api-key-file", "PLACE", "--out", "run"],
    ],
)
def test_a_name_that_no_file_can_have(
    icm: Icm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = icm(*(word.replace("PLACE", LONG) for word in command))
    check_refused(ended, 2, *([os.strerror(errno.ENAMETOOLONG)] if command[:3] != ["task", "check", "PLACE"] else []))


@pytest.mark.parametrize("command", ["search-bench", "bench"])
def test_a_name_that_only_the_unfinished_file_cannot_have(icm: Icm, tmp_path: Path, command: str) -> None:
    """Written is beside the place first, under a longer name."""
    ended = icm(command, "--scorer", NOBODY, "--out", tmp_path / f"{'a' * 244}.json")
    check_refused(ended, 2, os.strerror(errno.ENAMETOOLONG))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(icm: Icm, tmp_path: Path, task: Path) -> None:
    tmp_path.chmod(0o500)
    check_refused(icm("run", "--task", task, "--scorer", NOBODY, "--out", tmp_path / "run"), 2, "Permission denied")


@pytest.mark.parametrize(("option", "value"), [("--experiment", "two words"), ("--plan", "bush"), ("--track", "x")])
def test_wrong_options_are_errors_before_a_scorer_is_waited_for(icm: Icm, task: Path, option: str, value: str) -> None:
    out = task.parent / "run"
    check_refused(icm("run", "--task", task, "--scorer", NOBODY, "--out", out, option, value), 2)
    assert not out.exists()


def test_what_a_shell_left_empty_or_did_not_expand_is_refused(
    icm: Icm, tmp_path: Path, task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert "Usage" in icm().out
    run = ("run", "--task", task, "--scorer", NOBODY)
    for options, says in (
        (("--out", ""), "--out is empty"),
        (("--out=",), "--out is empty"),
        (("--out", "r", "--data", ""), "--data is empty"),
        (("--out=~/r",), "did not expand the ~"),
        (("--out", os.devnull), "is a file, not a folder"),
        (("--out", "r", "--scorer", "fake:model"), "nothing follows its colon"),
        (("--out", "r", "--scorer", "fake:", "--engine", "x"), "leave out --engine"),
        (("--out", "r", "--known", os.devnull), "no known labels"),
    ):
        check_refused(icm(*run, *options), 2, says)
    assert sorted(tmp_path.iterdir()) == before


def test_a_result_never_replaces_what_the_command_reads_or_a_run_holds(
    icm: Icm, tmp_path: Path, task: Path, url: str
) -> None:
    rows, run = task.parent / "data.jsonl", tmp_path / "run"
    assert icm("run", "--task", task, "--scorer", url, "--search", "zero_shot", "--out", run).code == 0
    before = {path: path.read_bytes() for path in (rows, *run.iterdir()) if path.is_file()}
    labels = run / "labels.jsonl"
    for command, out in (
        (("init", rows, "--gold", "label", "--no-scorer"), rows),
        (("extend", run, "--data", rows, "--scorer", NOBODY), rows),
        (("extend", run, "--data", rows, "--scorer", NOBODY), labels),
        (("data", "mirror", rows, "--fields", "words,label"), rows),
        (("export", run, "--format", "jsonl", "--data", rows, "--task", task), rows),
        (("export", run, "--format", "jsonl"), labels),
        (("report", run), labels),
    ):
        check_refused(icm(*command, "--out", out, "--overwrite"), 2, f"{out} is ", "use another --out")
    os.mkfifo(tmp_path / "pipe")
    check_refused(
        icm("export", run, "--format", "csv", "--out", tmp_path / "pipe", "--overwrite"), 2, "or a pipe, not a"
    )
    nothing = ("--data", tmp_path / "none", "--out", tmp_path / "out.csv", "--scorer", NOBODY)
    check_refused(icm("extend", run, *nothing), 2, "there is no such file")
    assert {path: path.read_bytes() for path in before} == before
