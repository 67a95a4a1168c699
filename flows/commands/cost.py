"""`seqline cost NAME`: what answers cost by version and decoding, what retrains did, and where the month is going.

The counters are Prometheus' where one answers, else the gateway's own since it started; how answers were decoded is told by the
sampled traces in MLflow, how long steps took by Prefect. What was found lies in the workspace, cost/NAME.json: `seqline status`
shows it, whatever is down.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import report
from flows.settings import Settings, spec_of
from flows.stack.observing import PORTS

if TYPE_CHECKING:
    from pipelines.monitoring.cost import Hour, Line, Month, Prices, Retrain, Traced
    from pipelines.spec import Spec

PROMETHEUS = f"http://127.0.0.1:{PORTS['prometheus']}"
DAYS = 7.0  # of which the versions' costs are
ANSWER_SECONDS = 20.0
OLDEST = 35  # days, as long as Prometheus keeps

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def cost(
    name: Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")], as_json: Json = False
) -> None:
    """What 1,000 requests cost, by version and decoding; what retrains cost; the month so far, its forecast, its budget."""
    settings = Settings().apply()
    spec = spec_of(name, settings)
    content = look(spec, settings, time.time())
    shown = [*lines(content), f"next           `seqline status {spec.name}` shows the month; prices: serving.cost in its YAML"]
    report(content, as_json, "\n".join(shown))


def look(spec: "Spec", settings: Settings, now: float, prometheus: str = PROMETHEUS) -> dict[str, Any]:
    """Look at counters, traces and runs, write cost/NAME.json, and return its content."""
    from flows.commands.spent import retrains
    from pipelines.monitoring import cost as pure

    prices = prices_of(spec)
    hours, source = counted(spec, prometheus, now)
    registered = versions(spec.name, settings)
    trained = retrains(spec.name, registered, now - OLDEST * pure.DAY, prices.training, settings)
    recent = [hour for hour in hours if hour.at > now - DAYS * pure.DAY]
    told = pure.lines(recent, traces(spec.name, now - DAYS * pure.DAY, settings), prices)
    ahead = pure.month(pure.costs(hours, prices), trained, spec.serving.cost.budget_per_month, now)
    content = {**plain(spec.name, now, prices, told, trained, ahead), "source": source, "days": DAYS}
    keep(spec.name, content, settings)
    return content


def prices_of(spec: "Spec") -> "Prices":
    """The spec's price table; managed models go by the versions they stand for."""
    from pipelines.monitoring.cost import Prices

    given = spec.serving.cost
    managed = {f"endpoint:{name}": each.per_1000_tokens for name, each in spec.serving.endpoints.items()}
    return Prices(given.currency, given.per_engine_hour, given.per_training_hour, managed)


def counted(spec: "Spec", prometheus: str, now: float) -> "tuple[list[Hour], str]":
    """What the gateway counted, hour by hour, and who says so."""
    import httpx

    from flows.serve import address
    from pipelines.monitoring import counters

    with httpx.Client(timeout=ANSWER_SECONDS, trust_env=False) as http:
        try:
            asked = {name: _range(http, prometheus, query, now) for name, query in counters.queries(spec.name).items()}
            return counters.hours(asked), f"Prometheus ({prometheus})"
        except (httpx.HTTPError, ValueError, KeyError):
            pass
        try:
            from prometheus_client.parser import text_string_to_metric_families

            told = http.get(f"{address(spec)}/metrics").raise_for_status().text
            samples = (sample for family in text_string_to_metric_families(told) for sample in family.samples)
            return counters.since_start(samples, now), "the gateway alone, since it started: no Prometheus answers"
        except (httpx.HTTPError, ValueError):
            return [], "nobody: neither Prometheus nor the gateway answers"


def _range(http: Any, prometheus: str, query: str, now: float) -> list[Any]:
    """Prometheus' values at the end of each hour, back from now."""
    span = {"start": now - OLDEST * 86_400, "end": now, "step": 3_600}
    answer = http.post(f"{prometheus}/api/v1/query_range", data={"query": query, **span})
    found: list[Any] = answer.raise_for_status().json()["data"]["result"]
    return found


