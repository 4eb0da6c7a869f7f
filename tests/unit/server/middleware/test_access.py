"""Who may ask for what, decided without a server."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from icm_client import AccessError, RequestError, ScoreRequest
from icm_server.auth.keyring import Keyring
from icm_server.auth.keys_file import add_key
from icm_server.auth.tenant import Tenant
from icm_server.config import ServerConfig
from icm_server.middleware.access import ANYONE, allowed, key_in, keyring_for


def request(**changes: Any) -> ScoreRequest:
    return ScoreRequest(prompts=["a"], labels=[" x", " y"], **changes)


@pytest.mark.parametrize(
    ("tenant", "experiment", "counted"),
    [
        (Tenant(name="alice"), "alice", "alice"),
        (Tenant(name="alice"), "alice-seed1", "alice-seed1"),
        (Tenant(name="alice"), "default", "alice"),
        (Tenant(name="alice"), "default-run", "alice-run"),
        (Tenant(name="alice", experiments=("alice-r*",)), "default-run", "alice-run"),
        (Tenant(name="alice", experiments=("paper-*",)), "default-run", "alice"),
        (Tenant(name="alice", experiments=("*",)), "default-run", "default-run"),
        (Tenant(name="alice", experiments=("paper-*",)), "paper-1", "paper-1"),
        (Tenant(name="alice", experiments=("paper-*",)), "alice", "alice"),
        (Tenant(name="alice", experiments=("paper-*",)), "default", "alice"),
        (Tenant(name="alice", experiments=("*",)), "default", "default"),
        (ANYONE, "default", "default"),
        (ANYONE, "whatever", "whatever"),
    ],
)
def test_what_a_request_counts_for(tenant: Tenant, experiment: str, counted: str) -> None:
    assert allowed(tenant, request(experiment=experiment)) == request(experiment=counted)


@pytest.mark.parametrize(
    ("tenant", "changes", "code", "says"),
    [
        (Tenant(name="alice"), {"experiment": "bob"}, "not_your_experiment", "alice, alice-*, not 'bob'"),
        (Tenant(name="alice"), {"experiment": "alicex"}, "not_your_experiment", "not 'alicex'"),
        (Tenant(name="alice"), {"experiment": "Alice"}, "not_your_experiment", "not 'Alice'"),
        (Tenant(name="alice", experiments=("a-*",)), {"experiment": "alice-1"}, "not_your_experiment", "alice, a-*"),
        (Tenant(name="alice"), {"priority": 1}, "not_your_priority", "up to 0, not 1"),
        (Tenant(name="alice", max_priority=-1), {"priority": 0}, "not_your_priority", "up to -1"),
    ],
)
def test_what_is_not_allowed(tenant: Tenant, changes: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(AccessError, match=says.replace("*", r"\*")) as raised:
        allowed(tenant, request(**changes))
    assert (raised.value.status, raised.value.code) == (403, code)


def test_what_is_allowed_besides() -> None:
    alice = Tenant(name="alice", max_priority=2)
    for changes in ({"model": "base"}, {"priority": 2}, {"priority": -4}):
        assert allowed(alice, request(**changes)).experiment == "alice"


def touched(path: Path) -> None:
    """As if it had been written later: clocks of file systems are coarse."""
    known = path.stat()
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns + 1))


def test_a_keyring_finds_the_tenant_of_a_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    keys = {name: add_key(path, name) for name in ("alice", "bob", "carol")}
    keyring = Keyring(path)
    for name, key in keys.items():
        tenant = keyring.tenant_of(key)
        assert tenant is not None
        assert tenant.name == name
    for wrong in ("", "icm_", keys["bob"][:-1], keys["bob"] + "x", keys["bob"].upper(), "\xe9", "\udc80", "x" * 10**6):
        assert keyring.tenant_of(wrong) is None
    assert keyring.tenant_of(hashlib.sha256(keys["bob"].encode()).hexdigest()) is None  # a hash is no key


def test_one_of_several_scorers_grants_its_part_of_a_limit_also_when_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    alice = add_key(path, "alice", max_queued_tokens=1000, weight=2.0)
    keyring = Keyring(path, one_of=3)
    bob, carol = add_key(path, "bob"), add_key(path, "carol", max_queued_tokens=2)
    parts = {key: keyring.tenant_of(key) for key in (alice, bob, carol)}
    assert [tenant and (tenant.max_queued_tokens, tenant.weight) for tenant in parts.values()] == [
        (333, 2.0),
        (None, 1.0),
        (1, 1.0),
    ]


def test_every_entry_is_compared_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.yaml"
    keys = [add_key(path, f"name{number}") for number in range(5)]
    keyring = Keyring(path)
    compared: list[bytes] = []

    def compare(given: bytes, expected: bytes) -> bool:
        compared.append(expected)
        return given == expected

    monkeypatch.setattr("icm_server.auth.keyring.hmac.compare_digest", compare)
    for key in (keys[0], keys[-1], "wrong"):
        compared.clear()
        keyring.tenant_of(key)
        assert len(compared) == 5


def test_a_keyring_follows_its_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys.yaml"
    alice = add_key(path, "alice")
    keyring = Keyring(path)
    bob = add_key(path, "bob")
    assert keyring.tenant_of(bob) is not None
    assert keyring.tenant_of(alice) is not None
    good = path.read_text()

    for wrong in ("- name: {", "", "# nobody\n", "- 2026-02-30", "- &x [*x]", "[" * 3000, "\0", "x: 0x_", "#" * 2**20):
        path.write_text(wrong)  # half written by hand, emptied, ...
        touched(path)
        assert keyring.tenant_of(alice) is not None
    path.unlink()
    assert keyring.tenant_of(bob) is not None
    os.mkfifo(path)
    assert keyring.tenant_of(bob) is not None
    path.unlink()

    path.write_text(good.split("- name")[0] + "- name" + good.split("- name")[2])  # alice's is taken away
    assert keyring.tenant_of(alice) is None
    assert keyring.tenant_of(bob) is not None
    path.write_text("[]")  # nobody's is left
    assert keyring.tenant_of(bob) is None
    assert {record.levelno for record in caplog.records} == {logging.WARNING, logging.ERROR}
    assert "changed: 2 keys" in caplog.text
    for key in (alice, bob):
        assert key not in caplog.text
        assert hashlib.sha256(key.encode()).hexdigest() not in caplog.text


def test_what_is_wrong_is_said_once_and_what_was_mended_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.yaml"
    alice = add_key(path, "alice")
    keyring = Keyring(path)
    bob = add_key(path, "bob")
    good = path.read_text()
    path.write_text("")
    for _ in range(3):
        assert keyring.tenant_of(alice) is not None
        assert keyring.tenant_of(bob) is None
    assert caplog.text.count("the keys are unchanged: ") == 1
    path.write_text(good)
    assert keyring.tenant_of(bob) is not None


def test_a_file_that_may_be_read_again_is(tmp_path: Path) -> None:
    """Also where neither its size nor the time that it shows for its writing differ, as behind other rights."""
    path = tmp_path / "keys.yaml"
    add_key(path, "alice")
    keyring = Keyring(path)
    known = path.stat()
    bob = add_key(path, "b0b")
    text = path.read_text()
    path.write_text("-" * len(text))
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert keyring.tenant_of(bob) is None
    before = path.stat().st_ctime_ns
    path.write_text(text)
    while path.stat().st_ctime_ns == before:  # clocks of file systems are coarse
        os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert keyring.tenant_of(bob) is not None


def test_a_file_that_was_replaced_out_of_sight_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a container sees a file that is mounted by itself: the name leads to what was there when it was started."""
    path = tmp_path / "keys.yaml"
    alice = add_key(path, "alice")
    with path.open() as held:
        keyring = Keyring(Path(f"/proc/self/fd/{held.fileno()}"))
        assert keyring.tenant_of(alice) is not None
        (tmp_path / "edited").write_text("[]")
        (tmp_path / "edited").replace(path)
        for _ in range(3):
            assert keyring.tenant_of(alice) is not None
    assert caplog.text.count("is not visible here") == 1
    assert "mount the file's folder" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", "# nobody"])
