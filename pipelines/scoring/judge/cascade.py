"""A trained judge, opened from its folder: cheap evidence first, the cross-encoder only where that is undecided.

judge.json holds for each domain (and for all together, under "") two calibrated heads: `cheap` over the evidence of a sentence,
`full` over that and what the cross-encoder read; and the band of `cheap` probabilities within which `full` is asked.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import artifact
from pipelines.errors import UserError
from pipelines.scoring.judge.cross import Cross, Reading
from pipelines.scoring.judge.evidence import COLUMNS, SIGNS, Evidence, evidence
from pipelines.scoring.judge.head import Head
from pipelines.scoring.judge.reading import Source
from pipelines.scoring.judge.spans import unsupported, whole
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.judge.verdict import SentenceVerdict, Span, Verdict

FACTS, CROSS = "judge.json", "cross"
READ: Mapping[str, int] = {"cross": 1, "worst": 1, "doubted": 1}
"""Columns of a reading, each with its known sign: the pair's logit, that of the worst token, the share of tokens above 0."""
FULL: Mapping[str, int] = {**SIGNS, **READ}
WORD = re.compile(r"<[A-Z_]+_\d+>|\w+(?:[-'.+]\w+)*")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Domain:
    """How sentences of one domain are judged. Of a `cheap` probability from `low` to `high` `full` has the last word."""

    cheap: Head
    full: Head | None
    low: float
    high: float
    threshold: Frozen | None = None

    def undecided(self, cheap: Floats) -> NDArray[np.bool_]:
        """Which rows the cross-encoder has to read."""
        return (cheap >= self.low) & (cheap <= self.high) if self.full else np.zeros(len(cheap), dtype=np.bool_)

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "cheap": self.cheap.plain(),
            "full": self.full and self.full.plain(),
            "low": self.low,
            "high": self.high,
            "threshold": self.threshold and self.threshold.plain(),
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "Domain":
        """What `plain` wrote. Raises UserError."""
        try:
            full, threshold = plain["full"], plain["threshold"]
            heads = Head.read(plain["cheap"]), Head.read(full) if full else None
            return cls(*heads, float(plain["low"]), float(plain["high"]), Frozen.read(threshold) if threshold else None)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{FACTS}: {error!r}: not what a judge is made of; train the judge again") from error


class Cascade:
    """The judge. Deterministic, the same in any batch; one thread."""

    def __init__(
        self, domain: Domain, cross: Cross | None, rarity: Mapping[str, float], *, name: str, threshold: float
    ) -> None:
        """`rarity` (0 to 1) is of stems, as when the judge was made."""
        self.name, self.threshold = name, threshold
        self._domain, self._cross, self._rarity = domain, cross, rarity
        self.asked = self.read = 0  # sentences judged, and those of them that the cross-encoder read

    def judge(
        self, sources: Sequence[str], outputs: Sequence[str], logprobs: Sequence[float | None] | None = None
    ) -> list[Verdict]:
        """One verdict a pair; see `Judge`. A blank output is unsupported."""
        found = evidence(sources, outputs, logprobs, self._rarity)
        probability, readings = self._sentences(found, sources, outputs)
        said: list[list[int]] = [[] for _ in outputs]
        for row, index in enumerate(found.pair):
            said[index].append(row)
        doubt = whole(probability, found.pair, len(outputs)).tolist()
        verdicts = []
        for source, output, rows, p in zip(sources, outputs, said, doubt, strict=True):
            if not output.strip():
                verdicts.append(Verdict(True, 1.0, 0.0))
                continue
            sentences = tuple(SentenceVerdict(*found.bounds[row], float(probability[row])) for row in rows)
            spans = tuple(self._doubted(source, output, [(found.bounds[row], readings.get(row)) for row in rows]))
            verdicts.append(Verdict(p >= self.threshold, p, 1 - p, spans, sentences))
        return verdicts

    def _sentences(
        self, found: Evidence, sources: Sequence[str], outputs: Sequence[str]
    ) -> tuple[Floats, Mapping[int, Reading]]:
        """P(unsupported) of each sentence (a row of the evidence); what the cross-encoder read of some."""
        domain, readings = self._domain, dict[int, Reading]()
        probability = domain.cheap.probabilities(found.columns, COLUMNS)
        chosen = [int(row) for row in np.flatnonzero(domain.undecided(probability))] if self._cross else []
        self.asked, self.read = self.asked + len(probability), self.read + len(chosen)
        if self._cross and domain.full and chosen:
            read = readings_of(self._cross, found, chosen, sources, outputs)
            readings = dict(zip(chosen, read, strict=True))
            values = np.concatenate([found.columns[chosen], columns(read)], axis=1)
            probability[chosen] = domain.full.probabilities(values, tuple(FULL))
        return probability, readings

    def _doubted(self, source: str, output: str, rows: Sequence[tuple[tuple[int, int], Reading | None]]) -> Iterator[Span]:
        """What the cross-encoder doubts where it read; elsewhere what the source lacks."""
        lacking = unsupported(Source(source), output) if any(reading is None for _, reading in rows) else ()
        for (start, end), reading in rows:
            if reading:
                yield from _spans(output, (start, end), reading)
            else:
                yield from (span for span in lacking if start <= span.start < end)


