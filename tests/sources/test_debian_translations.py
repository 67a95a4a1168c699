"""Debian's translated descriptions: a small archive with its translations on disk, read by the real apt."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import sources
from pipelines.sources.debian_translations import paragraphs
from pipelines.spec import Data, DebianTranslationsSource
from tests.sources.test_debian import needs_apt

ENGLISH = {
    "a": "viewer of pictures\n It shows pictures,\n large and small.\n .\n It prints them too.",
    "b": "editor of texts\n One paragraph.",
    "c": "libfoo\n Its name is its synopsis.",
    "d": "viewer of pictures\n Another viewer.",
}
GERMAN = {
    "a": "Betrachter für Bilder\n Er zeigt Bilder,\n große und kleine.\n .\n Er druckt sie auch.",
    "b": "Texteditor\n Ein Absatz.\n .\n Und noch einer.",
    "c": "libfoo\n Der Name sagt es.",
    "d": "Betrachter für Bilder\n Noch ein Betrachter.",
}


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    main = tmp_path / "archive" / "dists" / "stable" / "main"
    files = {"binary-all/Packages": "", "binary-amd64/Packages": "", "i18n/Translation-en": "", "i18n/Translation-de": ""}
    for language, texts in (("en", ENGLISH), ("de", GERMAN)):
        files[f"i18n/Translation-{language}"] = "\n\n".join(
            f"Package: tool\nDescription-md5: {hashlib.md5(key.encode()).hexdigest()}\nDescription-{language}: {text}"
            for key, text in texts.items()
        )
    for name, text in files.items():
        (main / name).parent.mkdir(parents=True, exist_ok=True)
        (main / name).write_text(text)
    sums = [f" {hashlib.sha256(text.encode()).hexdigest()} {len(text.encode())} main/{name}" for name, text in files.items()]
    release = "\n".join(["Origin: test", "Suite: stable", "Codename: stable", "Components: main", "Architectures: amd64 all"])
    (main.parent / "Release").write_text("\n".join([release, "Date: Sat, 01 Jan 2028 00:00:00 UTC", "SHA256:", *sums, ""]))
    (tmp_path / "system.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "{tmp_path}/none";\n'
        'Dir::State::Status "/dev/null";\nAPT::Sandbox::User "root";\nAPT::Architecture "amd64";\n'
        'Acquire::Check-Date "false";\n'
    )
    (tmp_path / "none").mkdir()
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/archive stable main\n")
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "system.conf"))
    return tmp_path


@needs_apt
def test_paragraph_by_paragraph(archive: Path) -> None:
    data = Data(source=DebianTranslationsSource(kind="debian_translations"))
    raw = sources.ingest(data, archive, archive / "cache", archive / "quarantine")
    rows = pq.read_table(raw.path / "pairs.parquet").to_pylist()
    assert {(row["source"], row["target"]) for row in rows} == {
        ("viewer of pictures", "Betrachter für Bilder"),
        ("It shows pictures, large and small.", "Er zeigt Bilder, große und kleine."),
        ("It prints them too.", "Er druckt sie auch."),
        ("Its name is its synopsis.", "Der Name sagt es."),
        ("Another viewer.", "Noch ein Betrachter."),
    }
    facts = json.loads((raw.path / "facts.json").read_text())
    assert facts["dropped"] == {"other paragraphs": 1, "untranslated": 1, "duplicate": 1, "outside the slice": 0}


def test_paragraphs() -> None:
    assert paragraphs("one\n two\n  * three\n .\n .\n four") == ["one", "two * three", "four"]
