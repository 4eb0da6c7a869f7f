"""The file of API keys: how it is read, how a key is added, and that no key stands in it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from icm_client import RequestError
from icm_server.auth.keyring import Keyring
from icm_server.auth.keys_file import MAX_BYTES, add_key, digest_of, read_keys
from icm_server.cli import app as cli

HASH = hashlib.sha256(b"a key").hexdigest()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_key_is_kept_as_a_hash_only(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    key = add_key(path, "alice")
    assert len(key) > 40
    assert key not in path.read_text()
    (entry,) = read_keys(path)
    assert entry.sha256 == digest_of(key).hex() == hashlib.sha256(key.encode()).hexdigest()
    assert mode(path) == 0o600
    assert os.listdir(tmp_path) == ["keys.yaml"]


def test_keys_are_never_the_same(tmp_path: Path) -> None:
    keys = {add_key(tmp_path / "keys.yaml", f"name{number}") for number in range(20)}
    assert len(keys) == 20
    assert len({entry.sha256 for entry in read_keys(tmp_path / "keys.yaml")}) == 20


def test_what_is_said_of_a_key_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    add_key(path, "alice")
    add_key(
        path,
        "bob",
        experiments=("paper-*", "yes"),
        adapters=("bob-*",),
        weight=2.5,
        max_priority=1,
        max_queued_tokens=1000,
        isolated=True,
    )
    alice, bob = (entry.tenant for entry in read_keys(path))
    assert (alice.name, alice.weight, alice.max_queued_tokens, alice.isolated, alice.max_priority) == (
        "alice",
        1.0,
        None,
        False,
        0,
    )
    assert bob.model_dump() == {
        "name": "bob",
        "experiments": ("paper-*", "yes"),
        "adapters": ("bob-*",),
        "weight": 2.5,
        "max_priority": 1,
        "max_queued_tokens": 1000,
        "admin": False,
        "isolated": True,
    }


@pytest.mark.parametrize("name", ["yes", "123", "null", "a:b", "1e3", "bär"])
def test_names_that_yaml_takes_for_something_else(tmp_path: Path, name: str) -> None:
    add_key(tmp_path / "keys.yaml", name)
    assert [entry.name for entry in read_keys(tmp_path / "keys.yaml")] == [name]


@pytest.mark.parametrize(
    "before",
    [
        "",
        "\n",
        "# nobody yet\n",
        f"# who may\n- name: alice  # since May\n  sha256: {HASH}\n",
        f"- {{name: alice, sha256: {HASH}}}",
        json.dumps([{"name": "alice", "sha256": HASH, "weight": 3}]),
        "[]",
    ],
)
def test_a_key_is_added_and_the_rest_stays(tmp_path: Path, before: str) -> None:
    path = tmp_path / "keys"
    path.write_text(before)
    path.chmod(0o640)
    old = read_keys(path) if HASH in before else []
    add_key(path, "bob")
    after = read_keys(path)
    assert after[:-1] == old
    assert after[-1].name == "bob"
    assert mode(path) == 0o640
    for comment in ("# nobody yet", "# who may", "# since May"):
        assert (comment in before) == (comment in path.read_text())


def test_a_file_behind_a_link_is_changed_and_not_the_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "keys.yaml"
    link.symlink_to(tmp_path / "real" / "keys.yaml")
    add_key(link, "alice")
    add_key(link, "bob")
    assert link.is_symlink()
    assert len(read_keys(tmp_path / "real" / "keys.yaml")) == 2


def test_a_key_is_added_to_the_same_file_which_a_container_may_have_mounted(tmp_path: Path) -> None:
    path, mounted = tmp_path / "keys.yaml", tmp_path / "mounted.yaml"
    add_key(path, "alice")
    mounted.hardlink_to(path)
    keyring = Keyring(mounted)
    key = add_key(path, "bob")
    tenant = keyring.tenant_of(key)
    assert tenant is not None
    assert tenant.name == "bob"


def test_what_does_not_fit_the_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write = tmp_path / "keys.yaml", os.pwrite
    add_key(path, "alice")
    before = path.read_bytes()
    monkeypatch.setattr(os, "pwrite", lambda number, content, place: write(number, content[: len(before) + 9], place))
    with pytest.raises(RequestError, match="No space left"):
        add_key(path, "bob")
    assert path.read_bytes() == before


def _add_many(path: Path, start: int) -> None:
    for number in range(start, start + 20):
        add_key(path, f"name{number}")


def test_several_that_add_at_once_lose_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_add_many, args=(tmp_path / "keys.yaml", 20 * k)) for k in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert {entry.name for entry in read_keys(tmp_path / "keys.yaml")} == {f"name{number}" for number in range(80)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "neither YAML nor JSON"),
        ("name: alice", "list"),
        ("- alice", "entry 0"),
        (f"- sha256: {HASH}", "entry 0 name"),
        ("- name: alice", "entry 0 sha256"),
        ("- name: alice\n  sha256: secret-not-a-hash", "entry 0 sha256"),
        (f"- name: a b\n  sha256: {HASH}", "entry 0 name"),
        (f"- name: alice\n  sha256: {HASH}\n  wieght: 2", "entry 0 wieght"),
        (f"- name: alice\n  sha256: {HASH}\n  weight: 0", "entry 0 weight"),
        (f"- name: alice\n  sha256: {HASH}\n  weight: .nan", "entry 0 weight"),
        (f"- name: alice\n  sha256: {HASH}\n  max_priority: 5", "entry 0 max_priority"),
        (f"- name: alice\n  sha256: {HASH}\n- name: alice\n  sha256: {'0' * 64}", "neither YAML|entry 1"),
        (f"- name: alice\n  sha256: {HASH}\n- name: bob\n  sha256: {HASH}", "entry 1 has the sha256 of entry 0"),
        (f"- name: alice\n  sha256: {HASH}\n- name: alice\n  sha256: a{HASH[1:]}", "entry 1 has the name of entry 0"),
        ("- &x [*x, *x]", "aliases are not supported.*line 1"),
        (f"- name: alice\n  sha256: {HASH}\n  sha256: {HASH}", "duplicate key 'sha256' .line 3"),
        (f"- name: alice\n  sha256: {HASH}\n  weight: 0x_", "entry 0 weight"),
        (f"- name: alice\n  sha256: {HASH}\n  weight: 1:{'9' * 400}.0", "entry 0 weight"),
        (f"- name: alice\n  sha256: {HASH}\n  max_queued_tokens: {'9' * 5000}", "entry 0 max_queued_tokens"),
        (f"- name: alice\n  sha256: {HASH}\n  experiments: [2026-02-30]\n  x: 2026-02-30", "entry 0 x"),
        ("- 2026-02-30", "entry 0"),
        ("[" * 3000, "neither YAML nor JSON"),
        ("- " * 3000, "nested more than .* deep .line 1"),
        ("--- []\n--- []", "single document"),
        ("!!int ''", "tags are not supported.*line 1"),
        ("? [x]\n: y", "a key has to be text.*line 1"),
        (f'- name: alice\n  sha256: {HASH}\n  "a\\nb\\e[2J": 1', r"entry 0 'a\\nb\\x1b\[2J'"),
        (
            f"- name: al\n  sha256: {HASH}\n- name: al-ice\n  sha256: {'0' * 64}",
            "'al' may run experiments named al-\\*, ",
        ),
        (f"- name: al-ice\n  sha256: {HASH}\n- name: al\n  sha256: {'0' * 64}", "those of 'al-ice': name the"),
        ("!!python/object/apply:os.system ['true']", "neither YAML nor JSON"),
    ],
)
def test_a_wrong_file_is_reported_in_a_line_without_its_hashes(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=says) as raised:
        read_keys(path)
    assert "\n" not in raised.value.message
    assert str(path) in raised.value.message
    assert HASH not in raised.value.message
    assert "secret" not in raised.value.message
    with pytest.raises(RequestError):
        add_key(path, "bob")
    assert path.read_text() == text


@pytest.mark.parametrize("text", ["", " \n", "# alice's was here\n", "null", "---\n...\n"])
def test_a_file_of_nothing_is_a_mistake_and_nobody_s_key_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match="holds no keys"):
        read_keys(path)
    path.write_text("[]")
    assert read_keys(path) == []


def test_a_digest_that_looks_like_a_number_is_text(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"- name: 1e3\n  sha256: {'0' * 64}\n  isolated: true\n  weight: 2\n  max_queued_tokens: ~\n")
    (entry,) = read_keys(path)
    assert (entry.name, entry.sha256, entry.isolated) == ("1e3", "0" * 64, True)
    assert (entry.weight, entry.max_queued_tokens) == (2.0, None)


def test_who_may_run_more_by_what_was_said_may(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"- name: al\n  sha256: {HASH}\n  experiments: [al-1*]\n- name: al-ice\n  sha256: {'0' * 64}\n")
    assert [entry.name for entry in read_keys(path)] == ["al", "al-ice"]


SCALARS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["2026-02-30", "0x_", "1:99.9", ".nan", "~", "!!int ''", "&a x", "*a", "<<", "[", "{", "- ", "\n"]),
    st.integers().map(str),
    st.just(HASH),
)
FIELDS = st.sampled_from(["name", "sha256", "weight", "experiments", "adapters", "max_priority", "isolated", "x"])
LINES = st.builds("{}{}: {}".format, st.sampled_from(["- ", "  ", "    ", ""]), FIELDS, SCALARS)
FILES = st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(LINES, SCALARS), max_size=12).map(lambda lines: "\n".join(lines).encode(errors="replace")),
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner), max_leaves=20).map(
        lambda value: json.dumps(value).encode()
    ),
)


@given(FILES)
def test_whatever_stands_in_a_file_is_keys_or_one_line_about_what_is_wrong(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "keys.yaml")
        path.write_bytes(content)
        for message in (refusal(read_keys, path), refusal(add_key, path, "carol")):
            assert message.isprintable()
            assert len(message) < 400


def refusal(use: Callable[..., object], *arguments: object) -> str:
    """What is said if it is refused, else nothing."""
    try:
        use(*arguments)
    except RequestError as error:
        return error.message
    return ""


@pytest.mark.parametrize("use", [read_keys, lambda path: add_key(path, "bob")], ids=["read", "add"])
def test_what_is_no_file_is_not_waited_for_and_what_is_too_large_not_read(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    fifo, large = tmp_path / "fifo", tmp_path / "large"
    os.mkfifo(fifo)
    with large.open("wb") as file:
        file.truncate(2**40)
    for path, says in (
        (fifo, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (large, "larger than 262,144"),
    ):
        with pytest.raises(RequestError, match=says):
            use(path)
    assert large.stat().st_size == 2**40


def test_a_file_never_gets_larger_than_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    add_key(path, "alice")
    path.write_text(path.read_text() + "#" * (MAX_BYTES - path.stat().st_size))
    before = path.read_bytes()
    with pytest.raises(RequestError, match="with another key it is larger"):
        add_key(path, "bob")
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_used_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"):
        read_keys(tmp_path / "none.yaml")
    with pytest.raises(RequestError, match="No such file"):
        add_key(tmp_path / "none" / "keys.yaml", "alice")
    with pytest.raises(RequestError, match="Is a directory"):
        read_keys(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for call in (lambda: read_keys(binary), lambda: add_key(binary, "alice")):
        with pytest.raises(RequestError, match="not UTF-8"):
            call()


@pytest.mark.parametrize(("first", "second"), [("bob", "bob-lab"), ("bob-lab", "bob")])
def test_no_key_gets_anothers_experiments_unasked(tmp_path: Path, first: str, second: str) -> None:
    path = tmp_path / "keys.yaml"
    add_key(path, first)
    with pytest.raises(RequestError, match=r"'bob' may run experiments named bob-.*, and so those of 'bob-lab'"):
        add_key(path, second)
    add_key(path, "bo", experiments=("*",))  # where it is said, it is meant


def test_a_key_that_is_there_already_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    add_key(path, "alice")
    before = path.read_bytes()
    with pytest.raises(RequestError, match="already has a key for 'alice'"):
        add_key(path, "alice")
    for name in ("", "a b", "x" * 101, "line\nline"):
        with pytest.raises(RequestError, match="name"):
            add_key(path, name)
    with pytest.raises(RequestError, match="weight"):
        add_key(path, "bob", weight=-1)
    assert path.read_bytes() == before


def test_a_layout_that_nothing_can_be_added_to_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    text = f"  - name: alice\n    sha256: {HASH}\n"
    path.write_text(text)
    with pytest.raises(RequestError, match="`- `"):
        add_key(path, "bob")
    assert path.read_text() == text


@pytest.mark.parametrize(("options", "admin"), [(["--admin"], True), ([], False)])
def test_an_admin_key_is_made_where_one_is_asked_for(tmp_path: Path, options: list[str], admin: bool) -> None:
    path = tmp_path / "keys.yaml"
    made = CliRunner().invoke(cli.app, ["key", "new", "monitor", "--keys-file", str(path), *options])
    assert made.exit_code == 0
    assert read_keys(path)[0].tenant.admin == admin
    assert ("admin: true" in path.read_text()) == admin


def test_a_key_file_is_written_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    keys, key_path = tmp_path / "keys.yaml", tmp_path / "alice.key"
    key = add_key(keys, "alice", key_file=key_path)
    assert key_path.read_text() == key + "\n"
    assert key_path.stat().st_mode & 0o777 == 0o600
    before = keys.read_text()
    with pytest.raises(RequestError, match="already has a key for 'alice'"):
        add_key(keys, "alice", key_file=key_path)
    with pytest.raises(RequestError, match=r"cannot create the key file .*alice.key: File exists"):
        add_key(keys, "bob", key_file=key_path)
    assert (key_path.read_text(), keys.read_text()) == (key + "\n", before)


def test_a_key_that_is_not_added_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda *_: 0)
        with pytest.raises(RequestError, match="No space left"):
            add_key(tmp_path / "keys.yaml", "alice", key_file=tmp_path / "alice.key")
    assert not (tmp_path / "alice.key").exists()
