"""API keys: the file that holds their hashes.

It is YAML or JSON, a list of entries. `icm-server key new NAME` adds one; what stands here behind `sha256` may be left
out, and is explained in `tenant.py`:

    - name: alice
      sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
      experiments: ["paper-*", "sweep-*"]
      adapters: ["alice-*"]
      weight: 2
      max_queued_tokens: 5000000
      isolated: true
      admin: false

A key is 256 random bits, so its plain SHA-256 cannot be turned round by guessing, as that of a password could: a slow
hash would protect nothing more, and every request would pay for it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import Field

from icm_client.errors import RequestError
from icm_server.tenant import Tenant

PREFIX = "icm_"
"""What every key begins with, so that one that has leaked can be found."""


class Entry(Tenant):
    """A tenant and the hash of its key."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)

    @property
    def tenant(self) -> Tenant:
        return Tenant(**self.model_dump(exclude={"sha256"}))


_ENTRIES = pydantic.TypeAdapter(list[Entry])


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def read_keys(path: Path) -> list[Entry]:
    """The file's entries, which may be none. Raises RequestError."""
    try:
        return _parsed(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error) from None


def add_key(path: Path, name: str, **fields: Any) -> str:
    """Makes a key, adds its hash to the file, and returns it: it stands nowhere else.

    `fields` are a Tenant's; those that are None are left out. A new file has mode 0600; one that is there stays the
    same file, with owner and mode. Raises RequestError.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    given = {field: value for field, value in fields.items() if value is not None}
    try:
        entry = Entry(name=name, sha256=digest_of(key).hex(), **given)
    except pydantic.ValidationError as error:
        raise RequestError(f"no key was made: {_told(error)}", code="bad_key") from None
    path = path.resolve()
    try:
        with _locked(path.parent):
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            others = _parsed(before, path)
            if any(other.name == name for other in others):
                raise RequestError(f"{path} has a key for {name!r} already: remove that, or take another name")
            for other in others:
                _check_apart(other, entry)
                _check_apart(entry, other)
            _write(path, before, _with(before, entry, path))
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, error) from None
    return key


def _check_apart(one: Entry, other: Entry) -> None:
    """Raises RequestError if `one`, of which nobody said what it may run, may run what is the other's."""
    if not one.experiments and one.may_run(other.name):
        raise RequestError(
            f"{one.name!r} may run what begins with {one.name}-, so also the experiments of {other.name!r}: take "
            "another name, or say what they may run (--experiment)"
        )


def _parsed(text: str, path: Path) -> list[Entry]:
    try:
        found = yaml.safe_load(text)
        entries = _ENTRIES.validate_python([] if found is None else found)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark else ""
        raise RequestError(f"{path} is neither YAML nor JSON{place}", code="bad_keys_file") from None
    except pydantic.ValidationError as error:
        raise RequestError(f"{path}: {_told(error)}", code="bad_keys_file") from None
    for what in ("name", "sha256"):
        values = [getattr(entry, what) for entry in entries]
        for number, value in enumerate(values):
            if value in values[:number]:
                raise RequestError(
                    f"{path}: entry {number} has the {what} of entry {values.index(value)}", code="bad_keys_file"
                )
    return entries


def _with(before: str, entry: Entry, path: Path) -> str:
    """The text with one more entry, comments and all as they were."""
    fields = entry.model_dump(mode="json", exclude_unset=True)
    if before.lstrip().startswith("["):
        return json.dumps([*yaml.safe_load(before), fields], indent=2, ensure_ascii=False) + "\n"
    lines = [
        f"{'  ' if number else '- '}{name}: {json.dumps(value)}" for number, (name, value) in enumerate(fields.items())
    ]
    after = "\n".join([*([before.rstrip("\n")] if before.strip() else []), *lines]) + "\n"
    try:
        complete = _parsed(after, path)[-1] == entry
    except (RequestError, IndexError):
        complete = False
    if not complete:
        raise RequestError(f"cannot add to the end of {path}: let each entry begin with `- ` at the start of a line")
    return after


def _write(path: Path, before: str, after: str) -> None:
    """In place, since a container that has the file mounted sees no other that is put there.

    A scorer that reads half of it keeps the keys that it had, and reads again.
    """
    number = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if not _written(number, after.encode()):
            _written(number, before.encode())
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(number)
    finally:
        os.close(number)


def _written(number: int, content: bytes) -> bool:
    """Whether all of it could be written, and nothing else is left."""
    is_whole = os.pwrite(number, content, 0) == len(content)
    os.ftruncate(number, len(content))
    return is_whole


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two that add a key at once would lose one."""
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _unusable(path: Path, error: OSError | UnicodeDecodeError) -> RequestError:
    reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
    return RequestError(f"cannot use the keys file {path}: {reason}", code="bad_keys_file")


def _told(error: pydantic.ValidationError) -> str:
    """The first mistake, without what stands there."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = " ".join(f"entry {part}" if isinstance(part, int) else str(part) for part in first["loc"][:2])
    return f"{where or 'the file'}: {first['msg']}"
