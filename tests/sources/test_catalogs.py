"""Catalogs in wheels: small wheels made here, fetched by the real pip from a folder."""

import json
import zipfile
from pathlib import Path

import polib
import pyarrow.parquet as pq
import pytest

from pipelines import sources
from pipelines.artifact import Raw, file_sha256
from pipelines.errors import Transient, UserError
from pipelines.spec import CatalogsSource, Data

METADATA = "Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip knows: a folder of wheels."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def write_wheel(index: Path, files: dict[str, str | bytes]) -> Path:
    path = index / "greetings-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {
            **files,
            "greetings-1.0.dist-info/METADATA": METADATA,
            "greetings-1.0.dist-info/WHEEL": WHEEL,
            "greetings-1.0.dist-info/RECORD": "",
        }.items():
            archive.writestr(name, content)
    return path


def po() -> polib.POFile:
    catalog = polib.POFile()
    catalog.metadata = {"Content-Type": "text/plain; charset=utf-8", "Plural-Forms": "nplurals=2; plural=(n != 1);"}
    catalog.append(polib.POEntry(msgid="Good morning", msgstr="Guten Morgen"))
    catalog.append(polib.POEntry(msgid="Open", msgctxt="a menu", msgstr="Öffnen"))
    catalog.append(polib.POEntry(msgid="One file", msgid_plural="%d files", msgstr_plural={0: "Eine Datei", 1: "%d Dateien"}))
    catalog.append(polib.POEntry(msgid="Close", msgstr="Schluss", flags=["fuzzy"]))
    catalog.append(polib.POEntry(msgid="Not yet", msgstr=""))
    catalog.append(polib.POEntry(msgid="Gone", msgstr="Weg", obsolete=True))
    catalog.append(polib.POEntry(msgid="%s: 1", msgstr="%s: 1"))
    return catalog


def ingest(base: Path, *packages: str, language: str = "de") -> Raw:
    source = CatalogsSource(kind="catalogs", packages=packages or ("greetings==1.0",), language=language)
    return sources.ingest(Data(source=source), base, base / "cache", base / "quarantine")


def pairs(raw: Raw) -> set[tuple[str, str]]:
    return {(row["source"], row["target"]) for row in pq.read_table(raw.path / "pairs.parquet").to_pylist()}


TRANSLATED = {
    ("Good morning", "Guten Morgen"),
    ("Open", "Öffnen"),
    ("One file", "Eine Datei"),
    ("%d files", "%d Dateien"),
}


@pytest.mark.parametrize("path", ["g/locale/de/LC_MESSAGES/g.po", "g/locale/de.po", "g/de_DE/g.po"])
def test_gettext(tmp_path: Path, index: Path, path: str) -> None:
    wheel = write_wheel(index, {path: str(po()), "g/locale/fr.po": "msgid"})
    raw = ingest(tmp_path)
    assert pairs(raw) == TRANSLATED
    facts = json.loads((raw.path / "facts.json").read_text())
    assert facts["dropped"] == {"fuzzy": 1, "no word in it": 1, "obsolete": 1, "untranslated": 1}
    assert facts["inputs"] == {wheel.name: file_sha256(wheel)}


def test_compiled_gettext_and_only_one_form_of_a_catalog(tmp_path: Path, index: Path) -> None:
    compiled = po().to_binary()
    write_wheel(index, {"g/locale/de/LC_MESSAGES/g.mo": compiled})
    assert pairs(ingest(tmp_path)) == TRANSLATED
    write_wheel(index, {"g/locale/de/LC_MESSAGES/g.mo": compiled, "g/locale/de/LC_MESSAGES/g.po": str(po())})
    raw = ingest(tmp_path / "both")
    assert json.loads((raw.path / "facts.json").read_text())["rows"] == 4


@pytest.mark.parametrize(("english", "german"), [("en.json", "de.json"), ("en-US/ui.json", "de/ui.json")])
def test_json_by_key(tmp_path: Path, index: Path, english: str, german: str) -> None:
    ours = {"menu": {"open": "Open", "close": "Close"}, "list": ["One", "Two"], "only": "Here only"}
    theirs = {"menu": {"open": "Öffnen", "close": ""}, "list": ["Eins", "Zwei"]}
    write_wheel(index, {f"g/i18n/{english}": json.dumps(ours), f"g/i18n/{german}": json.dumps(theirs)})
    raw = ingest(tmp_path)
    assert pairs(raw) == {("Open", "Öffnen"), ("One", "Eins"), ("Two", "Zwei")}
    assert json.loads((raw.path / "facts.json").read_text())["dropped"] == {"untranslated": 2}


def test_json_by_text(tmp_path: Path, index: Path) -> None:
    content = {"": {"domain": "g"}, "Open": ["Öffnen"], "menu\u0004Close": ["Schließen"]}
    write_wheel(index, {"g/locale/de_DE/LC_MESSAGES/g.json": json.dumps(content)})
    assert pairs(ingest(tmp_path)) == {("Open", "Öffnen"), ("Close", "Schließen")}


def test_a_wheel_is_fetched_and_read_once(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = write_wheel(index, {"g/de.po": str(po())})
    first = ingest(tmp_path)
    wheel.unlink()
    monkeypatch.setenv("PATH", "")
    assert ingest(tmp_path) == first


def test_a_catalog_that_cannot_be_read_is_a_bad_row(tmp_path: Path, index: Path) -> None:
    write_wheel(index, {"g/de.po": str(po()), "h/de.mo": b"nothing"})
    with pytest.raises(UserError, match=r"catalog 2: not a catalog that can be read \(h/de.mo\)"):
        ingest(tmp_path)


def test_no_catalog_of_the_language(tmp_path: Path, index: Path) -> None:
    write_wheel(index, {"g/de.po": str(po())})
    with pytest.raises(UserError, match="no catalog of `fr` in it"):
        ingest(tmp_path, language="fr")


def test_not_pinned_and_not_there(tmp_path: Path, index: Path) -> None:
    write_wheel(index, {"g/de.po": str(po())})
    with pytest.raises(UserError, match="greetings: must be pinned"):
        ingest(tmp_path, "greetings")
    with pytest.raises(UserError, match=r"greetings==2\.0: the index has no wheel of it"):
        ingest(tmp_path, "greetings==2.0")
    assert not list((tmp_path / "cache/wheels").glob("*"))


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a folder with another version"])
def test_no_index(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch, beside: bool) -> None:
    write_wheel(index, {"g/de.po": str(po())})
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index) if beside else "")
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(Transient, match="the index does not answer"):
        ingest(tmp_path, "greetings==2.0" if beside else "greetings==1.0")
