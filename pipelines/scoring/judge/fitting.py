"""How the judge `evidence` is fit: a head a task from lessons, calibrated and frozen on held-out pairs of one domain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.decode.likelihood import Likelihood
from pipelines.scoring.compare import Estimate
from pipelines.scoring.judge import shipped, threshold
from pipelines.scoring.judge.corrupt import KINDS, Pairs, corrupt
from pipelines.scoring.judge.evidence import COLUMNS, EXPECTED, evidence, rarities
from pipelines.scoring.judge.head import Calibration, Head, Penalty, auroc, calibrated, calibration, fit
from pipelines.scoring.judge.lessons import Lesson, lessons, looped, weights
from pipelines.scoring.judge.spans import whole
from pipelines.scoring.judge.threshold import Frozen

RARITY_TEXTS = 15_000
BATCH = 64
TAUGHT = 0.2  # unsupported share of sentences at which heads are fit; each domain's is moved to its own prevalence after


class How(NamedTuple):
    """Pairs to learn from and to freeze with, the expected unsupported share (0 to 1), and the seed."""

    train: int
    test: int
    prevalence: float
    seed: int


@dataclass(frozen=True)
class Fitted:
    """`head` is the task's, at equal shares of supported and unsupported outputs, where `calibration` is measured; `own` is the
    same at the share that one domain expects, where `frozen` is its threshold. `left_out` is the AUROC of each kind of fault
    under a head that learnt from all others: how it may do on those that nobody thought of."""

    head: Head
    own: Head
    frozen: Frozen
    calibration: Calibration
    left_out: Mapping[str, Estimate]

    def plain(self) -> dict[str, Any]:
        """The domain's part, as JSON."""
        return {
            "head": self.own.plain(),
            "threshold": self.frozen.plain(),
            "calibration": self.calibration.plain(),
            "left_out": {kind: asdict(found) for kind, found in self.left_out.items()},
        }


@dataclass(frozen=True)
class _Known:
    """Sentences, a row each, of which output, unsupported or not; and of the outputs the same."""

    values: NDArray[np.float64]
    pair: NDArray[np.int64]
    false: NDArray[np.bool_]
    outputs: NDArray[np.bool_]
    part: NDArray[np.str_]
    kind: NDArray[np.str_]

    def without(self, kind: str) -> "_Known":
        """The same but for the sentences of lessons of this `kind`; `outputs` are as they were."""
        kept = self.kind != kind
        rows = (self.values[kept], self.pair[kept], self.false[kept])
        return _Known(*rows, self.outputs, self.part[kept], self.kind[kept])


class _Prior(NamedTuple):
    """The columns that a head reads with what is known of them before any data: the signs of their weights, and which weights
    are expected."""

    signs: Mapping[str, int]
    expected: Mapping[str, float]


def summaries(data: Path, name: str, after: str, how: How) -> tuple[dict[str, float], Fitted]:
    """Rarities and head from the dataset's train pairs, frozen with its test pairs. Raises UserError for too few of them."""
    sources, targets = _read(data, "train")
    rarity = rarities(sources[:RARITY_TEXTS])
    known = _known(lessons(sources[: how.train], targets[: how.train], how.seed, after=after), None, rarity)
    true = [Lesson(*pair, "target", "true") for pair in zip(*_read(data, "test", how.test), strict=True)]
    held = _known(_corrupted(true, how.seed), None, rarity)
    return rarity, _fitted(known, held, _Prior(shipped.SUMMARIES, EXPECTED), name, how.prevalence)


def translations(data: Path, name: str, export: Path, how: How) -> Fitted:
    """The same for translations into German, with the log-probabilities that the model in `export` finds."""
    model, parts = Likelihood(export), []
    for split, most in (("train", how.train), ("test", how.test)):
        pairs = [Lesson(*pair, "target", "true") for pair in zip(*_read(data, split, most), strict=True)]
        said = _corrupted(pairs, how.seed, translated=True)
        parts.append(_known(said, logprobs(model, [each.source for each in said], [each.output for each in said]), {}))
    known, held = parts
    return _fitted(known, held, _Prior(shipped.TRANSLATIONS, {}), name, how.prevalence)


def logprobs(model: Likelihood, sources: Sequence[str], outputs: Sequence[str]) -> list[float | None]:
    """The mean log-probability of each output's tokens, its end mark among them."""
    found: list[float | None] = []
    for at in range(0, len(sources), BATCH):
        scored = model.tokens(sources[at : at + BATCH], outputs[at : at + BATCH])
        found += [sum(each) / len(each) for each in scored]
    return found


