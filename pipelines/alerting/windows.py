"""Prometheus' recording rules: what senders met in each SLI, by window, and how fast that spends the budget.

`seqline_sli_events` and `seqline_sli_bad` count what the rollout's journal counts, so that these rules, `seqline status` and a
rollout agree. The objectives are a series of their own (objectives.py), written from the specs.
"""

from collections.abc import Iterator
from typing import Any

WINDOWS = ("5m", "30m", "1h", "6h", "3d")
UNITS = {"m": 60, "h": 3_600, "d": 86_400}
QUANTILES = (0.5, 0.95, 0.99)
BY_VERSION = "model, version, region"
Rule = dict[str, Any]


def seconds(window: str) -> int:
    """A window such as 30m, in seconds."""
    return int(window[:-1]) * UNITS[window[-1]]


def rules() -> dict[str, Any]:
    """The rules that hold for every model, as the content of a rule file: `record` names are level:metric:operation."""
    windows = [{"name": f"seqline-{window}", "rules": list(_window(window))} for window in WINDOWS]
    return {
        "groups": [*windows, {"name": "seqline-latency", "rules": _latency()}, {"name": "seqline-doubt", "rules": _doubt()}]
    }


def _window(window: str) -> Iterator[Rule]:
    by = f"{BY_VERSION}, sli"
    for what in ("events", "bad"):
        yield _rule(f"seqline:sli_{what}:rate{window}", f"sum by ({by}) (rate(seqline_sli_{what}_total[{window}]))")
    yield _rule(f"seqline:sli_bad:ratio_rate{window}", f"seqline:sli_bad:rate{window} / (seqline:sli_events:rate{window} > 0)")
    bad, events = (f"sum by (model, region, sli) (seqline:sli_{what}:rate{window})" for what in ("bad", "events"))
    budget = "on (model, sli) group_left () (1 - seqline:objective)"
    yield _rule(f"seqline:burn:rate{window}", f"{bad} / ({events} > 0) / {budget}")


def _latency() -> list[Rule]:
    buckets = f"sum by (le, {BY_VERSION}) (rate(seqline_latency_seconds_bucket[5m]))"
    quantiles = [
        _rule(f"seqline:latency_seconds:p{100 * share:.0f}_5m", f"histogram_quantile({share}, {buckets})")
        for share in QUANTILES
    ]
    total, count = (f"sum by ({BY_VERSION}) (rate(seqline_latency_seconds_{what}[5m]))" for what in ("sum", "count"))
    return [
        *quantiles,
        _rule("seqline:latency_seconds:mean_5m", f"{total} / ({count} > 0)"),
        _rule("seqline:answers:rate5m", count),
    ]


def _doubt() -> list[Rule]:
    """What a filter doubts and what senders dislike. Filters look at mirrored answers, too, so those are in both parts."""
    found = []
    by_model = "sum by (model, region)"
    for window in ("6h", "3d"):
        hits = f'sum by ({BY_VERSION}) (rate(seqline_guard_hits_total{{filter!="input_patterns"}}[{window}]))'
        answers = f'rate({{__name__=~"seqline_(requests|mirrors)_total", outcome="answered"}}[{window}])'
        disliked = f'sum by ({BY_VERSION}) (rate(seqline_feedback_total{{rating="bad"}}[{window}]))'
        rated = f'rate(seqline_feedback_total{{rating=~"good|bad"}}[{window}])'
        for what, some, of in (("doubted", hits, answers), ("disliked", disliked, rated)):
            every = f"sum by ({BY_VERSION}) ({of})"
            # a filter that never doubted has no series: that is none of the answers, not an unknown share
            found += [
                _rule(f"seqline:{what}:rate{window}", f"{some} or 0 * {every}"),
                _rule(f"seqline:{what}:ratio_rate{window}", f"seqline:{what}:rate{window} / ({every} > 0)"),
                # of all versions: one that is bad from its first day differs from these, not from itself
                _rule(
                    f"seqline:{what}:model_ratio_rate{window}",
                    f"{by_model} (seqline:{what}:rate{window}) / ({by_model} ({of}) > 0)",
                ),
            ]
    return found


def _rule(record: str, expr: str) -> Rule:
    return {"record": record, "expr": expr}
