"""The step that makes a judge: cross-encoder, heads, bands and thresholds, from a dataset of true and corrupted pairs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines import artifact, spec
from pipelines.artifact import Dataset, Export
from pipelines.errors import UserError
from pipelines.scoring.judge import cascade, crossfit, head, threshold
from pipelines.scoring.judge.cascade import CROSS, FACTS, FULL, Cascade, Domain
from pipelines.scoring.judge.corpus import Row, read
from pipelines.scoring.judge.cross import Cross
from pipelines.scoring.judge.evidence import COLUMNS, EXPECTED, SIGNS, evidence, rarities
from pipelines.scoring.judge.shipped import ranked
from pipelines.scoring.judge.verdict import sentence_bounds

CODE_VERSION = 2
WRONG_SIDE = 0.01  # of each truth at most, on validation, where the evidence alone decides
EXPECTS = head.Penalty(expected=EXPECTED)
ANY = ""  # the domain of what no domain knows


class Trained(Export):
    """A judge (judge.json, training.json, and with an encoder cross/)."""


@dataclass(frozen=True)
class Known:
    """Sentences whose truth is known: evidence and readings (`values`), is it unsupported, which output it is of."""

    values: NDArray[np.float64]
    names: tuple[str, ...]
    unsupported: NDArray[np.bool_]
    pair: NDArray[np.int64]
    domains: NDArray[np.object_]
    """Of each output."""


def learn(dataset: Dataset, how: spec.Judge, encoder: Path | None, out: Path) -> Trained:
    """Train a judge on `dataset`; without an `encoder` of evidence alone. A judge that exists is returned at once.

    Raises:
        UserError: too few pairs, or the encoder is none.
    """
    started = (
        artifact.digest([(each.name, artifact.file_sha256(each)) for each in sorted(encoder.glob("*.*"))]) if encoder else ""
    )
    key = artifact.digest("judge", CODE_VERSION, dataset, how.training, how.prevalence, started)
    return artifact.make(Trained, out / f"judge-{key[:16]}", lambda folder: _write(folder, dataset, how, encoder))


def _write(folder: Path, dataset: Dataset, how: spec.Judge, encoder: Path | None) -> None:
    took: dict[str, Any] = {}
    if encoder:
        t = how.training
        schedule = crossfit.Schedule(t.batch, t.learning_rate, t.frozen_layers, t.length, t.seed)
        took = crossfit.train(examples(read(dataset, "train")), encoder, schedule, folder / CROSS)
    cross = Cross(folder / CROSS) if encoder else None
    rows = read(dataset, "validation")
    halves = rows_of(rows, 0), rows_of(rows, 1)
    rarity = rarities([row.source for row in read(dataset, "train") if not row.kind])
    known = known_of(halves[0], cross, rarity)
    domains = {name: domain(known, name, how.prevalence) for name in (ANY, *sorted({row.domain for row in rows}))}
    judges = {name: Cascade(each, cross, rarity, name=name, threshold=0.5) for name, each in domains.items()}
    frozen = freeze(judges, halves[1], how.prevalence)
    facts = {
        "name": how.name,
        "encoder": how.encoder,
        "learnt": list(how.corruptions.learnt),
        "held_out": list(how.corruptions.held_out),
        "prevalence": how.prevalence,
        "rarity": ranked(rarity),
        "parameters": took.get("parameters", 0),
        "domains": {name: replace(each, threshold=frozen.get(name)).plain() for name, each in domains.items()},
    }
    _dump(folder / FACTS, facts)
    _dump(folder / "training.json", {"training": how.training.model_dump(mode="json"), **took, "dataset": dataset.sha256})


def _dump(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def rows_of(rows: Sequence[Row], half: int) -> list[Row]:
    """Every second pair, with its corruption: one half fits the heads, the other chooses and measures the thresholds."""
    return [row for place, row in enumerate(rows) if place // 2 % 2 == half]


def examples(rows: Sequence[Row]) -> list[crossfit.Example]:
    """Of each true row and the corrupted one after it the sentence that changed, since sentences are what is judged."""
    found = []
    for true, bad in zip(rows[::2], rows[1::2], strict=True):
        bounds = sentence_bounds(bad.target) or [(0, len(bad.target))]
        start, end = next((each for each in bounds if each[1] > bad.start and each[0] < bad.end), bounds[0])
        own = [each for each in sentence_bounds(true.target) if each[0] <= start] or [(0, len(true.target))]
        found.append(crossfit.Example(true.source, true.target[slice(*own[-1])]))
        change = max(bad.start - start, 0), min(bad.end, end) - start
        found.append(crossfit.Example(bad.source, bad.target[start:end], *change))
    return found


def known_of(rows: Sequence[Row], cross: Cross | None, rarity: Mapping[str, float]) -> Known:
    """Evidence of every sentence of `rows`, and with a cross-encoder its readings."""
    sources, targets = [row.source for row in rows], [row.target for row in rows]
    found = evidence(sources, targets, None, rarity)
    values, names = found.columns, COLUMNS
    if cross:
        read_all = cascade.readings_of(cross, found, range(len(found.pair)), sources, targets)
        values, names = np.concatenate([values, cascade.columns(read_all)], axis=1), tuple(FULL)
    wrong = [
        rows[index].kind != "" and start < rows[index].end and end > rows[index].start
        for index, (start, end) in zip(found.pair, found.bounds, strict=True)
    ]
    of = np.array([row.domain for row in rows], dtype=np.object_)
    return Known(values, names, np.array(wrong, dtype=np.bool_), found.pair, of)


def domain(known: Known, name: str, prevalence: float) -> Domain:
    """Heads and band for one domain, or for all together (ANY)."""
    own = np.ones(len(known.pair), dtype=np.bool_) if name == ANY else known.domains[known.pair] == name
    values, unsupported, of = known.values[own], known.unsupported[own], known.domains[known.pair][own].tolist()
    shift = float(
        np.log(prevalence / (1 - prevalence))
    )  # fitted on equal terms, where all that is known of both counts, then moved
    cheap = head.fit(values, known.names, unsupported, SIGNS, prevalence=0.5, domains=of, penalty=EXPECTS).shifted(shift)
    if len(known.names) == len(COLUMNS):
        return Domain(cheap, None, 0.0, 1.0)
    full = head.fit(values, known.names, unsupported, FULL, prevalence=0.5, domains=of, penalty=EXPECTS).shifted(shift)
    return Domain(cheap, full, *band(cheap.probabilities(values, known.names), unsupported))


def band(probability: NDArray[np.float64], unsupported: NDArray[np.bool_]) -> tuple[float, float]:
    """The probabilities between which the evidence alone is not to be trusted: below `low` lies at most WRONG_SIDE of what is
    unsupported, above `high` at most as much of what is supported. Empty (low > high) where it is to be trusted everywhere."""
    low = np.quantile(probability[unsupported], WRONG_SIDE, method="lower")
    high = np.quantile(probability[~unsupported], 1 - WRONG_SIDE, method="higher")
    return float(low), float(high)


def freeze(judges: Mapping[str, Cascade], rows: Sequence[Row], prevalence: float) -> dict[str, threshold.Frozen]:
    """The threshold of each domain, chosen and measured on pairs that the heads have not seen.

    Raises:
        UserError: a domain has too few pairs, or the judge knows nothing there.
    """
    found = {}
    for name in sorted({row.domain for row in rows}):
        own = [row for row in rows if row.domain == name]
        verdicts = judges[name].judge([row.source for row in own], [row.target for row in own])
        scores, wrong = [verdict.probability for verdict in verdicts], [row.kind != "" for row in own]
        try:
            (found[name],) = threshold.freeze(scores, wrong, [name] * len(own), prevalence)
        except UserError as error:
            raise UserError(f"corruptions.validation: {error}") from error
    return found
