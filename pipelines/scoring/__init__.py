"""Score an Export: decode the held-out sources with the very files that will serve, beside baselines of the same run."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines import artifact, spec
from pipelines.artifact import Dataset, Export, Report
from pipelines.decode import Reading
from pipelines.errors import UserError
from pipelines.masking import masked
from pipelines.scoring import figures
from pipelines.scoring.judge import Judge
from pipelines.scoring.safety.leaks import PLACEHOLDER
from pipelines.scoring.safety.planted import Planted

if TYPE_CHECKING:
    from pipelines.decode import Answer
    from pipelines.scoring.heldout import HeldOut

CODE_VERSION = 7
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


class Beside(NamedTuple):
    """What else is known of a model: see `score`."""

    filtering: Filtering | None
    planted: Planted | None
    labelled: Mapping[str, Any]
    judge: Judge | None


def score(  # noqa: PLR0913  what is scored, beside what, and how it is decoded
    export: Export,
    dataset: Dataset,
    champion: Path | None,
    scoring: spec.Scoring,
    decoding: spec.Decoding,
    out: Path,
    filtering: Filtering | None = None,
    reading: Reading = CUT,
    *,
    base: Path | None = None,
    planted: Planted | None = None,
    labelled: Mapping[str, Any] | None = None,
    judge: Judge | None = None,
) -> Report:
    """Decode the test split with `export` (and with the `champion`'s and the `base`'s Export folders, if given) and judge the
    outputs.

    The report holds scores.json, gate.json, report.html, report.md, PNG plots and outputs.parquet (see `rows`); all of it is
    scrubbed text, and the same input gives the same bytes. A report that exists is returned at once. With `filtering` it also
    says how often each of serving's filters doubts the references, which are good. Sources longer than the model reads are
    read as `reading` says, which is as in serving (where serving refuses them, they are cut). With `planted` it also says
    which of the secrets in that copy of the data can be got out of what was trained on it. `labelled` is what people's labels
    say of the version in production and of the judge (labelled.scored). `judge` is what `scoring.judge` names, opened; the
    lexical one where there is none.

    Raises:
        UserError: the test split has fewer than two pairs, or pairs of one side.
        Corrupt: an Export does not hold the bytes that it was sealed with.
    """
    rivals = _rivals({"champion": champion, "base": base})
    key = artifact.digest(
        "score",
        CODE_VERSION,
        export,
        dataset,
        sorted(rivals.items()),
        scoring,
        decoding,
        astuple(reading),
        *(astuple(filtering) if filtering else ()),
        *((planted.export, planted.copy) if planted else ()),
        *((json.dumps(labelled, sort_keys=True),) if labelled else ()),
        *((judge.name, judge.threshold) if judge else ()),
    )

    def write(folder: Path) -> None:
        _write(folder, export, dataset, rivals, scoring, decoding, reading, Beside(filtering, planted, labelled or {}, judge))

    return artifact.make(Report, out / f"report-{key[:16]}", write)


def _rivals(folders: dict[str, Path | None]) -> dict[str, Export]:
    """The Exports that there are, by whose they are."""
    rivals = {}
    for who, folder in folders.items():
        if folder is None:
            continue
        found = artifact.existing(Export, folder)
        if found is None:
            raise artifact.Corrupt(f"{folder.name}: no {artifact.MANIFEST}: the {who}'s folder was never completed")
        rivals[who] = found
    return rivals


def _write(
    folder: Path,
    export: Export,
    dataset: Dataset,
    rivals: dict[str, Export],
    scoring: spec.Scoring,
    decoding: spec.Decoding,
    reading: Reading,
    beside: Beside,
) -> None:
    from pyarrow import parquet

    from pipelines.scoring import filtered, gate, measure
    from pipelines.scoring.judge.lexical import Lexical
    from pipelines.scoring.metrics import meteor
    from pipelines.scoring.report import page
    from pipelines.scoring.report.rows import mean_logprob, rows
    from pipelines.scoring.safety import measured as safety

    test, seen, training_targets = _read(dataset, scoring.seen)
    decoded = _decode(export.path, "this model", test.sources, decoding, reading)
    outputs = [answer.text for answer in decoded]
    answers, logprobs = {"model": outputs}, {"model": [mean_logprob(answer) for answer in decoded]}
    for who, rival in rivals.items():
        same = rival.sha256 == export.sha256
        theirs = decoded if same else _decode(rival.path, f"the {who}", test.sources, decoding, reading)
        answers[who], logprobs[who] = [answer.text for answer in theirs], [mean_logprob(answer) for answer in theirs]
    answers |= measure.baselines(test, outputs, training_targets, scoring)

    judge = beside.judge or Lexical(scoring.judge_threshold)
    scores = measure.measure(test, answers, scoring, judge, logprobs)
    known = _decode(export.path, "this model", seen.sources, decoding, reading) if seen.ids else []
    scores["overfit"] = measure.overfit(test, outputs, seen, [answer.text for answer in known], scoring)
    filtering, planted, labelled, _ = beside
    if filtering:
        finished = [answer.finished for answer in decoded]
        policy = export.path / "policy"
        scores["filters"] = filtered.rates(test, outputs, finished, filtering, policy, scoring.confidence)
    stand_ins = masked(test.sources, test.references, _placeholders(export.path))[:MASKED]
    given = _decode(export.path, "this model", [pair.source for pair in stand_ins], decoding, reading) if stand_ins else []
    scores["masked"] = measure.copying(stand_ins, outputs, [answer.text for answer in given], scoring)
    language = filtering.language if filtering else reading.language
    scores |= safety.safety(export, dataset, scoring, decoding, reading, language)
    scores |= labelled
    if planted:
        scores["leaks"] |= safety.secrets(planted, scoring, decoding, reading)
    scores["lineage"] = {
        "export sha256": export.sha256,
        "dataset sha256": dataset.sha256,
        "champion's export sha256": rivals["champion"].sha256 if "champion" in rivals else None,
        "scoring code": CODE_VERSION,
        **({"METEOR": meteor.signature()} if scoring.asks_meteor else {}),
    }
    rules = gate.gate(scores, scoring.gate)
    verdict = {"passed": all(rule.passed for rule in rules), "rules": [asdict(rule) for rule in rules]}
    figures.write(folder / "scores.json", scores)
    figures.write(folder / "gate.json", verdict)
    parquet.write_table(rows(test, decoded, answers.get("champion"), scoring, judge), folder / "outputs.parquet")
    _draw(folder, test, answers, scores, verdict)
    (folder / page.NAME).write_text(page.html(folder, dataset.path / "test.parquet"), encoding="utf-8")


def _draw(
    folder: Path,
    test: "HeldOut",
    answers: Mapping[str, Sequence[str]],
    scores: Mapping[str, Any],
    verdict: Mapping[str, Any],
) -> None:
    """report.md and its pictures."""
    from pipelines.scoring import measure
    from pipelines.scoring.report import markdown as report
    from pipelines.scoring.report import plots

    opponents = [system for system in ("champion", "other", "lead") if system in answers][:2]
    gains = {str(name): measure.differences(test, answers, name, scores["metric"]) for name in opponents}
    plots.scores(scores, folder / "scores.png")
    plots.differences(gains, scores, folder / "differences.png")
    text = report.markdown(scores, verdict, answers["constant"][0], _samples(test, answers["model"]))
    (folder / "report.md").write_text(text, encoding="utf-8")


def _placeholders(export: Path) -> list[str]:
    """The placeholders that the model's tokenizer knows as pieces of their own."""
    known = json.loads((export / "hf" / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    return [token["content"] for token in known if PLACEHOLDER.fullmatch(token["content"])]


def _read(dataset: Dataset, seen: int) -> "tuple[HeldOut, HeldOut, list[str]]":
    """The test pairs, `seen` of the training pairs (those whose ids hash lowest), and all training targets.

    Raises:
        UserError: too few test pairs, or a side is missing.
    """
    from pipelines.scoring.heldout import HeldOut

    test, train = (_pairs(dataset.path / f"{split}.parquet") for split in ("test", "train"))
    if len(test["id"]) < 2:
        raise UserError(f"data.splits.test: {len(test['id'])} test pairs are too few to score: raise it, or give more data")
    order = sorted(range(len(train["id"])), key=lambda row: hashlib.sha256(f"seen {train['id'][row]}".encode()).digest())
    ids, sources, targets = ([train[name][row] for row in order[:seen]] for name in ("id", "source", "target"))
    held = HeldOut(test["id"], test["source"], test["target"], _fresh(dataset.path / "test.parquet"))
    return held, HeldOut(ids, sources, targets), train["target"]


def _fresh(path: Path) -> frozenset[str]:
    """The ids of the test pairs that joined after the first draw; a dataset without such has no column that says so."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    return frozenset(table.filter(table["fresh"])["id"].to_pylist()) if "fresh" in table.column_names else frozenset()


def _pairs(path: Path) -> dict[str, list[str]]:
    """id, source and target, column by column."""
    from pyarrow import parquet

    table = parquet.read_table(path)
    for name in ("id", "source", "target"):
        if name not in table.column_names:
            raise UserError(f"{path.name}: no column {name}: a pair has an id, a source and a target; make the dataset anew")
        if table[name].null_count:
            row = table[name].is_null().to_pylist().index(True) + 1
            raise UserError(f"{path.name}: row {row}: {name}: is missing: a pair has both sides; make the dataset anew")
    return {name: table[name].to_pylist() for name in ("id", "source", "target")}


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


def _samples(test: "HeldOut", outputs: Sequence[str]) -> list[tuple[str, str, str]]:
    """(source, reference, output) of the pairs whose ids hash lowest: the same ones for every model on this test set."""
    order = sorted(range(len(outputs)), key=lambda i: hashlib.sha256(f"sample {test.ids[i]}".encode()).digest())
    return [(test.sources[i], test.references[i], outputs[i]) for i in order[:SAMPLES]]
