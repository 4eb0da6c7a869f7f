"""Examples whose text alone is longer than the model's window, named by their rows before anything is scored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import Example
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

CODE = "prompt_too_long"
"""Of the scorer's error for texts that are far too long to be counted, and of these."""
MAX_NAMED = 5


async def uncountable(
    examples: Sequence[Example], count: Callable[[Sequence[Example]], Awaitable[object]]
) -> RequestError | None:
    """The error for the first example whose tokens `count` refuses to count, being far too long. It is found by
    halving: the scorer names only a place in a part of the texts. Raises other errors of `count`."""
    try:
        await count(examples)
    except RequestError as error:
        if error.code != CODE:
            raise
        if len(examples) > 1:
            half = len(examples) // 2
            return await uncountable(examples[:half], count) or await uncountable(examples[half:], count)
        num, limit = (error.details.get(name) for name in ("tokens", "limit"))
        size = f"{num:,} tokens or more" if num else f"{len(examples[0].text):,} characters"
        holds = f", and the model's window holds {limit:,}" if num and limit else ", too many for the model's window"
        what = f"the row with the id {examples[0].id!r:.200} has {size}{holds}: shorten it or leave it out"
        return RequestError(what, code=error.code, details=error.details)
    return None


def check_lengths(examples: Sequence[Example], nums: Ints, limit: int) -> None:
    """Raises RequestError for examples whose prompts have more than `limit` tokens: `nums`, without any context."""
    long = [number for number, num in enumerate(nums.tolist()) if num > limit]
    if not long:
        return
    named = ", ".join(f"{examples[number].id!r:.200} ({nums[number]:,})" for number in long[:MAX_NAMED])
    more = f" and {len(long) - MAX_NAMED:,} more" if len(long) > MAX_NAMED else ""
    they = "it" if len(long) == 1 else "them"
    num = counted(len(long), "row is", "rows are")
    raise RequestError(
        f"{num} too long for the model's window of {limit:,} tokens, with the ids (and tokens) "
        f"{named}{more}: shorten {they} or leave {they} out",
        code=CODE,
        details={"ids": [examples[number].id for number in long[:MAX_NAMED]], "limit": limit},
    )
