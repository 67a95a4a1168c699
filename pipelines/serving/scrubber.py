"""The guard's worker: a process of its own with the detector, at the other end of a socket.

A message is its length and a marshalled list: strings, numbers and lists are all that marshal can read back here, between
two ends of one interpreter; it runs no code, knows lone surrogates, and costs a microsecond. The event loop writes and reads
the socket itself: no threads and no locks between it and the worker (ProcessPoolExecutor took half a millisecond for that).
"""

import asyncio
import marshal
import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from pipelines import processes
from pipelines.errors import SeqlineError
from pipelines.filters.leaks import personal
from pipelines.scrub.detect import Detector, Scrubbed
from pipelines.spec import Privacy

FIRST = [f"{text} www.example.com a@example.org 192.168.1.2 +1 212-555-0172" for text in ("", "Electrónica", "拼 音")]
"""What a detector compiles and loads with the first texts of each kind takes seconds, which no sender should wait for."""
START_SECONDS = 300.0  # to load the detector
_length = struct.Struct("<I")


class Job(NamedTuple):
    """One text to look at: to be scrubbed, or `only_find` where in it personal data stands."""

    text: str
    only_find: bool


Result = Any
"""Of one job: False if it could not be searched; True if nothing is in it; else the spans [[start, end, entity]], or
[text, values] where it was to be scrubbed."""


def framed(message: list[Any]) -> bytes:
    body = marshal.dumps(message)
    return _length.pack(len(body)) + body


class Worker(asyncio.Protocol):
    """A worker process, as the event loop sees it.

    `results` gets what each list of jobs came to; `gone` is called when the process is no more, killed or not.
    """

    def __init__(self, results: Callable[[list[Result]], None], gone: Callable[["Worker"], None]) -> None:
        self._results, self._gone = results, gone
        self._held = bytearray()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[bool] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None

    async def start(self, privacy: Privacy, tagger: Path | None) -> None:
        """Start the process and wait until it has its detector.

        Raises:
            SeqlineError: it could not be loaded.
        """
        ours, theirs = socket.socketpair()
        arguments = (theirs, privacy.model_dump_json(), tagger, os.getpid())
        self._process = get_context("spawn").Process(target=work, args=arguments, name="guard", daemon=True)
        with theirs:
            self._process.start()
        try:
            self._transport, _ = await self._loop.create_unix_connection(lambda: self, sock=ours)
            loaded = await asyncio.wait_for(self._ready, START_SECONDS)
        except BaseException as error:
            ours.close()
            await self.kill()
            if isinstance(error, TimeoutError):
                raise SeqlineError("the guard's worker takes too long to load the detector") from None
            raise
        if not loaded:
            await self.kill()
            raise SeqlineError("the guard's worker could not load the detector")

    def send(self, jobs: Sequence[Job]) -> None:
        assert self._transport is not None, "it is started"
        self._transport.write(framed([list(job) for job in jobs]))

    def kill(self) -> asyncio.Future[None]:
        """Await it to be sure that nothing is left of the process."""
        self._process.kill()
        if self._transport:
            self._transport.close()
        return self._loop.run_in_executor(None, self._process.join)

    def data_received(self, data: bytes) -> None:
        self._held += data
        while len(self._held) >= _length.size:
            end = _length.size + _length.unpack_from(self._held)[0]
            if len(self._held) < end:
                return
            message = marshal.loads(self._held[_length.size : end])  # noqa: S302  (our own worker wrote it)
            del self._held[:end]
            if self._ready.done():
                self._results(message)
            else:
                self._ready.set_result(True)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # why matters to nobody
        if self._ready.done():
            self._gone(self)
        else:
            self._ready.set_result(False)


def work(server: socket.socket, privacy: str, tagger: Path | None, parent: int) -> None:
    """The process: answers lists of jobs until the socket closes."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.setsid()  # Ctrl-C and signals to its group are for the gateway, which still has requests to finish
    processes.end_with(parent)
    detector = Detector(Privacy.model_validate_json(privacy), tagger=tagger)
    with server, server.makefile("rb") as incoming, suppress(ConnectionError):  # the gateway is gone: so is the work
        detector.scrub_each(FIRST)
        server.sendall(framed([]))
        while header := incoming.read(_length.size):
            message = marshal.loads(incoming.read(_length.unpack(header)[0]))  # noqa: S302  (the gateway wrote it)
            jobs = [Job(*job) for job in message]
            server.sendall(framed(answered(detector, jobs)))


def answered(detector: Detector, jobs: Sequence[Job]) -> list[Result]:
    """A result for each job, each text for itself."""
    try:
        found = detector.scrub_each([job.text for job in jobs])
    except SeqlineError:
        return [False] if len(jobs) == 1 else [result for job in jobs for result in answered(detector, [job])]
    return [_result(job, scrubbed) for job, scrubbed in zip(jobs, found, strict=True)]


def _result(job: Job, scrubbed: Scrubbed) -> Result:
    if not scrubbed.found:
        return True
    if job.only_find:
        return [list(leak) for leak in personal(scrubbed.replaced[0])] or True
    return [scrubbed.texts[0], dict(scrubbed.values)]
