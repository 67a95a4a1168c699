"""METEOR against nltk's own, with its defaults, over the WordNet that `make setup` brings (skipped where apt had none)."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nltk
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.meteor_score import meteor_score

from pipelines import spec
from pipelines.errors import UserError
from pipelines.scoring.heldout import HeldOut
from pipelines.scoring.measure import measure
from pipelines.scoring.metrics import meteor
from pipelines.scoring.metrics.ngrams import bleu_words
from pipelines.scoring.metrics.overlap import Meteor, metrics
from pipelines.scoring.metrics.sentences import sentences


def here() -> bool:
    try:
        meteor.ready()
    except UserError:
        return False
    return True


needs_wordnet = pytest.mark.skipif(not here(), reason="no WordNet: `make setup` brings it by apt")

PREDICTIONS = ["a game of ancient fighting", "the dogs quickly ran home", "", "fast autos"]
REFERENCES = ["Game of ancient warfare", "dog ran home rapidly", "nothing", "quick cars, fast ones"]


def theirs(prediction: str, reference: str) -> float:
    """nltk, as it is called by everybody."""
    return 100 * meteor_score([list(bleu_words(reference))], list(bleu_words(prediction)))


def english(n: int) -> Iterator[tuple[str, str]]:
    """Pairs of sentences of nltk's own English, WordNet's examples, that share words, stems and synonyms."""
    from nltk.corpus import wordnet

    rng = random.Random(1)
    texts = sorted({text for synset in wordnet.all_synsets("r") for text in synset.examples()})
    for text in rng.sample(texts, n):
        words = text.split()
        changed = []
        for word in words:
            alike = [name for synset in wordnet.synsets(word) for name in synset.lemma_names()]
            lot = rng.random()
            changed += (
                [rng.choice(alike)] if lot < 0.3 and alike else [f"{word}s"] if lot < 0.4 else [] if lot < 0.5 else [word]
            )
        if rng.random() < 0.3:
            rng.shuffle(changed)
        yield " ".join(changed), text


@needs_wordnet
def test_a_thousand_pairs_are_nltks_to_the_last_digit() -> None:
    predictions, references = zip(*english(1_000), strict=True)
    found = sentences(["meteor"], predictions, references)["meteor"]
    assert found.tolist() == [theirs(*pair) for pair in zip(predictions, references, strict=True)]
    assert found.min() >= 0
    assert found.max() < 100  # the penalty for one chunk of many words is small, and never nothing


@needs_wordnet
def test_stems_and_synonyms_count_and_order_does() -> None:
    scores = meteor.meteor(["quick dogs ran", "fast dogs ran", "ran fast dogs", "slow cats sat"], ["a fast dog ran"] * 4)
    stem_and_synonym, stem, shuffled, nothing = scores
    assert stem_and_synonym > 0
    assert stem > shuffled > nothing == 0


@needs_wordnet
@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_scores_as_nltk_says(prediction: str, reference: str) -> None:
    (found,) = meteor.meteor([prediction], [reference])
    assert found == theirs(prediction, reference)


@needs_wordnet
def test_it_is_a_metric_of_evaluate_with_its_signature() -> None:
    found = Meteor().compute(predictions=PREDICTIONS, references=REFERENCES)
    assert found["meteor"] == pytest.approx(sum(map(theirs, PREDICTIONS, REFERENCES)) / len(PREDICTIONS))
    assert found["meteor_signature"] == meteor.signature()
    assert found["meteor_signature"].startswith(f"nltk:{nltk.__version__}|tok:13a|wordnet:3.0|sha256:")
    both = metrics(["chrf", "meteor"]).compute(predictions=PREDICTIONS, references=REFERENCES)
    assert both["meteor"] == found["meteor"]


@needs_wordnet
def test_a_report_has_it_where_it_is_asked_for() -> None:
    test = HeldOut([str(row) for row in range(12)], REFERENCES * 3, REFERENCES * 3)
    answers = {"model": PREDICTIONS * 3, "lead": REFERENCES * 3}
    asked = measure(test, answers, spec.Scoring(metric="meteor", resamples=100))
    assert asked["metric"] == "meteor"
    assert asked["comparison"]["lead"]["verdict"] == "worse"
    beside = measure(test, answers, spec.Scoring(meteor=True, resamples=100))
    assert beside["model"]["meteor"]["value"] == asked["model"]["meteor"]["value"]
    assert "meteor" not in measure(test, answers, spec.Scoring(resamples=100))["model"]


def test_without_wordnet_one_line_says_what_to_do(tmp_path: Path) -> None:
    """In a process of its own, which looks for nltk's data in an empty folder alone."""
    code = (
        "import json, nltk\n"
        f"nltk.data.path[:] = [{str(tmp_path)!r}]\n"
        "from pipelines.errors import UserError\n"
        "from pipelines.scoring.metrics.sentences import sentences\n"
        "try:\n"
        "    sentences(['meteor'], ['a'], ['a'])\n"
        "except UserError as error:\n"
        "    print(json.dumps(str(error)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said == meteor.MISSING
    assert "\n" not in said
    assert list(tmp_path.iterdir()) == []
