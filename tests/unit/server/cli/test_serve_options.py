"""What `icm-server` says of its options: all names of limits, and of a wrong one what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from icm_client.contract.errors import RequestError
from icm_server.auth.keys_file import add_key, read_keys
from icm_server.cli import app as cli
from icm_server.config import ConnectionLimits, Limits


@pytest.mark.parametrize("columns", ["80", "200"])
def test_help_has_the_whole_name_of_every_limit(columns: str) -> None:
    shown = CliRunner().invoke(cli.app, ["serve", "--help"], env={"COLUMNS": columns, "TERMINAL_WIDTH": columns})
    assert shown.exit_code == 0
    assert "…" not in shown.output
    assert "--engine-arg" in shown.output
    for name in (*Limits.model_fields, *ConnectionLimits.model_fields):
        assert name in shown.output


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--limit", "max_foo=3", "--limit: no limit 'max_foo'; the limits are max_prompts, "),
        ("--limit", "max_tokens=many", "--limit max_tokens: Input should be a valid integer"),
        ("--connection-limit", "header_s=0", "--connection-limit header_s: Input should be greater than 0"),
        ("--connection-limit", "headers_s=1", "--connection-limit: no limit 'headers_s'"),
        ("--engine-arg", "nonsense", "'nonsense' is not of the form key=value"),
        ("--engine-arg", "seed=[1", "the value of 'seed=[1' is not valid YAML"),
        ("--weight", "first=0", "weights.first: Input should be greater than 0"),
        ("--weight", "first", "'first' is not of the form key=value"),
    ],
)
def test_a_wrong_number_is_reported_by_its_name(option: str, value: str, says: str) -> None:
    ended = CliRunner().invoke(cli.app, ["serve", "--engine", "fake", option, value])
    assert isinstance(ended.exception, RequestError)
    assert ended.exception.message.startswith(says)
    assert "pydantic" not in ended.exception.message


def test_a_keys_folder_is_named_alike_to_make_a_key_and_to_serve(tmp_path: Path) -> None:
    made = CliRunner().invoke(cli.app, ["key", "new", "alice", "--keys-file", str(tmp_path)])
    assert made.exit_code == 0
    assert [entry.name for entry in read_keys(tmp_path / "keys.yaml")] == ["alice"]


def test_a_name_that_cannot_be_is_reported_in_words(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a name consists of letters, digits and any of"):
        add_key(tmp_path / "keys.yaml", "al ice")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["key", "new", "a b"], ["name"]),
        (["key", "new", "alice", "--weight", "-1"], ["weight"]),
        (["key", "new", "alice", "--keys-file", "/no/such/folder/keys.yaml"], ["/no/such/folder"]),
        (["pull", "gpt-17"], ["gpt-17", "smollm2-135m"]),
    ],
)
def test_mistakes_are_reported_in_a_line(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["icm-server", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2, said.err
    assert all(word in said.err for word in words)
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []
