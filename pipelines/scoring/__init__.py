"""Score an Export: decode the held-out sources with the very files that will serve, beside baselines of the same run."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import artifact, spec
from pipelines.artifact import Dataset, Export, Report
from pipelines.decode import Reading
from pipelines.errors import UserError
from pipelines.masking import masked
from pipelines.scoring.leaks import PLACEHOLDER

if TYPE_CHECKING:
    from pipelines.decode import Answer
    from pipelines.scoring.measure import HeldOut

CODE_VERSION = 5
SAMPLES = 10  # outputs shown in the report
MASKED = 500  # most pairs that are decoded once more with a shared word masked by a placeholder
CHUNK = 128  # sources decoded between two moves of the progress bar
THREADS = 4

CUT = Reading("text2text", long_inputs="cut")


@dataclass(frozen=True)
class Filtering:
    """What serving will do with the answers of a `task`, which are in `language`."""

    filters: spec.Filters
    task: str
    language: str


def score(
    export: Export,
    dataset: Dataset,
    champion: Path | None,
    scoring: spec.Scoring,
    decoding: spec.Decoding,
    out: Path,
    filtering: Filtering | None = None,
    reading: Reading = CUT,
) -> Report:
    """Decode the test split with `export` (and with the `champion`'s Export folder, if there is one) and judge the outputs.

    The report holds scores.json, gate.json, report.md, PNG plots and outputs.parquet (id, output); all of it is scrubbed
    text, and the same input gives the same bytes. A report that exists is returned at once. With `filtering` it also says how
    often each of serving's filters doubts the references, which are good. Sources longer than the model reads are read as
    `reading` says, which is as in serving (where serving refuses them, they are cut).

    Raises:
        UserError: the test split has fewer than two pairs.
        Corrupt: an Export does not hold the bytes that it was sealed with.
    """
    rival = artifact.existing(Export, champion) if champion else None
    if champion and rival is None:
        raise artifact.Corrupt(f"{champion.name}: no {artifact.MANIFEST}: the champion's folder was never completed")
    key = artifact.digest(
        "score",
        CODE_VERSION,
        export,
        dataset,
        rival,
        scoring,
        decoding,
        astuple(reading),
        *(astuple(filtering) if filtering else ()),
    )

    def write(folder: Path) -> None:
        _write(folder, export, dataset, rival, scoring, decoding, filtering, reading)

    return artifact.make(Report, out / f"report-{key[:16]}", write)


def _write(
    folder: Path,
    export: Export,
    dataset: Dataset,
    champion: Export | None,
    scoring: spec.Scoring,
    decoding: spec.Decoding,
    filtering: Filtering | None,
    reading: Reading,
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    from pipelines.scoring import filtered, gate, measure, plots, report

    test, training_targets = _read(dataset)
    decoded = _decode(export.path, "this model", test.sources, decoding, reading)
    outputs = [answer.text for answer in decoded]
    answers = {"model": outputs}
    if champion:
        same = champion.sha256 == export.sha256
        theirs = decoded if same else _decode(champion.path, "the champion", test.sources, decoding, reading)
        answers["champion"] = [answer.text for answer in theirs]
    answers |= measure.baselines(test, outputs, training_targets, scoring)

    scores = measure.measure(test, answers, scoring)
    if filtering:
        finished = [answer.finished for answer in decoded]
        policy = export.path / "policy"
        scores["filters"] = filtered.rates(test, outputs, finished, filtering, policy, scoring.confidence)
    stand_ins = masked(test.sources, test.references, _placeholders(export.path))[:MASKED]
    given = _decode(export.path, "this model", [pair.source for pair in stand_ins], decoding, reading) if stand_ins else []
    scores["masked"] = measure.copying(stand_ins, outputs, [answer.text for answer in given], scoring)
    rules = gate.gate(scores, scoring.gate)
    verdict = {"passed": all(rule.passed for rule in rules), "rules": [asdict(rule) for rule in rules]}
    _dump(folder / "scores.json", scores)
    _dump(folder / "gate.json", verdict)
    parquet.write_table(pa.table({"id": test.ids, "output": outputs}), folder / "outputs.parquet")
    opponents = [system for system in ("champion", "other", "lead") if system in answers][:2]
    gains = {str(name): measure.differences(test, answers, name, scoring.metric) for name in opponents}
    plots.scores(scores, folder / "scores.png")
    plots.differences(gains, scores, folder / "differences.png")
    text = report.markdown(scores, verdict, answers["constant"][0], _samples(test, outputs))
    (folder / "report.md").write_text(text, encoding="utf-8")


def _placeholders(export: Path) -> list[str]:
    """The placeholders that the model's tokenizer knows as pieces of their own."""
    known = json.loads((export / "hf" / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    return [token["content"] for token in known if PLACEHOLDER.fullmatch(token["content"])]


def _read(dataset: Dataset) -> "tuple[HeldOut, list[str]]":
    from pyarrow import parquet

    from pipelines.scoring.measure import HeldOut

    table = parquet.read_table(dataset.path / "test.parquet").to_pydict()
    if len(table["id"]) < 2:
        raise UserError(f"data.splits.test: {len(table['id'])} test pairs are too few to score: raise it, or give more data")
    targets = parquet.read_table(dataset.path / "train.parquet", columns=["target"])["target"].to_pylist()
    return HeldOut(table["id"], table["source"], table["target"]), targets


def _decode(folder: Path, who: str, sources: Sequence[str], decoding: spec.Decoding, reading: Reading) -> "list[Answer]":
    from rich.console import Console
    from rich.progress import track

    from pipelines.decode import Decoder

    if reading.long_inputs == "refuse":
        reading = replace(reading, long_inputs="cut")
    decoder = Decoder(folder, threads=min(THREADS, os.cpu_count() or 1))
    starts = range(0, len(sources), CHUNK)
    quiet = not sys.stderr.isatty()
    bar = track(starts, f"decoding {len(sources)} test sources with {who}", console=Console(stderr=True), disable=quiet)
    return [answer for start in bar for answer in decoder.answer(sources[start : start + CHUNK], decoding, reading)]


def _dump(path: Path, content: object) -> None:
    path.write_text(json.dumps(_rounded(content), indent=1, sort_keys=True, allow_nan=False) + "\n")


def _rounded(content: Any) -> Any:
    """Six decimals: more would be noise of the processor."""
    if isinstance(content, float):
        return round(content, 6)
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    return [_rounded(value) for value in content] if isinstance(content, list | tuple) else content


def _samples(test: "HeldOut", outputs: Sequence[str]) -> list[tuple[str, str, str]]:
    """(source, reference, output) of the pairs whose ids hash lowest: the same ones for every model on this test set."""
    order = sorted(range(len(outputs)), key=lambda i: hashlib.sha256(f"sample {test.ids[i]}".encode()).digest())
    return [(test.sources[i], test.references[i], outputs[i]) for i in order[:SAMPLES]]
