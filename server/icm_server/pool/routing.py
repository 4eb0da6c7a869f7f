"""Which member of a pool makes a read. Pure.

The parts of a request go to different members, in an order that a hash of the request's key and the member gives
(rendezvous hashing). So requests with the same context find it in the same prefix caches, and a member that comes or
goes moves only its own parts. Where a member has too much to do, the part goes to the member with the least, and stays
there.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from icm_server.engines.base import Part

BOUND = 1.25
"""A member's load, relative to the mean, above which it gets no new part."""
IDLE = 0.25
"""A member's load, relative to the mean, below which it is nearly idle."""
MAX_KEYS = 2**14
"""Keys whose members are remembered: more than are at work at once."""


class Placed(NamedTuple):
    """The member for a read, and whether the part's last read went to it too."""

    member: int
    has_prefix: bool


class Routing:
    """Remembers where parts are."""

    def __init__(self, bound: float = BOUND, max_keys: int = MAX_KEYS):
        self._bound, self._max_keys = bound, max_keys
        self._members_of: OrderedDict[bytes, dict[int, int]] = OrderedDict()
        """For each key the members of its parts."""

    def place(self, part: Part, prompt_tokens: int, loads: Mapping[int, int]) -> Placed:
        """The member for a read of the part. `loads` are the tokens that the members (at least one) have to compute.

        A part that is nowhere yet goes to a member that has no other part of its key. If its first choice is above the
        bound, and has more to do than the least loaded one by half the prompt, it goes to that one. A part that is at
        work moves only to a member that is nearly idle, and if that member computes the whole prompt before the other
        one has caught up.
        """
        members = self._members_of.setdefault(part.key, {})
        known = members.get(part.number)
        mean = sum(loads.values()) / len(loads)
        if known is not None and known in loads:
            first, least = known, _least(loads, loads)
            stays = loads[least] > IDLE * mean or loads[first] <= loads[least] + prompt_tokens
        else:
            others = {member for number, member in members.items() if number != part.number}
            free = [member for member in preferred(part, loads) if member not in others] or preferred(part, loads)
            first, least = free[0], _least(free, loads)
            stays = loads[first] <= max(self._bound * mean, loads[least] + prompt_tokens / 2)
        chosen = first if stays else least
        members[part.number] = chosen
        self._members_of.move_to_end(part.key)
        if len(self._members_of) > self._max_keys:
            self._members_of.popitem(last=False)
        return Placed(chosen, chosen == known)


def preferred(part: Part, members: Iterable[int]) -> list[int]:
    """The members in the order in which the part goes to them if all have equally much to do."""
    order = sorted(members, key=lambda member: hashlib.blake2b(b"%d " % member + part.key, digest_size=8).digest())
    start = part.number % len(order)
    return [*order[start:], *order[:start]]


def _least(members: Iterable[int], loads: Mapping[int, int]) -> int:
    """The least loaded of these members."""
    return min(members, key=lambda member: (loads[member], member))
