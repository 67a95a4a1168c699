"""Debian's package descriptions and their translations, paragraph by paragraph, read through the same private apt root."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipelines.artifact import digest
from pipelines.sources import debian
from pipelines.sources.rows import Cells, Part, Reading
from pipelines.spec import DebianTranslationsSource

Pair = tuple[str, str]


def reading(source: DebianTranslationsSource, root: Path) -> Reading:
    """One part: the slice, by the index. Raises as debian.refresh."""
    inputs = debian.refresh(root, ("en", source.language))

    def rows(dropped: Counter[str]) -> Iterator[Cells]:
        for number, pair in enumerate(read(source, root, dropped), 1):
            yield Cells(number, pair, ())

    part = Part(
        key=digest("debian_translations", source, inputs), name="debian", read=rows, unit="paragraph", size=2 * source.max_chars
    )
    return Reading(inputs, [part])


def read(source: DebianTranslationsSource, root: Path, dropped: Counter[str]) -> list[Pair]:
    """The slice: (English, translation) of synopses and paragraphs, by the smallest sha256 of the English until `max_chars`.

    Left out and counted in `dropped`: a description whose translation has another number of paragraphs, a paragraph that
    was left in English, and what stands twice.
    """
    fields = {"en": "Description-en", source.language: f"Description-{source.language}"}
    told: dict[str, dict[str, list[str]]] = {language: {} for language in fields}
    for stanza in debian.stanzas(debian.index(root, "Translations"), {"Description-md5", *fields.values()}):
        for language, field in fields.items():
            if field in stanza:
                told[language][stanza.get("Description-md5", "")] = paragraphs(stanza[field])
    pairs: dict[Pair, None] = {}
    for key, translated in told[source.language].items():
        english = told["en"].get(key, [])
        if len(english) != len(translated):
            dropped["other paragraphs"] += 1
            continue
        for pair in zip(english, translated, strict=True):
            why = "untranslated" if pair[0] == pair[1] else "duplicate" if pair in pairs else None
            if why:
                dropped[why] += 1
            else:
                pairs[pair] = None
    chosen, chars = [], 0
    for pair in sorted(pairs, key=lambda pair: hashlib.sha256("\0".join(pair).encode()).digest()):
        chars += len(pair[0]) + len(pair[1])
        if chars > source.max_chars:
            break
        chosen.append(pair)
    dropped["outside the slice"] = len(pairs) - len(chosen)
    return chosen


def paragraphs(description: str) -> list[str]:
    """The synopsis and each paragraph of a description, on one line each."""
    synopsis, _, long = description.partition("\n")
    parts = [synopsis, *"\n".join("" if line.strip() == "." else line for line in long.split("\n")).split("\n\n")]
    return [folded for part in parts if (folded := " ".join(part.split()))]
