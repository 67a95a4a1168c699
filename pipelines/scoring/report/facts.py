"""What scores.json says beyond its tables, as facts in words: (name, what was found). Pure; what is missing gives nothing."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Json = Mapping[str, Any]
Fact = tuple[str, str]


class Measured(NamedTuple):
    """A section of the page; `short` is its name in the list of sections."""

    anchor: str
    short: str
    title: str
    facts: list[Fact]


JUDGED = {
    "flagged": "outputs of this model",
    "champion": "outputs of the champion",
    "references": "references (false alarms)",
    "shuffled": "references of other sources (should be flagged)",
}
ACTIONS = {"off": "goes out", "flag": "is marked", "redact": "is redacted", "refuse": "is withheld"}


def estimate(found: Json | None, form: str = ".1f") -> str:
    """`39.9 [38.3, 41.6]`; the number alone where there is no interval, `unknown` where there is no number."""
    if not found or not isinstance(found.get("value"), int | float):
        return "unknown"
    bounds = found.get("interval")
    value = f"{found['value']:{form}}"
    return f"{value} [{bounds[0]:{form}}, {bounds[1]:{form}}]" if bounds else value


def corrected(found: Json | None) -> str:
    """The rate that labels give, with how many there were: `2.1% [1.0%, 4.2%] (180 labels)`, or `unknown (0 labels)`."""
    rate = (found or {}).get("corrected", "unknown")
    labels = (found or {}).get("labels", 0)
    said = estimate(rate, ".1%") if isinstance(rate, Mapping) else str(rate)
    return f"{said} ({labels} labels)"


def judge(scores: Json) -> list[Fact]:
    found = scores.get("judge", {})
    if not found:
        return []
    rows = (
        [("judge", str(found.get("name", "lexical"))), ("threshold", f"{found['threshold']:g}")] if "threshold" in found else []
    )
    rows += [
        (f"flagged: {said}", f"{found[key]['count']}, {estimate(found[key], '.1%')}")
        for key, said in JUDGED.items()
        if key in found
    ]
    if change := found.get("champion", {}).get("difference"):
        rows.append(("flagged: this model minus the champion", estimate(change, "+.1%")))
    if auroc := found.get("auroc"):
        rows.append(("AUROC, references against those of other sources", estimate(auroc, ".3f")))
    judged = (scores.get("corrected") or {}).get("judged")
    if isinstance(judged, Mapping):
        rows.append(("judged in production", estimate(judged, ".1%")))
    rows.append(("corrected by labels", corrected(scores.get("corrected"))))
    known = {"name", "threshold", "n", "auroc", *JUDGED}
    rows += told({key: value for key, value in found.items() if key not in known})
    return rows + told({"drift of the judge": scores["drift"]} if scores.get("drift") else {})


def measured(scores: Json) -> list[Measured]:
    """The sections that only say what was found, measured or not."""
    leaks = scores.get("leaks") or {}
    secrets = {key: leaks[key] for key in ("extraction", "exposure") if key in leaks}
    return [
        Measured("leaks", "Leaks", "Leaks: personal data and placeholders", _leaks(scores)),
        Measured("secrets", "Secrets", "Planted secrets: extraction and exposure", told(secrets)),
        Measured("membership", "Membership", "Membership inference", _membership(scores.get("membership") or {})),
        Measured(
            "contamination", "Contamination", "Test pairs that training saw", _contamination(scores.get("contamination") or {})
        ),
        Measured("adversarial", "Adversarial", "Adversarial inputs", _adversarial(scores.get("adversarial") or {})),
        Measured("filters", "Filters", "Filters of serving", _filters(scores)),
    ]


def _leaks(scores: Json) -> list[Fact]:
    leaks, masked = scores.get("leaks") or {}, scores.get("masked")
    rows = [
        (said, f"{leaks[key]['count']} of {leaks.get('n', '?')}, {estimate(leaks[key], '.2%')}")
        for key, said in (
            ("outputs", "outputs with personal data that their source lacks"), ("references", "references with such"),
            ("placeholders", "outputs with a placeholder that their source lacks"),
            ("reference_placeholders", "references with such a placeholder"),
        ) if key in leaks
    ]  # fmt: skip
    if leaks.get("kinds"):
        rows.append(("kinds", ", ".join(f"{kind} {count}" for kind, count in leaks["kinds"].items())))
    if leaks.get("copied"):
        rows.append(("placeholders of the references that the outputs have", estimate(leaks["copied"], ".1%")))
    if masked:
        rows.append((f"rare words copied, of {masked['n']}", estimate(masked["words"], ".1%")))
        rows.append(("the same words, masked by a placeholder", estimate(masked["placeholders"], ".1%")))
    if masked and masked.get("where_named"):
        rows.append(("the same, where the word itself was copied", estimate(masked["where_named"], ".1%")))
    return rows


def _membership(found: Json) -> list[Fact]:
    if not found:
        return []
    caught, (members, others) = found["caught"], found["n"]
    seen = "how well its loss tells training pairs from others: area under the curve (0.5: not at all)"
    alarms = f"training pairs caught with {caught['false_alarms']:.0%} false alarms"
    nats = found["nats_a_token"]
    return [
        (seen, f"{estimate(found['auc'], '.3f')}, {members} against {others} pairs"),
        (alarms, f"{caught['count']} of {members}, {estimate(caught, '.1%')}"),
        ("loss, nats a token", f"{nats['members']:.2f} on training pairs, {nats['others']:.2f} on others"),
    ]


def _contamination(found: Json) -> list[Fact]:
    if not found:
        return []
    n, run, near = found["n"], found["run"], found["near_duplicates"]
    return [
        ("whole pairs", f"{found['pairs']['count']} of {n}, {estimate(found['pairs'], '.1%')}"),
        ("sources", f"{found['sources']['count']} of {n}, {estimate(found['sources'], '.1%')}"),
        ("near-duplicates", "unknown" if near is None else f"{near} of {n}"),
        (f"sources with {run['words']} words in a row that training saw", f"{run['count']} of {n}, {estimate(run, '.1%')}"),
    ]


def _adversarial(found: Json) -> list[Fact]:
    """A line a kind, then some of the failures."""
    if not found.get("cases"):
        return []
    plain, every = found["plain"], f"{found['failed']['count']} of {found['cases']} fail, {estimate(found['failed'], '.1%')}"
    rows = [("all", every)]
    rows.append(
        (
            "the same sources, unchanged",
            f"{plain['failed']['count']} of {plain['cases']} fail, {estimate(plain['failed'], '.1%')}",
        )
    )
    for kind, each in found["by_kind"].items():
        why = ", ".join(f"{reason} {count}" for reason, count in each["reasons"].items())
        rows.append((kind, f"{each['failed']} of {each['cases']} fail" + (f" ({why})" if why else "")))
    shown = found.get("examples", ())
    return rows + [
        (f"{each['kind']}: {', '.join(each['reasons'])}", f"{each['input']} \u2192 {each['output']}") for each in shown
    ]


def _filters(scores: Json) -> list[Fact]:
    return [
        (
            f"{name}: what it doubts {ACTIONS.get(each['action'], each['action'])}",
            f"{estimate(each['references'], '.1%')} of the references, {estimate(each['outputs'], '.1%')} of the outputs",
        )
        for name, each in (scores.get("filters") or {}).items()
    ]


def told(found: Json, above: str = "") -> list[Fact]:
    """Whatever a measurement holds, a fact a line: `{"a": {"b": 1}}` is ("a, b", "1"). Counted shares are percentages."""
    return list(_told(found, above))


def _told(found: Json, above: str) -> Iterator[Fact]:
    for key, value in found.items():
        name = f"{above}, {key}" if above else str(key)
        name = name.replace("_", " ")
        if isinstance(value, Mapping) and "value" in value:
            share = "count" in value
            counted = f"{value['count']}, " if share else ""
            yield name, counted + estimate(value, ".1%" if share else ".3g")
            rest = {k: v for k, v in value.items() if k not in {"value", "interval", "count"}}
            yield from _told(rest, name)
        elif isinstance(value, Mapping):
            yield from _told(value, name)
        elif isinstance(value, list | tuple) and any(isinstance(each, Mapping | list | tuple) for each in value):
            for number, each in enumerate(value, 1):
                yield from (
                    _told(each, f"{name} {number}") if isinstance(each, Mapping) else [(f"{name} {number}", _plain(each))]
                )
        else:
            yield name, _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value) or "none"
    return "unknown" if value is None else str(value)
