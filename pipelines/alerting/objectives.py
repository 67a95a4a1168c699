"""What a spec promises, as Prometheus' series: so that rules, dashboards and people read one number.

Each series is constant; `seqline:budget:left` is what `seqline status` calls left, from the counters alone.
"""

from typing import Any

from pipelines.alerting.windows import Rule
from pipelines.spec import Spec

EVERY = 30  # seconds between two evaluations


def promised(spec: Spec) -> dict[str, float]:
    """SLI -> the share of good answers that the spec promises."""
    named = {sli: getattr(spec.slo, sli) for sli in ("availability", "latency", "pii", "policy")}
    return {sli: objective.objective for sli, objective in named.items() if objective}


def target(spec: Spec) -> float:
    """The promised latency, in seconds."""
    return spec.slo.latency.target_ms / 1000


def group(spec: Spec, every: int) -> dict[str, Any]:
    """The group of a model's promises and of what is left of its budgets, evaluated `every` so many seconds."""
    objectives = promised(spec)
    rules = [_constant("seqline:objective", objective, spec, sli=sli) for sli, objective in objectives.items()]
    rules.append(_constant("seqline:latency_target_seconds", target(spec), spec))
    if spec.serving.cost.cap_per_hour:
        rules.append(_constant("seqline:spend_cap", spec.serving.cost.cap_per_hour, spec))
    rules += [_left(spec, sli, every) for sli in objectives]
    return {"name": f"{spec.name}-objectives", "interval": f"{every}s", "rules": rules}


def _constant(record: str, value: float, spec: Spec, **labels: str) -> Rule:
    return {"record": record, "expr": f"vector({value:g})", "labels": {"model": spec.name, **labels}}


def _left(spec: Spec, sli: str, every: int) -> Rule:
    """1 - bad answers / those that the window allows at the traffic seen so far, as pipelines/rollout/budget.py has it.

    How much of the window was seen: how often the objective was evaluated in it.
    """
    days = f"{spec.slo.window_days}d"
    chosen = f'{{model="{spec.name}", sli="{sli}"}}'
    bad, events = (
        f"sum by (model, region, sli) (increase(seqline_sli_{what}_total{chosen}[{days}]))" for what in ("bad", "events")
    )
    seen = f"count_over_time(seqline:objective{chosen}[{days}]) * {every} / {spec.slo.window_days * 86_400}"
    budget = f"on (model, sli) group_left () (({seen}) / (1 - seqline:objective{chosen}))"
    return {"record": "seqline:budget:left", "expr": f"1 - {bad} / ({events} > 0) * {budget}", "labels": {"sli": sli}}
