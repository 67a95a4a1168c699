"""Words near a match that raise its score: Presidio's enhancer, and a cheap test of whether it could find any."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

TO_TOKEN_END = re.compile(r"\s*\S*")


class Context:
    """Decides which results the context enhancer could raise; for those alone are lemmas needed."""

    def __init__(self, recognizers: Sequence[Any], tagger: Any) -> None:
        """`tagger`: the spaCy pipeline that gives the lemmas; None where words stand for themselves."""
        self._stems = {each.id: _pattern(each.context, tagger) for each in recognizers if each.context}

    def may_raise(self, text: str, results: Iterable[Any]) -> bool:
        """Whether a context word may stand before one of the results of Presidio, or in it."""
        for result in results:
            stems = self._stems.get(result.recognition_metadata["recognizer_identifier"])
            if stems and result.score < 1:
                token = TO_TOKEN_END.match(text, result.start)
                if stems.search(text, 0, max(result.end, token.end() if token else 0)):
                    return True
        return False


def _pattern(words: Sequence[str], tagger: Any) -> re.Pattern[str]:
    """Matches in every text in which the lemma of a token contains one of `words`."""
    stems = {word.lower() for word in words}
    if tagger is not None:
        stems = {stem for word in stems for stem in _stems(word, tagger)}
    return re.compile("|".join(re.escape(stem) for stem in sorted(stems)), re.IGNORECASE)


def _stems(word: str, tagger: Any) -> set[str]:
    """What a text must hold (one of it) for a lemma with `word` in it; the empty string if that cannot be told.

    A rule lemmatizer cuts an ending and puts another: where `word` reaches into the new ending, the old one stands in the
    text. Its exceptions name whole words.
    """
    lemmatizer = tagger.get_pipe("lemmatizer") if "lemmatizer" in tagger.pipe_names else None
    if tagger.lang != "en" or lemmatizer is None or lemmatizer.mode != "rule":
        return {""}
    ruler = tagger.get_pipe("attribute_ruler") if "attribute_ruler" in tagger.pipe_names else None
    if ruler and any(word in str(each["attrs"].get("LEMMA", "")).lower() for each in ruler.patterns):
        return {""}
    stems = {word}
    for rules in lemmatizer.lookups.get_table("lemma_rules").values():
        for old, new in rules:
            stems |= {word[:-size] + old for size in range(1, len(new) + 1) if word.endswith(new[:size])}
            if word in new:
                stems.add(old)
    for exceptions in lemmatizer.lookups.get_table("lemma_exc").values():
        for form, lemmas in exceptions.items():
            if any(word in lemma for lemma in lemmas):
                stems.add(form if isinstance(form, str) else tagger.vocab.strings[form])
    return stems
