"""How often each of serving's filters doubts an answer: the held-out references, which are good, and the model's own."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipelines import spec
from pipelines.filters import NAMES, Inspector
from pipelines.filters.leaks import new_data, personal
from pipelines.scoring import Filtering, compare
from pipelines.scoring.heldout import HeldOut

Doubts = Callable[[str, str, bool], list[str]]
"""(source, answer, finished) -> the filters that doubt it."""


def rates(
    test: HeldOut, outputs: Sequence[str], finished: Sequence[bool], filtering: Filtering, policy: Path, confidence: float
) -> dict[str, Any]:
    """For each filter, also those that are off: its action, the share of the references that it doubts (false positives), and
    the share of `outputs`, with Wilson intervals.

    `policy` is the folder in the Export by which leaks are looked for; without one there is no rate for them.
    """
    names, doubts = _doubts(filtering, policy)
    counted = {
        "references": Counter(name for pair in zip(test.sources, test.references, strict=True) for name in doubts(*pair, True)),
        "outputs": Counter(name for row in zip(test.sources, outputs, finished, strict=True) for name in doubts(*row)),
    }
    n = len(test.ids)
    found: dict[str, Any] = {name: {"action": getattr(filtering.filters, name)} for name in names}
    for of, counts in counted.items():
        for name in names:
            estimate = compare.share(counts[name], n, confidence=confidence, method="wilson")
            interval = [estimate.low, estimate.high]
            found[name][of] = {"count": counts[name], "value": estimate.value, "interval": interval}
    return found


def _doubts(filtering: Filtering, policy: Path) -> tuple[list[str], Doubts]:
    off = {name: "flag" for name in NAMES if getattr(filtering.filters, name) == "off"}
    inspector = Inspector(filtering.filters.model_copy(update=off), filtering.task, filtering.language)
    leaks = leaks_of(policy)
    names = [*inspector.on, *(["leak"] if leaks else [])]

    def doubts(source: str, answer: str, finished: bool) -> list[str]:
        found = inspector.answer(source, answer, finished=finished)
        return [*found, "leak"] if leaks and leaks(source, answer) else found

    return names, doubts


def leaks_of(policy: Path) -> Callable[[str, str], bool] | None:
    """(source, answer) -> does the answer hold personal data that the source does not?

    As the gateway's guard looks for it, by a version's `policy`; None where it states none.
    """
    stated = policy / "privacy.json"
    if not stated.is_file():
        return None
    from pipelines.scrub.detect import Detector

    privacy = spec.Privacy.model_validate_json(stated.read_text())
    tagger = policy / f"tagger-{privacy.language}"
    detector = Detector(privacy, tagger=tagger if tagger.is_dir() else None)

    def leaks(source: str, answer: str) -> bool:
        return bool(new_data(answer, personal(detector.scrub([answer]).replaced[0]), source))

    return leaks
