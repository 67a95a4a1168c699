"""What servers answered, read into facts: gateways, Prometheus, MLflow, Prefect. Pure: the content comes in.

Each raises KeyError, TypeError or ValueError where an answer is of another shape: the page then says that in its place.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as families

from pipelines.overview.facts import Alert, Doubts, Gateway, Memory, Run, Scheduled
from pipelines.overview.files import unworded

Buckets = Mapping[float, float]
"""Upper bound (seconds) -> answers that took no longer, since the gateway started."""

LATENCY, IN_FLIGHT, OVERLOADED = "seqline_latency_seconds_bucket", "seqline_in_flight", "seqline_overloaded"


def numbers(text: str) -> tuple[dict[float, float], float, bool]:
    """Of a gateway's /metrics: latency buckets over all versions, requests in flight, whether it is overloaded."""
    buckets: dict[float, float] = {}
    gauges: dict[str, float] = {}
    for family in families(text):
        for sample in family.samples:
            if sample.name == LATENCY:
                edge = float(sample.labels["le"])
                buckets[edge] = buckets.get(edge, 0.0) + sample.value
            elif sample.name in (IN_FLIGHT, OVERLOADED):
                gauges[sample.name] = sample.value
    return buckets, gauges.get(IN_FLIGHT, 0.0), gauges.get(OVERLOADED, 0.0) > 0


def between(now: Buckets, before: Buckets) -> dict[float, float]:
    """What was counted since `before`; all of it where the counters began anew meanwhile (the gateway was started again)."""
    if any(before.get(edge, 0.0) > count for edge, count in now.items()):
        return dict(now)
    return {edge: count - before.get(edge, 0.0) for edge, count in now.items()}


def quantile(share: float, buckets: Buckets) -> float | None:
    """As Prometheus' histogram_quantile: straight between a bucket's edges; None where nothing was counted.

    What lies above the last finite edge is given as that edge.
    """
    edges = sorted(buckets)
    total = buckets[edges[-1]] if edges else 0.0
    if total <= 0:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for edge in edges:
        if buckets[edge] >= rank and buckets[edge] > below:
            return low if math.isinf(edge) else low + (edge - low) * (rank - below) / (buckets[edge] - below)
        low, below = (low if math.isinf(edge) else edge), buckets[edge]
    return low


def gateway(
    health: Mapping[str, Any], metrics: str, earlier: Sequence[tuple[float, Buckets]], now: float
) -> tuple[Gateway, Buckets]:
    """A gateway's state, with its p95 since the first of the `earlier` looks (time, buckets); and the buckets of this one."""
    buckets, in_flight, overloaded = numbers(metrics)
    since, before = earlier[0] if earlier else (now, {})
    counted = between(buckets, before)
    answers = int(max(counted.values(), default=0))
    whose, follows = str(health.get("model") or ""), health.get("generation") == health.get("wanted")
    p95, load = quantile(0.95, counted), (int(in_flight), overloaded)
    return Gateway(bool(health["ok"]), p95, now - since, answers, *load, whose, follows), buckets


def alerts(content: Mapping[str, Any]) -> dict[str, tuple[Alert, ...]]:
    """Prometheus' /api/v1/alerts: model -> what fires, pages first."""
    found: dict[str, list[Alert]] = {}
    for each in content["data"]["alerts"]:
        labels, notes = each["labels"], each.get("annotations") or {}
        if each["state"] == "firing":
            runbook = str(notes.get("runbook_url") or "").rpartition("/")[2].removesuffix(".md")
            said = str(notes.get("summary") or labels["alertname"])
            severity = str(labels.get("severity") or "ticket")
            alert = Alert(str(labels["alertname"]), severity, said, _time(each.get("activeAt")), runbook)
            found.setdefault(str(labels.get("model") or ""), []).append(alert)
    return {model: tuple(sorted(some, key=lambda each: (each.severity != "page", each.name))) for model, some in found.items()}


def doubts(content: Mapping[str, Any]) -> dict[str, Doubts]:
    """Prometheus' /api/v1/query_range of a share by model: what is no number is left out."""
    found = {}
    for series in content["data"]["result"]:
        points = ((float(at), float(value)) for at, value in series["values"])
        found[str(series["metric"]["model"])] = Doubts(tuple(point for point in points if math.isfinite(point[1])))
    return found


def memory(versions: Mapping[str, Any], waiting: int | None, experiment: str | None) -> Memory:
    """MLflow's model-versions/search, the newest first, and its review queue."""
    some = versions.get("model_versions") or []
    if not some:
        return Memory(None, None, "", "", waiting, experiment)
    newest = max(some, key=lambda each: int(each["version"]))
    tags = {each["key"]: each["value"] for each in newest.get("tags") or []}
    made = float(newest["creation_timestamp"]) / 1000
    why = unworded(tags.get("seqline.why", ""))
    return Memory(str(newest["version"]), made, tags.get("seqline.state", ""), why, waiting, experiment)


def scheduled(deployment: Mapping[str, Any], due: Iterable[Mapping[str, Any]], last: Iterable[Mapping[str, Any]]) -> Scheduled:
    """A deployment of Prefect, with its runs that are `due`, the next first, and those that began, the latest first.

    It is named like its model, and its flow like what it does (flows/stack/deployments.py).
    """
    kind = str(deployment["entrypoint"] or "flow").rpartition(".")[2]
    when = next((_time(run.get("expected_start_time")) for run in due), None)
    runs = tuple(
        Run(
            str(run["id"]),
            unworded(str(run["name"])),
            str(run["state_name"]),
            _time(run.get("start_time")),
            float(run.get("total_run_time") or run.get("estimated_run_time") or 0.0),
        )
        for run in last
    )
    return Scheduled(kind, str(deployment["name"]), when, bool(deployment.get("paused")), runs)


def _time(text: object) -> float | None:
    """ISO 8601, as servers write it, in seconds since the epoch."""
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp() if text else None
