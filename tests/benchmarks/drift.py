"""Drift: months of unchanged traffic that must pass without a word, and shifts that must be found soon and named rightly.

    make bench-drift            data/synopsis and data/packages-de, as far as they are there (`make retrain` makes them)
    python -m tests.benchmarks.drift FOLDER...      other folders with train.parquet; MONTHS=100 in the environment

Real scrubbed texts. Each simulated month has a reference of its own and 100 other texts a day; it is looked at daily as
`seqline drift` does: two tests that began 15 days apart, both sides. The peer asks the same questions each day by themselves:
exact tests with Bonferroni's correction, at 1 % a day.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from pipelines.dataset.languages import language
from pipelines.dataset.splits import read_pairs
from pipelines.monitoring import Side, Text, Tools
from pipelines.monitoring.drift import compared
from pipelines.monitoring.evidence import weighed
from pipelines.monitoring.facts import Facts, facts, vectors
from pipelines.monitoring.profile import CHOOSING, COMPARED, Profile, of_facts
from pipelines.monitoring.watching import ALPHA, HALF_DAYS
from tests.benchmarks import results

DEFAULT = ("data/synopsis", "data/packages-de")
MONTHS = int(os.environ.get("MONTHS", "100"))
PEER_MONTHS = min(MONTHS, 20)
DAILY = 100  # sampled texts a day
LEAST = 150  # texts of a section, to shift to it
RUNS = 1  # of each shift
BEFORE = 1_000  # unchanged texts before a shift
AFTER = 500
STRENGTHS = (1.0, 0.3, 0.1)
SECTION = re.compile(r"^Section: .*\n", re.MULTILINE)
TOOLS = Tools(language=language)
FALSE_MONTHS, FOUND = 0.01, 0.95
Said = tuple[str, Side, int]
"""What the shift is called, what was said of it, and how many texts came after it."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Distinct texts with all that is seen in them."""

    name: str
    texts: list[str]
    read: list[Facts]
    whole: NDArray[np.float32]

    @classmethod
    def of(cls, name: str, texts: Sequence[str]) -> "Corpus":
        distinct = sorted(set(texts))
        return cls(name, distinct, facts(distinct, TOOLS), vectors(distinct, TOOLS))

    @cache  # noqa: B019  (a handful of corpora, for as long as the process lives)
    def drawn(self, run: int) -> tuple[NDArray[np.int64], Profile]:
        """An order of the texts, and the profile of the first ones in it."""
        order = np.random.default_rng((4, run)).permutation(len(self.texts))
        return order, self.profile(order)

    def profile(self, order: NDArray[np.int64]) -> Profile:
        """Of the first texts in this order."""
        first, second = order[:CHOOSING], order[CHOOSING : CHOOSING + COMPARED]
        return of_facts([self.read[at] for at in first], [self.read[at] for at in second], self.whole[second], TOOLS)


def false_alarms(corpora: Sequence[Corpus]) -> tuple[int, int]:
    """How many unchanged months had an alarm on any side: of MONTHS ours, of PEER_MONTHS the peer's."""
    ours = theirs = 0
    days = 3 * HALF_DAYS
    for month in range(MONTHS):
        said, peer = False, False
        for corpus in corpora:
            order = np.random.default_rng((1, month)).permutation(len(corpus.texts))
            profile = corpus.profile(order)
            left = order[CHOOSING + COMPARED :][: days * DAILY]
            daily = len(left) // days  # a small corpus has fewer
            answers = profile.questions.answers([corpus.read[at] for at in left])
            for start in (0, HALF_DAYS * daily):
                part = slice(start, start + 2 * HALF_DAYS * daily)
                said |= weighed(profile, answers[part], corpus.whole[left[part]]).crossed(ALPHA / 2) is not None
            peer |= month < PEER_MONTHS and any(
                _alarmed(profile, answers[at : at + daily]) for at in range(HALF_DAYS * daily, len(left), daily)
            )
        ours, theirs = ours + said, theirs + peer
    return ours, theirs


def _alarmed(profile: Profile, answers: NDArray[np.bool_]) -> bool:
    """The peer: is any question answered otherwise than in training, at 1 % for the day and this side?"""
    yeses = answers.sum(axis=0)
    law = hypergeom(profile.texts + len(answers), profile.yeses + yeses, len(answers))
    p = 2 * np.minimum(law.cdf(yeses), law.sf(yeses - 1))
    return bool((p * len(p)).min() < 0.01 / 2)


def shifted(
    corpus: Corpus, to: Corpus, chosen: NDArray[np.int64], strength: float, before: int, seed: tuple[int, ...]
) -> tuple[Side, int]:
    """Traffic as in training for `before` texts, then this share of it from `chosen` ones of `to`; and how many came then."""
    rng = np.random.default_rng(seed)
    order, profile = corpus.drawn(seed[1])
    left = rng.permutation(order[CHOOSING + COMPARED :]).tolist()
    old, spent = left[:before], {*order[: CHOOSING + COMPARED].tolist(), *left[:before]} if to is corpus else set()
    new = [at for at in rng.permutation(chosen).tolist() if at not in spent][:AFTER]
    coming = set(new) if to is corpus else set()
    later = [at for at in left[before:] if at not in coming]
    stream = [(corpus, at) for at in old]
    rest, fresh = iter(later), iter(new)
    for _ in range(AFTER):
        source = (to, next(fresh, None)) if rng.random() < strength else (corpus, next(rest, None))
        if source[1] is None:
            break
        stream.append((source[0], source[1]))
    texts = [Text(from_.texts[at], float(time)) for time, (from_, at) in enumerate(stream)]
    whole = np.vstack([from_.whole[at] for from_, at in stream])
    side = compared("input", profile, texts, [from_.read[at] for from_, at in stream], whole, ALPHA / 2)
    return side, len(stream) - before


