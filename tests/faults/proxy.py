"""A proxy in front of a real engine that breaks a share of what passes. The faults live here, never in the product.

    python -m tests.faults.proxy http://127.0.0.1:PORT --fail 0.05        prints {"url"} and runs until it is killed

or, inside a gateway's own process, `launch=through(Launcher(spec, fetch), {"2": Faults(fail=0.05)})`.
"""

import argparse
import asyncio
import dataclasses
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from pipelines.serving.supervisor import Engine, Launch

UNRELATED = "quarterly dividends of the Zurich opera rose 47 % under Admiral Brandenburg"


@dataclass
class Faults:
    """What happens to a request, each decided by its own draw (shares from 0 to 1) from one seeded generator.

    Change the fields at any time; `seen` and `broken` count what passed and what was broken.
    """

    fail: float = 0.0  # answered with 500 instead
    drop: float = 0.0  # the connection is cut without an answer
    delay: float = 0.0  # held back for `delay_seconds` first
    delay_seconds: float = 1.0
    replace: float = 0.0  # every output text becomes `text`
    text: str = UNRELATED
    seed: int = 0
    seen: int = 0
    broken: int = 0
    _random: random.Random = field(default_factory=random.Random, repr=False)

    def __post_init__(self) -> None:
        self._random.seed(self.seed)

    def draw(self, share: float) -> bool:
        hit = self._random.random() < share
        self.broken += hit
        return hit


class Proxy:
    """Listens on a free loopback port and passes everything to `upstream`, but for the faults."""

    def __init__(self, upstream: str, faults: Faults) -> None:
        self.upstream, self.faults, self.url = upstream, faults, ""

    async def start(self) -> "Proxy":
        self._http = aiohttp.ClientSession()
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await self._site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def stop(self) -> None:
        """Close all that is open. After a stop that was cancelled midway, another one finishes it."""
        if self._site in self._runner.sites:
            await self._site.stop()
        for _ in range(4):  # turns of the loop, in which what was accepted last becomes a connection that the cleanup knows
            await asyncio.sleep(0)
        await self._runner.cleanup()
        await self._http.close()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        faulty = request.path == "/generate"
        if faulty:
            self.faults.seen += 1
            if self.faults.draw(self.faults.delay):
                await asyncio.sleep(self.faults.delay_seconds)
            if self.faults.draw(self.faults.drop):
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            if self.faults.draw(self.faults.fail):
                return web.json_response({"error": "broken by the proxy"}, status=500)
        try:
            async with self._http.request(request.method, self.upstream + request.path, data=body) as answer:
                content, status = await answer.read(), answer.status
        except aiohttp.ClientError:  # the engine itself is away
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if faulty and status == 200 and self.faults.draw(self.faults.replace):
            content = self._replaced(content)
        return web.Response(body=content, status=status, content_type="application/json")

    def _replaced(self, content: bytes) -> bytes:
        answer: dict[str, Any] = json.loads(content)
        for output in answer["outputs"]:
            output["text"] = self.faults.text
        return json.dumps(answer).encode()


@dataclass
class Proxied(Engine):
    """An engine behind a proxy, which goes when the engine goes."""

    proxy: Proxy | None = None

    async def wait(self) -> int:
        code = await super().wait()
        await self._part()
        return code

    async def stop(self, grace: float) -> None:
        await super().stop(grace)
        await self._part()

    async def _part(self) -> None:
        if self.proxy:
            await self.proxy.stop()
            self.proxy = None


def through(launch: Launch, faults: Mapping[str, Faults], started: list[Proxy] | None = None) -> Launch:
    """`launch`, but the versions that `faults` names are reached through a proxy, each of which is added to `started`."""

    async def launched(version: str) -> Engine:
        engine = await launch(version)
        if version not in faults:
            return engine
        proxy = await Proxy(engine.url, faults[version]).start()
        if started is not None:
            started.append(proxy)
        fields = {f.name: getattr(engine, f.name) for f in dataclasses.fields(engine)}
        return Proxied(**{**fields, "url": proxy.url}, proxy=proxy)

    return launched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("upstream")
    for name in ("fail", "drop", "delay", "replace"):
        parser.add_argument(f"--{name}", type=float, default=0.0, help="share of the requests")
    parser.add_argument("--delay-seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args())

    async def run() -> None:
        proxy = await Proxy(given.pop("upstream"), Faults(**given)).start()
        print(json.dumps({"url": proxy.url}), flush=True)  # noqa: T201
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    main()
