"""`make bench-judged`: how well the judge `evidence` tells supported outputs from unsupported ones, and how fast.

PUBLIC=path: the folder of the public sets (see `public`); without it only what is embedded is measured. DATA=path: a folder of
datasets (synopsis, localize-de), EXPORTS=path: of the models' Exports (localize-de); without them those parts are left out.
JUDGE=reference: another judge beside it (a folder, say). Nothing here was used to fit `evidence`.
"""

import json
import os
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rouge_score.rouge_scorer import RougeScorer

from pipelines.decode.likelihood import Likelihood
from pipelines.errors import UserError
from pipelines.scoring.compare import Estimate
from pipelines.scoring.judge import Judge, Span, open_judge
from pipelines.scoring.judge.corrupt import KINDS, Pairs, corrupt
from pipelines.scoring.judge.evidence import COLUMNS, evidence
from pipelines.scoring.judge.fitting import logprobs
from pipelines.scoring.judge.head import auroc
from pipelines.scoring.judge.shipped import FILE
from tests.benchmarks import public, results
from tests.benchmarks.public import Labelled

MACRO, LEFT_OUT, DETACHED = 0.78, 0.95, 0.93  # the bars of issue 7
PAIRS = 200  # a second on one core, of the whole cascade
THRESHOLD = 0.5


def folder(name: str) -> Path | None:
    return Path(os.environ[name]) if os.environ.get(name) else None


def judges() -> dict[str, Judge]:
    found = {"evidence": open_judge("evidence", threshold=THRESHOLD)}
    if other := os.environ.get("JUDGE"):
        found[other] = open_judge(other, threshold=THRESHOLD)
    return found


def doubts(judge: Judge, told: Labelled) -> list[float]:
    return [verdict.probability for verdict in judge.judge(told.sources, told.outputs)]


def baselines(told: Labelled) -> dict[str, list[float]]:
    """Content-word precision, and ROUGE-1 and -2 precision of the output against its source, as doubts."""
    scorer = RougeScorer(["rouge1", "rouge2"])
    rouge = [scorer.score(source, output) for source, output in zip(told.sources, told.outputs, strict=True)]
    found = evidence(told.sources, told.outputs)
    count = np.bincount(found.pair, minlength=len(told.outputs))
    words = np.bincount(found.pair, found.columns[:, COLUMNS.index("words")], len(told.outputs)) / np.maximum(count, 1)
    return {
        "content words": (1 - words).tolist(),
        "ROUGE-1 precision": [1 - each["rouge1"].precision for each in rouge],
        "ROUGE-2 precision": [1 - each["rouge2"].precision for each in rouge],
    }


def summaries(path: Path) -> Iterator[results.Row]:
    """AUROC in each public domain and their mean; never pooled."""
    values: dict[str, list[float]] = {}
    for told in public.summaries(path):
        asked = {name: doubts(judge, told) for name, judge in judges().items()}
        own = {name: auroc(scores, told.unsupported) for name, scores in {**baselines(told), **asked}.items()}
        rouge = max(own["ROUGE-1 precision"].value, own["ROUGE-2 precision"].value)
        for name, each in own.items():
            values.setdefault(name, []).append(each.value)
            yield row(f"AUROC {told.domain}: {name}", each, round(rouge, 4) if name in asked else None)
    for name, found in values.items():
        goal = MACRO if name in judges() else None
        yield results.at_least(f"AUROC, mean of {len(found)} domains: {name}", float(np.mean(found)), "share", goal)


def row(claim: str, found: Estimate, goal: float | None) -> results.Row:
    return {
        **results.at_least(claim, found.value, "share", goal, found.n),
        "spread": [round(found.low, 3), round(found.high, 3)],
    }


def marked(path: Path) -> Iterator[results.Row]:
    """Of the spans that annotators of CLIFF marked, how many `evidence` touches, and how many of its own touch one."""
    judge = judges()["evidence"]
    found, named = [], []
    for source, output, spans in public.spans(path):
        told = [(output.find(each), output.find(each) + len(each)) for each in spans if each and each in output]
        said = judge.judge([source], [output])[0].unsupported
        found += [any(touches(span, place) for span in said) for place in told]
        named += [any(touches(span, place) for place in told) for span in said]
    yield results.at_least("CLIFF: spans of annotators that a span touches", float(np.mean(found)), "share", None, len(found))
    yield results.at_least("CLIFF: spans that touch one of annotators", float(np.mean(named)), "share", None, len(named))


def touches(span: Span, place: tuple[int, int]) -> bool:
    return span.start < place[1] and place[0] < span.end