def versions(name: str, settings: Settings) -> dict[str, float]:
    """When each version of the model was registered (seconds since the epoch)."""
    from pipelines.registry import Registry

    history = Registry(settings.mlflow, settings.artifacts).history(name)
    return {entry.version: entry.at for entry in history if entry.event == "registered"}


def traces(name: str, since: float, settings: Settings) -> "list[Traced]":
    """How the answers that were sampled since then were decoded."""
    from pipelines.monitoring.cost import Traced
    from pipelines.registry.decoded import Decodings

    found = Decodings(settings.mlflow, settings.artifacts).sampled(name, since)
    return [Traced(each.version, each.beam, each.weight, each.tokens_in, each.tokens_out) for each in found]


def plain(
    name: str, now: float, prices: "Prices", told: "Sequence[Line]", trained: "Sequence[Retrain]", ahead: "Month"
) -> dict[str, Any]:
    """As cost/NAME.json."""
    return {
        "name": name,
        "at": now,
        "currency": prices.currency,
        "versions": [asdict(each) for each in told],
        "retrains": [asdict(each) for each in trained],
        "month": {**asdict(ahead), "over": ahead.over},
        "priced": {"serving": bool(prices.engine or any(prices.tokens.values())), "training": bool(prices.training)},
    }


def keep(name: str, content: dict[str, Any], settings: Settings) -> None:
    """Write cost/NAME.json: whole, or as it was."""
    path = settings.folder("cost") / f"{name}.json"
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.write_text(json.dumps(content, indent=1), encoding="utf-8")
    fresh.replace(path)


def last(name: str, settings: Settings) -> dict[str, Any] | None:
    """What `keep` wrote last; None before the first time, or where somebody broke the file: status goes on without."""
    try:
        found: dict[str, Any] = json.loads((settings.workspace / "cost" / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def summary(name: str, settings: Settings, now: float) -> list[str]:
    """The line of `seqline status`."""
    found = last(name, settings)
    if found is None:
        return []
    try:
        age = max(0.0, now - found["at"]) / 3_600
        return [f"{_month(found)} (looked at {age:.1f} h ago)"]
    except (KeyError, TypeError, ValueError):
        return [f"cost/{name}.json says nothing that can be read: `seqline cost {name}` writes it anew"]


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    currency, priced = found["currency"], found["priced"]
    shown = [f"cost of {found['name']}, counted by {found['source']}"]
    if not priced["serving"]:
        shown.append("no price     serving.cost.per_engine_hour is 0: seconds alone are told")
    for each in found["versions"]:
        per = "" if each["per_1000"] is None else f"  {each['per_1000']:.4g}{_between(each['interval'])} {currency} per 1,000"
        many = f"{each['requests']:>10,.0f} requests  {each['seconds']:>10,.1f} s of decoding"
        shown.append(f"version {each['version']:<5} {each['decoding']:<8} {many}{per}")
    if any(each["interval"] for each in found["versions"]):
        shown.append("             (the intervals are of the traces' sampling alone)")
    if not priced["training"] and found["retrains"]:
        shown.append("no price     serving.cost.per_training_hour is 0: seconds alone are told")
    for each in found["retrains"]:
        made = f"version {each['version']}" if each["version"] else "no version"
        when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(each["at"]))
        price = f"  {each['cost']:.4g} {currency}" if priced["training"] else ""
        shown.append(f"retrain {when}  {made:<12} {each['seconds']:>8,.0f} s{price}")
    return [*shown, _month(found)]


def _month(found: dict[str, Any]) -> str:
    month, currency = found["month"], found["currency"]
    said = f"month: {month['spent']:.2f} {currency} spent, forecast {month['forecast']:.2f}{_between(month['interval'], '.2f')}"
    if month["budget"] is None:
        return f"{said}, no budget (serving.cost.budget_per_month)"
    return f"{said}, {'OVER' if month['over'] else 'within'} the budget of {month['budget']:.2f}"


def _between(interval: Sequence[float] | None, form: str = ".4g") -> str:
    return "" if interval is None else f" [{interval[0]:{form}}, {interval[1]:{form}}]"