def sections(corpus: Corpus) -> list[results.Row]:
    """Shifts to each section that has texts enough, at each strength, from the first text on and later."""
    places = _places(corpus)
    rows = []
    for strength, goal in ((1.0, 0.99), (0.3, FOUND), (0.1, None)):
        kept = {
            mark: found for mark, found in places.items() if len(found) >= max(LEAST, 1.2 * AFTER * strength * (strength < 1))
        }
        for before in (0, BEFORE):
            said = _to_sections(corpus, kept, strength, before)
            rows += _rows(
                f"{corpus.name}: {strength:.0%} moves to one of {len(kept)} sections, after {before}", said, before, goal
            )
    return rows


def unlabelled(corpus: Corpus) -> list[results.Row]:
    """The same where no line of the text says its section: by its words alone, which are what is named then."""
    bare = Corpus.of(f"{corpus.name} without their sections", [SECTION.sub("", text) for text in corpus.texts])
    where = {text: at for at, text in enumerate(bare.texts)}
    told = {mark: [where[SECTION.sub("", corpus.texts[at])] for at in found] for mark, found in _places(corpus).items()}
    kept = {mark: np.array(sorted(set(found))) for mark, found in told.items()}
    rows = []
    for strength, goal in ((1.0, FOUND), (0.3, None)):
        said = _to_sections(bare, kept, strength, 0)
        rows += _rows(f"{bare.name}: {strength:.0%} moves to one of {len(kept)}", said, 0, goal)[::2]
        words = {mark: side.headline for mark, side, _ in said}
        sys.stdout.write(f"{rows[-1]['claim']}: named {words}\n")
    return rows


def _places(corpus: Corpus) -> dict[str, NDArray[np.int64]]:
    found: dict[str, list[int]] = {}
    for at, read in enumerate(corpus.read):
        for mark in read.marks:
            if mark.startswith("section: "):
                found.setdefault(mark, []).append(at)
    return {mark: np.array(places) for mark, places in sorted(found.items()) if len(places) >= LEAST}


def _to_sections(corpus: Corpus, places: dict[str, NDArray[np.int64]], strength: float, before: int) -> list[Said]:
    return [
        (mark, *shifted(corpus, corpus, found, strength, before, (2, run, int(100 * strength), before, len(found))))
        for mark, found in places.items()
        for run in range(RUNS)
    ]


def languages(corpus: Corpus, other: Corpus, name: str) -> list[results.Row]:
    """Shifts to another language's texts."""
    rows = []
    everywhere = np.arange(len(other.texts))
    for strength in STRENGTHS:
        for before in (0, BEFORE):
            said = [(name, *shifted(corpus, other, everywhere, strength, before, (3, run, before))) for run in range(RUNS * 8)]
            rows += _rows(f"{corpus.name}: {strength:.0%} moves to {other.name}, after {before}", said, before, 0.99)
    return rows


def _rows(what: str, said: Sequence[Said], before: int, goal: float | None) -> list[results.Row]:
    """The share found within AFTER texts of the shift, the share of these named rightly, and after how many texts."""
    late = [side.found_after - before for _, side, _ in said if side.found_after is not None and side.found_after > before]
    named = [side.headline == name for name, side, _ in said if side.verdict == "drifted"]
    wrong = [f"{name} as {side.headline}" for name, side, _ in said if side.verdict == "drifted" and side.headline != name]
    if wrong:
        sys.stdout.write(f"{what}: {', '.join(wrong[:8])}\n")
    median = float(np.median(late)) if late else float("nan")
    sys.stdout.write(f"{what}: {len(late)} of {len(said)} found, median {median}, {sum(named)} of {len(named)} named rightly\n")
    return [
        results.at_least(f"{what}: found in {AFTER}", len(late) / len(said), "share", goal, len(said)),
        results.at_least(f"{what}: named rightly", float(np.mean(named or [False])), "share", goal, len(named)),
        results.bounded(f"{what}: texts until found", median, "texts", None, len(late), late),
    ]


def main(folders: Sequence[str]) -> None:
    there = [Path(each) for each in folders if (Path(each) / "train.parquet").is_file()]
    if not there:
        sys.exit(f"no train.parquet in {', '.join(folders)}: `make retrain` makes data/synopsis")
    rows = []
    for folder in there:
        pairs = read_pairs(folder / "train.parquet")
        sides = [
            Corpus.of(f"{folder.name} sources", [pair.source for pair in pairs]),
            Corpus.of(f"{folder.name} targets", [pair.target for pair in pairs]),
        ]
        ours, theirs = false_alarms(sides)
        rows.append(
            results.bounded(
                f"{folder.name}: unchanged months with an alarm",
                ours / max(1, MONTHS),
                "share",
                FALSE_MONTHS,
                MONTHS,
            )
            | {"peer": theirs / max(1, PEER_MONTHS), "peer_name": f"daily exact tests, {PEER_MONTHS} months"}
        )
        sys.stdout.write(f"{rows[-1]}\n")
        rows += [*sections(sides[0]), *unlabelled(sides[0])] if _places(sides[0]) else []
        target = folder.name.rpartition("-")[2]
        if target in ("de", "fr"):
            rows += languages(sides[0], sides[1], f"language: {target}")
    results.write(
        "drift", rows, f"{MONTHS} months of {DAILY} texts a day, {RUNS} runs a shift; alpha {ALPHA} a test of 30 days"
    )


if __name__ == "__main__":
    main(sys.argv[1:] or DEFAULT)
