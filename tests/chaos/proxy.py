"""A TCP proxy in front of Redis (or PostgreSQL) that harms what passes through it.

Two ways, `up` to the server and `down` from it, are harmed apart or together:

| call | what it does |
| --- | --- |
| `delay(seconds)` | every piece waits before it goes on |
| `hold()` | nothing goes on until `heal()`, and nothing is lost: a partition as TCP sees it |
| `swallow()` | whoever is or comes is cut off for good, without a word: a peer that vanished |
| `reset()` | every connection ends with a RST, once |
| `refuse()` | nobody listens any more, until `heal()` |
| `heal()` | everything passes; connections that were swallowed stay dead |
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.chaos.broker import free_port

Way = Literal["up", "down"]
BOTH: tuple[Way, ...] = ("up", "down")
_ABORT = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Harm:
    """What happens to one way."""

    delay_s: float = 0.0
    swallow: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False, slots=True)
class Link:
    """One connection, with the ways in which it is dead."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    dead: set[Way] = field(default_factory=set)


class Proxy:
    """Listens on a port of 127.0.0.1 and passes on to a port or a Unix socket."""

    def __init__(self, target: int | Path) -> None:
        self.port = free_port()
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._harms: dict[Way, Harm] = {way: Harm() for way in BOTH}
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._call(self._listen())
        self.heal()

    @property
    def url(self) -> str:
        """The address for honeyflow.toml."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    def delay(self, seconds: float, *ways: Way) -> None:
        """Let every piece wait."""
        self._call(self._set(ways, delay_s=seconds))

    def hold(self, *ways: Way) -> None:
        """Let nothing on, and keep it for later."""
        self._call(self._set(ways, held=True))

    def swallow(self, *ways: Way) -> None:
        """Cut off whoever is there or comes, without a word."""
        self._call(self._set(ways, swallow=True))

    def reset(self) -> None:
        """End every connection with a RST."""
        self._call(self._reset())

    def refuse(self) -> None:
        """Listen no longer."""
        self._call(self._stop_listening())

    def heal(self) -> None:
        """Listen, and let everything pass."""
        self._call(self._heal())

    def close(self) -> None:
        """End everything."""
        if self._loop.is_closed():
            return
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    async def _set(
        self,
        ways: tuple[Way, ...],
        *,
        delay_s: float | None = None,
        held: bool = False,
        swallow: bool = False,
    ) -> None:
        for way in ways or BOTH:
            harm = self._harms[way]
            harm.delay_s = harm.delay_s if delay_s is None else delay_s
            harm.swallow = harm.swallow or swallow
            if held:
                harm.open.clear()
            if swallow:
                for link in self._links:
                    link.dead.add(way)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _heal(self) -> None:
        for harm in self._harms.values():
            harm.delay_s, harm.swallow = 0.0, False
            harm.open.set()
        await self._listen()

    async def _reset(self) -> None:
        for link in list(self._links):
            for writer in (link.near, link.far):
                if writer is not None:
                    _abort(writer)

    async def _close(self) -> None:
        await self._stop_listening()
        await self._reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        link = Link(near=writer, dead={way for way in BOTH if self._harms[way].swallow})
        self._links.add(link)
        try:
            await self._serve(link, reader)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            self._tasks.discard(task)
            for end in (link.near, link.far):
                if end is not None:
                    end.close()

    async def _serve(self, link: Link, reader: asyncio.StreamReader) -> None:
        if "up" in link.dead:
            await _drain(reader)
            return
        far_reader, link.far = await self._connect()
        await asyncio.gather(
            self._pump(link, reader, link.far, "up"),
            self._pump(link, far_reader, link.near, "down"),
        )

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(str(self._target))
        return await asyncio.open_connection("127.0.0.1", self._target)

    async def _pump(
        self, link: Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way
    ) -> None:
        harm = self._harms[way]
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if harm.delay_s:
                    await asyncio.sleep(harm.delay_s)
                await harm.open.wait()
                if way not in link.dead:
                    sink.write(data)
                    await sink.drain()
        # A peer that vanished does not say goodbye either: the other end is not told.
        await harm.open.wait()
        if way not in link.dead:
            sink.close()


async def _drain(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(65_536):
            pass


def _abort(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        end: socket.socket = writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()
