"""How much the scrubber misses, by language and type of data, measured anew on each slice.

Twice: on the values that the source knows to be personal (gold), and on fake values planted into the slice's own texts. A gold
value counts as missed when it still stands, letter for letter, in any clean text of its language; a planted one when a letter
or digit of it stays. Recall is given with its exact (Clopper-Pearson) 95 % interval. What was not measured is said to be so.
"""

import hashlib
import heapq
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import SeqlineError
from pipelines.scrub.packed import gathered
from pipelines.scrub.pairs import Disagreed, scrub_pair
from pipelines.scrub.planted import Planted, plant, plant_pairs
from pipelines.scrub.spans import Replaced, Span, resolve
from pipelines.scrub.sweep import LONGEST, Matcher, sweep
from pipelines.spec import Privacy
from pipelines.spec.section import Language

__all__ = ["Missed", "Placed", "expire", "missed_placed", "missed_values", "recall", "samples", "sweep", "verdicts"]

Placed = Planted
Counts = dict[str, dict[str, int]]  # {language: {entity: values}}
Values = dict[str, dict[str, list[str]]]  # {language: {entity: values, sorted}}
Recalls = Mapping[str, Mapping[str, Mapping[str, Any]]]  # {language: {entity: what `recall` measured}}

MOST = 400  # planted values of an entity: an interval of some 2 points' width at 99 %, in seconds
FEWEST = 50  # of them in a small slice, else a quarter of its texts
KNOWN = 20_000  # gold values of an entity that are looked for: more would only cost memory
SEED = 3
SIDES = ("source", "target")
VAULT = "vault.parquet"


@dataclass(frozen=True)
class Missed:
    """Of the gold values: how many were looked for, which still stand in their language, which stand nowhere at all."""

    counts: Counts
    missed: Values
    removed: Values


