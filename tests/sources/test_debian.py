"""Debian's index: a small archive on disk, read by the real apt through a private root."""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import sources
from pipelines.errors import Transient, UserError
from pipelines.sources import debian
from pipelines.spec import Data, DebianSource

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt on this machine")

STANZA = """Package: tool{0}
Version: 1
Architecture: all
Maintainer: Ann Lee{0} <ann{0}@example.org>
Homepage: https://example.org/tool{0}
Section: utils
Filename: ./tool{0}.deb
Size: 1
SHA256: {1}
Description: short words about tool {0}
Description-md5: {2}
"""
LONG = """Package: tool{0}
Description-md5: {1}
Description-en: short words about tool {0}
 A long description of tool number {0},
 over two lines.
 .
 And a second paragraph.

"""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private system configuration whose only source is a flat archive of three packages in a folder."""
    folder = tmp_path / "archive"
    lists = tmp_path / "lists.d"
    folder.mkdir()
    lists.mkdir()
    write_archive(folder, range(3))
    (tmp_path / "system.conf").write_text(
        f'Dir::Etc::SourceList "{tmp_path}/sources.list";\nDir::Etc::SourceParts "{lists}";\n'
        f'Dir::State::Status "/dev/null";\nAPT::Sandbox::User "root";\n'
    )
    (tmp_path / "sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "system.conf"))
    return folder


def write_archive(folder: Path, numbers: range) -> None:
    md5 = "{:032x}"
    stanzas = [STANZA.format(n, f"{n:064x}", md5.format(n)) for n in numbers]
    no_text = STANZA.format(99, f"{99:064x}", md5.format(999))
    (folder / "Packages").write_text("\n".join([*stanzas, stanzas[0], no_text]))
    # a flat archive carries no translations: the long text stands in the stanza itself, as in many private archives
    text = (folder / "Packages").read_text()
    for n in numbers:
        body = LONG.format(n, md5.format(n)).split("Description-en: ")[1].rstrip("\n")
        text = text.replace(f"Description: short words about tool {n}\n", f"Description: {body}\n")
    (folder / "Packages").write_text(text)


def data(**keys: int) -> Data:
    return Data(source=DebianSource(kind="debian", **keys))


def ingest(folder: Path, **keys: int) -> tuple[list[dict[str, object]], dict[str, object]]:
    raw = sources.ingest(data(**keys), folder, folder / "cache", folder / "quarantine")
    return pq.read_table(raw.path / "pairs.parquet").to_pylist(), json.loads((raw.path / "facts.json").read_text())


@needs_apt
def test_stanza_without_its_target(tmp_path: Path, archive: Path) -> None:
    rows, facts = ingest(tmp_path)
    assert facts["dropped"] == {"duplicate": 1, "no long description": 1, "outside the slice": 0}
    row = next(row for row in rows if "tool1" in str(row["source"]))
    assert row["target"] == "short words about tool 1"
    assert row["source"] == (
        "Package: tool1\nSection: utils\nMaintainer: Ann Lee1 <ann1@example.org>\nHomepage: https://example.org/tool1\n"
        "Description: A long description of tool number 1, over two lines. And a second paragraph."
    )
    assert row["known"] == [
        {"entity": "PERSON", "value": "Ann Lee1"},
        {"entity": "EMAIL_ADDRESS", "value": "ann1@example.org"},
        {"entity": "URL", "value": "https://example.org/tool1"},
    ]
    assert archive.is_dir()


@needs_apt
def test_the_slice_is_pinned_by_hash(tmp_path: Path, archive: Path) -> None:
    write_archive(archive, range(20))
    all_rows, _ = ingest(tmp_path, max_chars=100_000)
    few, facts = ingest(tmp_path, max_chars=1_000)
    assert 0 < len(few) < len(all_rows) == 20
    assert facts["chars"] <= 1_000
    write_archive(archive, range(2, 22))
    os.utime(tmp_path / "cache/apt/refreshed", (0, 0))
    moved, _ = ingest(tmp_path, max_chars=100_000)
    assert len({row["id"] for row in moved} & {row["id"] for row in all_rows}) == 18


@needs_apt
def test_a_refresh_that_fails_goes_on_with_the_index_there_is(
    tmp_path: Path, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sources.fingerprint(data(), tmp_path, tmp_path / "cache")
    shutil.rmtree(archive)
    os.utime(tmp_path / "cache/apt/refreshed", (0, 0))
    assert sources.fingerprint(data(), tmp_path, tmp_path / "cache") == before
    assert "going on with the one that is there" in capsys.readouterr().err


@needs_apt
def test_no_index_and_no_archive(tmp_path: Path, archive: Path) -> None:
    shutil.rmtree(archive)
    with pytest.raises(Transient, match="no package index yet"):
        sources.fingerprint(data(), tmp_path, tmp_path / "cache")


def test_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"models/localize-de\.yaml"):
        sources.fingerprint(data(), tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("maintainer", "person"),
    [
        ("Ann Lee <ann@debian.org>", "Ann Lee"),
        ("Ann Lee (evo) <evo@debian.org>", "Ann Lee"),
        ("martin f. krafft <m@debian.org>", "martin f. krafft"),
        ("Debian Perl Group <pkg-perl-maintainers@lists.alioth.debian.org>", None),
        ("GD Team <team+gd@tracker.debian.org>", None),
        ("Horde <pkg-horde-devel@example.org>", None),
        ("nsd packagers <nsd@packages.debian.org>", None),
    ],
)
def test_who_is_a_person(maintainer: str, person: str | None) -> None:
    values = dict(debian.known({"Maintainer": maintainer}))
    assert values.get("PERSON") == person
    assert values["EMAIL_ADDRESS"] in maintainer


@given(st.text(), st.integers(0, 60))
def test_cut_keeps_whole_words_within_the_limit(text: str, limit: int) -> None:
    folded = debian.fold(text)
    kept = debian.cut(folded, limit)
    assert len(kept) <= limit or kept == folded
    assert folded.startswith(kept)
    assert kept.split() == folded.split()[: len(kept.split())]


@needs_apt
def test_dropped_counts_without_a_long_description(tmp_path: Path, archive: Path) -> None:
    debian.refresh(tmp_path / "apt")
    dropped: Counter[str] = Counter()
    assert len(debian.read(DebianSource(kind="debian"), tmp_path / "apt", dropped)) == 3
    assert dropped["no long description"] == 1
    assert archive.is_dir()
