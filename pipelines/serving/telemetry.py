"""The gateway's numbers for Prometheus. Labels are versions, arms, outcomes and names of keys; never text of a request."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

WHOLE = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10)  # seconds
QUEUE = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5)  # the promise is 0.05
BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)  # texts
LEFT = 2  # versions that left whose numbers stay, so that their last ones are still scraped
MANAGED = "endpoint:"  # versions that the spec names: they never leave
NOBODY = "none"  # the holder of a request without a key

M = TypeVar("M", Counter, Gauge, Histogram)


class Family(Generic[M]):
    """One metric: called with the labels beside the model it gives the child to count on, made once and looked up after."""

    def __init__(self, metric: M, model: str, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self._metric: M = metric
        self._model = model
        self._children: dict[tuple[object, ...], M] = {}

    def __call__(self, *values: object) -> M:
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._metric.labels(self._model, *values)
        return child

    def forget(self, label: str, gone: Callable[[str], bool]) -> None:
        """Drop the children whose value of `label` is gone."""
        at = self.labels.index(label)
        for values in [values for values in self._children if gone(str(values[at]))]:
            del self._children[values]
            self._metric.remove(self._model, *values)


class Read(Collector):
    """A metric that is read when somebody looks: rows of (label values beside the model, value)."""

    def __init__(self, make: Callable[[], Metric], read: Callable[[], Mapping[tuple[str, ...], float]], model: str) -> None:
        self._make, self._read, self._model = make, read, model

    def collect(self) -> Iterator[Metric]:
        metric = self._make()
        for values, value in self._read().items():
            metric.add_metric((self._model, *values), value)  # type: ignore[attr-defined]  # both families have it
        yield metric


class Telemetry:
    """The metrics of one gateway, in a registry of its own. Each attribute is called with the labels beside the model.

    `target` (seconds) is the latency that `slo` promises: it becomes an edge of the buckets, so that the share of good
    requests can be read off.
    """

    def __init__(self, model: str, target: float | None = None) -> None:
        self._registry = CollectorRegistry()
        self._model = model
        self._families: list[Family[Counter] | Family[Histogram] | Family[Gauge]] = []
        self._live: frozenset[str] = frozenset()
        self._left: tuple[str, ...] = ()
        self._holders: frozenset[str] = frozenset()
        self._samples: Mapping[tuple[str, ...], float] = {}
        self._counters()
        self._histograms(tuple(sorted({*WHOLE, *([target] if target else [])})))

    def _counters(self) -> None:
        counter = self._counter
        self.requests = counter(
            "requests", "Requests, by the version first asked and what came of it", "version", "arm", "outcome"
        )
        self.errors = counter("errors", "Requests that a version did not answer, by class", "version", "class")
        text = "Answers that an SLI counts: those of the journal's events, so neither mirrored ones nor the cache's"
        self._sli_events = counter("sli_events", text, "version", "arm", "sli")
        self._sli_bad = counter("sli_bad", "Those of seqline_sli_events that were bad", "version", "arm", "sli")
        self.fallbacks = counter("fallbacks", "Canary failures that the champion answered", "version", "reason")
        self.mirrors = counter("mirrors", "Mirrored requests, by what came of them", "version", "outcome")
        self.refused = counter("refused", "Requests answered with another status than 200", "status")
        self.tokens = counter("tokens", "Tokens read (in) and written (out)", "version", "direction")
        self.restarts = counter("engine_restarts", "Engines that died", "version")
        self.unrestored = counter("unrestored_placeholders", "Answers with a placeholder nobody sent a value for", "version")
        self.guard_hits = counter("guard_hits", "Answers that a filter doubts, requests it refused", "version", "filter")
        self.cache_hits = counter("cache_hits", "Answers of the cache (fresh, stale)", "version", "kind")
        self.degraded = counter("degraded", "Requests that were given less, by what was given up", "what")
        self.feedback = counter("feedback", "What senders said of answers", "version", "rating")
        self.lost = counter("lost", "What was dropped: events of the journal, pairs for the judge, samples for review", "what")
        self._by_holder = counter("holder_requests", "Requests, by the name of the API key", "holder", "outcome")
        for what in ("events", "pairs", "samples"):
            self.lost(what)
        text = "Answers for people to review, by why they were taken and what came of it (kept, dropped, shed, failed)"
        names = ("model", "version", "reason", "outcome")
        samples = partial(CounterMetricFamily, "seqline_review_samples", text, labels=names)
        self._registry.register(Read(samples, self._shown_samples, self._model))

    def _histograms(self, whole: tuple[float, ...]) -> None:
        histogram = self._histogram
        self.latency = histogram("latency_seconds", "From the whole body to the answer", whole, "version", "arm")
        self.engine = histogram("engine_seconds", "One answered call to an engine", whole, "version")
        self.queue = histogram("queue_seconds", "Wait in the engine's queue", QUEUE, "version")
        self.decode = histogram("decode_seconds", "Decoding of the batches that a request was in", whole, "version")
        self.batch = histogram("batch_size", "Texts in the batch that a request was decoded in", BATCH, "version")
        self.guard = histogram("guard_seconds", "Replacing the personal data of one request", WHOLE)
        spend = Gauge("spend", "Spend of the last hour", ("model", "currency"), namespace="seqline", registry=self._registry)
        self.spend = self._family(spend, "currency")

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Report `read()` whenever somebody looks."""
        gauge = Gauge(name, text, ("model",), namespace="seqline", registry=self._registry)
        gauge.labels(self._model).set_function(read)

    def weights(self, read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Report (version, part) -> share of the senders in percent; part is champion, canary or shadow."""
        text = "Share of the senders that a version gets now"
        make = partial(GaugeMetricFamily, "seqline_version_weight_percent", text, labels=("model", "version", "part"))
        self._registry.register(Read(make, read, self._model))

    def holder(self, name: str | None, outcome: str) -> Counter:
        """The requests of an API key's holder; names that `know_holders` was not told count together."""
        return self._by_holder(NOBODY if name is None else name if name in self._holders else "unknown", outcome)

    def met(self, version: str, arm: str, slis: Mapping[str, bool]) -> None:
        """A sender met an answer of `version` that was good, or not, in each of `slis`.

        What was bad begins at 0 with what was counted, so that a rate sees the first bad answer, too.
        """
        for sli, good in slis.items():
            self._sli_events(version, arm, sli).inc()
            self._sli_bad(version, arm, sli).inc(not good)

    def know_holders(self, names: Iterable[str]) -> None:
        """These keys exist: the numbers of others are dropped."""
        self._holders = frozenset(names)
        self._by_holder.forget("holder", lambda name: name not in {*self._holders, NOBODY, "unknown"})

    def sampled(self, answer: Mapping[str, Any]) -> None:
        """What the review process answers holds what it counted since it started: [version, reason, outcome, samples]."""
        self._samples = {(version, reason, outcome): value for version, reason, outcome, value in answer["totals"]}

    def keep(self, versions: Set[str]) -> None:
        """These versions are live: numbers of others go, but for those that left last. Call it when the route changes."""
        gone = [version for version in (*self._left, *sorted(self._live - versions)) if version not in versions]
        self._live, self._left = frozenset(versions), tuple(gone[-LEFT:])
        for family in self._families:
            if "version" in family.labels:
                family.forget("version", lambda version: not self._known(version))

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self._registry)

    def _known(self, version: str) -> bool:
        return version in self._live or version in self._left or version.startswith(MANAGED)

    def _shown_samples(self) -> Mapping[tuple[str, ...], float]:
        return {labels: value for labels, value in self._samples.items() if not self._live or self._known(labels[0])}

    def _counter(self, name: str, text: str, *labels: str) -> Family[Counter]:
        counter = Counter(name, text, ("model", *labels), namespace="seqline", registry=self._registry)
        return self._family(counter, *labels)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Family[Histogram]:
        given = {"namespace": "seqline", "registry": self._registry}
        return self._family(Histogram(name, text, ("model", *labels), buckets=buckets, **given), *labels)  # type: ignore[arg-type]

    def _family(self, metric: M, *labels: str) -> Family[M]:
        family = Family(metric, self._model, labels)
        self._families.append(family)
        return family
