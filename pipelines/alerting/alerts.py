"""A model's alerts, from what its spec promises: a page wakes a person, a ticket waits for the morning.

Burn rates: the multi-window, multi-burn-rate alerts of Google's SRE workbook, chapter 5: a page when 2 % of the budget went in
an hour or 5 % in six, a ticket when 10 % went in three days; the short window ends the alert soon after the burn. A judge's
uncorrected flags alert nobody (they only compare canary and champion): quality is filters' hits and senders' feedback.
"""

from typing import Any

from prometheus_client.utils import floatToGoString

from pipelines.alerting.objectives import EVERY, promised, target
from pipelines.alerting.objectives import group as objectives
from pipelines.alerting.windows import BY_VERSION, Rule, seconds
from pipelines.spec import Spec

PAGES = (("1h", "5m", 0.02), ("6h", "30m", 0.05))  # long window, short window, share of the budget spent in the long one
TICKETS = (("3d", "6h", 0.10),)
REACHABLE = 0.8  # share of bad answers that alerts however little is promised: a burn of 1 / (1 - objective) is all there is
FEWEST_BAD = 5  # bad answers in the long window: one of three at night is no incident
SLOW_FOR = "1h"  # a gateway that began today has seen three days in minutes: its page comes first, and silences the ticket
SEED_BURN, SEED_FOR = 4, "30m"  # "burn > 4x for 30 minutes", as pipelines/rollout/paging.py counts it
MAJOR = 0.05  # share of a version's answers that fail in a major regression,
TIMES = 4  # and how many times oftener than the other versions' do
FEWEST_ANSWERS = 50  # in five minutes, for a 99th percentile
SLOWEST = 0.01  # share of answers above the 99th percentile
FAILING = 0.05  # share of all that is asked that is answered 5xx, whether or not a version was asked
NEAR_CAP = 0.8  # of the cap: from there on the gateway gives up beams
DIP = 1.5  # times the share of the last three days
FEWEST_DOUBTS = 20  # in six hours
FEWEST_DISLIKES = 5  # in six hours
BACKLOG, WAITED = 50, "2d"  # answers that wait for labels, and for how long something has
STALE_DAYS, STALE_MONTHLY_DAYS = 15, 63  # two retrains missed, where they are scheduled by the week or oftener; by the month
KNOWN = "3d"  # a gateway that answered since then is missed when it is away
PAGE, TICKET = "page", "ticket"
OPS, ML = "ops", "ml"
TEAM = {"availability": OPS, "latency": OPS, "pii": ML, "policy": ML}


def rules(spec: Spec, every: int = EVERY) -> dict[str, Any]:
    """The content of a model's rule file: its objectives, evaluated `every` so many seconds, and its alerts."""
    found = []
    for sli, objective in promised(spec).items():
        found += [_below(spec, sli, objective), _over(spec, sli, objective), _slow(spec, sli, objective)]
    found += [_p99(spec), _regression(spec), _failing(spec), _down(spec), _lost(spec), _doubted(spec), _disliked(spec)]
    found += [_drifted(spec), _backlog(spec), _stale(spec)]
    if cap := spec.serving.cost.cap_per_hour:
        found.append(_cost(spec, cap))
    if budget := spec.serving.cost.budget_per_month:
        found.append(_month(spec, budget))
    return {"groups": [objectives(spec, every), {"name": f"{spec.name}-alerts", "rules": found}]}


def factor(share: float, long: str, days: int) -> float:
    """The burn rate that spends `share` of the budget of `days` in the window `long`."""
    return share * days * 86_400 / seconds(long)


def _burning(spec: Spec, sli: str, objective: float, windows: tuple[tuple[str, str, float], ...]) -> str:
    chosen, parts = _chosen(spec, sli), []
    for long, short, share in windows:
        over = min(factor(share, long, spec.slo.window_days), REACHABLE / (1 - objective))
        many = f"sum by (model, region, sli) (seqline:sli_bad:rate{long}{chosen}) * {seconds(long)} >= {FEWEST_BAD}"
        burns = " and ".join(f"seqline:burn:rate{window}{chosen} > {over:g}" for window in (long, short))
        parts.append(f"({burns} and {many})")
    return " or ".join(parts)


def _below(spec: Spec, sli: str, objective: float) -> Rule:
    said = f"{sli} of {{{{ $labels.model }}}} ({{{{ $labels.region }}}}) burns {{{{ $value | humanize }}}} times its budget"
    expr = _burning(spec, sli, objective, PAGES)
    return _alert(
        f"{sli.title()}BelowObjective", expr, PAGE, TEAM[sli], f"{said}: below the objective of {objective:.4g}", sli=sli
    )


