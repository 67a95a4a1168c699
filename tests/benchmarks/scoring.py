"""Scoring 10,000 pairs by every metric and the judge, beside what one writes without us; the values must be the same.

Both give, for 10,000 Debian stanzas with their synopses: corpus BLEU, chrF and TER with signatures, mean ROUGE-1, -2, -L and
-Lsum, each pair's own value of all seven (comparisons are paired), and each pair's verdict of the judge. The peer is the plain
composition: `evaluate` metrics that call sacrebleu and rouge_score as evaluate's own modules do, sacrebleu's sentence scores,
and the judge, pair by pair. CPU seconds, in turns, each starting with nothing remembered. Outputs are made of the references
and the sources, since no model's speed is asked for.
"""

import gc
import importlib.metadata
import os
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import evaluate
import numpy as np
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from flows.cli import KEPT_OBJECTS
from pipelines.scoring.judge import Judge, Verdict, lexical, open_judge
from pipelines.scoring.metrics import ngrams, sentences
from pipelines.scoring.metrics import overlap as ours
from pipelines.scoring.metrics.rouge import ROUGES
from pipelines.sources import debian
from pipelines.spec import DebianSource, Scoring
from tests.benchmarks import corpora, results

RUNS = int(os.environ.get("RUNS", "3"))
PAIRS = int(os.environ.get("PAIRS", "10000"))
GOAL = 3.0
BATCH = 500
CORPUS = ("bleu", "chrf", "ter")


class Pairs(NamedTuple):
    sources: list[str]
    outputs: list[str]
    references: list[str]


class Scored(NamedTuple):
    """Corpus scores by name, sentence scores by name, verdicts."""

    corpus: dict[str, float]
    each: dict[str, Sequence[float]]
    verdicts: list[Verdict]


class _Peer(ours._Overlap):
    """What a module of evaluate's hub does: sacrebleu or rouge_score, called once over all pairs."""

    name = ""
    kind: Callable[[], Any]

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        return {self.name: self.kind().corpus_score(predictions, [references]).score}


class Bleu(_Peer):
    name, kind = "bleu", sacrebleu.BLEU


class Chrf(_Peer):
    name, kind = "chrf", sacrebleu.CHRF


class Ter(_Peer):
    name, kind = "ter", sacrebleu.TER


class Rouge(_Peer):
    """evaluate's rouge with use_aggregator=False: a value a pair, without the bootstrap that it draws by default."""

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
        scorer = RougeScorer(ROUGES, use_stemmer=False)
        rows = [scorer.score(a, b) for a, b in zip(references, predictions, strict=True)]
        return {name: [100 * row[name].fmeasure for row in rows] for name in ROUGES}


def pairs(n: int, seed: int = 1) -> Pairs:
    """Stanzas, synopses, and outputs as a model of middling worth would give: some right words, some of the source's."""
    root = corpora.CACHE / "apt"
    debian.refresh(root)
    rows = debian.read(DebianSource(kind="debian", max_chars=10**9, description_chars=400), root, Counter())[:n]
    if len(rows) < n:
        raise SystemExit(f"{n} stanzas are wanted and {len(rows)} are there: set PAIRS lower")
    rng = random.Random(seed)
    outputs = []
    for stanza, synopsis, _ in rows:
        told = stanza.partition("Description: ")[2].split()
        kept = [word for word in synopsis.split() if rng.random() < 0.6]
        place = rng.randint(0, len(kept))
        outputs.append(" ".join([*kept[:place], *told[: rng.randint(0, 6)], *kept[place:]]))
    return Pairs([stanza for stanza, *_ in rows], outputs, [synopsis for _, synopsis, _ in rows])