def test_a_scorer_is_not_started_with_a_file_of_no_keys(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.yaml").write_text(text)
    with pytest.raises(RequestError, match="holds no keys"):
        Keyring(tmp_path / "keys.yaml")
    with pytest.raises(RequestError, match="No such file"):
        keyring_for(ServerConfig(keys_file=tmp_path / "none.yaml"))


@pytest.mark.parametrize(
    ("settings", "refused"),
    [
        ({}, False),
        ({"host": "127.0.0.1"}, False),
        ({"host": "127.8.9.1"}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": ""}, True),
        ({"host": "192.168.1.2"}, True),
        ({"host": "gpu-box"}, True),
        ({"host": "0.0.0.0", "allow_no_keys": True}, False),
        ({"host": "0.0.0.0", "published_at": "127.0.0.1"}, False),
        ({"host": "0.0.0.0", "published_at": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "published_at": ""}, True),
        ({"host": "0.0.0.0", "published_at": "127.0.0.1,127.0.0.1"}, False),
        ({"host": "0.0.0.0", "published_at": "127.0.0.1,0.0.0.0"}, True),
        ({"host": "0.0.0.0", "published_at": "0.0.0.0,127.0.0.1"}, True),
        ({"host": "0.0.0.0", "published_at": "127.0.0.1,"}, True),
        ({"keys_file": Path("/dev/null")}, False),
        ({"keys_file": Path("/dev/null"), "host": "0.0.0.0"}, True),
    ],
)
def test_keys_are_left_out_on_loopback_only(settings: dict[str, Any], refused: bool) -> None:
    config = ServerConfig(**settings)
    if refused:
        with pytest.raises(RequestError, match="--keys-file FILE") as raised:
            keyring_for(config)
        assert "\n" not in raised.value.message
    else:
        assert keyring_for(config) is None


def test_a_folder_stands_for_the_keys_yaml_in_it_and_what_replaces_that_is_seen(tmp_path: Path) -> None:
    """So a container has to be started anew for nothing that is done to the file: its folder stays the same."""
    path = tmp_path / "keys.yaml"
    alice = add_key(path, "alice")
    keyring = keyring_for(ServerConfig(keys_file=tmp_path))
    assert keyring is not None
    assert keyring.tenant_of(alice) is not None
    edited = tmp_path / "edited"
    bob = add_key(edited, "bob")
    edited.replace(path)
    assert keyring.tenant_of(alice) is None
    assert keyring.tenant_of(bob) is not None
    path.unlink()
    with pytest.raises(RequestError, match=r"keys\.yaml: No such file"):  # and not: no keys
        keyring_for(ServerConfig(keys_file=tmp_path))


def test_a_key_can_be_the_password_that_a_browser_sends() -> None:
    assert key_in("Basic " + base64.b64encode(b"me:icm_secret").decode()) == "icm_secret"
    assert key_in("Bearer icm_secret") == key_in("bearer  icm_secret ") == "icm_secret"
    for nothing in (
        "",
        "Bearer",
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"\xff").decode(),
        "icm_secret",
        "X y",
    ):
        assert key_in(nothing) == ""
