"""The monthly audit: a name that was scrubbed and stands somewhere again is found, and said without being said."""

import json
from pathlib import Path

import pytest

from flows.auditing import auditing, look
from flows.settings import Settings
from pipelines import artifact
from pipelines.errors import SeqlineError
from tests.flows.project import SPEC

NAME, URL = "Maria Keller", "https://example.org/maria"
SCRUBBED = {"pairs": 1, "entities": {"PERSON": {"spans": 2, "values": 1}}, "known": {}, "audit": {}}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A workspace in which a name and an address were removed from the data of `tiny`."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.yaml").write_text(SPEC.format(steps=1, test=2, port=1))
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / ".seqline"))
    found = Settings()
    kept = found.quarantine("tiny") / "scrub-1"
    kept.mkdir()
    (kept / "values.json").write_text(json.dumps({"removed": {"en": {"PERSON": [NAME], "URL": [URL]}}, "missed": {}}))
    work = found.folder("work", "tiny")
    artifact.make(artifact.Clean, work / "clean-1", write)
    return found


def write(folder: Path) -> None:
    (folder / "scrub.json").write_text(json.dumps(SCRUBBED))


def test_nothing_found_is_said_with_what_was_looked_for(settings: Settings) -> None:
    (settings.folder("logs") / "stack.log").write_text(f"see {URL}")  # nobody's secret
    assert auditing.fn("tiny") == "tiny: none of 1 removed values stands anywhere outside the quarantine"


@pytest.mark.parametrize("place", ["logs/stack.log", "work/tiny/rejects.jsonl", "prefect/prefect.db"])
def test_a_name_fails_the_run_and_is_not_repeated(settings: Settings, place: str) -> None:
    path = settings.workspace / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"\0{NAME}\0{NAME}".encode())
    with pytest.raises(SeqlineError, match=place) as failed:
        auditing.fn("tiny")
    assert f"{place} (2)" in str(failed.value)
    assert NAME not in str(failed.value)


def test_a_name_in_the_published_data_is_found(settings: Settings) -> None:
    path = settings.project / "data" / "tiny" / "train.parquet"
    path.parent.mkdir(parents=True)
    path.write_text(NAME)
    assert look("tiny", settings).found == {"data/tiny/train.parquet": 1}


def test_an_empty_quarantine_proves_nothing_and_says_so(settings: Settings) -> None:
    (settings.quarantine("tiny") / "scrub-1" / "values.json").unlink()
    (settings.folder("logs") / "stack.log").write_text(NAME)
    ended = auditing.fn("tiny")
    assert (ended.name, "nothing was looked for" in ended.message) == ("Unknown", True)