def plain(data: Pairs, judge: Judge) -> Scored:
    """The peer."""
    metric = evaluate.combine([Bleu(), Chrf(), Ter(), Rouge()])
    for start in range(0, len(data.outputs), BATCH):
        metric.add_batch(predictions=data.outputs[start : start + BATCH], references=data.references[start : start + BATCH])
    corpus = metric.compute()
    each: dict[str, Sequence[float]] = {name: corpus[name] for name in ROUGES}
    single = {"bleu": sacrebleu.BLEU(effective_order=True), "chrf": sacrebleu.CHRF(), "ter": sacrebleu.TER()}
    for name, kind in single.items():
        each[name] = [kind.sentence_score(a, [b]).score for a, b in zip(data.outputs, data.references, strict=True)]
    verdicts = [judge.judge([source], [output])[0] for source, output in zip(data.sources, data.outputs, strict=True)]
    means = {name: float(np.mean(each[name])) for name in ROUGES}
    return Scored({name: corpus[name] for name in CORPUS} | means, each, verdicts)


def fast(data: Pairs, judge: Judge) -> Scored:
    """Ours: what a report is made by, which keeps no tables of Arrow."""
    each = sentences.sentences((*ROUGES, *CORPUS), data.outputs, data.references)
    kinds = {"bleu": ngrams.Bleu(force=True), "chrf": ngrams.Chrf(), "ter": ngrams.Ter()}
    corpus = {name: kind.corpus_score(data.outputs, [data.references]).score for name, kind in kinds.items()}
    means = {name: float(each[name].mean()) for name in ROUGES}
    values = {name: each[name].tolist() for name in each}
    return Scored(corpus | means, values, judge.judge(data.sources, data.outputs))


def forget() -> None:
    """Nothing of an earlier turn may help a later one."""
    for remembered in (ngrams.counts, ngrams.bleu_words, ngrams._ter_words, sentences._rouge, sentences._rouges):
        remembered.cache_clear()
    for tokenizer in (sacrebleu.BLEU().tokenizer, sacrebleu.TER().tokenizer):
        remembering: Any = type(tokenizer).__call__
        remembering.cache_clear()
    for known in (lexical.stem, lexical._parts, lexical._read):
        known.cache_clear()
    gc.collect()


def timed(work: Callable[[Pairs, Judge], Scored], data: Pairs, judge: Judge) -> tuple[float, Scored]:
    forget()
    before = time.process_time()
    found = work(data, judge)
    return len(data.outputs) / (time.process_time() - before), found


def same(one: Scored, other: Scored) -> None:
    """Raises AssertionError, naming what differs."""
    for name in (*CORPUS, *ROUGES):
        assert abs(one.corpus[name] - other.corpus[name]) < 1e-9, (
            f"{name} over the corpus: {one.corpus[name]}, {other.corpus[name]}"
        )
        assert list(one.each[name]) == list(other.each[name]), f"{name} of a pair"
    assert one.verdicts == other.verdicts, "a verdict"


def compared(reference: str, data: Pairs, goal: float | None) -> results.Row:
    """A row for the judge named, in RUNS turns."""
    judge = open_judge(reference, threshold=Scoring().judge_threshold)
    small = Pairs(*(texts[:200] for texts in data))
    same(fast(small, judge), plain(small, judge))  # and all is imported and warm
    mine: list[float] = []
    theirs: list[float] = []
    for turn in range(RUNS):
        order = ((fast, mine), (plain, theirs))
        found = []
        for work, rates in order if turn % 2 else order[::-1]:
            rate, scored = timed(work, data, judge)
            rates.append(rate)
            found.append(scored)
        same(*found)
    return results.compared(f"all metrics and the {reference} judge", mine, theirs, "plain composition", "pairs/CPU s", goal)


def main() -> None:
    gc.set_threshold(*KEPT_OBJECTS)  # as every command of ours runs
    data = pairs(PAIRS)
    gc.freeze()
    rows = [compared("lexical", data, GOAL)]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("evaluate", "sacrebleu", "rouge_score"))
    words = statistics.mean(len(text.split()) for text in data.references)
    results.write("scoring", rows, f"{len(data.outputs)} pairs, references of {words:.1f} words; {versions}; 1 process")


if __name__ == "__main__":
    main()
