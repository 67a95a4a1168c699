"""The numbers of scores.json and gate.json as the report's page draws them: rows of a table, each with its interval.

Pure. Every key is optional: what was not measured gives nothing, and the page says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipelines.scoring.report import drawn
from pipelines.scoring.report.drawn import Track
from pipelines.scoring.report.facts import Fact, Json, corrected, estimate
from pipelines.scoring.report.markdown import CORPUS_NAMES, METRIC_NAMES, SYSTEMS

TONES = {"better": "good", "worse": "bad", "inconclusive": "dim", "beyond": "bad"}


class Cell(NamedTuple):
    said: str
    tone: str = ""


@dataclass(frozen=True)
class Row:
    """A row of a table whose second column is drawn: its name, its number in words, and further cells."""

    name: str
    said: str
    plot: Track | None
    cells: tuple[Cell, ...]
    ours: bool = False
    ends: tuple[str, str] | None = None


def headline(scores: Json) -> list[Fact]:
    """The few numbers that somebody who signs has to know."""
    found: list[Fact] = []
    name = str(METRIC_NAMES.get(scores.get("metric", ""), scores.get("metric", "")))
    if score := scores.get("model", {}).get(scores.get("metric", "")):
        found.append((name, estimate(score)))
    for opponent in ("champion", "lead"):
        if gain := _gain(scores, opponent):
            found.append((f"minus {SYSTEMS[opponent]}", f"{estimate(gain, '+.1f')}: {gain['verdict']}"))
            break
    if slices := scores.get("slices"):
        found.append(("slices", _better_and_worse(slices)))
    if flagged := scores.get("judge", {}).get("flagged"):
        alarms = scores["judge"].get("references")
        beside = f", against {estimate(alarms, '.1%')} of the references" if alarms else ""
        found.append(("the judge doubts", f"{estimate(flagged, '.1%')} of the outputs{beside}; uncorrected"))
    found.append(("unsupported, corrected by labels", corrected(scores.get("corrected"))))
    if leaks := scores.get("leaks", {}).get("outputs"):
        found.append(("personal data that the source lacks", f"in {leaks['count']} of {scores['leaks'].get('n', '?')} outputs"))
    return found


def rules(gate: Json) -> list[Row]:
    return [_rule(rule) for rule in gate["rules"]]


def _rule(rule: Json) -> Row:
    value, interval, bar = rule["value"], rule["interval"], rule["bar"]
    plot = None
    if value is not None and interval is not None:
        known = [value, *interval, *([] if bar is None else [bar])]
        plot = drawn.track(value, interval, drawn.scale(known), bar)
    number = {"value": value, "interval": interval}
    tone = "good" if rule["passed"] else "bad"
    mark = "\u2713 " if rule["passed"] else "\u2717 "
    said = "" if value is None else estimate(number, _form(value, *(interval or ())))
    cells = (
        Cell("" if bar is None else f"{bar:.4g}"), Cell(mark + str(rule["verdict"]), tone), Cell(rule.get("reason", "")),
    )  # fmt: skip
    return Row(rule["rule"], said, plot, cells)


def _form(*numbers: float) -> str:
    """Two decimals for points, four for shares; a count is an integer."""
    if isinstance(numbers[0], int):
        return ".4g"
    return ".2f" if max(map(abs, numbers)) > 1 else ".4f"


def systems(scores: Json) -> list[Row]:
    """This model and what it is compared with, by the metric that gates, on one scale."""
    metric = scores.get("metric", "")
    known = {"model": scores.get("model", {}), **scores.get("baselines", {})}
    order = [*(name for name in SYSTEMS if name in known), *(name for name in known if name not in SYSTEMS)]
    found = {name: known[name][metric] for name in order if metric in known[name]}
    if not found:
        return []
    among = drawn.scale([0.0, *(end for each in found.values() for end in each["interval"])])
    among = (0.0, among[1])
    ends = ("0", f"{among[1]:.0f}")
    return [
        Row(
            SYSTEMS.get(name, name), estimate(each), drawn.track(each["value"], each["interval"], among),
            _against(_gain(scores, name)), name == "model", ends,
        )
        for name, each in found.items()
    ]  # fmt: skip


def _gain(scores: Json, opponent: str) -> Json | None:
    """This model minus `opponent`, tested if it was."""
    tested = scores.get("comparison", {}).get(opponent)
    if tested and "difference" in tested:
        difference = tested["difference"]
        plain = difference if isinstance(difference, Mapping) else {"value": difference, "interval": tested["interval"]}
        return {**plain, "verdict": tested["verdict"], "p": tested.get("p")}
    found: Json | None = scores.get("baselines", {}).get(opponent, {}).get("difference")
    return found


def _against(gain: Json | None) -> tuple[Cell, ...]:
    if not gain:
        return Cell(""), Cell(""), Cell("")
    return Cell(estimate(gain, "+.1f")), Cell(gain["verdict"], TONES.get(gain["verdict"], "")), Cell(_p(gain.get("p")))


def _p(p: float | None) -> str:
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def every(scores: Json) -> dict[str, Any]:
    """All metrics of all systems, and those of the corpus with their signatures."""
    known = {"model": scores.get("model", {}), **scores.get("baselines", {})}
    names = [name for name in METRIC_NAMES if name in known["model"]]
    names += sorted(set(known["model"]) - set(names))
    return {
        "names": [METRIC_NAMES.get(name, name) for name in names],
        "rows": [(SYSTEMS.get(who, who), [estimate(each.get(name)) for name in names]) for who, each in known.items()],
        "corpus": [
            (f"corpus {CORPUS_NAMES.get(name, name)}", f"{estimate(each)}, {each.get('signature', 'unsigned')}")
            for name, each in sorted(scores.get("corpus", {}).items())
        ],
    }


def slices(scores: Json) -> dict[str, Any]:
    """A row a slice, what got worse first; differences on one scale."""
    parts: Sequence[Json] = scores.get("slices") or []
    if not parts:
        return {"rows": []}
    ends = [end for part in parts for end in part["difference"]["interval"]]
    among = drawn.scale([0.0, *ends])
    shown = (f"{among[0]:+.1f}", f"{among[1]:+.1f}")
    ranked = sorted(parts, key=lambda part: ("worse", "inconclusive").index(part["difference"]["verdict"])
                    if part["difference"]["verdict"] in ("worse", "inconclusive") else 2)  # fmt: skip
    corrected = any("p_adjusted" in part["difference"] for part in parts)
    against = str(parts[0].get("against", "the other"))
    return {
        "rows": [_slice(part, among, shown) for part in ranked],
        "said": _better_and_worse(parts),
        "against": SYSTEMS.get(against, against),
        "caption": "The line is no difference." + ("" if corrected else " Not corrected for looking at several slices."),
    }


def _slice(part: Json, among: drawn.Pair, ends: tuple[str, str]) -> Row:
    gain = part["difference"]
    words = part.get("words")
    name = f"{part.get('dimension', 'length')}: {part['slice']}" + (f" ({words[0]} to {words[1]} words)" if words else "")
    cells = (
        Cell(gain["verdict"], TONES.get(gain["verdict"], "")), Cell(_p(gain.get("p_adjusted"))),
        Cell(estimate(part.get("model"))), Cell(str(part.get("n", "?"))),
    )  # fmt: skip
    return Row(name, estimate(gain, "+.1f"), drawn.track(gain["value"], gain["interval"], among, 0.0), cells, ends=ends)


def _better_and_worse(parts: Sequence[Json]) -> str:
    counts = {
        tone: sum(part["difference"]["verdict"] == tone for part in parts) for tone in ("better", "worse", "inconclusive")
    }
    kept = len(parts) - sum(counts.values())
    said = [f"{count} {tone}" for tone, count in {**counts, "not worse": kept}.items() if count]
    return f"of {len(parts)}: {', '.join(said)}"