def _slow(spec: Spec, sli: str, objective: float) -> Rule:
    said = f"{sli} of {{{{ $labels.model }}}} ({{{{ $labels.region }}}}) burns {{{{ $value | humanize }}}} times its budget"
    expr = _burning(spec, sli, objective, TICKETS)
    said = f"{said}, in the last {TICKETS[0][0]} and still"
    return _alert("BudgetBurnsSlowly", expr, TICKET, TEAM[sli], said, wait=SLOW_FOR, sli=sli)


def _over(spec: Spec, sli: str, objective: float) -> Rule:
    """Below an objective of 80 % a burn of 4 is nearly all bad or more: what can be reached pages there."""
    over = min(SEED_BURN, REACHABLE / (1 - objective))
    expr = f"seqline:burn:rate5m{_chosen(spec, sli)} > {over:.4g}"
    said = f"{sli} of {{{{ $labels.model }}}} ({{{{ $labels.region }}}}) burns over {over:.3g} times its budget for {SEED_FOR}"
    return _alert(f"BurnOver{SEED_BURN}x", expr, PAGE, TEAM[sli], said, wait=SEED_FOR, sli=sli)


def _p99(spec: Spec) -> Rule:
    """The promised latency is an edge of the histogram's buckets, so that the share above it is exact, however long it is."""
    chosen, by = _chosen(spec), f"sum by ({BY_VERSION})"
    bound = floatToGoString(target(spec))  # type: ignore[no-untyped-call]
    edge = f'{{model="{spec.name}", le="{bound}"}}'
    within = f"{by} (rate(seqline_latency_seconds_bucket{edge}[5m]))"
    answers = f"seqline:answers:rate5m{chosen}"
    expr = f"1 - {within} / ({answers} > 0) > {SLOWEST:g} and {answers} * {seconds('5m')} >= {FEWEST_ANSWERS}"
    said = "p99 of {{ $labels.model }} version {{ $labels.version }} is above the promised"
    slow = "{{ $value | humanizePercentage }} of its answers take longer"
    return _alert("LatencyP99Breach", expr, PAGE, OPS, f"{said} {target(spec):g} s: {slow}", wait="5m")


def _regression(spec: Spec) -> Rule:
    """A version against all others that were asked in the same minutes: a trouble that all share is not its own."""
    chosen = _chosen(spec, "availability")
    ratio = f"seqline:sli_bad:ratio_rate5m{chosen}"

    def others(what: str) -> str:
        own = f"seqline:sli_{what}:rate5m{chosen}"
        return f"(sum by (model, region, sli) ({own}) - on (model, region, sli) group_right () {own})"

    expr = (
        f"{ratio} > {MAJOR} and {ratio} > {TIMES} * {others('bad')} / ({others('events')} > 0)"
        f" and seqline:sli_bad:rate5m{chosen} * {seconds('5m')} >= {FEWEST_BAD}"
    )
    said = "version {{ $labels.version }} of {{ $labels.model }} fails {{ $value | humanizePercentage }} of its requests"
    return _alert("VersionErrorRegression", expr, PAGE, ML, f"{said}, the others far fewer", wait="1m")


def _failing(spec: Spec) -> Rule:
    """What no version is blamed for: there is none, the keys' or the rollout's database is away, something broke."""
    chosen, by = _chosen(spec), "sum by (model, region)"
    bad = f'{by} (rate(seqline_refused_total{{model="{spec.name}", status=~"5.."}}[5m]))'
    refused = f"{by} (rate(seqline_refused_total{chosen}[5m]))"
    answered = f'{by} (rate(seqline_requests_total{{model="{spec.name}", outcome=~"answered|cached"}}[5m]))'
    expr = f"{bad} / (({answered} or 0 * {refused}) + {refused}) > {FAILING:g} and {bad} * {seconds('5m')} >= {FEWEST_BAD}"
    said = "{{ $labels.model }} ({{ $labels.region }}) answers {{ $value | humanizePercentage }} of what it is asked with 5xx"
    return _alert("ServerErrors", expr, PAGE, OPS, said, wait="1m")


def _down(spec: Spec) -> Rule:
    """A gateway that nobody has started yet (infra/ names those of all specs) is not down, nor one that ended with a
    rollout."""
    said = "the gateway of {{ $labels.model }} at {{ $labels.instance }} does not answer"
    up = f'up{{job="seqline", model="{spec.name}"}}'
    stood = f'on (instance) last_over_time(seqline_standing{{model="{spec.name}"}}[{KNOWN}]) == 1'
    return _alert("GatewayDown", f"{up} == 0 and {stood}", PAGE, OPS, said, wait="1m")


