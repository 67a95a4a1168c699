"""The metrics against the libraries that define them."""

from pathlib import Path

import evaluate
import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pipelines.scoring.overlap import Bleu, Chrf, Rouge, metrics
from pipelines.scoring.rouge import ROUGES
from pipelines.scoring.sentences import METRICS, corpus, sentences

REFERENCES = [
    "Real-time strategy game of ancient warfare",
    "GTK+ utility for computing checksums and more",
    "Bouncy Castle generators/processors for OpenPGP",
    "zero-copy inter-process communication introspection library",
]
OUTPUTS = ["strategy game of ancient Rome", "utility for checksums", "library for OpenPGP in Java", ""]

words = st.lists(st.sampled_from(["a", "game", "of", "Games", "<URL_1>", "x-y", "größe", "3"]), max_size=8).map(" ".join)


def test_corpus_scores_are_sacrebleus() -> None:
    bleu, chrf = (
        Bleu().compute(predictions=OUTPUTS, references=REFERENCES),
        Chrf().compute(predictions=OUTPUTS, references=REFERENCES),
    )
    assert bleu["bleu"] == sacrebleu.corpus_bleu(OUTPUTS, [REFERENCES]).score
    assert chrf["chrf"] == sacrebleu.corpus_chrf(OUTPUTS, [REFERENCES]).score
    assert f"version:{sacrebleu.__version__}" in bleu["bleu_signature"]
    assert "nc:6" in chrf["chrf_signature"]


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
    assert {"bleu", "bleu_signature", "chrf", "chrf_signature", "rouge1", "rouge2", "rougeL"} == set(found)
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
    assert all(np.all((values >= 0) & (values <= 100 + 1e-9)) for values in found.values())


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown metric 'meteor': choose from rouge1"):
        sentences(["meteor"], OUTPUTS, REFERENCES)
