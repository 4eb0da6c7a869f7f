"""The pool's side of one member: its process, and the reads that it has."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import sys
from pathlib import Path
from typing import Any

from icm_client.contract.errors import ScorerError
from icm_server.config import ServerConfig
from icm_server.engines.base import ReadAnswer
from icm_server.engines.places import Place
from icm_server.engines.registry import Say
from icm_server.pool.frames import Frames, Message
from icm_server.pool.messages import Read, Ready, SentReads, error_of, ready_of

MESSAGE_TOKENS = 2**16
"""Tokens after which a message ends, although more reads are waiting."""
CLOSING_S = 10.0
"""How long a process may take to end; then it is killed."""
LAST_MESSAGE_S = 0.5
"""How long the last message of a process that has ended may take."""


SILENT_S = 30.0
"""How long a process may send nothing, although it sends a sign of life every `messages.ALIVE_EVERY_S` seconds; then it
hangs and is killed."""
LOOK_S = 1.0


class MemberLostError(Exception):
    """The member's process has ended: another member has to do this."""


class Member:
    """One running process. Create it with `started`, in the event loop in which it is used."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, frames: Frames, *, silent_s: float = SILENT_S):
        self.number, self._process, self._frames, self._silent_s = number, process, frames, silent_s
        self.ready: Ready | None = None
        """What its engine says of itself, once it is loaded."""
        self.tokens = 0
        """The tokens that it has to compute, as estimated."""
        self.lost, self.reason = asyncio.Event(), ""
        """Whether it has ended, and why."""
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[ReadAnswer]] = {}
        self._sent_reads, self._is_heard = SentReads(), False
        self._outbox: list[tuple[int, Read]] = []
        self._tasks = [asyncio.create_task(self._watch())]

    @classmethod
    async def started(
        cls, number: int, config: ServerConfig, place: Place, say: Say, *, silent_s: float = SILENT_S
    ) -> Member:
        """Starts a process and waits until its engine is loaded; later it is lost after `silent_s` seconds without a
        message. Raises RequestError for a user's mistake, ScorerError if the engine does not start."""
        ours, theirs = socket.socketpair()
        try:
            # A session of its own: Ctrl-C is for the pool, which lets running requests finish.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "icm_server.pool.process", stdin=theirs.fileno(), start_new_session=True
            )
        finally:
            theirs.close()
        member = cls(number, process, await Frames.open(ours), silent_s=silent_s)
        try:
            member._frames.send({"start": config.model_dump(mode="json"), "place": place})
            member.ready = await member._loaded(say)
        except BaseException:
            await asyncio.shield(member.close())
            raise
        member._tasks += [asyncio.create_task(member._receive()), asyncio.create_task(member._end_if_silent())]
        return member

    @property
    def pid(self) -> int:
        return self._process.pid

    async def read(self, read: Read) -> ReadAnswer:
        """Raises ScorerError if the engine fails, MemberLostError if it ends."""
        return await self._answer_to(self._send_read, read)

    async def add(self, key: str, number: int, folder: Path) -> None:
        """As AdapterHost.add; raises MemberLostError as well."""
        await self._answer_to(self._send, "add", key, number, str(folder.absolute()))

    async def remove(self, key: str) -> None:
        """As AdapterHost.remove; raises MemberLostError as well."""
        await self._answer_to(self._send, "remove", key)

    async def close(self) -> None:
        """Ends the process; the reads that it has fail with MemberLostError."""
        if self.ready is None:  # loading cannot be interrupted
            self._kill()
        self._frames.finish()
        await self._ended()
        await asyncio.gather(*self._tasks)
        self._frames.close()

    async def _loaded(self, say: Say) -> Ready:
        while (message := await self._frames.receive()) is not None:
            if "say" in message:
                say(message["say"])
            elif "ready" in message:
                return ready_of(message["ready"])
            elif "failed" in message:
                raise error_of(message["failed"])
        raise ScorerError(f"the process of engine {self.number} ended while it was loading", code="engine_start")

    async def _receive(self) -> None:
        """Passes answers on until the process has ended."""
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a process that sends nonsense is ended
            while not self.reason and (message := await self._frames.receive()) is not None:
                self._is_heard = True
                self._settle(message)
                self.reason = message.get("died", self.reason)
        self.reason = self.reason or f"its process ended with {await self._ended()}"
        self.lost.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(MemberLostError())
        await self._ended()

    async def _watch(self) -> None:
        """Ends the messages when the process has ended, even if a child of it still has the socket."""
        await self._process.wait()
        await asyncio.sleep(LAST_MESSAGE_S)
        self._frames.end()

    async def _end_if_silent(self) -> None:
        """Kills a process that hangs. Looks are counted, not seconds: this process may have been stopped itself."""
        num_silent = 0
        while num_silent * LOOK_S < self._silent_s:
            self._is_heard = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.lost.wait(), LOOK_S)
                return
            num_silent = 0 if self._is_heard else num_silent + 1
        self.reason = f"it sent nothing for {self._silent_s:g} s"
        self._kill()
        self._frames.end()  # its reads go to others even if the system cannot end the process yet

    async def _ended(self) -> int:
        """The exit code of the process, which is killed if it takes too long."""
        try:
            return await asyncio.wait_for(self._process.wait(), CLOSING_S)
        except TimeoutError:
            self._kill()
            return await self._process.wait()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _settle(self, message: Message) -> None:
        for number, logprobs, num_cached in message.get("answers", ()):
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result(ReadAnswer(logprobs, num_cached))
        for number, said in message.get("errors", ()):
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_exception(error_of(said))

    async def _answer_to(self, send: Any, *content: Any) -> ReadAnswer:
        if self.lost.is_set():
            raise MemberLostError
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        send(number, *content)
        try:
            answer: ReadAnswer = await waiting
        except asyncio.CancelledError:
            self._frames.send({"cancel": [number]})
            raise
        finally:
            del self._waiting[number]
        return answer

    def _send(self, number: int, kind: str, *content: Any) -> None:
        self._frames.send({kind: [number, *content]})

    def _send_read(self, number: int, read: Read) -> None:
        """Reads that are dispatched together travel together."""
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append((number, read))

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, []
        items: list[list[Any]] = []
        num_tokens = 0
        for number, read in outbox:
            if number not in self._waiting:  # cancelled meanwhile
                continue
            items.append(self._sent_reads.packed(number, read))
            num_tokens += len(items[-1][2])
            if num_tokens > MESSAGE_TOKENS:
                self._frames.send({"reads": items})
                items, num_tokens = [], 0
        if items:
            self._frames.send({"reads": items})