def _read(data: Path, split: str, most: int | None = None) -> tuple[list[str], list[str]]:
    from pyarrow import parquet

    table = parquet.read_table(data / f"{split}.parquet", columns=["source", "target"]).slice(0, most)
    return table["source"].to_pylist(), table["target"].to_pylist()


def _corrupted(true: Sequence[Lesson], seed: int, *, translated: bool = False) -> list[Lesson]:
    """`true` lessons, and of each one fault: of kinds in turn, loops among them, the next where one does not apply."""
    pairs = Pairs(
        [each.source for each in true], [each.output for each in true], "de" if translated else "en", translated=translated
    )
    found = [*true]
    for row, lesson in enumerate(true):
        if row % (len(KINDS) + 1) == len(KINDS):
            found.append(looped(lesson, seed))
            continue
        turns = (KINDS[(row + turn) % len(KINDS)] for turn in range(len(KINDS)))
        made = next((made for kind in turns for made in corrupt(pairs, [row], kind, seed)), None)
        if made:
            found.append(Lesson(lesson.source, made.output, "target", made.kind, (made.start, made.end)))
    return found


def _known(said: Sequence[Lesson], means: Sequence[float | None] | None, rarity: dict[str, float]) -> _Known:
    found = evidence([each.source for each in said], [each.output for each in said], means, rarity)
    of = [said[index] for index in found.pair]
    false = [
        lesson.false is not None and lesson.false[0] < end and start < lesson.false[1]
        for lesson, (start, end) in zip(of, found.bounds, strict=True)
    ]
    names = (np.array([getattr(lesson, name) for lesson in of], dtype=np.str_) for name in ("part", "kind"))
    outputs = np.array([each.false is not None for each in said], dtype=np.bool_)
    return _Known(found.columns, found.pair, np.array(false, dtype=np.bool_), outputs, *names)


def _fit(known: _Known, prior: _Prior) -> Head:
    """Each part of the lessons counts the same, and within it true and false sentences."""
    weight = np.zeros(len(known.false))
    for part in sorted(set(known.part.tolist())):
        own = known.part == part
        counts = np.array(weights(known.kind[own].tolist(), known.false[own].tolist()))
        for truth in (True, False):
            counts[known.false[own] == truth] /= counts[known.false[own] == truth].sum()
        weight[own] = counts
    parts, penalty = known.part.tolist(), Penalty(expected=prior.expected)
    return fit(
        known.values, COLUMNS, known.false, prior.signs, prevalence=TAUGHT, domains=parts, weights=weight, penalty=penalty
    )


def _left_out(known: _Known, held: _Known, prior: _Prior) -> dict[str, Estimate]:
    """The AUROC of true held-out outputs against those of each kind, by a head that never saw the kind."""
    kinds, found = np.empty(len(held.outputs), dtype=held.kind.dtype), dict[str, Estimate]()
    kinds[held.pair] = held.kind
    for kind in sorted(set(held.kind.tolist()) - {"true"}):
        head = _fit(known.without(kind), prior)
        doubt = whole(head.probabilities(held.values, COLUMNS), held.pair, len(held.outputs))
        asked = (kinds == kind) | (kinds == "true")
        if (kinds == kind).sum() > 1:
            found[kind] = auroc(doubt[asked], held.outputs[asked])
    return found


def _fitted(known: _Known, held: _Known, prior: _Prior, name: str, prevalence: float) -> Fitted:
    """Half of the held-out outputs calibrate, the other half choose and measure the threshold."""
    fitted = _fit(known, prior)
    first = held.pair % 4 < 2
    own = calibrated(fitted, fitted.logits(held.values[first], COLUMNS), held.false[first], prevalence)
    doubt = whole(own.probabilities(held.values, COLUMNS), held.pair, len(held.outputs))
    rest = np.arange(len(held.outputs)) % 4 >= 2
    (frozen,) = threshold.freeze(doubt[rest], held.outputs[rest], [name] * int(rest.sum()), prevalence)
    even = own.shifted(-math.log(prevalence / (1 - prevalence)))
    told = whole(even.probabilities(held.values, COLUMNS), held.pair, len(held.outputs))[rest]
    return Fitted(even, own, frozen, calibration(told, held.outputs[rest]), _left_out(known, held, prior))
