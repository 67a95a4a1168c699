"""Engine processes: one for each live version, started, kept up, drained and stopped."""

import asyncio
import inspect
import logging
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from pipelines.errors import SeqlineError
from pipelines.serving.liveness import Liveness
from pipelines.spec import Spec

log = logging.getLogger("seqline.serving")
START_SECONDS = 120.0
KILLED_SECONDS = 5.0
STEADY_SECONDS = 30.0  # an engine that lived so long starts with the shortest pause again
NOTICED_SECONDS = 0.1  # after its callers lost it, the end of an engine is known to its keeper
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 10.0


@dataclass
class Engine:
    """A running engine of one version. `url` is where to reach it: a test may put a proxy between.

    A managed endpoint stands as one too: it has no process (`pid` 0), and nobody here starts, ends or outlives it.
    """

    version: str
    url: str
    pid: int
    process: asyncio.subprocess.Process | None

    async def wait(self) -> int:
        """Its exit code, once it has ended: the kernel tells at once."""
        if self.process is None:
            return await asyncio.Future()
        return await self.process.wait()

    async def stop(self, grace: float) -> None:
        """Ask it to finish; after `grace` seconds, kill it."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), grace)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


Launch = Callable[[str], Awaitable[Engine]]
Fetch = Callable[[str], Path | Awaitable[Path]]
"""Version -> folder of its Export. A plain function is run in a thread."""


async def fetched(fetch: Fetch, version: str) -> Path:
    """The folder of a version's Export."""
    if inspect.iscoroutinefunction(fetch):
        return Path(await fetch(version))
    found = await asyncio.to_thread(fetch, version)
    assert isinstance(found, Path)
    return found


class Launcher:
    """Starts `python -m pipelines.serving.engine` for a version, from the folder that `fetch` brings.

    With `signer`, a public key (PEM), engines load only what it signed.
    """

    def __init__(self, spec: Spec, fetch: Fetch, signer: Path | None = None) -> None:
        self._fetch = fetch
        self._signed = ["--signer", str(signer)] if signer else []
        self._folder = tempfile.TemporaryDirectory(prefix="seqline-serving-")
        self._spec = Path(self._folder.name) / "spec.json"
        self._spec.write_text(spec.model_dump_json())

    async def __call__(self, version: str) -> Engine:
        """Start an engine and return it when it is ready.

        Raises:
            SeqlineError: it ended, or was not ready within START_SECONDS. (And what `fetch` raises.)
        """
        export = await fetched(self._fetch, version)
        command = ["-m", "pipelines.serving.engine", "--export", str(export), "--spec", str(self._spec), "--port", "0"]
        command += self._signed
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, "--parent", str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C and signals to our group are for us, who still have requests to finish
        )  # fmt: skip
        try:
            assert process.stdout is not None
            line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
            ready = orjson.loads(line)
            return Engine(version, f"http://127.0.0.1:{ready['port']}", ready["pid"], process)
        except (TimeoutError, orjson.JSONDecodeError):
            await _kill(process)
            raise SeqlineError(
                f"the engine of version {version} ended before it was ready (exit {process.returncode})"
            ) from None
        except BaseException:
            await _kill(process)
            raise

    def close(self) -> None:
        self._folder.cleanup()


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Keeper:
    """Keeps one version's engine up until it is released. `engine` is None while there is none."""

    def __init__(self, version: str, launch: Launch, died: Callable[[str], None], liveness: Liveness) -> None:
        self.version = version
        self.engine: Engine | None = None
        self.failed_starts = 0
        self.in_flight = 0
        self._launch, self._died, self._liveness = launch, died, liveness
        self._task = asyncio.create_task(self._keep())

    @contextmanager
    def lease(self) -> Iterator[Engine | None]:
        """The engine now; while the lease is held a release waits."""
        self.in_flight += 1
        try:
            yield self.engine
        finally:
            self.in_flight -= 1

    async def back(self, until: float) -> bool:
        """Whether the engine is there again by `until` (time.monotonic()). One whose start failed is not waited for."""
        await asyncio.sleep(NOTICED_SECONDS)
        while self.engine is None and not self.failed_starts and time.monotonic() < until:
            await asyncio.sleep(0.02)
        return self.engine is not None

    async def release(self, grace: float) -> None:
        """Wait for the calls in flight, for at most `grace` seconds, then stop the engine."""
        deadline = time.monotonic() + grace
        while self.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self.engine:
            await self.engine.stop(grace)

    async def _keep(self) -> None:
        pause = SHORTEST_PAUSE
        while True:
            started = time.monotonic()
            try:
                self.engine = await self._launch(self.version)
                self.failed_starts = 0
                code = await self._end_of(self.engine)
                self.engine = None
                self._died(self.version)
                log.warning("engine of version %s died (exit %d): it is started again", self.version, code)
            except Exception as error:
                self.failed_starts += 1
                reason = str(error) if isinstance(error, SeqlineError) else type(error).__name__
                log.error("engine of version %s: start %d failed: %s", self.version, self.failed_starts, reason)
            pause = SHORTEST_PAUSE if time.monotonic() - started > STEADY_SECONDS else pause
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _end_of(self, engine: Engine) -> int:
        """Its exit code, once it has ended; one that hangs is killed."""
        if engine.process is None:
            return await engine.wait()
        ended, hung = asyncio.ensure_future(engine.wait()), asyncio.ensure_future(self._liveness.hung(engine.url))
        try:
            await asyncio.wait({ended, hung}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                hung.result()  # raises what broke the watch
                log.error("engine of version %s answers nobody: it is killed", self.version)
                self.engine = None
                engine.process.kill()
                async with asyncio.timeout(KILLED_SECONDS):  # what waits for a dead disk does not die: another takes its place
                    await ended
            return await ended
        finally:
            hung.cancel()
            ended.cancel()


class Supervisor:
    """The keepers of all live versions."""

    def __init__(self, launch: Launch, died: Callable[[str], None], grace: float, liveness: Liveness) -> None:
        self._launch, self._died, self._grace, self._liveness = launch, died, grace, liveness
        self._keepers: dict[str, Keeper] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def want(self, versions: Set[str]) -> None:
        """Start keeping the versions that are new; release those that are not named any more."""
        for version in versions - self._keepers.keys():
            self._keepers[version] = Keeper(version, self._launch, self._died, self._liveness)
        for version in self._keepers.keys() - versions:
            task = asyncio.create_task(self._keepers.pop(version).release(self._grace))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def keeper(self, version: str) -> Keeper | None:
        return self._keepers.get(version)

    def up(self) -> frozenset[str]:
        """The versions whose engine is running."""
        return frozenset(v for v, keeper in self._keepers.items() if keeper.engine)

    def in_flight(self) -> int:
        """Calls that wait for an engine."""
        return sum(keeper.in_flight for keeper in self._keepers.values())

    def pids(self) -> dict[str, int]:
        return {v: keeper.engine.pid for v, keeper in self._keepers.items() if keeper.engine and keeper.engine.process}

    async def close(self) -> None:
        self.want(frozenset())
        await asyncio.gather(*self._leaving, return_exceptions=True)
