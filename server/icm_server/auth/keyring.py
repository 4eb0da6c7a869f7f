"""The keys of a running scorer: maps a key to its tenant, and follows changes of the keys file."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path
from typing import NamedTuple

from icm_client.contract.errors import RequestError
from icm_server.auth.keys_file import digest_of, read_keys
from icm_server.auth.tenant import Tenant

log = logging.getLogger("icm_server")


class _Stamp(NamedTuple):
    """Identifies a version of a file; it differs after the file is replaced, changed, or becomes readable."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int
    num_names: int


class Keyring:
    """The keys of one file, which is read again when it changes. Raises RequestError if it cannot be read, or has no
    keys."""

    def __init__(self, path: Path, *, one_of: int = 1):
        """`one_of`: as many scorers have this file, so each of them grants `Tenant.part` of every limit."""
        self._path, self._stamp, self._one_of = path, _stamp(path), one_of
        self._tenants = self._read()
        if not self._tenants:
            raise RequestError(f"{path} holds no keys; make one with `icm-server key new NAME --keys-file {path}`")

    def tenant_of(self, key: str) -> Tenant | None:
        """The key's tenant, or None for an unknown key. The time that it takes does not depend on the key."""
        self._follow()
        digest = digest_of(key)
        found = None
        for expected, tenant in self._tenants:
            if hmac.compare_digest(digest, expected):
                found = tenant
        return found

    def _follow(self) -> None:
        """Reads a changed file, so that new keys need no restart. An invalid or missing file changes nothing.

        If only the file is mounted into a container, and an editor replaces it, the container keeps the old file, which
        then has no name.
        """
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        if stamp is not None and stamp.num_names == 0:
            log.error(
                "%s was replaced by a file that is not visible here; the keys are unchanged. Restart the "
                "scorer, and mount the file's folder instead of the file",
                self._path,
            )
            return
        try:
            self._tenants = self._read()
            log.warning("%s has changed: %d keys", self._path, len(self._tenants))
        except RequestError as error:
            log.error("the keys are unchanged: %s", error.message)

    def _read(self) -> list[tuple[bytes, Tenant]]:
        return [(bytes.fromhex(entry.sha256), entry.tenant.part(self._one_of)) for entry in read_keys(self._path)]


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return _Stamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_nlink)
