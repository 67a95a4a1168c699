"""The table of held-out pairs on a version's run: what it holds, and that a record can be taken out of it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines import artifact
from pipelines.registry import Candidate, Registry, evaluation
from tests.registry.conftest import KEY, make

N = 300
SPAN = {"start": 0, "end": 6, "text": "output", "kind": "word"}


def answered(row: int, champion: bool) -> dict[str, Any]:
    return {
        "id": f"{row:016x}", "output": f"output {row}", "score": row / 4, "logprob": -0.5, "finished": True,
        "probability": 0.9 if row % 50 == 0 else 0.1, "spans": json.dumps([SPAN]),
        "champion": f"champion {row}" if champion else None, "champion_score": row / 8 if champion else None,
    }  # fmt: skip


def with_pairs(base: Path, key: str = "k1", *, champion: bool = True, long: str = "") -> Candidate:
    """A candidate whose report and dataset hold N pairs; the first one's source ends with `long`."""
    made = make(base, key)
    sources = [f"source {row} <PERSON_1>" for row in range(N)]
    sources[0] += long
    pairs = [{"id": f"{row:016x}", "source": sources[row], "target": f"reference {row}"} for row in range(N)]
    told = [answered(row, champion) for row in range(N)]

    def grown(what: artifact.Artifact, name: str, rows: list[dict[str, Any]]) -> Any:
        def write(folder: Path) -> None:
            for path in what.path.iterdir():
                if path.name != artifact.MANIFEST:
                    (folder / path.name).write_bytes(path.read_bytes())
            parquet.write_table(pa.Table.from_pylist(rows), folder / name)

        return artifact.make(type(what), what.path.with_name(f"{what.path.name}-{key}-pairs"), write)

    return replace(made, report=grown(made.report, "outputs.parquet", told), dataset=grown(made.dataset, "test.parquet", pairs))


def rows(registry: Registry, run_id: str) -> list[Mapping[str, Any]]:
    """As MLflow's own client reads the table."""
    found = json.loads(registry.text(run_id, evaluation.FILE) or "{}")
    return [dict(zip(found["columns"], row, strict=True)) for row in found["data"]]


def test_it_holds_the_worst_and_a_sample_that_is_the_same_for_every_version(registry: Registry, tmp_path: Path) -> None:
    first = registry.register("tiny", with_pairs(tmp_path, champion=False), KEY)
    second = registry.register("tiny", with_pairs(tmp_path, "k2"), KEY)
    pairs = rows(registry, second.run_id)
    worst = [row for row in pairs if row["why"] == "worst"]
    assert len(worst) == evaluation.WORST
    assert [int(row["id"], 16) for row in worst[:6]] == [0, 50, 100, 150, 200, 250]  # what the judge doubts, lowest score first
    assert [int(row["id"], 16) for row in worst[6:8]] == [1, 2]
    assert evaluation.SAMPLED - evaluation.WORST <= len(pairs) - len(worst) <= evaluation.SAMPLED
    assert len({row["id"] for row in pairs}) == len(pairs)
    assert worst[1] == {
        "why": "worst", "score": 12.5, "champion_score": 6.25, "gain": 6.25, "probability": 0.9,
        "source": "source 50 <PERSON_1>", "reference": "reference 50", "output": "output 50", "champion": "champion 50",
        "unsupported": "output", "logprob": -0.5, "id": f"{50:016x}",
    }  # fmt: skip
    alone = rows(registry, first.run_id)
    assert [row["id"] for row in alone] == [row["id"] for row in pairs]
    assert {(row["champion"], row["champion_score"], row["gain"]) for row in alone} == {(None, None, None)}
    tag = json.loads(registry.client.get_run(second.run_id).data.tags[evaluation.LOGGED])
    assert tag == [{"path": evaluation.FILE, "type": "table"}]


def test_long_texts_are_cut_and_the_cut_is_told(registry: Registry, tmp_path: Path) -> None:
    made = registry.register("tiny", with_pairs(tmp_path, long=" word" * 1_000), KEY)
    source = rows(registry, made.run_id)[0]["source"]
    assert source.endswith("[3,019 more characters]")
    assert len(source) < evaluation.LONGEST + 40


def test_a_forgotten_record_leaves_every_table_and_the_versions_stay_usable(registry: Registry, tmp_path: Path) -> None:
    made = [registry.register("tiny", with_pairs(tmp_path, key), KEY) for key in ("k1", "k2")]
    other = registry.register("other", with_pairs(tmp_path, "k3"), KEY)
    bare = registry.register("tiny", make(tmp_path, "k4"), KEY)
    registry.client.delete_run(made[0].run_id)  # by a person: its files are still there
    gone, before = f"{50:016x}", len(rows(registry, other.run_id))
    assert registry.forget_pairs("tiny", ["f" * 16]) == []
    assert registry.forget_pairs("tiny", [gone]) == ["tiny-k2", "tiny-k1"]
    for version in made:
        left = rows(registry, version.run_id)
        assert len(left) == before - 1
        assert gone not in {row["id"] for row in left}
    assert registry.forget_pairs("tiny", [gone]) == []
    assert len(rows(registry, other.run_id)) == before
    assert registry.forget_pairs("nobody", [gone]) == []
    for version in (made[1], bare):
        registry.usable("tiny", version.version)


def test_it_is_there_through_a_server_too(server: str, tmp_path: Path) -> None:
    registry = Registry(server)
    made = registry.register("served", with_pairs(tmp_path), KEY)
    assert len(rows(registry, made.run_id)) > evaluation.SAMPLED - 1
    assert registry.forget_pairs("served", [f"{50:016x}"]) == ["served-k1"]
    assert f"{50:016x}" not in {row["id"] for row in rows(registry, made.run_id)}


def test_a_report_without_its_pairs_is_no_version(registry: Registry, tmp_path: Path) -> None:
    made = with_pairs(tmp_path)
    (made.report.path / "outputs.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        registry.register("tiny", made, KEY)
    assert registry.find("tiny", "k1") is None
