"""The gateway's numbers for Prometheus. Labels are the model, versions, arms and outcomes; never text of a request."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10)  # seconds


class Telemetry:
    """The metrics of one gateway, in a registry of its own. Each attribute is called with the labels beside the model."""

    def __init__(self, model: str) -> None:
        self._registry = CollectorRegistry()
        self._model = model
        self.requests = self._counter(
            "requests", "Requests, by the version first asked and what came of it", "version", "arm", "outcome"
        )
        self.fallbacks = self._counter("fallbacks", "Canary failures that the champion answered", "version", "reason")
        self.mirrors = self._counter("mirrors", "Mirrored requests, by what came of them", "version", "outcome")
        self.refused = self._counter("refused", "Requests answered with another status than 200", "status")
        self.tokens = self._counter("tokens", "Tokens read (in) and written (out)", "version", "direction")
        self.restarts = self._counter("engine_restarts", "Engines that died", "version")
        self.unrestored = self._counter(
            "unrestored_placeholders", "Answers with a placeholder nobody sent a value for", "version"
        )
        self.lost = self._counter("lost", "Journal events (events) and pairs for the judge (pairs) that were dropped", "what")
        self.latency = self._histogram("latency_seconds", "From the whole body to the answer", "version", "arm")
        self.engine = self._histogram("engine_seconds", "One answered call to an engine", "version")
        self.guard = self._histogram("guard_seconds", "Replacing the personal data of one request")
        for what in ("events", "pairs"):
            self.lost(what)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Report `read()` whenever somebody looks."""
        gauge = Gauge(name, text, ("model",), namespace="seqline", registry=self._registry)
        gauge.labels(self._model).set_function(read)

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Callable[..., Counter]:
        counter = Counter(name, text, ("model", *labels), namespace="seqline", registry=self._registry)
        return partial(counter.labels, self._model)

    def _histogram(self, name: str, text: str, *labels: str) -> Callable[..., Histogram]:
        histogram = Histogram(name, text, ("model", *labels), namespace="seqline", registry=self._registry, buckets=BUCKETS)
        return partial(histogram.labels, self._model)
