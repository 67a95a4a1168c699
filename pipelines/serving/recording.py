"""What a request came to: an event for the journal, numbers for Prometheus, pairs for the judge and for review."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.rollout.store import Event
from pipelines.serving import split
from pipelines.serving.exchange import Call, Output
from pipelines.serving.journal import Journal
from pipelines.serving.recent import Recent, pair_of
from pipelines.serving.samples import Samples
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Slo

FOUND_BY = {"pii": "leak", "policy": "pattern"}
"""SLIs about what a model says, and the filter whose flag makes an answer a bad one."""


@dataclass(frozen=True)
class Timing:
    """How an engine came to an answer: seconds in its queue, seconds of decoding, texts in the batch."""

    queue: float
    decode: float
    batch: int


class Recording:
    """Writes down each answer once, under the arm of its sender and the version that was asked first.

    All `outputs` here have placeholders in place of the sender's values, the filters' flags, and their text even where a
    filter withholds it. Of the answers, `review` gets the random `share` and all with a flag; `samples` (the judge) the
    `slo.judged`; `recent` the last ones that senders saw. One hash decides: what is drawn for the smaller share is in the
    larger one too, so that every weight is exact. An event tells of `pii` and `policy` where the spec promises them: by what
    the model said, whatever a filter then redacted or withheld of it.
    """

    def __init__(
        self, slo: Slo, journal: Journal, telemetry: Telemetry, samples: Samples | None, *,
        review: Samples | None = None, share: float = 0.0, recent: Recent | None = None,
    ) -> None:  # fmt: skip
        self._slo, self._journal, self._telemetry, self._samples = slo, journal, telemetry, samples
        self._review, self._share, self._recent = review, share, recent
        self._said_of = {sli: flag for sli, flag in FOUND_BY.items() if getattr(slo, sli)}

    def answered(
        self, call: Call, arm: split.Arm, version: str, outputs: Sequence[Output], *,
        shadow: bool = False, timing: Timing | None = None,
    ) -> None:  # fmt: skip
        """`version` answered the sender of `arm`, or (`shadow`) a mirrored request."""
        seconds = call.seconds
        fast = seconds * 1000 <= self._slo.latency.target_ms
        self._event(call, arm, version, {"availability": True, "latency": fast, **self._said(outputs)}, shadow)
        self._count(version, arm, "answered", shadow)
        self._measure(version, outputs, timing)
        if not shadow:
            self._telemetry.latency(version, arm).observe(seconds)
        self._keep(call, arm, version, outputs, seconds, shadow)

    def stood_in(self, call: Call, version: str, outputs: Sequence[Output], *, timing: Timing | None = None) -> None:
        """`version` answered because the one asked first could not: that one has the event."""
        self._measure(version, outputs, timing)
        self._keep(call, "champion", version, outputs, call.seconds, False)

    def cached(self, call: Call, arm: split.Arm, version: str, outputs: Sequence[Output], kind: str = "fresh") -> None:
        """The cache answered: that is no evidence of how `version` does now, so there is no event and no judge."""
        seconds = call.seconds
        self._telemetry.cache_hits(version, kind).inc()
        self._count(version, arm, "cached", False)
        self._telemetry.latency(version, arm).observe(seconds)
        self._keep(call, arm, version, outputs, seconds, False, judged=False)

    def failed(
        self, call: Call, arm: split.Arm, version: str, reason: str, *,
        shadow: bool = False, outputs: Sequence[Output] = (), timing: Timing | None = None,
    ) -> None:  # fmt: skip
        """`version` gave no answer that can be shown; `outputs` are those that a filter withheld, if that is why."""
        self._event(call, arm, version, {"availability": False, **self._said(outputs)}, shadow)
        self._count(version, arm, reason, shadow)
        self._telemetry.errors(version, reason).inc()
        if outputs:
            self._measure(version, outputs, timing)
            self._keep(call, arm, version, outputs, call.seconds, shadow, judged=False)

    def gone(self, call: Call, arm: split.Arm, version: str, *, shadow: bool = False) -> None:
        """The sender hung up, or waits for `version` no longer: that is the model's fault only when it was slow already."""
        if call.seconds * 1000 > self._slo.latency.target_ms:
            self._event(call, arm, version, {"latency": False}, shadow)
        self._count(version, arm, "gone", shadow)

    def _said(self, outputs: Sequence[Output]) -> dict[str, bool]:
        """Whether what the model said is good, in each SLI that is about this. An answer of the cache says nothing of now."""
        made = [output for output in outputs if not output.cached]
        return {sli: not any(flag in output.flags for output in made) for sli, flag in self._said_of.items() if made}

    def _keep(
        self, call: Call, arm: str, version: str, outputs: Sequence[Output], seconds: float, shadow: bool,
        *, judged: bool = True,
    ) -> None:  # fmt: skip
        at = time.time()
        if self._recent is not None and not shadow:
            self._recent.add(call, arm, version, outputs, at, seconds)
        if not outputs:
            return
        drawn = split.unit("judge", call.request)  # in [0, 1)
        fresh = [index for index, output in enumerate(outputs) if not output.cached] or list(range(len(outputs)))
        which = fresh[int(call.request[:8], 16) % len(fresh)]  # one answer a request
        reasons = {index: ("filter", 1.0) for index, output in enumerate(outputs) if output.flags}
        if drawn < self._share:
            reasons.setdefault(which, ("random", len(fresh) / self._share))
        if self._review:
            for index, (reason, weight) in reasons.items():
                more = {"shadow": shadow, "reason": reason, "weight": weight}
                self._review.offer(pair_of(call, arm, version, outputs, index, at, seconds, **more))
        if self._samples and judged and drawn < self._slo.judged:
            reason, weight = reasons.get(which, ("", 1.0))
            judge_weight = len(fresh) / max(self._share, self._slo.judged)
            more = {"shadow": shadow, "reason": reason, "weight": weight, "judge_weight": judge_weight}
            self._samples.offer(pair_of(call, arm, version, outputs, which, at, seconds, **more))

    def _measure(self, version: str, outputs: Sequence[Output], timing: Timing | None) -> None:
        made = [output for output in outputs if not output.cached]
        self._telemetry.tokens(version, "in").inc(sum(output.source_tokens for output in made))
        self._telemetry.tokens(version, "out").inc(sum(output.target_tokens for output in made))
        if timing:
            self._telemetry.queue(version).observe(timing.queue)
            self._telemetry.decode(version).observe(timing.decode)
            self._telemetry.batch(version).observe(timing.batch)

    def _event(self, call: Call, arm: str, version: str, slis: Mapping[str, bool], shadow: bool) -> None:
        self._journal.add(Event(call.request, call.user_hmac, arm, version, time.time(), slis, shadow=shadow))
        if not shadow:
            self._telemetry.met(version, arm, slis)

    def _count(self, version: str, arm: str, outcome: str, shadow: bool) -> None:
        if shadow:
            self._telemetry.mirrors(version, outcome).inc()
        else:
            self._telemetry.requests(version, arm, outcome).inc()
