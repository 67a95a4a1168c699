"""What other parts left in the workspace as JSON, read into facts. Pure: the content comes in.

Each raises KeyError, TypeError or ValueError where the content is of another shape: the page then says that in its place.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipelines.overview.facts import Cost, Doctor, Drift, Kept, Labels, Watch

WORD = re.compile(r"\bword: \S+")


def unworded(said: str) -> str:
    """A line about drift without the very word that moved: it may be a user's."""
    return WORD.sub("a word's share", said)


def drift(content: Mapping[str, Any]) -> Drift:
    """.seqline/drift/NAME.json"""
    sides = tuple((str(side["side"]), str(side["verdict"]), unworded(str(side["why"]))) for side in content["sides"])
    return Drift(str(content["verdict"]), str(content["version"]), sides)


def watch(content: Mapping[str, Any]) -> Watch:
    """.seqline/watch/NAME.json"""
    fired = tuple((str(each["kind"]), unworded(str(each["said"]))) for each in content["triggers"] if each["fired"])
    decision, last = content["decision"], content.get("last")
    return Watch(
        bool(decision["retrain"]), unworded(str(decision["why"])), fired, _number(content.get("backoff_until")), _last(last)
    )


def _last(last: Mapping[str, Any] | None) -> str:
    if not last:
        return ""
    helped = {True: "it helped", False: "it did not help", None: "whether it helped is not decided"}[last.get("helped")]
    made = f"version {last['version']}" if last.get("version") else "no version"
    return f"{made}, because of {unworded(str(last.get('why') or 'no reason told'))}: {helped}"


def cost(content: Mapping[str, Any]) -> Cost:
    """.seqline/cost/NAME.json"""
    asked = sorted(content["versions"], key=lambda each: -float(each.get("requests") or 0))
    versions = tuple((str(each["version"]), _decoding(each.get("decoding")), _number(each.get("per_1000"))) for each in asked)
    retrains = sorted(content.get("retrains") or [], key=lambda each: float(each["at"]))
    priced = any((content.get("priced") or {"": True}).values())  # else its zeros only say that nobody told a price
    month = (content.get("month") or {}) if priced else {}
    return Cost(
        str(content.get("currency") or ""),
        versions,
        _number(retrains[-1].get("cost")) if retrains and priced else None,
        _number(month.get("spent")),
        _number(month.get("forecast")),
        _number(month.get("budget")),
    )


def _decoding(given: object) -> str:
    if isinstance(given, Mapping):
        return ", ".join(f"{key} {value}" for key, value in given.items())
    return str(given or "")


def doctor(content: Mapping[str, Any]) -> Doctor:
    """.seqline/doctor/NAME.json"""
    checks = content["checks"]
    gaps = tuple(
        (str(each["check"]), str(each["said"]), str(each.get("mend") or "")) for each in checks if each["ok"] is not True
    )
    return Doctor(str(content.get("phase") or ""), len(checks), gaps)


def labels(content: Mapping[str, Any]) -> Labels:
    """.seqline/labels/NAME/told.json: of its first version, the newest.

    Raises:
        ValueError: it holds no version.
    """
    if not content["versions"]:
        raise ValueError("nothing was judged or labelled yet")
    first = content["versions"][0]
    judged, corrected = first.get("judged"), first.get("corrected")
    known = isinstance(corrected, Mapping)
    interval = (float(corrected["value"]), *map(float, corrected["interval"])) if known else None
    return Labels(
        str(first["version"]),
        float(judged["value"]) if judged else None,
        (interval[0], interval[1], interval[2]) if interval else None,
        int(first["labels"]),
    )


def kept(content: Mapping[str, Any]) -> Kept:
    """.seqline/retention/NAME.json"""
    return Kept(_count(content["kept"]), _count(content["deleted"]), float(content["days"]))


def _count(given: object) -> int:
    """A number, or how many a list or a table of stores holds."""
    if isinstance(given, Mapping):
        return sum(_count(each) for each in given.values())
    return int(given) if isinstance(given, int | float) else len(given) if isinstance(given, list) else 0


def _number(given: object) -> float | None:
    return None if given is None else float(given)  # type: ignore[arg-type]  # a TypeError says that it is of another shape
