"""Our ROUGE against rouge_score, the library that defines it: to the last bit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer  # type: ignore[import-untyped]
from rouge_score.rouge_scorer import RougeScorer

from pipelines.scoring.metrics.rouge import ROUGES, Rouge

PLAIN, STEMMED = RougeScorer(ROUGES, use_stemmer=False), RougeScorer(ROUGES, use_stemmer=True)

WORDS = ["a", "b", "the", "of", "cat", "Cats", "games", "gaming", "<URL_1>", "x-y", "größe", "3"]
repeated = st.lists(st.sampled_from(WORDS), max_size=200).map(" ".join)
lines = st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=6).map("\n".join)
texts = st.one_of(repeated, lines, st.text(), st.text(alphabet="abAB \n\t_-İßé0", max_size=80))


def expected(scorer: RougeScorer, reference: str, prediction: str) -> dict[str, float]:
    return {name: score.fmeasure for name, score in scorer.score(reference, prediction).items()}


@given(texts, st.lists(texts, min_size=1, max_size=3))
def test_scores_are_rouge_scores(reference: str, predictions: list[str]) -> None:
    rouge = Rouge()
    for prediction in predictions:
        assert rouge.score(reference, prediction) == expected(PLAIN, reference, prediction)
        assert rouge.score(prediction, reference) == expected(PLAIN, prediction, reference)


@given(texts, texts)
def test_with_a_stemmer_too(reference: str, prediction: str) -> None:
    rouge = Rouge(stem=PorterStemmer().stem)
    assert rouge.score(reference, prediction) == expected(STEMMED, reference, prediction)


@pytest.mark.parametrize("name", ROUGES)
def test_one_measure_alone_gives_the_same(name: str) -> None:
    reference, prediction = "the cat sat on the mat with the cat", "The cats sat; on a mat, the cat!"
    assert Rouge([name]).score(reference, prediction) == {name: expected(PLAIN, reference, prediction)[name]}


def test_longer_than_a_machine_word() -> None:
    """rapidfuzz works on blocks of 64 words: a text of many blocks."""
    reference, prediction = " ".join(str(n % 97) for n in range(500)), " ".join(str(n * 7 % 89) for n in range(431))
    assert Rouge().score(reference, prediction) == expected(PLAIN, reference, prediction)
