"""A gateway's counters, hour by hour, as cost.py reads them: from a Prometheus that scraped it, or from its own /metrics.

The gateway's counters begin again with it; `increase` sees through that, the gauge of the last hour's spend does not: an hour
in which a gateway began anew has no known spend (prometheus_client tells when each counter was made, in `_created`).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pipelines.monitoring.cost import HOUR, Counted, Hour

ANSWERED = frozenset({"answered", "cached"})
SERIES = {
    "requests": 'sum by (version) (increase({{__name__=~"seqline_(requests|mirrors)_total", model="{model}",'
    ' outcome=~"answered|cached"}}[1h]))',
    "decoded": 'sum by (version) (increase(seqline_decode_seconds_count{{model="{model}"}}[1h]))',
    "decoding": 'sum by (version) (increase(seqline_decode_seconds_sum{{model="{model}"}}[1h]))',
    "tokens": 'sum by (version) (increase(seqline_tokens_total{{model="{model}"}}[1h]))',
    "batches": 'sum by (version, le) (increase(seqline_batch_size_bucket{{model="{model}"}}[1h]))',
    "spend": 'sum (seqline_spend{{model="{model}"}})',
    "begun": 'sum (changes(seqline_lost_created{{model="{model}", what="events"}}[1h]))',
}
"""What is asked of Prometheus for each hour, at its end."""

Found = Mapping[str, Sequence[Mapping[str, Any]]]
"""Name in SERIES -> Prometheus' result for it: [{"metric": labels, "values": [[at, value], ...]}]."""


class Sample(Protocol):
    """Of prometheus_client's parser."""

    @property
    def name(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def value(self) -> float: ...


def queries(model: str) -> dict[str, str]:
    """What to ask Prometheus, hour by hour, about `model`."""
    return {name: text.format(model=model) for name, text in SERIES.items()}


def hours(found: Found) -> list[Hour]:
    """The hours in which something was counted, oldest first."""
    read: dict[float, dict[str, dict[str, dict[str, float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for name, results in found.items():
        for result in results:
            version, le = result["metric"].get("version", ""), result["metric"].get("le", "")
            for at, value in result["values"]:
                read[float(at)][version][name][le] = float(value)
    return [
        Hour(
            at,
            {version: _counted(of) for version, of in sorted(versions.items()) if "requests" in of or "decoded" in of},
            None if versions[""]["begun"].get("") else versions[""]["spend"].get(""),
        )
        for at, versions in sorted(read.items())
    ]


def since_start(samples: Iterable[Sample], now: float) -> list[Hour]:
    """All that a gateway counted since it began, as one hour, whose spend is known if it is not older."""
    names = {
        "seqline_decode_seconds_count": "decoded",
        "seqline_decode_seconds_sum": "decoding",
        "seqline_tokens_total": "tokens",
        "seqline_batch_size_bucket": "batches",
    }
    versions: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(float)))
    spend, began = None, now
    for sample in samples:
        name = names.get(sample.name)
        if sample.name in {"seqline_requests_total", "seqline_mirrors_total"} and sample.labels["outcome"] in ANSWERED:
            name = "requests"
        if name:
            versions[sample.labels["version"]][name][sample.labels.get("le", "")] += sample.value
        elif sample.name == "seqline_spend":
            spend = (spend or 0.0) + sample.value
        elif sample.name == "seqline_lost_created":
            began = min(began, sample.value)
    counted = {version: _counted(of) for version, of in sorted(versions.items())}
    return [Hour(now, counted, spend if now - began <= HOUR else None)] if counted else []


def _counted(of: Mapping[str, Mapping[str, float]]) -> Counted:
    only = {name: sum(of.get(name, {}).values()) for name in ("requests", "decoded", "decoding", "tokens")}
    below, batches = 0.0, {}
    for edge, count in sorted((float(le), count) for le, count in of.get("batches", {}).items()):
        if count > below:
            batches[edge] = count - below
        below = max(below, count)
    return Counted(only["requests"], only["decoded"], only["decoding"], batches, only["tokens"])