def _lost(spec: Spec) -> Rule:
    expr = f'sum by (model, region, what) (increase(seqline_lost_total{{model="{spec.name}"}}[15m])) > 0'
    said = "{{ $labels.model }} loses {{ $labels.what }}: {{ $value | humanize }} in 15 minutes"
    return _alert("GatewayLoses", expr, TICKET, OPS, said)


def _doubted(spec: Spec) -> Rule:
    said = "filters doubt {{ $value | humanizePercentage }} of the answers of {{ $labels.model }} version {{ $labels.version }}"
    return _alert("QualityDip", _dip(spec, "doubted", FEWEST_DOUBTS), TICKET, ML, f"{said}, more than in three days")


def _disliked(spec: Spec) -> Rule:
    said = "senders dislike {{ $value | humanizePercentage }} of what they rate of {{ $labels.model }} {{ $labels.version }}"
    return _alert("FeedbackDip", _dip(spec, "disliked", FEWEST_DISLIKES), TICKET, ML, f"{said}, more than in three days")


def _dip(spec: Spec, what: str, fewest: int) -> str:
    chosen = _chosen(spec)
    ratio = f"seqline:{what}:ratio_rate"
    many = f"seqline:{what}:rate6h{chosen} * {seconds('6h')} >= {fewest}"
    usual = f"on (model, region) group_left () ({DIP} * seqline:{what}:model_ratio_rate3d{chosen})"
    return f"{ratio}6h{chosen} > {usual} and {many}"


def _cost(spec: Spec, cap: float) -> Rule:
    expr = f"sum by (model, region, currency) (seqline_spend{_chosen(spec)}) > {NEAR_CAP * cap:g}"
    said = "{{ $labels.model }} spent {{ $value | humanize }} {{ $labels.currency }} in an hour"
    return _alert("CostNearCap", expr, TICKET, OPS, f"{said}, of {cap:,.10g}", wait="5m")


def _month(spec: Spec, budget: float) -> Rule:
    expr = f"seqline_month_forecast{_chosen(spec)} > {budget:g}"
    said = "{{ $labels.model }} is forecast to cost {{ $value | humanize }} {{ $labels.currency }} this month"
    return _alert("MonthOverBudget", expr, TICKET, OPS, f"{said}, its budget is {budget:,.10g}", wait="5m")


def _drifted(spec: Spec) -> Rule:
    said = "the traffic of {{ $labels.model }} no longer looks like what version {{ $labels.version }} was trained on"
    return _alert("TrafficDrifted", f"seqline_drifted{_chosen(spec)} == 1", TICKET, ML, said, wait="5m")


def _backlog(spec: Spec) -> Rule:
    expr = f"seqline_labels_waiting{_chosen(spec)} >= {BACKLOG} and seqline_labels_waiting{_chosen(spec)} offset {WAITED} > 0"
    said = f"{{{{ $value }}}} answers of {{{{ $labels.model }}}} wait for people's labels, some for over {WAITED}"
    return _alert("LabelBacklog", expr, TICKET, ML, said, wait="5m")


def _stale(spec: Spec) -> Rule:
    """The source's index is read by each retrain, which ends at once when nothing in it changed."""
    _, _, day, month, _ = spec.schedule.retrain.split()
    days = STALE_DAYS if (day, month) == ("*", "*") else STALE_MONTHLY_DAYS
    expr = f"time() - seqline_source_read_timestamp_seconds{_chosen(spec)} > {days * seconds('1d')}"
    said = "nothing has read the source of {{ $labels.model }} for {{ $value | humanizeDuration }}"
    return _alert("StaleIndex", expr, TICKET, OPS, said, wait="5m")


def _chosen(spec: Spec, sli: str | None = None) -> str:
    more = f', sli="{sli}"' if sli else ""
    return f'{{model="{spec.name}"{more}}}'


def page_of(alert: str) -> str:
    """The runbook's file: LatencyP99Breach -> latency-p99-breach.md."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in alert).removeprefix("-") + ".md"


def _alert(name: str, expr: str, severity: str, team: str, summary: str, wait: str = "", **labels: str) -> Rule:
    return {
        "alert": name,
        "expr": expr,
        **({"for": wait} if wait else {}),
        "labels": {"severity": severity, "team": team, **labels},
        # Prometheus itself serves infra/runbooks (--web.user-assets), so that the link opens wherever the alert came from
        "annotations": {"summary": summary, "runbook_url": f"{{{{ $externalURL }}}}/user/{page_of(name)}"},
    }
