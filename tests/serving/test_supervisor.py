"""A real engine that hangs is killed and started again; one that is merely asked is left alone."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp

from pipelines.serving.liveness import Liveness
from pipelines.serving.supervisor import Launcher, Supervisor
from tests.serving.site import spec

EVERY = 0.5  # seconds


def test_an_engine_that_hangs_is_started_again(export: Path) -> None:
    async def whole() -> None:
        launcher, died = Launcher(spec(), lambda _: export), list[str]()
        async with aiohttp.ClientSession() as http:
            supervisor = Supervisor(launcher, died.append, 1.0, Liveness(http, EVERY, misses=2))
            supervisor.want({"1"})
            hangs = await running(supervisor)
            os.kill(hangs, signal.SIGSTOP)
            while (again := await running(supervisor)) == hangs:
                await asyncio.sleep(0.05)
            assert died[0] == "1"
            assert not Path(f"/proc/{hangs}").exists()
            assert again != hangs
            await supervisor.close()
        launcher.close()

    asyncio.run(asyncio.wait_for(whole(), 180))


async def running(supervisor: Supervisor) -> int:
    """The pid of the engine, once there is one."""
    while "1" not in (pids := supervisor.pids()):
        await asyncio.sleep(0.05)
    return pids["1"]
