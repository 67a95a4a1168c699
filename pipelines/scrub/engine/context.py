"""Words near a match that raise its score: Presidio's enhancer, and a cheap test of whether it could find any."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

TO_TOKEN_END = re.compile(r"\s*\S*")
CHUNK = re.compile(r"\S+")
WORDS = 6  # that Presidio's enhancer looks at: five, and the one that the match begins in


class Context:
    """Decides which results the context enhancer could raise; for those alone are lemmas needed."""

    def __init__(self, recognizers: Sequence[Any], tagger: Any, words: Any) -> None:
        """`tagger`: the spaCy pipeline that gives the lemmas; None where words, as the pipeline `words` cuts them, are used."""
        self._stems = {each.id: _pattern(each.context, tagger) for each in recognizers if each.context}
        self._words = words if tagger is None else None

    def may_raise(self, text: str, results: Iterable[Any]) -> bool:
        """Whether a context word may stand before one of the results, or in it."""
        for result in results:
            stems = self._stems.get(result.recognizer.id)
            if stems and result.score < 1:
                token = TO_TOKEN_END.match(text, result.start)
                end = max(result.end, token.end() if token else 0)
                found = stems.search(text, 0, end)
                if found and (self._words is None or stems.search(text, self._near(text, result.start), end)):
                    return True
        return False

    def _near(self, text: str, place: int) -> int:
        """Where the words that count before `place` begin, at the latest. Words that may not count are not counted."""
        words: Any = self._words
        chunks = list(CHUNK.finditer(text, 0, place))
        if chunks and chunks[-1].end() == place:
            chunks.pop()
        dull, special, left = {*words.Defaults.stop_words, "be"}, words.tokenizer.rules, WORDS
        for chunk in reversed(chunks):
            word = chunk[0]
            # letters alone are one token, unless they are an exception of the tokenizer's
            if word.isascii() and word.isalpha() and word not in special and word.lower() not in dull:
                left -= 1
                if not left:
                    return chunk.start()
        return 0


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
