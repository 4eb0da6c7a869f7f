"""API keys: the file that holds their hashes.

It is YAML or JSON, a list of entries. `icm-server key new NAME` adds one. The fields after `sha256` are optional and
explained in `tenant.py`:

    - name: alice
      sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
      experiments: ["paper-*", "sweep-*"]
      adapters: ["alice-*"]
      weight: 2
      max_queued_tokens: 5000000
      isolated: true
      admin: false

`read_plain_yaml` reads it; one error makes the whole file invalid. An explicit `[]` means that there are no keys; an
empty file is an error.

A key is 256 random bits, so unlike a password it cannot be guessed from its plain SHA-256: a slow hash would add no
protection, and would delay every request.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import secrets
import stat
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydantic
from pydantic import Field

from icm_client.contract.errors import RequestError
from icm_client.text.strict_yaml import YAMLError, one_line, read_plain_yaml
from icm_server.auth.tenant import Tenant

PREFIX = "icm_"
"""The prefix of every key, so that leaked keys can be found."""
MAX_BYTES = 2**18
"""The largest keys file: about 2,000 keys, read in 50 ms."""


class Entry(Tenant):
    """A tenant and the hash of its key."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)

    @property
    def tenant(self) -> Tenant:
        return Tenant(**self.model_dump(exclude={"sha256"}))


_ENTRIES = pydantic.TypeAdapter(list[Entry])


def digest_of(key: str) -> bytes:
    """The hash that is stored for a key."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def keys_file_at(path: Path) -> Path:
    """The keys file at a path: for a folder, its keys.yaml."""
    path = path.expanduser()
    return path / "keys.yaml" if path.is_dir() else path


def read_keys(path: Path) -> list[Entry]:
    """The file's entries; an empty list only for an explicit `[]`. Raises RequestError. Does not block."""
    entries = _entries(_text(path), path)
    if entries is None:
        raise RequestError(
            f"{path} holds no keys; make one with `icm-server key new NAME --keys-file {path}`", code="bad_keys_file"
        )
    return entries


def add_key(path: Path, name: str, *, key_file: Path | None = None, **fields: Any) -> str:
    """Creates a key, adds its hash to the file, and returns the key. It is stored nowhere, unless `key_file` is given.

    `key_file` is created with mode 0600 and contains the key. `fields` are a Tenant's; those that are None are left
    out. A new keys file has mode 0600 too; an existing file keeps its inode, owner and mode. Raises RequestError for a
    name that is taken, a `key_file` that exists, and a file that cannot be used; nothing is changed then.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    given = {field: value for field, value in fields.items() if value is not None}
    try:
        entry = Entry(name=name, sha256=digest_of(key).hex(), **given)
    except pydantic.ValidationError as error:
        raise RequestError(f"no key was made: {_mistake(error)}", code="bad_key") from None
    path = path.resolve()
    try:
        with _locked(path.parent):
            before = _text(path) if path.exists() else ""
            others = _entries(before, path) or []
            if any(other.name == name for other in others):
                raise RequestError(f"{path} already has a key for {name!r}: remove it, or choose another name")
            if problem := _not_apart([*others, entry]):
                raise RequestError(f"{problem}: choose another name, or name the experiments (--experiment)")
            after = _with(before, others, entry, path)
            with _created(key_file, key):
                _write(path, before, after)
    except OSError as error:
        raise _unusable(path, error.strerror) from None
    return key


def _not_apart(entries: Sequence[Entry]) -> str:
    """An error message if a tenant may run another's experiments because it has no `experiments`; otherwise empty."""
    names = sorted(entry.name for entry in entries)
    for entry in entries:
        begin = f"{entry.name}-"
        place = bisect_left(names, begin)
        if not entry.experiments and place < len(names) and names[place].startswith(begin):
            return f"{entry.name!r} may run experiments named {begin}*, and so those of {names[place]!r}"
    return ""


