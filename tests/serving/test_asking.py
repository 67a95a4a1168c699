"""Asking a real engine through a wire that fails: what is tried again, what is told, and what counts as no answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from pipelines.serving.asking import Asking, Outputs, Unanswered
from pipelines.serving.exchange import Call, Delta
from pipelines.serving.liveness import Liveness
from pipelines.serving.supervisor import Engine, Launcher, Supervisor
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Decoding
from tests.serving.site import spec

GREEDY = Decoding(max_tokens=8)


class Wire:
    """A relay to the engine's port. `cut` requests (counted down) find their connection closed instead of being passed on;
    `rest` replaces what the engine answers after its first line; while it is `mute`, nothing comes back."""

    def __init__(self) -> None:
        self.cut, self.asked, self.rest, self.mute = 0, 0, b"", False
        self._open: set[asyncio.StreamWriter] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)  # before anything is awaited: `close` must know it
        upstream, down = await asyncio.open_connection("127.0.0.1", self.port)
        self._open.add(down)
        back = asyncio.create_task(self._back(upstream, writer))
        while data := await reader.read(1 << 20):
            self.asked += 1
            if self.cut:
                self.cut -= 1
                writer.transport.abort()
                break
            down.write(data)
        back.cancel()
        down.close()
        writer.close()

    async def _back(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await upstream.read(1 << 20):
            if self.mute:
                continue
            line = data.find(b'"text"')
            if self.rest and line > 0:
                writer.write(data[: data.index(b"\n", line) + 1])
                await writer.drain()
                writer.transport.abort()
                return
            writer.write(data)

    async def launch(self, launcher: Launcher, version: str) -> Engine:
        engine = await launcher(version)
        self.port = int(engine.url.rpartition(":")[2])
        self._server = await asyncio.start_server(self, "127.0.0.1", 0)
        return replace(engine, url=f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}")

    async def close(self) -> None:
        """All of it: with warnings as errors, uvloop's loop never ends over what was left open."""
        self._server.close()
        for _ in range(4):  # turns of the loop, in which what was accepted last comes to `__call__`, and sockets are given back
            await asyncio.sleep(0)
            for writer in self._open:
                writer.transport.abort()


@asynccontextmanager
async def asking(export: Path, wire: Wire) -> AsyncIterator[Asking]:
    launcher = Launcher(spec(), lambda _: export)
    async with aiohttp.ClientSession() as http:
        supervisor = Supervisor(lambda version: wire.launch(launcher, version), lambda _: None, 1.0, Liveness(http))
        supervisor.want({"1"})
        while not supervisor.up():
            await asyncio.sleep(0.01)
        yield Asking(supervisor, Telemetry("tiny"), http)
        await supervisor.close()
        await wire.close()
    launcher.close()


def call(*texts: str) -> Call:
    return Call("request", "key", "mac", time.monotonic(), GREEDY, texts)


def test_asking(export: Path) -> None:
    """One engine for all: it takes seconds to start."""

    async def whole() -> None:
        wire = Wire()
        async with asking(export, wire) as ask:
            for check in (answers, streams, sends_again, gives_up, is_late, breaks_off, knows_whom):
                await asyncio.wait_for(check(ask, wire), 90)

    asyncio.run(whole())


async def answers(ask: Asking, _wire: Wire) -> None:
    outputs = await ask.ask("1", call("a small package", "fonts"), 5)
    assert len(outputs) == 2
    assert outputs.timing.batch == 2
    assert outputs.timing.decode > 0 < outputs.busy
    assert await ask.healthy("1")


async def streams(ask: Asking, _wire: Wire) -> None:
    *deltas, last = [part async for part in ask.stream("1", call("a small package", "fonts"), 5)]
    assert isinstance(last, Outputs)
    for index, output in enumerate(last):
        assert "".join(d.text for d in deltas if isinstance(d, Delta) and d.index == index) == output.text


async def sends_again(ask: Asking, wire: Wire) -> None:
    """The engine closed the kept connection just then."""
    wire.cut, before = 1, wire.asked
    assert len(await ask.ask("1", call("fonts"), 5)) == 1
    assert wire.asked == before + 2


async def gives_up(ask: Asking, wire: Wire) -> None:
    wire.cut, before = 5, wire.asked
    await refused(ask.ask("1", call("fonts"), 5), "connection")
    assert wire.asked == before + 2, "once more, not for ever"
    wire.cut = 0


async def is_late(ask: Asking, wire: Wire) -> None:
    wire.mute = True
    await refused(ask.ask("1", call("fonts"), 0.05), "timeout")
    wire.mute = False
    await refused(ask.ask("1", call("fonts"), 0), "timeout")


async def breaks_off(ask: Asking, wire: Wire) -> None:
    wire.rest = b"cut"
    parts = ask.stream("1", call("a small package"), 5)
    assert isinstance(await anext(parts), Delta)
    with pytest.raises(Unanswered) as error:
        _ = [part async for part in parts]
    assert error.value.reason == "connection"
    wire.rest = b""


async def knows_whom(ask: Asking, _wire: Wire) -> None:
    await refused(ask.ask("2", call("fonts"), 5), "away")
    assert not await ask.healthy("2")
    await refused(ask.ask("1", replace(call("fonts"), decoding=Decoding(beam=16)), 5), "status")


async def refused(asked: Awaitable[object], reason: str) -> None:
    with pytest.raises(Unanswered) as error:
        await asked
    assert error.value.reason == reason
