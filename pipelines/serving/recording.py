"""What a request came to: an event for the journal, numbers for Prometheus, a pair for the judge."""

import time
from collections.abc import Mapping, Sequence

from pipelines.rollout.store import Event
from pipelines.serving import split
from pipelines.serving.exchange import Call, Output
from pipelines.serving.journal import Journal
from pipelines.serving.samples import Pair, Samples
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Slo


class Recording:
    """Writes down each answer once, under the arm of its sender and the version that was asked first."""

    def __init__(self, slo: Slo, journal: Journal, telemetry: Telemetry, samples: Samples | None) -> None:
        self._slo, self._journal, self._telemetry, self._samples = slo, journal, telemetry, samples

    def answered(self, call: Call, arm: split.Arm, version: str, outputs: Sequence[Output], *, shadow: bool = False) -> None:
        seconds = call.seconds
        fast = seconds * 1000 <= self._slo.latency.target_ms
        self._event(call, arm, version, {"availability": True, "latency": fast}, shadow)
        self._count(version, arm, "answered", shadow)
        self._telemetry.tokens(version, "in").inc(sum(o.source_tokens for o in outputs))
        self._telemetry.tokens(version, "out").inc(sum(o.target_tokens for o in outputs))
        if not shadow:
            self._telemetry.latency(version, arm).observe(seconds)
        if self._samples and split.sampled(call.request, self._slo.judged):
            which = int(call.request[:8], 16) % len(outputs)  # one verdict a request
            source, output = call.texts[which], outputs[which].text
            self._samples.offer(Pair(call.request, call.user_hmac, arm, version, shadow, source, output, time.time()))

    def failed(self, call: Call, arm: split.Arm, version: str, reason: str, *, shadow: bool = False) -> None:
        self._event(call, arm, version, {"availability": False}, shadow)
        self._count(version, arm, reason, shadow)

    def gone(self, call: Call, arm: split.Arm, version: str, *, shadow: bool = False) -> None:
        """The sender hung up: that is the model's fault only when it was slow already."""
        if call.seconds * 1000 > self._slo.latency.target_ms:
            self._event(call, arm, version, {"latency": False}, shadow)
        self._count(version, arm, "gone", shadow)

    def _event(self, call: Call, arm: str, version: str, slis: Mapping[str, bool], shadow: bool) -> None:
        self._journal.add(Event(call.request, call.user_hmac, arm, version, time.time(), slis, shadow=shadow))

    def _count(self, version: str, arm: str, outcome: str, shadow: bool) -> None:
        if shadow:
            self._telemetry.mirrors(version, outcome).inc()
        else:
            self._telemetry.requests(version, arm, outcome).inc()
