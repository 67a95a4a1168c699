"""Which language a text is in, by py3langid's packaged model (no network; the same text gives the same answer)."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

PLACEHOLDER = re.compile(r"<[A-Z_]+_\d+>")
LETTERS = 20  # with fewer a text tells too little
SURE = 5.0
"""How many times as probable as the expected language another must be. Of 3,800 English synopses, half of them three words of
jargon, 0.5 % then count as foreign (13 % by the most probable language alone), and 98 % of 3,900 German paragraphs."""


def foreign(text: str, expected: str) -> bool:
    """Whether `text` is surely in another language than `expected` (ISO 639-1)."""
    found = probabilities(text)
    return bool(found) and max(found.values()) > SURE * found[expected]


def language(text: str) -> str:
    """The language (ISO 639) that `text` surely is in; "unsure"; "" for a text that is too short to tell."""
    found = list(probabilities(text).items())[:2]
    if not found:
        return ""
    return found[0][0] if found[0][1] > SURE * found[1][1] else "unsure"


def probabilities(text: str) -> Mapping[str, float]:
    """How probable each of 97 languages is, the most probable one first; empty for a text of fewer than 20 letters.

    Placeholders of personal data are no text.
    """
    plain = PLACEHOLDER.sub(" ", text)
    if sum(map(str.isalpha, plain)) < LETTERS:
        return {}
    return dict(_model().rank(plain))


@cache
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
