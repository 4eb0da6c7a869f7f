"""The adapters of one scorer: how they come and go while requests run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from icm_client.contract.adapters import AdapterInfo, AdapterList
from icm_client.contract.errors import RequestError
from icm_server.adapters.arrival import Arrival
from icm_server.adapters.check import CheckedAdapter, check_adapter
from icm_server.adapters.host import AdapterHost
from icm_server.adapters.names import AdapterNames, owner_of
from icm_server.adapters.room import Place, Room
from icm_server.adapters.store import Entry, Store, Stored
from icm_server.adapters.version import BASE_KEY, Version
from icm_server.auth.tenant import Tenant
from icm_server.config import AdapterConfig
from icm_server.logs import event
from icm_server.sharing.fair_lock import FairLock

log = logging.getLogger("icm_server")

LEAVING_S = 5.0
"""How long a scorer that stops waits for adapters to be unloaded."""


class Adapters:
    """Use it in one event loop. Create it with `open`; without a host there are none."""

    def __init__(
        self,
        host: AdapterHost | None = None,
        store: Store | None = None,
        room: Room | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._host, self._store, self._room = host, store, room
        self._folders: Path | None = None
        self._base = Version(BASE_KEY)
        self.names = AdapterNames()
        self._unserved: dict[tuple[str | None, str], Stored] = {}
        """Kept, but not for this base model or within these limits."""
        self._turns = FairLock(clock)
        """One adapter is checked and loaded at a time."""
        self._leaving: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, host: AdapterHost | None, config: AdapterConfig, *, has_keys: bool = False) -> Adapters:
        """Loads the adapters that the scorer is started with, and those of its store. Raises RequestError for one of
        the former that cannot be used; of the latter it is logged."""
        if host is None:
            if config != AdapterConfig():
                raise RequestError("this engine takes no adapters", code="no_adapters")
            return cls()
        store = await asyncio.to_thread(Store.open, config.store) if config.store is not None else None
        adapters = cls(host, store, Room(config.limits, shared=has_keys) if store else None)
        adapters._folders = config.folders.expanduser() if config.folders is not None else None
        try:
            await adapters._load(config.given)
        except BaseException:
            await adapters.close()
            raise
        return adapters

    def take(self, name: str, tenant: Tenant) -> Version:
        """What answers a request for the model `name`, held until `release`. Raises AccessError or RequestError."""
        version = self._base if name == BASE_KEY else self.names.found(name, tenant)
        version.hold()
        return version

    def listed(self, tenant: Tenant) -> AdapterList:
        """What `GET /v1/adapters` answers."""
        infos = [version.info for version in self.names.visible_to(tenant).values()]
        return AdapterList(
            adapters=infos,
            takes_more=self._store is not None,
            max_rank=self._host.max_rank if self._host is not None else 0,
        )

    @property
    def num_adapters(self) -> int:
        """Of all that are served."""
        return len(self.names.versions)

    @property
    def num_bytes(self) -> int:
        """Of all adapters that keys have put, also those that are arriving or leaving."""
        return self._room.num_bytes if self._room is not None else 0

    @asynccontextmanager
    async def arriving(self, name: str, tenant: Tenant, *, shared: bool) -> AsyncIterator[Arrival]:
        """A place for an adapter's files; `put` takes them over. Raises RequestError or AccessError if the tenant may
        not put an adapter under this name, or has no room for it."""
        store, owner = self._writable(name, tenant, shared=shared), owner_of(tenant, shared=shared)
        assert self._room is not None
        place = self._room.place(owner)
        arrival = None
        try:
            arrival = Arrival(await asyncio.to_thread(store.partial), place)
            yield arrival
        finally:
            if arrival is not None:
                arrival.close()
                if arrival.folder.exists():  # it was not taken over
                    await asyncio.to_thread(store.remove, arrival.folder)
                    place.close()
            else:
                place.close()

    async def copy(self, arrival: Arrival, folder: str) -> None:
        """Copies an adapter from the folder that keys may name folders of. Raises RequestError."""
        if self._folders is None:
            raise RequestError(
                "this scorer reads no adapters from its disk: send the files, or start it with --adapter-dir FOLDER",
                code="no_adapter_folder",
            )
        await asyncio.to_thread(arrival.copy, self._folders, folder)

    async def put(self, name: str, tenant: Tenant, arrival: Arrival, *, shared: bool) -> AdapterInfo:
        """Checks a complete adapter, loads it, and gives it the name; running requests end with the one that had it.

        With the content that the name has already, nothing changes. Raises RequestError for an adapter that would not
        be applied completely.
        """
        owner = owner_of(tenant, shared=shared)
        async with self._turns.holding(self._turns.place(tenant, 0)):
            store = self._writable(name, tenant, shared=shared)
            host = self._host
            assert host is not None
            checked = await asyncio.to_thread(_check, arrival.folder, host)
            old = self.names.versions.get((owner, name))
            if old is not None and old.digest == checked.digest:
                return old.info
            number, folder = await asyncio.to_thread(store.place, arrival.folder)
            version = Version(_key(number, checked), checked.digest, name, owner, checked, folder)
            try:
                await host.add(version.key, number, folder)
            except BaseException:
                await asyncio.to_thread(store.remove, folder)
                arrival.place.close()
                raise
            self._leaves(version, arrival.place)
            try:
                await asyncio.to_thread(store.commit, folder, Entry(owner=owner, name=name, digest=checked.digest))
            except BaseException:
                version.retire()
                raise
            self.names.versions[owner, name] = version
            if (unserved := self._unserved.pop((owner, name), None)) is not None:
                await asyncio.to_thread(store.remove, unserved.folder)
            if old is not None and old.folder is not None:
                with contextlib.suppress(RequestError):  # after a restart the newer one counts
                    await asyncio.to_thread(store.forget, old.folder)
                old.retire()
        event(log, "adapter put", tenant=owner, adapter=name, digest=checked.digest, rank=checked.rank)
        return version.info

    async def delete(self, name: str, tenant: Tenant, *, shared: bool) -> AdapterInfo:
        """Takes the name away; running requests end with the adapter. Raises RequestError or AccessError."""
        owner = owner_of(tenant, shared=shared)
        async with self._turns.holding(self._turns.place(tenant, 0)):
            version = self.names.versions.get((owner, name))
            if version is None:
                fixed = name in self.names.visible_to(tenant)
                reason = "is not this key's own" if fixed else "does not exist"
                raise RequestError(f"the adapter {name[:100]!r} {reason}", code="unknown_adapter", status=404)
            store = self._store
            if store is None or version.folder is None:
                raise RequestError(
                    f"the scorer was started with the adapter {name!r} (--adapter): it stays until a restart",
                    code="fixed_adapter",
                    status=409,
                )
            await asyncio.to_thread(store.forget, version.folder)
            del self.names.versions[owner, name]
            version.retire()
        event(log, "adapter deleted", tenant=owner, adapter=name, digest=version.digest)
        return version.info

    async def close(self) -> None:
        """Waits for adapters that are leaving, and releases the store."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=LEAVING_S)
        if self._store is not None:
            self._store.close()
            self._store = None

    def _writable(self, name: str, tenant: Tenant, *, shared: bool) -> Store:
        """The store, if the tenant may put an adapter of this name."""
        if self._store is None:
            raise RequestError(
                "this scorer takes no adapters: start it with --adapter-store FOLDER", code="no_adapters", status=409
            )
        self.names.check_free(name, tenant, owner_of(tenant, shared=shared))
        return self._store

    async def _load(self, given: Mapping[str, str]) -> None:
        assert self._host is not None
        for number, (name, path) in enumerate(given.items(), start=1):
            folder = Path(path).expanduser()
            try:
                checked = await asyncio.to_thread(_check, folder, self._host)
                number = self._store.next_number() if self._store is not None else number
                version = Version(_key(number, checked), checked.digest, name, None, checked)
                await self._host.add(version.key, number, folder)
            except RequestError as error:
                raise RequestError(f"adapter {name!r} in {folder}: {error.message}", code="bad_adapter") from None
            self.names.versions[None, name] = version
        for stored in self._store.entries if self._store is not None else ():
            await self._load_stored(stored)

    async def _load_stored(self, stored: Stored) -> None:
        assert self._host is not None
        assert self._room is not None
        owner, name = stored.entry.owner, stored.entry.name
        place = None
        try:
            if (owner, name) in self.names.versions:
                raise RequestError("the scorer was started with an adapter of this name")
            place = self._room.place(owner)
            checked = await asyncio.to_thread(_check, stored.folder, self._host)
            if checked.digest != stored.entry.digest:
                raise RequestError("its files are damaged")
            place.add(checked.num_bytes)
            version = Version(_key(stored.number, checked), checked.digest, name, owner, checked, stored.folder)
            await self._host.add(version.key, stored.number, stored.folder)
        except RequestError as error:
            if place is not None:
                place.close()
            self._unserved[owner, name] = stored
            log.warning("the kept adapter %r of %s is not served: %s", name, owner or "all keys", error.message)
            return
        self._leaves(version, place)
        self.names.versions[owner, name] = version

    def _leaves(self, version: Version, place: Place) -> None:
        """From now on the version leaves when it is retired and unused."""
        version.on_idle = lambda: self._later(self._removed(version, place))

    async def _removed(self, version: Version, place: Place) -> None:
        """Takes a version that nothing uses out of the engine, and only then its files off the disk."""
        assert self._host is not None
        await self._host.remove(version.key)
        if self._store is not None and version.folder is not None:
            await asyncio.to_thread(self._store.remove, version.folder)
        place.close()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an adapter was not unloaded", exc_info=error)


def _check(folder: Path, host: AdapterHost) -> CheckedAdapter:
    if not host.base:
        raise RequestError(
            "adapters cannot be checked against this base model, whose weights are not in safetensors files",
            code="no_adapters",
        )
    return check_adapter(folder, host.base, host.max_rank)


def _key(number: int, checked: CheckedAdapter) -> str:
    """The adapter's name in the engine: an engine that keys its caches by names shares nothing between two versions."""
    return f"{number}-{checked.digest[:16]}"
