"""presidio-research's labelled texts as a measure: three parts of them, and how found spans are scored.

Scoring of labelled text: GPE, STREET_ADDRESS and ZIP_CODE are LOCATION. A gold span counts as found when a span of the same
entity overlaps it by half (intersection over union of characters); a span that matches none is false. Neighbouring LOCATION
spans with no letter or digit between them are one, in gold and found alike (presidio-research's own SpanEvaluator merges so: an
address is labelled in four pieces). F2 over PERSON, LOCATION, PHONE_NUMBER and CREDIT_CARD. So scored, stock Presidio has
F2 0.50 (PERSON 0.62, LOCATION 0.22, PHONE_NUMBER 0.59, CREDIT_CARD 0.77) on all 1,500.
"""

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from pipelines.scrub.spans import Span, resolve
from pipelines.scrub.tagger.patterns import PATTERNS
from pipelines.scrub.tagger.phrases import CLAUSES
from tests.benchmarks.corpora import Labelled

SCORED = ("PERSON", "LOCATION", "PHONE_NUMBER", "CREDIT_CARD")
ENTITIES = (*SCORED, "EMAIL_ADDRESS", "URL", "IBAN_CODE", "US_SSN", "IP_ADDRESS")
LOCATIONS = {"GPE": "LOCATION", "STREET_ADDRESS": "LOCATION", "ZIP_CODE": "LOCATION", "DOMAIN_NAME": "URL"}


class Parts(NamedTuple):
    teach: list[Labelled]
    validate: list[Labelled]
    rest: list[Labelled]  # all that is no test: what the tagger that is tested is taught
    test: list[Labelled]


class Score(NamedTuple):
    f2: float
    recall: dict[str, float]
    left: float


def hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def joined(text: str, spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in sorted(spans):
        last = merged[-1] if merged else None
        if last and last.entity == span.entity == "LOCATION" and not any(map(str.isalnum, text[last.end : span.start])):
            merged[-1] = last._replace(end=max(last.end, span.end))
        else:
            merged.append(span)
    return merged


def match(one: Span, other: Span) -> bool:
    shared = min(one.end, other.end) - max(one.start, other.start)
    return one.entity == other.entity and shared / (max(one.end, other.end) - min(one.start, other.start)) >= 0.5


def score(texts: Sequence[Labelled], found: Sequence[Sequence[Span]]) -> Score:
    hit, missed = Counter[str](), Counter[str]()
    false = characters = left = 0
    for labelled, spans in zip(texts, found, strict=True):
        text = labelled.text
        gold = [span._replace(entity=LOCATIONS.get(span.entity, span.entity)) for span in labelled.spans]
        gold = [span for span in gold if span.entity in SCORED]
        disjoint = resolve(text, [span for span in spans if span.entity in ENTITIES])
        hidden = {place for span in disjoint for place in range(span.start, span.end)}
        personal = [place for span in gold for place in range(span.start, span.end) if text[place].isalnum()]
        characters += len(personal)
        left += sum(place not in hidden for place in personal)
        gold, ours = joined(text, gold), joined(text, [span for span in disjoint if span.entity in SCORED])
        for span in gold:
            (hit if any(match(span, other) for other in ours) else missed)[span.entity] += 1
        false += sum(not any(match(span, other) for other in gold) for span in ours)
    found_all, wanted = sum(hit.values()), sum(hit.values()) + sum(missed.values())
    precision, recall = found_all / max(found_all + false, 1), found_all / max(wanted, 1)
    return Score(
        5 * precision * recall / max(4 * precision + recall, 1e-9),
        {entity: hit[entity] / max(hit[entity] + missed[entity], 1) for entity in SCORED},
        left / max(characters, 1),
    )


def _near(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _masked(text: Labelled, mark: str = "") -> str:
    pattern = text.text
    for span in sorted(text.spans, reverse=True):
        pattern = f"{pattern[: span.start]} {mark or span.entity} {pattern[span.end :]}"
    return pattern


def parts(texts: Sequence[Labelled]) -> Parts:
    """By clusters of near-equal templates; of two parts, the one that is learnt from gives up the values they share."""
    patterns: dict[int, str] = {}
    for text in texts:
        patterns.setdefault(text.template, re.sub(r"\W+", " ", _masked(text)).lower())
    group: dict[int, int] = {}
    for number, pattern in sorted(patterns.items()):
        alike = (other for other in group if _near(pattern, patterns[other]) > 0.8)
        group[number] = group.get(next(alike, number), number)
    test = [text for text in texts if hashed(str(group[text.template])) % 2]
    rest = without([text for text in texts if not hashed(str(group[text.template])) % 2], test)
    validate = [text for text in rest if hashed(f"v{group[text.template]}") % 2]
    teach = [text for text in rest if not hashed(f"v{group[text.template]}") % 2]
    return Parts(without(teach, validate), validate, rest, test)


def without(texts: Sequence[Labelled], others: Sequence[Labelled]) -> list[Labelled]:
    """Those that share no value with the others."""
    values = {text.text[span.start : span.end].casefold() for text in others for span in text.spans}
    return [t for t in texts if not values & {t.text[span.start : span.end].casefold() for span in t.spans}]


def paraphrases(texts: Sequence[Labelled]) -> list[str]:
    """The planted patterns that are near a template, by words or by characters, or share four words in a row with one.

    Values are masked in both; a pattern of one word beside its values is like any other.
    """
    templates = {text.template: _words(_masked(text, "@")) for text in texts}.values()
    planted = {
        pattern: _words(re.sub(r"\{\w+\}", " @ ", pattern)) for pattern in (*PATTERNS["en"], *CLAUSES.strip().split("\n"))
    }
    own = {pattern: words for pattern, words in planted.items() if sum(word != "@" for word in words) > 1}
    return [pattern for pattern, words in own.items() if any(_alike(words, other) for other in templates)]


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+|@", text.lower())


def _alike(one: list[str], other: list[str]) -> bool:
    shared = _runs(one) & _runs(other)
    return (
        difflib.SequenceMatcher(None, one, other, autojunk=False).ratio() >= 0.75
        or _near(" ".join(one), " ".join(other)) >= 0.75
        or any(sum(word != "@" for word in run) >= 4 for run in shared)
    )


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}