def own(data: Path) -> Iterator[results.Row]:
    """Corruptions of the default's test pairs, kind by kind; what was frozen on other corruptions of them is in the file."""
    judge = open_judge("evidence", threshold=THRESHOLD, domain="synopsis")
    sources, targets = read(data / "synopsis")
    pairs = Pairs(sources, targets)
    good = [verdict.probability for verdict in judge.judge(sources, targets)]
    everyone, truth = list(good), [False] * len(good)
    for kind in KINDS:
        made = corrupt(pairs, range(len(sources)), kind, 7)
        bad = [verdict.probability for verdict in judge.judge([sources[m.row] for m in made], [m.output for m in made])]
        yield row(f"AUROC synopsis, corrupted: {kind}", auroc([*good, *bad], [False] * len(good) + [True] * len(bad)), None)
        everyone, truth = [*everyone, *bad], [*truth, *[True] * len(bad)]
    yield row("AUROC synopsis, all corruptions", auroc(everyone, truth), None)
    for name, facts in json.loads(FILE.read_text(encoding="utf-8"))["domains"].items():
        frozen, brier = facts["threshold"], facts["calibration"]["brier"]
        yield results.bounded(f"frozen: Brier, {name}", brier["value"], "", None, brier["n"], [brier["low"], brier["high"]])
        for rate in ("tpr", "fpr"):
            yield row(f"frozen: {rate.upper()}, {name}, flagged from {frozen['threshold']:.3f}", Estimate(**frozen[rate]), None)
        yield from left_out(name, {kind: Estimate(**each) for kind, each in facts.get("left_out", {}).items()})
    kept = [judge.judge(sources, targets) for _ in range(2)]
    yield results.bounded(
        "verdicts that differ between two runs", sum(a != b for a, b in zip(*kept, strict=True)), "", 0, len(targets)
    )


def left_out(name: str, found: dict[str, Estimate]) -> Iterator[results.Row]:
    """Each kind of corruption under a head that never saw it, measured when the judge was fit."""
    for kind, each in found.items():
        yield row(f"frozen: AUROC {name}, never shown: {kind}", each, None)
    if found:
        mean = float(np.mean([each.value for each in found.values()]))
        yield results.at_least(f"frozen: AUROC {name}, mean of {len(found)} kinds never shown", mean, "share", LEFT_OUT)


def translated(data: Path, exports: Path) -> Iterator[results.Row]:
    """Planted detached translations, with the log-probability of the model of another domain than the head was fit in."""
    sources, targets = read(data / "localize-de")
    rows = [index for index, target in enumerate(targets) if len(target.split()) >= 4]
    model = Likelihood(exports / "localize-de")
    for kind in ("detached", "unrelated"):
        made = corrupt(Pairs(sources, targets, "de", translated=True), rows, kind, 7)
        told = [sources[index] for index in rows] + [sources[m.row] for m in made]
        said = [targets[index] for index in rows] + [m.output for m in made]
        truth = [False] * len(rows) + [True] * len(made)
        means = logprobs(model, told, said)
        judge = open_judge("evidence", threshold=THRESHOLD, task="translation")
        for name, given in (("with the model's log-probability", means), ("without", None)):
            scores = [verdict.probability for verdict in judge.judge(told, said, given)]
            yield row(
                f"AUROC localize-de, {kind}: {name}", auroc(scores, truth), DETACHED if given and kind == "detached" else None
            )
        yield row(f"AUROC localize-de, {kind}: the log-probability alone", auroc([-(each or 0) for each in means], truth), None)


def read(path: Path) -> tuple[list[str], list[str]]:
    from pyarrow import parquet

    table = parquet.read_table(path / "test.parquet", columns=["source", "target"])
    return table["source"].to_pylist(), table["target"].to_pylist()


def german(path: Path) -> Iterator[results.Row]:
    """The de-en corpus of Guerreiro et al. gives no log-probabilities: what is left without."""
    told = public.translations(path)
    judge = open_judge("evidence", threshold=THRESHOLD, task="translation")
    yield row(f"AUROC {told.domain}, no log-probability", auroc(doubts(judge, told), told.unsupported), None)


def speed(name: str, sources: Sequence[str], outputs: Sequence[str]) -> results.Row:
    """Pairs a second of processor time, on one core: evidence, head and spans."""
    judge, runs = judges()["evidence"], []
    for _ in range(5):
        start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        judge.judge(sources, outputs)
        runs.append(len(outputs) / (resource.getrusage(resource.RUSAGE_SELF).ru_utime - start))
    return results.at_least(f"pairs a second of one core, {name}", float(np.median(runs)), "pairs/s", PAIRS, 5, spread=runs)


def embedded() -> Iterator[results.Row]:
    """What needs no data: the speed on made texts."""
    rng = np.random.default_rng(1)
    words = np.array([f"w{rank}x" for rank in range(5_000)])
    sources = [" ".join(rng.choice(words, 120)) + "." for _ in range(300)]
    yield speed("made texts of 120 words", sources, [" ".join(source.split()[10:18]) for source in sources])


def main() -> None:
    rows, notes = (
        [*embedded()],
        [time.strftime("load %H:%M: ", time.gmtime()) + ", ".join(f"{each:.1f}" for each in os.getloadavg())],
    )
    path, data, exports = folder("PUBLIC"), folder("DATA"), folder("EXPORTS")
    if data:
        rows += own(data)
        rows.append(speed("synopsis", *read(data / "synopsis")))
        rows += translated(data, exports) if exports else ()
    if path:
        if not path.is_dir():
            raise UserError(f"PUBLIC={path}: no such folder; name the one that holds qags/, cliff/, xent/, ende/")
        rows += [
            *summaries(path),
            *marked(path / "cliff" / "CLIFF_error_types.csv"),
            *german(path / "ende" / "annotated_corpus.csv"),
        ]
    missing = [name for name in ("PUBLIC", "DATA", "EXPORTS") if not folder(name)]
    notes += [f"{name} is not given: its part is not measured" for name in missing]
    results.write("judged", rows, *notes)


if __name__ == "__main__":
    main()
