"""From texts to answers. Tokens are made and read beside the decoding threads; long texts go through the queue in pieces."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ParamSpec, TypeVar

from pipelines.decode import Answer, Decoder, Encoded, Reading, Written, settled, whole
from pipelines.decode.parts import Parts
from pipelines.serving.batching import Batcher, Bounds, Decoded
from pipelines.serving.intake import Refused
from pipelines.spec import Decoding, Spec

P = ParamSpec("P")
T = TypeVar("T")
OnPiece = Callable[[str], None]
OnText = Callable[[int, str], None]
"""Told of texts as they are written, by the input's index, from any thread; what it raises ends the decoding."""
# On a CPU. With 15M parameters, 24 tokens written and one core, a batch costs 6 ms, and each text in it 0.9 ms and 0.055 ms a
# token; a token of padding costs a third of that. So past a dozen texts hardly anything is gained, and the senders wait longer.
BATCH_TEXTS, BATCH_FIXED = 12, 100.0
INLINE_CHARS = 2_000  # this many are tokenised in 2 ms; more are given a thread


@dataclass(frozen=True, eq=False)
class Alone:
    """The group of a text that is decoded by itself: one that is drawn, or one that is told as it comes."""

    decoding: Decoding
    on_text: OnPiece | None = None


@dataclass
class Timing:
    """Of a request: the longest wait and the longest decoding of its texts (seconds), the largest batch, and the seconds of a
    decoding thread that it used: its share of its batches."""

    queue: float = 0.0
    decode: float = 0.0
    batch: int = 0
    busy: float = 0.0

    def add(self, decoded: Decoded[Written]) -> None:
        self.queue, self.decode = max(self.queue, decoded.queue), max(self.decode, decoded.decode)
        self.batch, self.busy = max(self.batch, decoded.batch), self.busy + decoded.decode / decoded.batch


@dataclass(frozen=True)
class Job:
    """What one request asks for. `deadline` (by time.monotonic) is when its answer is too late."""

    inputs: Sequence[str]
    decoding: Decoding
    deadline: float
    timing: Timing = field(default_factory=Timing)


class Answering:
    """A loaded model behind a queue."""

    def __init__(self, decoder: Decoder, spec: Spec, threads: int = 1) -> None:
        self._decoder, self._batch_tokens = decoder, spec.serving.batch_tokens
        self._reading = Reading(spec.task, spec.privacy.language, spec.serving.long_inputs)
        bounds = Bounds(spec.serving.batch_tokens, BATCH_TEXTS, spec.serving.batch_wait_ms / 1000, BATCH_FIXED)
        self.batcher: Batcher[Encoded, Decoding | Alone, Written] = Batcher(self._write, bounds, threads=threads)

    async def answers(self, job: Job, on_text: OnText | None = None) -> list[Answer]:
        """An answer to each input. What does not come piece by piece (of beams, of long inputs) `on_text` gets at the end.

        Raises:
            Refused: 400, an input is too long, and the spec refuses such.
            Expired: an answer cannot be there in time.
        """
        encoded = await _beside(job.inputs, self._decoder.encode, job.inputs)
        long = [] if self._reading.long_inputs == "cut" else [place for place, one in enumerate(encoded) if one.truncated]
        if long and self._reading.long_inputs == "refuse":
            raise Refused(400, f"inputs[{long[0]}]: longer than the model reads at once ({self._decoder.longest} tokens)")
        fit = [place for place in range(len(encoded)) if place not in long]
        comes = job.decoding.temperature > 0 or job.decoding.beam == 1
        hears = {place: partial(on_text, place) for place in fit} if on_text and comes else {}
        tasks = [asyncio.ensure_future(self._long(job, job.inputs[place])) for place in long]
        try:
            short = await self._short(job, {place: encoded[place] for place in fit}, hears)
            rest = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        answers = dict(zip((*fit, *long), (*short, *rest), strict=True))
        if on_text:
            for place in answers.keys() - hears.keys():
                on_text(place, answers[place].text)
        return [answers[place] for place in range(len(encoded))]

    async def _short(self, job: Job, encoded: Mapping[int, Encoded], hears: Mapping[int, OnPiece]) -> list[Answer]:
        """Answer texts that the model reads at once; `hears` are told of the text of each as it comes."""
        submit, deadline = self.batcher.submit, job.deadline
        futures: list[asyncio.Future[Decoded[Written]]] = []
        if not hears and not job.decoding.temperature:
            futures = submit(list(encoded.values()), deadline, job.decoding)
        else:
            for place, one in encoded.items():
                futures += submit([one], deadline, Alone(settled(job.decoding), hears.get(place)))
        try:
            decoded = await asyncio.gather(*futures)
        finally:
            for future in futures:
                future.cancel()
        for each in decoded:
            job.timing.add(each)
        return self._decoder.read(list(encoded.values()), [each.answer for each in decoded])

    async def _long(self, job: Job, text: str) -> Answer:
        """Answer a text that the model does not read at once."""
        job = replace(job, decoding=settled(job.decoding))  # one seed for all pieces
        reading = whole(text, self._decoder.windows, self._reading)
        wanted = await _beside([text], _advance, reading, None)
        while not isinstance(wanted, Answer):
            encoded = await _beside(wanted, self._decoder.encode, wanted)
            wanted = await _beside([text], _advance, reading, await self._short(job, dict(enumerate(encoded)), {}))
        return wanted

    def _write(self, encoded: list[Encoded], group: Decoding | Alone) -> Sequence[Written]:
        """What a decoding thread does."""
        if not isinstance(group, Alone):
            return self._decoder.write(encoded, group, self._batch_tokens)
        if group.on_text is None:
            return self._decoder.write(encoded, group.decoding)
        return [self._decoder.stream(one, group.decoding, group.on_text) for one in encoded]


def _advance(reading: Parts, answers: Sequence[Answer] | None) -> list[str] | Answer:
    """The texts that `reading` wants answered next; at its end, the answer."""
    try:
        return next(reading) if answers is None else reading.send(answers)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


async def _beside(texts: Sequence[str], work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do `work`, whose cost is that of reading `texts`, so that nobody else notices."""
    if sum(map(len, texts)) <= INLINE_CHARS:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