def readings_of(
    cross: Cross, found: Evidence, rows: Sequence[int], sources: Sequence[str], outputs: Sequence[str]
) -> list[Reading]:
    """What the cross-encoder says of the sentences in `rows` of the evidence."""
    told = [sources[found.pair[row]] for row in rows]
    said = [outputs[found.pair[row]][slice(*found.bounds[row])] for row in rows]
    return cross.read(told, said)


def columns(readings: Sequence[Reading]) -> Floats:
    """A row a reading, as READ names its columns."""
    rows = []
    for reading in readings:
        logits = [logit for _, _, logit in reading.tokens] or [0.0]
        rows.append([reading.logit, max(logits), sum(logit > 0 for logit in logits) / len(logits)])
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(READ))


def _spans(output: str, bounds: tuple[int, int], reading: Reading) -> list[Span]:
    """Words that the cross-encoder doubts, neighbours joined, as places in the whole output."""
    start, end = bounds
    found: list[tuple[int, int]] = []
    for match in WORD.finditer(output, start, end):
        inside = [logit for a, b, logit in reading.tokens if a < match.end() - start and b > match.start() - start]
        if inside and max(inside) > 0:
            joins = found and not output[found[-1][1] : match.start()].strip()
            found.append((found.pop()[0] if joins else match.start(), match.end()))
    return [Span(a, b, output[a:b], "doubted") for a, b in found]


class Opened:
    """A judge's folder, verified: every byte is what it was sealed with."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError for a folder that holds no judge, Corrupt for one that changed."""
        self.folder = folder
        if not (folder / FACTS).is_file():
            raise UserError(f"scoring.judge: {folder.name}: no {FACTS} in it, so it is no judge's folder; name one that is")
        self.sha256 = artifact.verify(folder)
        self.facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))

    @cached_property
    def rarity(self) -> dict[str, float]:
        """Of stems, 0 to 1."""
        ranks: Mapping[str, str] = self.facts["rarity"]
        return {stem: int(rank) / 100 for rank, stems in ranks.items() for stem in stems.split()}

    @cached_property
    def cross(self) -> Cross | None:
        return Cross(self.folder / CROSS) if (self.folder / CROSS).is_dir() else None

    def domain(self, name: str) -> Domain:
        """How `name` is judged: by what was learnt of it, else by what was learnt of all together."""
        domains = self.facts["domains"]
        return Domain.read(domains[name if name in domains else ""])


def open_folder(folder: Path, *, name: str, threshold: float, domain: str = "") -> Cascade:
    """The judge in `folder`. Where it knows `domain`, its own frozen threshold holds there; elsewhere `threshold`.

    Raises:
        UserError: the folder holds no judge. Corrupt: it does not hold the bytes that it was sealed with.
    """
    opened = Opened(folder)
    known = opened.domain(domain)
    frozen = known.threshold.threshold if known.threshold else threshold
    return Cascade(known, opened.cross, opened.rarity, name=f"{name} sha256:{opened.sha256[:12]}", threshold=frozen)
