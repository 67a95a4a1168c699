"""Three dashboards: for who pays (executive), for who is on call, for who looks for the cause (debug).

There is no panel without a metric behind it: the gateway's, the status page's (drift, labels, cost), a GPU exporter's. Traces,
with scrubbed inputs and outputs, are MLflow's, and linked.
"""

from pipelines.alerting.panels import Shown, dashboard
from pipelines.alerting.windows import WINDOWS

M = 'model=~"$model", region=~"$region"'
AVAILABLE = f'{M}, sli="availability"'
BY_VERSION = "model, version, region"
VERSION = "{{model}} {{version}} {{region}}"
MODEL = "{{model}} {{region}}"
SLI = "{{model}} {{sli}} {{region}}"
# NVIDIA's dcgm-exporter, or nvidia_gpu_exporter (nvidia-smi): scraped by `python -m flows.stack.infra --gpus ADDRESS`
GPU = 'DCGM_FI_DEV_GPU_UTIL{region=~"$region"} / 100 or nvidia_smi_utilization_gpu_ratio{region=~"$region"}'
LINKS = {
    "Traces (scrubbed): slow, doubted, sampled": "${mlflow}/#/experiments",
    "Versions and approvals": "${mlflow}/#/models",
}


def drawn() -> dict[str, str]:
    """Name -> the JSON to import into Grafana."""
    return {
        "executive": dashboard("seqline-executive", "seqline: executive", executive(), "now-7d", {}),
        "on-call": dashboard("seqline-on-call", "seqline: on call", on_call(), "now-6h", LINKS),
        "debug": dashboard("seqline-debug", "seqline: debug", debug(), "now-6h", LINKS),
    }


def executive() -> list[Shown]:
    """Is it there, is it quick, what does it cost, is it getting better?"""
    bad, events = (f"sum by (model, region) (seqline:sli_{what}:rate%s{{{AVAILABLE}}})" for what in ("bad", "events"))
    total, count = (f"sum by (model, region) (rate(seqline_latency_seconds_{what}{{{M}}}[1h]))" for what in ("sum", "count"))
    spend = f"sum by (model, region, currency) (seqline_spend{{{M}}})"
    asked = f"sum by (model, region) (increase(seqline_requests_total{{{M}}}[1h]))"
    answers = f"1 - {bad} / {events}"
    month = {
        f"{{{{model}}}} {what} {{{{currency}}}}": f"seqline_month_{what}{{{M}}}" for what in ("spent", "forecast", "budget")
    }
    return [
        Shown("Availability, three days", {MODEL: answers % ("3d", "3d")}, "percentunit", now=True),
        Shown("Budget left", {SLI: f"seqline:budget:left{{{M}}}"}, "percentunit", "Of the SLO's window", now=True),
        Shown("Mean latency, an hour", {MODEL: f"{total} / ({count} > 0)"}, "s", now=True),
        Shown(
            "Cost of 1,000 requests",
            {f"{MODEL} {{{{currency}}}}": f"1000 * {spend} / on (model, region) group_left () ({asked} > 0)"},
            text="Spend of the last hour over its requests, those of the cache included",
            now=True,
        ),
        Shown("Availability", {MODEL: answers % ("1h", "1h")}, "percentunit"),
        Shown("Requests", {MODEL: f"sum by (model, region) (rate(seqline_requests_total{{{M}}}[1h]))"}, "reqps"),
        Shown(
            "Quality: answers that no filter doubts",
            {VERSION: f"1 - seqline:doubted:ratio_rate6h{{{M}}}"},
            "percentunit",
            "Six hours; leaks, loops, echoes, lengths, numbers and the spec's own patterns",
        ),
        Shown("Quality: ratings that are good", {VERSION: f"1 - seqline:disliked:ratio_rate6h{{{M}}}"}, "percentunit"),
        Shown("This month's cost", month, text="Serving and retrains, so far and as forecast: `seqline cost NAME`"),
        Shown(
            "Cost of 1,000 requests by version and decoding",
            {"{{model}} {{version}} {{decoding}} {{currency}}": f"seqline_cost_per_1000{{{M}}}"},
            text="Of the last seven days: `seqline cost NAME`",
        ),
        Shown("Last retrain's cost", {"{{model}} {{currency}}": f"seqline_retrain_cost{{{M}}}"}),
    ]


