"""What answers cost and what they are worth: a version decoded in many ways, and the cheapest that is good enough.

The ways are compared on validation pairs, so that the test pairs measure the choice alone, and once: of many ways the best on
some pairs looks better there than it is. How answers are judged comes from outside (`Judge`; flows/ builds it from
pipelines.scoring): a step imports no other.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from pipelines import artifact, spec
from pipelines.artifact import Artifact, Dataset, Export
from pipelines.decode import Reading
from pipelines.economy import machine
from pipelines.economy.choice import Point, Setting, best, choose, frontier, grid
from pipelines.economy.judging import Judge
from pipelines.economy.turns import Ran, Runner, bar, race

CODE_VERSION = 3


class Swept(Artifact):
    """A sweep: sweep.json, report.md, frontier.png."""


@dataclass(frozen=True)
class Subject:
    """A version, its exports by quantisation, and how it is served now."""

    name: str
    version: str
    exports: Mapping[str, Export]
    served: str
    decoding: spec.Decoding
    reading: Reading
    batch_tokens: int
    cost: spec.Cost


@dataclass(frozen=True)
class Judges:
    """Of answers to the first `section.pairs` validation pairs, and to the test pairs."""

    validation: Judge
    test: Judge


def sweep(subject: Subject, dataset: Dataset, section: spec.Sweep, scoring: spec.Scoring, judges: Judges, out: Path) -> Swept:
    """Compare every way of `section` on validation pairs, then the choice with what serves now on the test pairs.

    Makes sweep.json, report.md and frontier.png. Times are this machine's: a sweep made on another one is no answer here, and
    is made anew.

    Raises:
        Corrupt: an Export does not hold the bytes that it was sealed with.
    """
    here = machine.told()
    key = artifact.digest(
        "sweep", CODE_VERSION, dict(subject.exports), subject.name, subject.version, subject.served, subject.decoding,
        astuple(subject.reading), subject.batch_tokens, subject.cost, dataset, section, scoring, here,
    )  # fmt: skip

    def write(folder: Path) -> None:
        from pipelines.economy import pictures, report

        told = {"confidence": scoring.confidence, "metric": scoring.metric, "machine": here}
        found = told | _measured(subject, sources(dataset, "validation", section.pairs), section, judges.validation)
        found["test"] = _tested(found, subject, sources(dataset, "test"), judges.test)
        (folder / "sweep.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(report.markdown(found), encoding="utf-8")
        pictures.frontier(found, folder / "frontier.png")

    return artifact.make(Swept, out / f"sweep-{key[:16]}", write)


def sources(dataset: Dataset, split: str, most: int | None = None) -> list[str]:
    """The sources of a split, of its first `most` pairs."""
    import pyarrow.parquet as pq

    table = pq.read_table(dataset.path / f"{split}.parquet", columns=["source"]).slice(0, most)
    texts: list[str] = table["source"].to_pylist()
    return texts


def _tested(found: Mapping[str, Any], subject: Subject, texts: Sequence[str], judge: Judge) -> dict[str, Any]:
    """What the choice is worth on the test pairs, beside what serves now."""
    rows = [found["points"][found[which]] for which in ("chosen", "now")]
    ways = [Setting(row["quantisation"], row["beam"], row["length_penalty"]) for row in rows]
    runners = [Runner(subject.exports[way.quantisation].path, way.decoding(subject.decoding)) for way in ways]
    chosen, now = (judge.score(ran.answers) for ran in race(runners, texts, subject.reading, subject.batch_tokens, 1))
    return {
        "n": len(texts), "chosen": judge.mean(chosen).plain(), "now": judge.mean(now).plain(),
        "difference": judge.difference(chosen, now).plain(),
    }  # fmt: skip


def _measured(subject: Subject, texts: Sequence[str], section: spec.Sweep, judge: Judge) -> dict[str, Any]:
    able = [kind for kind, export in subject.exports.items() if machine.able(export.path, kind)]
    ways = [way for way in grid(section, subject.decoding, subject.served, able) if way.quantisation in subject.exports]
    runners = [Runner(subject.exports[way.quantisation].path, way.decoding(subject.decoding)) for way in ways]
    with bar(len(runners) * section.rounds) as turned:
        ran = race(runners, texts, subject.reading, subject.batch_tokens, section.rounds, turned)
    scores = [judge.score(each.answers) for each in ran]
    means = [judge.mean(each) for each in scores]
    lead = best([(mean.value, each.cpu_ms) for mean, each in zip(means, ran, strict=True)])
    points = [
        Point(way, mean, judge.difference(score, scores[lead]), each.cpu_ms, each.slowest)
        for way, mean, score, each in zip(ways, means, scores, ran, strict=True)
    ]
    now = ways.index(Setting(subject.served, subject.decoding.beam, subject.decoding.length_penalty))
    plain = Setting("float32", subject.decoding.beam, subject.decoding.length_penalty)
    exact = scores[ways.index(plain)] if plain in ways else None
    rows = [_row(point, each, subject) for point, each in zip(points, ran, strict=True)]
    edge = frontier(points)
    for point, row, score in zip(points, rows, scores, strict=True):
        row["on_frontier"] = point in edge
        if exact is not None and (point.setting.beam, point.setting.length_penalty) == (plain.beam, plain.length_penalty):
            row["against_float32"] = judge.difference(score, exact).plain()
    return {
        "name": subject.name, "version": subject.version, "n": len(texts), "floor": section.floor, "rounds": section.rounds,
        "currency": subject.cost.currency, "per_engine_hour": subject.cost.per_engine_hour, "points": rows,
        "best": lead, "now": now, "chosen": points.index(choose(points, points[lead])),
    }  # fmt: skip


def _row(point: Point, ran: Ran, subject: Subject) -> dict[str, Any]:
    way = point.setting
    folder = subject.exports[way.quantisation].path
    return {
        "name": str(way), "quantisation": way.quantisation, "beam": way.beam, "length_penalty": way.length_penalty,
        "computed_in": machine.computed_in(folder, way.quantisation), "bytes": machine.size(folder),
        "quality": point.quality.plain(), "behind": point.behind.plain(), "passes": point.passes,
        "cpu_ms": ran.cpu_ms, "spread": [ran.fastest, ran.slowest],
        "cost_per_1000": ran.cpu_ms / 3600 * subject.cost.per_engine_hour,  # ms a text are seconds a thousand texts
    }  # fmt: skip
