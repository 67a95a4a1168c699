"""METEOR (Lavie and Agarwal 2007): nltk's, with its defaults, over the words that sacrebleu's 13a makes of a text.

For English alone: what it knows beyond equal words are Porter's stems and WordNet's synonyms. WordNet lies where nltk looks for
it: `make setup` unpacks Debian's into .venv/nltk_data. Nothing is fetched here.
"""

import hashlib
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any

from pipelines.errors import UserError
from pipelines.scoring.metrics.ngrams import bleu_words

KEPT = 2**16  # words whose stems and synonyms are remembered
MISSING = (
    "scoring: meteor needs WordNet, which is not here: `make setup` brings Debian's by apt; or unpack nltk's corpora/wordnet "
    "into a folder of NLTK_DATA, or take another metric"
)


def meteor(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Of each pair, 0 to 100.

    Raises:
        UserError: there is no WordNet.
    """
    from nltk.translate.meteor_score import meteor_score

    known = _words()
    pairs = zip(predictions, references, strict=True)
    return [100 * float(meteor_score([bleu_words(b)], bleu_words(a), stemmer=known, wordnet=known)) for a, b in pairs]


def ready() -> None:
    """Raises UserError where there is no WordNet; light enough to be asked before hours of training."""
    import nltk

    for folder in ("corpora/wordnet", "corpora/wordnet.zip/wordnet/"):
        try:
            nltk.data.find(folder)
        except LookupError:
            continue
        return
    raise UserError(MISSING)


@cache
def signature() -> str:
    """What the scores depend on: nltk, the tokenizer, and WordNet to the byte."""
    data = _wordnet()
    digest = hashlib.sha256()
    for name in data.fileids():
        with data.abspath(name).open() as file:
            digest.update(file.read())
    return f"nltk:{version('nltk')}|tok:13a|wordnet:{data.get_version()}|sha256:{digest.hexdigest()[:12]}"


class _Words:
    """nltk's stemmer and its WordNet, each asked once a word: they cost more than the rest of METEOR."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = lru_cache(KEPT)(PorterStemmer().stem)
        self.synsets = lru_cache(KEPT)(_wordnet().synsets)


@cache
def _words() -> _Words:
    return _Words()


def _wordnet() -> Any:
    from nltk.corpus import wordnet

    ready()
    wordnet.ensure_loaded()
    return wordnet
