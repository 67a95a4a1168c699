"""The sweep for a person: the choice first, then every way with its intervals, then what each quantisation costs."""

from collections.abc import Iterator, Mapping
from typing import Any

from numpy import format_float_positional

from pipelines.economy.judging import cell

CAUTION = (
    "Chosen on validation pairs, where of many ways the best looks a little better than it is: what the others are behind it "
    "is rather over- than understated, and what the choice is worth the test pairs say, which chose nothing. Times are CPU "
    "time of one decoding thread on this machine, tokenizing included; more threads answer more texts side by side at the same "
    "cost a text."
)


def markdown(found: Mapping[str, Any]) -> str:
    """report.md of a sweep (`found` is its sweep.json)."""
    lines = [
        f"# Sweep of {found['name']} version {found['version']}", "", *summary(found), "",
        "![frontier](frontier.png)", "",
        f"## Every way, cheapest first ({found['n']} validation pairs, {found['confidence']:.0%} intervals)", "",
        *_ways(found), "",
        "## Quantisation alone, decoded as now", "", *quantisations(found), "",
        CAUTION, "",
        f"Machine: {found['machine']['processor']}, which computes in {', '.join(found['machine']['computes_in'])}; each way "
        f"was timed {found['rounds']} times in turn with the others, the middle counts.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def summary(found: Mapping[str, Any]) -> Iterator[str]:
    """What was chosen, against what serves now and the best, a line each."""
    rows = found["points"]
    chosen, now, best = (rows[found[which]] for which in ("chosen", "now", "best"))
    for title, row in (("chosen", chosen), ("now", now), ("best", best)):
        score = f"{cell(row['quality'])} {found['metric']}"
        yield f"- {title}: {row['name']}: {score}, {row['cpu_ms']:.2f} ms a text{_price(found, row)}"
    if chosen is best:
        cheaper = sum(row["cpu_ms"] < best["cpu_ms"] and not row["passes"] for row in rows)
        why = f"of {cheaper} cheaper ways none is surely within {found['floor']:g} points of it"
        yield f"- the best is the choice: {why if cheaper else 'nothing is measurably cheaper'}"
    else:
        yield (
            f"- {cell(chosen['behind'], '+.2f')} against the best: {chosen['behind']['verdict']} by more than the floor of "
            f"{found['floor']:g}; {_less(chosen, best)} than the best"
            + ("" if chosen is now else f", {_less(chosen, now)} than now")
        )
    yield _tested(found)


def _tested(found: Mapping[str, Any]) -> str:
    test = found["test"]
    line = f"- on the {test['n']} test pairs, which chose nothing: {cell(test['chosen'])} {found['metric']}"
    if found["chosen"] == found["now"]:
        return line
    change = test["difference"]
    return f"{line}, {cell(change, '+.2f')} against now: {change['verdict']} (floor {found['floor']:g})"


def _less(row: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    saved = 1 - row["cpu_ms"] / other["cpu_ms"]
    return f"{abs(saved):.0%} {'less' if saved >= 0 else 'more'} time"


def _ways(found: Mapping[str, Any]) -> Iterator[str]:
    price = found["per_engine_hour"]
    yield f"| way | {found['metric']} | against the best | | ms a text |" + (" cost per 1,000 |" if price else "")
    yield "|---|---:|---:|---|---:|" + ("---:|" if price else "")
    order = sorted(range(len(found["points"])), key=lambda place: found["points"][place]["cpu_ms"])
    for place in order:
        row = found["points"][place]
        low, high = row["spread"]
        cells = [
            row["name"] + " (now)" * (place == found["now"]) + " **chosen**" * (place == found["chosen"]),
            cell(row["quality"]), cell(row["behind"], "+.2f"), row["behind"]["verdict"],
            f"{row['cpu_ms']:.2f} [{low:.2f}, {high:.2f}]",
        ]  # fmt: skip
        if price:
            cells.append(_money(found, row))
        yield f"| {' | '.join(cells)} |"


def quantisations(found: Mapping[str, Any]) -> Iterator[str]:
    """Size, time and score of each quantisation with the spec's own decoding, and the score lost against float32."""
    yield f"| weights | computed in | MB | ms a text | {found['metric']} | against float32 |"
    yield "|---|---|---:|---:|---:|---:|"
    now = found["points"][found["now"]]
    for row in found["points"]:
        if (row["beam"], row["length_penalty"]) == (now["beam"], now["length_penalty"]):
            lost = row.get("against_float32")
            shown = "not measured" if lost is None else "" if row["quantisation"] == "float32" else cell(lost, "+.2f")
            yield (
                f"| {row['quantisation']} | {row['computed_in']} | {row['bytes'] / 1e6:.1f} | {row['cpu_ms']:.2f} "
                f"| {cell(row['quality'])} | {shown} |"
            )


def _price(found: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    if not found["per_engine_hour"]:
        return ""
    return f", {_money(found, row)} per 1,000"


def _money(found: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Two significant digits: a thousand short texts cost next to nothing."""
    return f"{format_float_positional(row['cost_per_1000'], precision=2, fractional=False)} {found['currency']}"
