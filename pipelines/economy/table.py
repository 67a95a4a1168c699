"""A teacher and its students side by side: parameters, bytes, time, score, and the score lost."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from pipelines import artifact, spec
from pipelines.artifact import Artifact, Dataset, Export
from pipelines.decode import Reading
from pipelines.economy import machine
from pipelines.economy.judging import Judge, cell
from pipelines.economy.turns import Runner, bar, race

CODE_VERSION = 2
ROUNDS = 3


class Table(Artifact):
    """A teacher and its students (distil.json, report.md)."""


@dataclass(frozen=True)
class Entry:
    """A model by the name it has in the table, and how it decodes; `report` is where more is said of it."""

    name: str
    export: Export
    decoding: spec.Decoding
    report: str = ""


def table(
    entries: Sequence[Entry],
    dataset: Dataset,
    reading: Reading,
    batch_tokens: int,
    scoring: spec.Scoring,
    judge: Judge,
    out: Path,
) -> Table:
    """Decode the test split with each of `entries`, of which the first is the teacher -> distil.json and report.md.

    Raises:
        Corrupt: an Export does not hold the bytes that it was sealed with.
    """
    here = machine.told()
    known = [[entry.name, entry.export, entry.decoding, entry.report] for entry in entries]
    key = artifact.digest("distil", CODE_VERSION, known, dataset, astuple(reading), batch_tokens, scoring, here)

    def write(folder: Path) -> None:
        import pyarrow.parquet as pq

        sources = pq.read_table(dataset.path / "test.parquet", columns=["source"])["source"].to_pylist()
        runners = [Runner(entry.export.path, entry.decoding) for entry in entries]
        with bar(len(runners) * ROUNDS) as turned:
            ran = race(runners, sources, reading, batch_tokens, ROUNDS, turned)
        scores = [judge.score(each.answers) for each in ran]
        rows = []
        for entry, each, score in zip(entries, ran, scores, strict=True):
            row = {**_facts(entry), "cpu_ms": each.cpu_ms, "spread": [each.fastest, each.slowest]}
            row["quality"] = judge.mean(score).plain()
            row["against"] = {
                other.name: judge.difference(score, theirs).plain()
                for other, theirs in zip(entries, scores, strict=True)
                if other is not entry
            }
            rows.append(row)
        found = {"n": len(sources), "metric": scoring.metric, "confidence": scoring.confidence, "machine": here, "rows": rows}
        (folder / "distil.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (folder / "report.md").write_text(markdown(found), encoding="utf-8")

    return artifact.make(Table, out / f"distil-{key[:16]}", write)


def _facts(entry: Entry) -> dict[str, Any]:
    folder = entry.export.path
    return {
        "name": entry.name, "export": str(folder), "report": entry.report, "parameters": parameters(folder),
        "bytes": machine.size(folder), "decoding": entry.decoding.model_dump(mode="json"),
    }  # fmt: skip


def parameters(export: Path) -> int:
    """Numbers in the weights of an Export, those that layers share counted once."""
    from safetensors import safe_open

    count = 0
    for path in (export / "hf").glob("*.safetensors"):
        with safe_open(path, "np") as weights:
            for name in weights.keys():  # noqa: SIM118  no dict
                size = 1
                for side in weights.get_slice(name).get_shape():
                    size *= side
                count += size
    return count


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The table, for a terminal and for Markdown alike; and what distilling itself brought, where both students are there."""
    teacher, *students = found["rows"]
    yield f"| model | parameters | MB | ms a text | {found['metric']} | against the teacher |"
    yield "|---|---:|---:|---:|---:|---:|"
    for row in found["rows"]:
        lost = row["against"].get(teacher["name"])
        yield (
            f"| {row['name']} | {row['parameters'] / 1e6:.2f}M | {row['bytes'] / 1e6:.1f} | {row['cpu_ms']:.2f} "
            f"| {cell(row['quality'])} | {cell(lost, '+.2f') if lost else ''} |"
        )
    if len(students) == 2:
        taught, real = students
        gain = taught["against"][real["name"]]
        yield ""
        yield f"the teacher's answers instead of real targets: {cell(gain, '+.2f')} {found['metric']}: {_told(gain)}"


def _told(gain: Mapping[str, Any]) -> str:
    low, high = gain["interval"]
    return "they help" if low > 0 else "they hurt" if high < 0 else "inconclusive"


def markdown(found: Mapping[str, Any]) -> str:
    """report.md of a table (`found` is its distil.json)."""
    said = [f"- {row['name']}: {row['report']}" for row in found["rows"] if row["report"]]
    text = [
        "# A teacher and its students", "", *lines(found), "",
        f"Mean of {found['n']} test pairs with {found['confidence']:.0%} intervals, the same real references for all, each "
        f"model decoded as it is served. MB are those of the folder that serves; ms are CPU time of one decoding thread on "
        f"this machine ({found['machine']['processor']}), the middle of {ROUNDS} turns.", "", *said,
    ]  # fmt: skip
    return "\n".join(text).rstrip() + "\n"
