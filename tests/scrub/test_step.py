"""The step as a whole: the same bytes however it is run, one bad record costs one record, and the vault gives all back."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from presidio_analyzer import EntityRecognizer

from pipelines import sources
from pipelines.artifact import Clean
from pipelines.errors import UserError
from pipelines.scrub import trail
from pipelines.scrub.step import Keys, scrub
from pipelines.scrub.vault import Vault
from pipelines.spec import Data, Privacy

KEYS = Keys(b"k" * 32, b"v" * 32)
POISON = "the poisoned record"
EXACT = Privacy(entities=("PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER"))
RUN = """
import sys
from pathlib import Path
from pipelines import sources
from pipelines.scrub.step import Keys, scrub
from pipelines.spec import Data, Privacy
if __name__ == "__main__":
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    data = Data.model_validate({"source": {"kind": "files", "paths": ["pairs.jsonl"]}})
    raw = sources.ingest(data, folder, folder / "cache", folder / "quarantine")
    print(raw.sha256, scrub(raw, Privacy.model_validate_json(sys.argv[3]), folder / "out", folder / "quarantine", Keys(b"k" * 32), workers=workers).sha256)
"""  # noqa: E501


class Poisoned(EntityRecognizer):  # type: ignore[misc]
    """A user's recognizer that fails on one text, and says the text."""

    def __init__(self) -> None:
        super().__init__(supported_entities=["PERSON"], name="Poisoned")

    def load(self) -> None: ...

    def analyze(self, text: str, *_: Any, **__: Any) -> list[Any]:
        if POISON in text:
            raise ValueError(f"cannot read {text}")
        return []


def records(count: int) -> Iterator[dict[str, str]]:
    names = ("Maria Keller", "Thomas Brandt", "Helen Carter", "Peter Novak", "Laura Martin")
    for n in range(count):
        name = names[n % 5]
        mail = f"{name.split()[0].lower()}{n}@example.org"
        yield {
            "source": f"Ticket {n}: {name} <{mail}> called from +1 212 555 {n % 90 + 10:04}.",
            "target": f"{name} called, {n}",
        }


def write(folder: Path, rows: list[dict[str, str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def scrubbed(folder: Path, privacy: Privacy) -> Clean:
    data = Data.model_validate({"source": {"kind": "files", "paths": ["pairs.jsonl"]}})
    raw = sources.ingest(data, folder, folder / "cache", folder / "quarantine")
    return scrub(raw, privacy, folder / "out", folder / "quarantine", KEYS, workers=1)


@pytest.mark.parametrize("privacy", [EXACT, EXACT.model_copy(update={"level": "patterns"})], ids=["exact", "patterns"])
def test_order_processes_and_hash_seeds_change_no_byte(tmp_path: Path, privacy: Privacy) -> None:
    made = set()
    for workers, seed in ((1, "0"), (2, "1"), (4, "2")):
        rows = list(records(300))
        random.Random(seed).shuffle(rows)
        folder = write(tmp_path / str(workers), rows)
        command = [sys.executable, "-c", RUN, str(folder), str(workers), privacy.model_dump_json()]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        made.add(done.stdout.split()[1])
    assert len(made) == 1


def test_one_poisoned_record_costs_one_record(tmp_path: Path) -> None:
    rows = [*records(200), {"source": f"by Maria Keller, {POISON}", "target": "x"}]
    privacy = EXACT.model_copy(update={"recognizers": (f"{__name__}:Poisoned",), "level": "patterns"})
    clean = scrubbed(write(tmp_path, rows), privacy)
    facts = (clean.path / "scrub.json").read_text()
    assert json.loads(facts)["pairs"] == 200
    assert json.loads(facts)["quarantined"] == {"ValueError in Poisoned": 1}
    (aside,) = (tmp_path / "quarantine").glob("scrub-*/quarantined.parquet")
    assert [row["source"] for row in pq.read_table(aside).to_pylist()] == [f"by Maria Keller, {POISON}"]
    assert POISON not in facts


def test_too_many_poisoned_records_stop_the_run(tmp_path: Path) -> None:
    rows = [*records(20), {"source": POISON, "target": "x"}]
    privacy = EXACT.model_copy(update={"recognizers": (f"{__name__}:Poisoned",), "level": "patterns"})
    with pytest.raises(
        UserError, match=r"privacy.quarantined: 4.8% of 21 pairs cannot be scrubbed \(ValueError in Poisoned 1\)"
    ):
        scrubbed(write(tmp_path, rows), privacy)
    assert not list((tmp_path / "out").glob("clean-*"))


def test_the_vault_gives_the_original_bytes_and_the_log_knows_who_was_there(tmp_path: Path) -> None:
    rows = list(records(120))
    clean = scrubbed(write(tmp_path, rows), EXACT.model_copy(update={"vault": True, "level": "patterns"}))
    (vault,) = (tmp_path / "quarantine").glob("scrub-*/vault.parquet")
    restored = {tuple(original.texts) for original in Vault(KEYS.vault or b"").restore(clean.path / "pairs.parquet", vault)}
    assert restored == {(row["source"], row["target"]) for row in rows}
    (found,) = trail.look_up(clean.path / "trail.parquet", KEYS.trail, "maria0@example.org")
    assert (found.side, found.entity, found.placeholder) == ("source", "EMAIL_ADDRESS", "<EMAIL_ADDRESS_1>")
    assert trail.look_up(clean.path / "trail.parquet", KEYS.trail, "nobody@example.org") == []


def test_a_tagger_that_fails_its_gate_is_not_used(tmp_path: Path) -> None:
    nobody = [{"source": f"ticket {n}: the disk of host {n} is full", "target": f"disk full, {n}"} for n in range(60)]
    clean = scrubbed(write(tmp_path, nobody), EXACT.model_copy(update={"level": "fast"}))
    facts = json.loads((clean.path / "scrub.json").read_text())
    assert facts["level"] == json.loads((clean.path / "policy" / "privacy.json").read_text())["level"] == "exact"
    assert "real names" in facts["instead_of_fast"][0]
    assert not list(clean.path.glob("policy/tagger-*"))


def test_a_vault_without_a_key_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, list(records(3)))
    data = Data.model_validate({"source": {"kind": "files", "paths": ["pairs.jsonl"]}})
    raw = sources.ingest(data, folder, folder / "cache", folder / "quarantine")
    with pytest.raises(UserError, match="SEQLINE_VAULT_KEY"):
        scrub(raw, EXACT.model_copy(update={"vault": True}), folder, folder, Keys(b"k"))
