"""Capitalised words of an answer that its source does not hold: people, places and products that the model made up."""

import re

from pipelines.filters.words import bare

NOUNS = frozenset({"de", "lb"})  # languages that capitalise every noun: there a capital says nothing
STEM = 5  # letters that two forms of a word share
LONG = 4  # letters; a text whose words of so many are all capitalised is a heading: there a capital says nothing either

_words = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_starts = re.compile(r"(?:^|[.!?:;\u2026\u2022*|/\n\"\u201c\u201e\u00ab(\[-])\s*\Z")


def new_names(source: str, output: str, language: str) -> list[str]:
    """Capitalised words within a sentence of `output`, and acronyms, whose stem is not in `source`. Linear in the texts.

    An acronym may stand for words of the source.
    """
    if language in NOUNS:
        return []
    output = bare(output)
    found = [match for match in _words.finditer(output) if not match[0].islower() and match[0] != match[0].casefold()]
    if not found:
        return []
    words = _words.findall(output)
    heading = not any(len(word) >= LONG and word.islower() for word in words)
    wanted = [match[0] for match in found if _is_name(match, output, heading)]
    if not wanted:
        return []
    folded = bare(source).casefold()
    stems = {word[:STEM] for word in _words.findall(folded)}
    initials = "".join(word[0] for word in _words.findall(folded))
    return [word for word in wanted if not _known(word, folded, stems, initials)]


def _is_name(match: re.Match[str], text: str, heading: bool) -> bool:
    word = match[0]
    if len(word) > 1 and word.isupper():
        return not heading or not text.isupper()
    return not heading and not _starts.search(text, max(0, match.start() - 4), match.start())


def _known(word: str, folded: str, stems: set[str], initials: str) -> bool:
    plain = re.split(r"['\u2019]", word.casefold())[0]
    if plain[:STEM] in stems or plain in folded:
        return True
    return word.isupper() and plain in initials
