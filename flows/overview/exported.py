"""What no gateway knows, for Prometheus: drift, answers that wait for labels, cost, when a source was read last.

The status page gathered it (gathering.py) and serves it at /metrics. What it does not know now is left out: an alert that rests
on it then neither fires nor says that all is well.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from pipelines.overview.facts import Cost, Model, Overview

DONE = "COMPLETED"
SERIES = {
    "drifted": ("1 while the traffic no longer looks like what the version was trained on", ("version",)),
    "labels_waiting": ("Answers that wait for people's labels", ()),
    "source_read_timestamp_seconds": ("When a retrain ended last, which reads the source anew", ()),
    "month_spent": ("Cost of the calendar month so far, serving and retrains", ("currency",)),
    "month_forecast": ("What the calendar month is forecast to cost", ("currency",)),
    "month_budget": ("What a calendar month may cost", ("currency",)),
    "cost_per_1000": ("Cost of 1,000 requests, of the last days", ("version", "decoding", "currency")),
    "retrain_cost": ("Cost of the last retrain", ("currency",)),
}
Row = tuple[str, tuple[str, ...], float]


def text(found: Overview) -> bytes:
    """In Prometheus' text format, each series with its model."""
    registry = CollectorRegistry()
    gauges = {
        name: Gauge(f"seqline_{name}", said, ("model", *labels), registry=registry) for name, (said, labels) in SERIES.items()
    }
    for model in found.models:
        for name, labels, value in _rows(model, found.at):
            gauges[name].labels(model.name, *labels).set(value)
    return generate_latest(registry)


def _rows(model: Model, now: float) -> Iterator[Row]:
    """(name, labels, value) of what is known of a model and fresh."""
    drift, memory, cost = model.drift.value, model.memory.value, model.cost.value
    if drift and model.drift.fresh(now) and drift.verdict != "unknown":
        yield "drifted", (drift.version,), float(drift.verdict == "drifted")
    if memory and model.memory.fresh(now) and memory.waiting is not None:
        yield "labels_waiting", (), float(memory.waiting)
    if read := _read(model, now):
        yield "source_read_timestamp_seconds", (), max(read)
    if cost and model.cost.fresh(now):
        yield from _costs(cost)


def _read(model: Model, now: float) -> list[float]:
    """When retrains ended: those of the schedule that Prefect knows, and the one that made the newest version."""
    memory, scheduled = model.memory, model.scheduled
    made = [memory.value.made_at] if memory.value and memory.fresh(now) and memory.value.made_at else []
    ended = [
        run.started + run.took
        for each in (scheduled.value or () if scheduled.fresh(now) else ())
        if each.kind == "retrain"
        for run in each.last
        if run.outcome.upper() == DONE and run.started is not None
    ]
    return [*made, *ended]


def _costs(cost: Cost) -> Iterator[Row]:
    for version, decoding, per_1000 in cost.versions:
        if per_1000 is not None:
            yield "cost_per_1000", (version, decoding, cost.currency), per_1000
    alone = {
        "month_spent": cost.spent,
        "month_forecast": cost.forecast,
        "month_budget": cost.budget,
        "retrain_cost": cost.retrain,
    }
    for name, value in alone.items():
        if value is not None:
            yield name, (cost.currency,), value