def on_call() -> list[Shown]:
    """What hurts whom, since when, and what is left."""
    queue = f"histogram_quantile(0.95, sum by (le, {BY_VERSION}) (rate(seqline_queue_seconds_bucket{{{M}}}[5m])))"
    burns = {f"{SLI} {window}": f"seqline:burn:rate{window}{{{M}}}" for window in WINDOWS}
    failing = f"sum by (model, region) (seqline:sli_bad:rate5m{{{AVAILABLE}}})"
    events = f"sum by (model, region) (seqline:sli_events:rate5m{{{AVAILABLE}}})"
    hits = f"sum by ({BY_VERSION}, filter) (rate(seqline_guard_hits_total{{{M}}}[5m]))"
    return [
        Shown("Budget left", {SLI: f"seqline:budget:left{{{M}}}"}, "percentunit", now=True),
        Shown("Error rate", {MODEL: f"{failing} / {events}"}, "percentunit", now=True),
        Shown("Requests in flight", {MODEL: f"seqline_in_flight{{{M}}}"}, now=True),
        Shown("Overloaded", {MODEL: f"seqline_overloaded{{{M}}}"}, text="1: requests are refused", now=True),
        Shown("Error rate by version", {VERSION: f"seqline:sli_bad:ratio_rate5m{{{AVAILABLE}}}"}, "percentunit"),
        Shown("p95 and p99", {f"{VERSION} {p}": f"seqline:latency_seconds:{p}_5m{{{M}}}" for p in ("p95", "p99")}, "s"),
        Shown("Burn by window", burns, text="1 spends the budget in just its window"),
        Shown("Weights", {f"{VERSION} {{{{part}}}}": f"seqline_version_weight_percent{{{M}}}"}, "percent", bounds=(0.0, 100.0)),
        Shown("Guard hits a second", {f"{VERSION} {{{{filter}}}}": hits}),
        Shown("Queue: calls that wait for an engine", {MODEL: f"seqline_engine_in_flight{{{M}}}"}),
        Shown("Queue: wait, p95", {VERSION: queue}, "s"),
        Shown("Refused a second", {"{{model}} {{status}}": f"sum by (model, status) (rate(seqline_refused_total{{{M}}}[5m]))"}),
        Shown("Given less", {"{{model}} {{what}}": f"sum by (model, what) (rate(seqline_degraded_total{{{M}}}[5m]))"}),
        Shown("Spend of the last hour", {"{{model}} {{currency}}": f"seqline_spend{{{M}}}"}),
        Shown(
            "GPU utilisation",
            {"{{instance}} {{gpu}}{{uuid}}": GPU},
            "percentunit",
            "Empty without a GPU whose exporter is scraped: `python -m flows.stack.infra --gpus ADDRESS`",
            bounds=(0.0, 1.0),
        ),
    ]


def debug() -> list[Shown]:
    """What each version does with its time, and where requests go."""
    mean = f"sum by ({BY_VERSION}) (rate(seqline_batch_size_%s{{{M}}}[5m]))"
    return [
        Shown("Requests by outcome", {f"{VERSION} {{{{outcome}}}}": _rate("requests", "outcome")}, "reqps"),
        Shown("Errors by class", {f"{VERSION} {{{{class}}}}": _rate("errors", "class")}, "reqps"),
        Shown(
            "Canary failures that the champion answered", {f"{VERSION} {{{{reason}}}}": _rate("fallbacks", "reason")}, "reqps"
        ),
        Shown("Mirrored requests", {f"{VERSION} {{{{outcome}}}}": _rate("mirrors", "outcome")}, "reqps"),
        Shown("Where the time goes, mean", {f"{VERSION} {part}": _mean(part) for part in ("engine", "queue", "decode")}, "s"),
        Shown("Decoding, p95", {VERSION: _p95("decode")}, "s"),
        Shown("Batch, texts", {VERSION: f"{mean % 'sum'} / ({mean % 'count'} > 0)"}),
        Shown("Tokens a second", {f"{VERSION} {{{{direction}}}}": _rate("tokens", "direction")}),
        Shown("Answers of the cache", {f"{VERSION} {{{{kind}}}}": _rate("cache_hits", "kind")}, "reqps"),
        Shown("Ratings", {f"{VERSION} {{{{rating}}}}": _rate("feedback", "rating")}),
        Shown("Engines that died", {VERSION: f"sum by ({BY_VERSION}) (increase(seqline_engine_restarts_total{{{M}}}[1h]))"}),
        Shown("Journal: events not yet written", {MODEL: f"seqline_journal_pending{{{M}}}"}),
        Shown("Lost", {"{{model}} {{what}}": f"sum by (model, what) (increase(seqline_lost_total{{{M}}}[1h]))"}),
        Shown(
            "Doubted, six hours and three days",
            {f"{VERSION} {w}": f"seqline:doubted:ratio_rate{w}{{{M}}}" for w in ("6h", "3d")},
        ),
        Shown("Generation of the route", {MODEL: f"seqline_route_generation{{{M}}}"}),
        Shown(
            "Drifted",
            {VERSION: f"seqline_drifted{{{M}}}"},
            text="1: the traffic no longer looks like the training data; what moved: `seqline drift NAME`",
            bounds=(0.0, 1.0),
        ),
        Shown("Answers that wait for labels", {MODEL: f"seqline_labels_waiting{{{M}}}"}),
        Shown("Age of what was read of the source", {MODEL: f"time() - seqline_source_read_timestamp_seconds{{{M}}}"}, "s"),
    ]


def _rate(metric: str, label: str) -> str:
    return f"sum by ({BY_VERSION}, {label}) (rate(seqline_{metric}_total{{{M}}}[5m]))"


def _mean(part: str) -> str:
    total, count = (f"sum by ({BY_VERSION}) (rate(seqline_{part}_seconds_{what}{{{M}}}[5m]))" for what in ("sum", "count"))
    return f"{total} / ({count} > 0)"


def _p95(part: str) -> str:
    return f"histogram_quantile(0.95, sum by (le, {BY_VERSION}) (rate(seqline_{part}_seconds_bucket{{{M}}}[5m])))"