def _text(path: Path) -> str:
    """The content of a file of at most MAX_BYTES. Does not wait for a FIFO."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(number).st_mode
            if not stat.S_ISREG(mode):
                raise _unusable(path, os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else "it is not a regular file")
            with open(number, "rb", closefd=False) as file:
                content = file.read(MAX_BYTES + 1)
        finally:
            os.close(number)
        if len(content) > MAX_BYTES:
            raise _unusable(path, f"it is larger than {MAX_BYTES:,} bytes")
        return content.decode()
    except UnicodeDecodeError:
        raise _unusable(path, "it is not UTF-8") from None
    except OSError as error:
        raise _unusable(path, error.strerror) from None


def _entries(text: str, path: Path) -> list[Entry] | None:
    """The entries of a keys file; None if it is empty. Raises RequestError."""
    try:
        found = read_plain_yaml(text)
        if found is None:
            return None
        entries = _ENTRIES.validate_python(found)
    except YAMLError as error:
        raise RequestError(f"{path} is neither YAML nor JSON ({one_line(error)})", code="bad_keys_file") from None
    except pydantic.ValidationError as error:
        raise RequestError(f"{path}: {_mistake(error)}", code="bad_keys_file") from None
    for what in ("name", "sha256"):
        first: dict[str, int] = {}
        for number, entry in enumerate(entries):
            other = first.setdefault(getattr(entry, what), number)
            if other != number:
                raise RequestError(f"{path}: entry {number} has the {what} of entry {other}", code="bad_keys_file")
    if problem := _not_apart(entries):
        raise RequestError(f"{path}: {problem}: name the experiments of each (`experiments`)", code="bad_keys_file")
    return entries


def _with(before: str, others: Sequence[Entry], entry: Entry, path: Path) -> str:
    """The text with one more entry; comments stay as they were."""
    fields = entry.model_dump(mode="json", exclude_unset=True)
    if before.lstrip().startswith("["):
        all_fields = [*(other.model_dump(mode="json", exclude_unset=True) for other in others), fields]
        return json.dumps(all_fields, indent=2, ensure_ascii=False) + "\n"
    lines = [
        f"{'  ' if number else '- '}{name}: {json.dumps(value)}" for number, (name, value) in enumerate(fields.items())
    ]
    after = "\n".join([*([before.rstrip("\n")] if before.strip() else []), *lines]) + "\n"
    try:
        complete = _entries(after, path) == [*others, entry]
    except RequestError:
        complete = False
    if not complete:
        raise RequestError(f"cannot append to {path}: write each entry with `- ` at the start of a line")
    return after


def _write(path: Path, before: str, after: str) -> None:
    """Writes in place: a container that has the file mounted would not see a replacement.

    A scorer that reads a half-written file keeps its keys and reads the file again.
    """
    if len(after.encode()) > MAX_BYTES:
        raise _unusable(path, f"with another key it is larger than {MAX_BYTES:,} bytes")
    number = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if not _written(number, after.encode()):
            _written(number, before.encode())
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(number)
    finally:
        os.close(number)


def _written(number: int, content: bytes) -> bool:
    """Whether all content was written and the file has no other content."""
    is_whole = os.pwrite(number, content, 0) == len(content)
    os.ftruncate(number, len(content))
    return is_whole


@contextmanager
def _created(path: Path | None, key: str) -> Iterator[None]:
    """A new file with the key, removed again if the context fails. Raises RequestError if it cannot be created."""
    if path is None:
        yield
        return
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RequestError(f"cannot create the key file {path}: {error.strerror}", code="bad_key_file") from None
    try:
        with open(number, "w", encoding="ascii") as file:
            file.write(key + "\n")
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Locks the folder, so that two concurrent programs do not overwrite each other's keys."""
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _unusable(path: Path, reason: str | None) -> RequestError:
    return RequestError(f"cannot use the keys file {path}: {reason}", code="bad_keys_file")


def _mistake(error: pydantic.ValidationError) -> str:
    """The first error, without the file's content."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = " ".join(f"entry {part}" if isinstance(part, int) else _shown(part) for part in first["loc"][:2])
    if first["type"] == "string_pattern_mismatch" and first["loc"][-1] == "name":
        return f"{where}: a name consists of letters, digits and any of _ . : @ / + -"
    return f"{where or 'the file'}: {first['msg']}"


def _shown(name: str) -> str:
    """A name from the file, in one short line."""
    return name if name.isidentifier() and len(name) < 40 else ascii(name[:40])
