"""Runs a coroutine for many items with bounded concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def gathered(ask: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int) -> list[R]:
    """`ask` of every item, in order, at most `limit` at a time; the first failure cancels the others and is raised."""
    window = asyncio.Semaphore(limit)

    async def one(item: T) -> R:
        async with window:
            return await ask(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
