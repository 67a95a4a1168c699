"""The hub's reader on a local folder; the hub itself is not in reach, which must be told in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import sources
from pipelines.artifact import Raw
from pipelines.errors import UserError
from pipelines.spec import Data, HubSource

PAIRS = [("Good morning", "Guten Morgen"), ("NA", "null"), ("7", "sieben")]


def data(**keys: str) -> Data:
    return Data(source=HubSource(kind="hub", dataset="mine", **keys))


def ingest(base: Path, wanted: Data) -> Raw:
    return sources.ingest(wanted, base, base / "cache", base / "quarantine")


def pairs(raw: Raw) -> list[tuple[str, str]]:
    return sorted((row["source"], row["target"]) for row in pq.read_table(raw.path / "pairs.parquet").to_pylist())


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_a_local_folder(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / f"train.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"source": [s for s, _ in PAIRS], "target": [t for _, t in PAIRS]}), path)
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in PAIRS))
    else:
        path.write_text("source,target\n" + "".join(f"{s},{t}\n" for s, t in PAIRS))
    raw = ingest(tmp_path, data())
    assert pairs(raw) == sorted(PAIRS)
    assert json.loads((raw.path / "facts.json").read_text())["inputs"].keys() == {f"mine/train.{suffix}"}
    before = sources.fingerprint(data(), tmp_path, tmp_path / "cache")
    path.write_bytes(path.read_bytes() + b"\n")
    assert sources.fingerprint(data(), tmp_path, tmp_path / "cache") != before


def test_a_dot_enters_a_column_of_dicts(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    lines = [json.dumps({"translation": {"en": s, "de": t}}) for s, t in PAIRS]
    (tmp_path / "mine/train.jsonl").write_text("\n".join(lines))
    assert pairs(ingest(tmp_path, data(source="translation.en", target="translation.de"))) == sorted(PAIRS)
    with pytest.raises(UserError, match=r"no column `translation.fr` \(there are: `en`, `de`\)"):
        ingest(tmp_path, data(source="translation.en", target="translation.fr"))


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/train.jsonl").write_text(json.dumps({"source": "a", "target": "b"}))
    with pytest.raises(UserError, match="mine has no split `dev`"):
        ingest(tmp_path, data(split="dev"))


def test_a_broken_file_is_told_without_its_text(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/train.jsonl").write_text('{"source": "Nina Example", "target": "b"}\nNina Example\n')
    with pytest.raises(UserError, match="cannot read it") as caught:
        ingest(tmp_path, data())
    assert "Nina" not in str(caught.value)


def test_no_hub_and_nothing_outside_the_quarantine(tmp_path: Path) -> None:
    """In a process of its own, for the hub's address is read at import: a port that refuses."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/train.jsonl").write_text(json.dumps({"source": "Nina Example", "target": "b"}))
    script = """
from pathlib import Path
from pipelines import sources
from pipelines.errors import Transient
from pipelines.spec import Data, HubSource
here = Path()
sources.ingest(Data(source=HubSource(kind="hub", dataset="mine")), here, here / "q/_cache", here / "q")
try:
    sources.fingerprint(Data(source=HubSource(kind="hub", dataset="someone/pairs")), here, here / "q/_cache")
except Transient as error:
    print(error)
"""
    home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": "http://127.0.0.1:9"}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, **home, "PYTHONPATH": str(Path(sources.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "someone/pairs: no such folder beside the spec, and the hub does not answer" in ran.stdout
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(tmp_path / "q")]
    assert [path.name for path in outside if b"Nina" in path.read_bytes()] == ["train.jsonl"]
