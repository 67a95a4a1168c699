"""The metrics against the libraries that define them."""

from pathlib import Path

import evaluate
import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pipelines import spec
from pipelines.errors import UserError
from pipelines.scoring.metrics import ngrams, overlap
from pipelines.scoring.metrics.overlap import Bleu, Chrf, Rouge, Ter, metrics
from pipelines.scoring.metrics.rouge import ROUGES
from pipelines.scoring.metrics.sentences import METRICS, corpus, sentences

REFERENCES = [
    "Real-time strategy game of ancient warfare",
    "GTK+ utility for computing checksums and more",
    "Bouncy Castle generators/processors for OpenPGP",
    "zero-copy inter-process communication introspection library",
]
OUTPUTS = ["strategy game of ancient Rome", "utility for checksums", "library for OpenPGP in Java", ""]

words = st.lists(st.sampled_from(["a", "game", "of", "Games", "<URL_1>", "x-y", "größe", "3"]), max_size=8).map(" ".join)


def test_corpus_scores_are_sacrebleus() -> None:
    bleu, chrf, ter = (kind().compute(predictions=OUTPUTS, references=REFERENCES) for kind in (Bleu, Chrf, Ter))
    assert bleu["bleu"] == sacrebleu.corpus_bleu(OUTPUTS, [REFERENCES]).score
    assert chrf["chrf"] == sacrebleu.corpus_chrf(OUTPUTS, [REFERENCES]).score
    assert f"version:{sacrebleu.__version__}" in bleu["bleu_signature"]
    assert "nc:6" in chrf["chrf_signature"]
    theirs = sacrebleu.TER()
    assert ter["ter"] == theirs.corpus_score(OUTPUTS, [REFERENCES]).score
    assert ter["ter_signature"] == str(theirs.get_signature())


def test_corpus_intervals_hold_their_value_and_name_their_resampling() -> None:
    found = corpus(OUTPUTS * 10, REFERENCES * 10)
    assert found["bleu"]["value"] == pytest.approx(sacrebleu.corpus_bleu(OUTPUTS * 10, [REFERENCES * 10]).score)
    for result in found.values():
        low, high = result["interval"]
        assert low < result["value"] < high
        assert "bs:1000" in result["signature"]


def test_batches_add_up_and_metrics_combine() -> None:
    combined = metrics()
    for output, reference in zip(OUTPUTS, REFERENCES, strict=True):
        combined.add_batch(predictions=[output], references=[reference])
    found = combined.compute()
    signed = {name for metric in ("bleu", "chrf", "ter") for name in (metric, f"{metric}_signature")}
    assert signed | {"rouge1", "rouge2", "rougeL", "rougeLsum"} == set(found)
    assert found["bleu"] == sacrebleu.corpus_bleu(OUTPUTS, [REFERENCES]).score
    both = evaluate.combine([Chrf(), Rouge()]).compute(predictions=OUTPUTS, references=REFERENCES)
    assert both["rougeL"] == found["rougeL"]


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "cache"))
    metrics().compute(predictions=OUTPUTS, references=REFERENCES)
    assert list(tmp_path.rglob("*")) == []


@given(st.lists(st.tuples(words, words), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_sentence_scores_are_the_libraries(pairs: list[tuple[str, str]]) -> None:
    outputs, references = [output for output, _ in pairs], [reference for _, reference in pairs]
    found = sentences(METRICS, outputs, references)
    rouge = RougeScorer(ROUGES, use_stemmer=False)
    for index, (output, reference) in enumerate(pairs):
        expected = rouge.score(reference, output)
        assert [found[name][index] for name in ROUGES] == [100 * expected[name].fmeasure for name in ROUGES]
        assert found["chrf"][index] == sacrebleu.sentence_chrf(output, [reference]).score
        assert found["bleu"][index] == sacrebleu.sentence_bleu(output, [reference], use_effective_order=True).score
        assert found["ter"][index] == sacrebleu.sentence_ter(output, [reference]).score
    assert all(np.all((values >= 0) & (values <= 100 + 1e-9)) for name, values in found.items() if name != "ter")


characters = st.text(alphabet="abA \n\t.,-ßé😀\x00", max_size=40)
shifted = st.lists(st.sampled_from(["a", "b", "c", "d", "E", "e"]), max_size=30).map(" ".join)


@given(st.lists(st.tuples(*[st.one_of(characters, st.text(max_size=20), shifted, words)] * 2), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_counts_are_sacrebleus(pairs: list[tuple[str, str]]) -> None:
    """Whatever the texts: what every score is made of, before any rounding."""
    outputs, references = tuple(output for output, _ in pairs), tuple(reference for _, reference in pairs)
    peers = ((ngrams.Bleu, sacrebleu.BLEU(force=True)), (ngrams.Chrf, sacrebleu.CHRF()), (ngrams.Ter, sacrebleu.TER()))
    for ours, theirs in peers:
        wanted = theirs._extract_corpus_statistics(outputs, [references])
        assert ngrams.counts(ours, outputs, references) == [[*map(int, row)] for row in wanted], ours.__name__


def test_counts_of_long_texts_go_past_tercoms_beam_alike() -> None:
    reference = " ".join(str(number % 37) for number in range(120))
    output = " ".join(str(number * 5 % 41) for number in range(90))
    assert ngrams.of_edits([output], [reference]) == [
        [*map(int, sacrebleu.TER()._extract_corpus_statistics([output], [[reference]])[0])]
    ]


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (overlap.ExactMatch(), {"exact_match": 0.5}),
        (overlap.Fields("lines"), {"fields": 0.75}),
        (overlap.JsonSchema({"type": "object"}), {"json_schema": 0.0}),
        (overlap.Steps(), {"steps": 0.75}),
        (overlap.Style(spec.Style(max_words=2)), {"style": 0.5}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, overlap._Overlap) else "",
)
def test_task_metrics_are_metrics_too(metric: evaluate.Metric, value: dict[str, float]) -> None:
    found = metric.compute(predictions=["a: 1", "a: 1\nb: 2"], references=["a: 1", "a: 1\nb: 3"])
    assert found == value


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown metric 'comet': choose from bleu, chrf"):
        metrics(["comet"])
    with pytest.raises(ValueError, match=r"unknown metric 'comet': choose from rouge1"):
        sentences(["comet"], OUTPUTS, REFERENCES)
