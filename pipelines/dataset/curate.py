"""What stays of the pairs: filters in a fixed order, each counted.

forgotten, empty, bad UTF-8, too long, duplicate; then those that the spec asks for: length ratio, language, alignment,
boilerplate. Cheap ones stand first, and those that look at other pairs see only what the earlier ones left. What must wait for
the splits (near-duplicates of frozen test pairs, and in train) is counted the same way, after these.

Nothing depends on the order of the rows. Filters that look at a pair alone hold for frozen test pairs as well; those that look
at the others spare them: new data never pushes one out.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from pipelines.dataset.splits import Pair
from pipelines.spec import Curation, Limits

BROKEN = re.compile("[\ud800-\udfff\N{REPLACEMENT CHARACTER}\0]")
SAMPLES = 5  # dropped pairs that each filter keeps for a person to look at
FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Filter:
    """`judge` gives for each pair the reason for which it goes, "" if it stays."""

    name: str
    judge: Callable[[Sequence[Pair]], Sequence[str]]


@dataclass(frozen=True)
class Filtered:
    """What one filter did; a few of the dropped pairs, chosen by hash, with the reason (none of the forgotten ones)."""

    name: str
    came: int
    stayed: int
    reasons: Counter[str]
    samples: tuple[tuple[str, Pair], ...]


def ordered(rows: Iterable[Pair], frozen: Collection[str]) -> list[Pair]:
    """The pairs without the white space around them: the frozen ones first, then by id."""
    stripped = (Pair(row.id, row.source.strip(), row.target.strip()) for row in rows)
    return sorted(stripped, key=lambda pair: (pair.id not in frozen, pair))


def curate(pairs: Sequence[Pair], filters: Iterable[Filter]) -> tuple[list[Pair], list[Filtered]]:
    """Run the filters one after the other over `ordered` pairs."""
    done = []
    kept = list(pairs)
    for each in filters:
        kept, filtered = sieve(each.name, kept, each.judge(kept))
        done.append(filtered)
    return kept, done


def sieve(name: str, pairs: Sequence[Pair], reasons: Sequence[str]) -> tuple[list[Pair], Filtered]:
    """The pairs that have no reason to go, and the account of the others."""
    dropped = [(reason, pair) for pair, reason in zip(pairs, reasons, strict=True) if reason]
    shown = (
        [] if name == FORGOTTEN else sorted(dropped, key=lambda each: hashlib.sha256(each[1].id.encode()).digest())[:SAMPLES]
    )
    stays = [pair for pair, reason in zip(pairs, reasons, strict=True) if not reason]
    return stays, Filtered(name, len(pairs), len(stays), Counter(reason for reason, _ in dropped), tuple(shown))


def filters(limits: Limits, curation: Curation, frozen: Collection[str], forgotten: Collection[str]) -> list[Filter]:
    """The filters that hold always, and those of the spec."""
    chosen = [
        Filter(FORGOTTEN, _each(lambda pair: FORGOTTEN if pair.id in forgotten else "")),
        Filter("empty", _each(_empty)),
        Filter(
            "bad UTF-8", _each(lambda pair: "bad UTF-8" if BROKEN.search(pair.source) or BROKEN.search(pair.target) else "")
        ),
        Filter("too long", _each(lambda pair: _too_long(pair, limits))),
        Filter("duplicate", _duplicates),
    ]
    if curation.length_ratio is not None:
        ratio = curation.length_ratio
        chosen.append(Filter("length ratio", _each(lambda pair: _uneven(pair, ratio))))
    if curation.source_language or curation.target_language:
        chosen.append(Filter("language", _each(lambda pair: _foreign(pair, curation))))
    if curation.alignment is not None:
        least = curation.alignment
        chosen.append(Filter("alignment", lambda pairs: _unrelated(pairs, least, frozen)))
    if curation.boilerplate is not None:
        most = curation.boilerplate
        chosen.append(Filter("boilerplate", lambda pairs: _boilerplate(pairs, most)))
    return chosen


def _each(reason: Callable[[Pair], str]) -> Callable[[Sequence[Pair]], list[str]]:
    return lambda pairs: [reason(pair) for pair in pairs]


def _empty(pair: Pair) -> str:
    if pair.source and pair.target:
        return ""
    return "empty target" if pair.source else "empty source"


def _too_long(pair: Pair, limits: Limits) -> str:
    if len(pair.source) > limits.source_chars:
        return "source too long"
    return "target too long" if len(pair.target) > limits.target_chars else ""


def _duplicates(pairs: Sequence[Pair]) -> list[str]:
    seen: set[tuple[str, str]] = set()
    reasons = []
    for _, *texts in pairs:
        both = (texts[0], texts[1])
        reasons.append("duplicate" if both in seen else "")
        seen.add(both)
    return reasons


def _uneven(pair: Pair, ratio: float) -> str:
    short, long = sorted((len(pair.source), len(pair.target)))
    return "length ratio" if long > ratio * short else ""


def _foreign(pair: Pair, curation: Curation) -> str:
    from pipelines.dataset.languages import foreign

    for side, text, language in (
        ("source", pair.source, curation.source_language),
        ("target", pair.target, curation.target_language),
    ):
        if language and foreign(text, language):
            return f"{side} not {language}"
    return ""


def _unrelated(pairs: Sequence[Pair], least: float, frozen: Collection[str]) -> list[str]:
    from pipelines.dataset.association import scores

    found = scores([pair.source for pair in pairs], [pair.target for pair in pairs])
    low = (found < least).tolist()
    return ["alignment" if bad and pair.id not in frozen else "" for pair, bad in zip(pairs, low, strict=True)]


def _boilerplate(pairs: Sequence[Pair], most: int) -> list[str]:
    """The first `most` pairs of a target stay: the frozen ones stand first."""
    seen: Counter[str] = Counter()
    reasons = []
    for pair in pairs:
        seen[pair.target] += 1
        reasons.append("boilerplate" if seen[pair.target] > most else "")
    return reasons
