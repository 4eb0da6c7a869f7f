"""The room for adapters that keys put, in number and in bytes, divided between keys as everything is. A leaf."""

from __future__ import annotations

from icm_client.contract.errors import RequestError, TooLargeError
from icm_server.config import AdapterLimits
from icm_server.sharing.shared_limit import SharedLimit

FOR_ALL = ""
"""The holder of adapters for all keys; no key has this name."""


class Room:
    """Counts the adapters that are kept, arriving, or still used by running requests."""

    def __init__(self, limits: AdapterLimits, *, shared: bool):
        self.max_bytes = limits.max_adapter_mb * 2**20
        self._number = SharedLimit(limits.max_adapters, shared=shared)
        self._bytes = SharedLimit(limits.max_adapters_mb * 2**20, shared=shared)

    @property
    def num_adapters(self) -> int:
        return self._number.total

    @property
    def num_bytes(self) -> int:
        return self._bytes.total

    def place(self, owner: str | None) -> Place:
        """Room for one adapter of the owner. Raises RequestError if there is none."""
        place = Place(self, owner or FOR_ALL)
        if not self._number.take(place.holder, 1):
            raise _full(f"{self._number.total} adapters of at most {self._number.limit}")
        return place


class Place:
    """What one adapter takes; `close` returns it."""

    def __init__(self, room: Room, holder: str):
        self._room, self.holder = room, holder
        self.num_bytes = 0
        self._is_open = True

    def add(self, num_bytes: int) -> None:
        """Raises TooLargeError if the adapter is too large, RequestError if its owner has no room for so much."""
        room = self._room
        if self.num_bytes + num_bytes > room.max_bytes:
            raise TooLargeError(f"the adapter is larger than {room.max_bytes} bytes", code="adapter_too_large")
        if not room._bytes.take(self.holder, num_bytes):
            raise _full(f"{room._bytes.total} bytes of at most {room._bytes.limit}")
        self.num_bytes += num_bytes

    def close(self) -> None:
        """May be called again."""
        if self._is_open:
            self._is_open = False
            self._room._number.give_back(self.holder, 1)
            self._room._bytes.give_back(self.holder, self.num_bytes)


def _full(held: str) -> RequestError:
    return RequestError(
        f"there is no room for this adapter: all keys together have {held}, and a key may have as much as it leaves "
        "free; delete one that is not needed (`icm adapter delete`)",
        code="adapters_full",
        status=409,
    )