def samples(pairs: Path, privacy: Privacy) -> list[Placed]:
    """Fake values of the policy's entities, planted into texts of the Parquet file `pairs` (source, target).

    Into both sides of a pair, one after the other, if they are translations.

    The texts are those of the smallest hashes, so that neither their order nor their number in memory matters.
    """
    chosen, seen = _Smallest(MOST), 0
    translations = privacy.target_language is not None
    for row in _rows(pairs, SIDES):
        for text in ("\0".join((row["source"], row["target"])),) if translations else (row["source"], row["target"]):
            chosen.add(text)
            seen += 1
    count = min(MOST, max(FEWEST, seen // 4))
    if translations:
        both = [(source, target) for source, _, target in (text.partition("\0") for text in chosen.texts())]
        return plant_pairs(both, languages(privacy), privacy.entities, count, SEED)
    return plant(chosen.texts(), privacy.language, privacy.entities, count, SEED)


def languages(privacy: Privacy) -> tuple[Language, Language]:
    """Of the sources and of the targets."""
    return privacy.language, privacy.target_language or privacy.language


def missed_placed(
    placed: Sequence[Placed], results: Sequence[Sequence[Span] | SeqlineError], privacy: Privacy
) -> tuple[Counts, Values]:
    """How many values were placed, and which of them were not wholly hidden, given what the detector found in each text.

    Of a translation, what is found on one side is hidden on both. A text on which a recognizer failed, or a translation whose
    sides do not agree, counts as neither: such a record is quarantined.
    """
    counts: Counts = defaultdict(lambda: defaultdict(int))
    missed: Values = defaultdict(lambda: defaultdict(list))
    for (text, start, end, entity, language), hidden in zip(placed, _hidden(placed, results, privacy), strict=True):
        if hidden is None:
            continue
        counts[language][entity] += 1
        if any(text[place].isalnum() and place not in hidden for place in range(start, end)):
            missed[language][entity].append(text[start:end])
    return counts, missed


def _hidden(
    placed: Sequence[Placed], results: Sequence[Sequence[Span] | SeqlineError], privacy: Privacy
) -> Iterator[set[int] | None]:
    """The characters of each text that a placeholder takes the place of; None where the record is quarantined."""
    kept = [
        result if isinstance(result, SeqlineError) else [s for s in result if one.text[s.start : s.end] not in privacy.allow]
        for one, result in zip(placed, results, strict=True)
    ]
    if privacy.target_language is None:
        for one, spans in zip(placed, kept, strict=True):
            yield None if isinstance(spans, SeqlineError) else _places(resolve(one.text, spans))
        return
    for number in range(0, len(placed), 2):
        source, target = kept[number : number + 2]
        if isinstance(source, SeqlineError) or isinstance(target, SeqlineError):
            yield from (None, None)
            continue
        done = scrub_pair((placed[number].text, placed[number + 1].text), (source, target), None, privacy)
        yield from (None, None) if isinstance(done, Disagreed) else map(_places, done.replaced)


def _places(spans: Iterable[Span | Replaced]) -> set[int]:
    return {place for span in spans for place in range(span.start, span.end)}


def missed_values(pairs: Path, clean: Path, privacy: Privacy) -> Missed:
    """What became of the values that the rows of `pairs` know (`known`: entity and value), of the policy's entities.

    Both Parquet files are read a row group at a time. A value belongs to the language of each side that it stands in.
    """
    known = _known(pairs, privacy)
    matcher = Matcher({value.encode() for its in known.values() for value in its})
    standing: dict[str, set[bytes]] = defaultdict(set)
    for side, language in zip(SIDES, languages(privacy), strict=True):
        texts = (f"{row[side]}\0".encode() for row in _rows(clean, (side,)))
        standing[language] |= {matcher.wanted[which] for which in matcher.find(gathered(texts))}
    anywhere = set().union(*standing.values())
    counts: Counts = defaultdict(dict)
    missed: Values = defaultdict(dict)
    removed: Values = defaultdict(dict)
    for (language, entity), values in sorted(known.items()):
        counts[language][entity] = len(values)
        missed[language][entity] = [value for value in values if value.encode()[:LONGEST] in standing[language]]
        removed[language][entity] = [value for value in values if value.encode()[:LONGEST] not in anywhere]
    return Missed(counts, missed, removed)


def _known(pairs: Path, privacy: Privacy) -> dict[tuple[Language, str], list[str]]:
    """The distinct gold values of each language and entity, sorted; of more than KNOWN those of the smallest hashes."""
    found: dict[tuple[Language, str], _Smallest] = defaultdict(lambda: _Smallest(KNOWN))
    for row in _rows(pairs, (*SIDES, "known")):
        for entity, value in ((item["entity"], item["value"]) for item in row["known"] or ()):
            if entity in privacy.entities and value:
                standing = {language for side, language in zip(SIDES, languages(privacy), strict=True) if value in row[side]}
                for language in standing:
                    found[language, entity].add(value)
    return {key: sorted(values.texts()) for key, values in found.items()}


def recall(counts: Mapping[str, Mapping[str, int]], missed: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, Any]:
    """{language: {entity: {"values", "missed", "recall", "interval": [low, high]}}}, by the exact binomial interval of 95 %."""
    from scipy.stats import binomtest

    def measured(values: int, lost: int) -> dict[str, Any]:
        interval = binomtest(values - lost, values).proportion_ci(0.95, method="exact")
        return {
            "values": values,
            "missed": lost,
            "recall": round((values - lost) / values, 4),
            "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
        }

    return {
        language: {
            entity: measured(values, len(missed.get(language, {}).get(entity, ())))
            for entity, values in sorted(its.items())
            if values
        }
        for language, its in sorted(counts.items())
    }


def verdicts(privacy: Privacy, known: Recalls, planted: Recalls) -> dict[str, dict[str, dict[str, Any]]]:
    """{language: {entity: {"verdict", "known", "planted"}}} for all that the policy names: `measured`, or `not measured`.

    Only what is measured may be called scrubbed, and only with its recall.
    """

    def verdict(language: str, entity: str) -> dict[str, Any]:
        found = {name: where.get(language, {}).get(entity) for name, where in (("known", known), ("planted", planted))}
        return {"verdict": "measured" if any(found.values()) else "not measured", **found}

    return {
        language: {entity: verdict(language, entity) for entity in privacy.entities}
        for language in dict.fromkeys(languages(privacy))
    }


class _Smallest:
    """The distinct texts with the smallest hashes of all that were added: a sample that their order does not change."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._texts: dict[int, str] = {}
        self._largest: list[int] = []  # a heap of the hashes, negated

    def add(self, text: str) -> None:
        number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        full = len(self._texts) >= self._most
        if number in self._texts or (full and number > -self._largest[0]):
            return
        self._texts[number] = text
        heapq.heappush(self._largest, -number)
        if full:
            del self._texts[-heapq.heappop(self._largest)]

    def texts(self) -> list[str]:
        """By hash."""
        return [text for _, text in sorted(self._texts.items())]


def _rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, some in memory at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(5_000, columns=list(columns)):
            yield from batch.to_pylist()


def expire(quarantine: Path, days: int) -> int:
    """Delete the raw-* and scrub-* folders in `quarantine` that were made more than `days` days ago; returns how many.

    A vault stays: it is encrypted, and restores what is long gone from here.
    """
    limit = time.time() - days * 86_400
    old = [
        folder
        for pattern in ("raw-*", "scrub-*", ".raw-*")
        for folder in (quarantine.glob(pattern) if quarantine.is_dir() else ())
        if folder.is_dir() and folder.stat().st_mtime < limit
    ]
    return sum(_emptied(folder) for folder in old)


def _emptied(folder: Path) -> bool:
    """Whether there was anything to delete."""
    old = [path for path in folder.iterdir() if path.name != VAULT]
    for path in old:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not (folder / VAULT).exists():
        folder.rmdir()
        return True
    return bool(old)
