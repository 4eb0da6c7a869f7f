"""Which member of a pool makes a read. Pure.

The parts of a request go to different members, in an order that a hash of the request's key and the member gives
(rendezvous hashing). So requests with the same context find it in the same prefix caches, and a member that comes or
goes moves only its own parts. Where a member has too much to do, the part goes to the member with the least, and stays
there.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import NamedTuple

from icm_server.engines.base import Part

BOUND = 1.25
"""A member's load, relative to the mean, above which it gets no new part."""
IDLE = 0.25
"""A member's load, relative to the mean, below which it is nearly idle."""
MAX_PARTS = 2**14
"""Parts whose member is remembered: more than are at work at once."""


class Placed(NamedTuple):
    """The member for a read, and whether the part's last read went to it too."""

    member: int
    has_prefix: bool


class Routing:
    """Remembers where parts are."""

    def __init__(self, bound: float = BOUND, max_parts: int = MAX_PARTS):
        self._bound, self._max_parts = bound, max_parts
        self._member_of: OrderedDict[Part, int] = OrderedDict()

    def place(self, part: Part, prompt_tokens: int, loads: Mapping[int, int]) -> Placed:
        """The member for a read of the part. `loads` are the tokens that the members (at least one) have to compute.

        A part that is nowhere yet goes to the least loaded member if its first choice is above the bound, and has more
        to do than that member by half the prompt. A part that is at work moves only to a member that is nearly idle,
        and if that member computes the whole prompt before the other one has caught up.
        """
        least = min(loads, key=lambda member: (loads[member], member))
        mean = sum(loads.values()) / len(loads)
        known = self._member_of.get(part)
        if known is not None and known in loads:
            first = known
            is_fine = loads[least] > IDLE * mean or loads[first] <= loads[least] + prompt_tokens
        else:
            first = preferred(part, loads)
            is_fine = loads[first] <= max(self._bound * mean, loads[least] + prompt_tokens / 2)
        chosen = first if is_fine else least
        self._member_of[part] = chosen
        self._member_of.move_to_end(part)
        if len(self._member_of) > self._max_parts:
            self._member_of.popitem(last=False)
        return Placed(chosen, chosen == known)


def preferred(part: Part, members: Collection[int]) -> int:
    """The member that the part goes to if all have equally much to do."""
    order = sorted(members, key=lambda member: hashlib.blake2b(b"%d " % member + part.key, digest_size=8).digest())
    return order[part.number % len(order)]
