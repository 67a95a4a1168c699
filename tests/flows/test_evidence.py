"""The command that fits the judge `evidence`: what it writes, and that a part which is not named stays."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from flows.commands.evidence import main
from pipelines.scoring.judge.shipped import FILE, Shipped
from tests.scoring.judge.test_shipped import pairs


@pytest.fixture
def ports(tmp_path: Path) -> Path:
    sources, targets = pairs(240)
    for name, part in (("train", slice(0, 120)), ("test", slice(120, 240))):
        parquet.write_table(pa.table({"source": sources[part], "target": targets[part]}), tmp_path / f"{name}.parquet")
    return tmp_path


def test_one_task_anew_and_the_other_as_it_was(ports: Path) -> None:
    before = json.loads(FILE.read_text(encoding="utf-8"))
    out = ports / "evidence.json"
    out.write_text(json.dumps(before), encoding="utf-8")
    asked = ["--summaries", f"ports={ports}", "--train", "120", "--test", "120", "--out", str(out)]
    main(asked)
    once = out.read_bytes()
    main(asked)
    assert out.read_bytes() == once
    after = json.loads(once)
    assert after["made"]["summarization"]["on"] == "ports"
    assert set(after["domains"]) == {"ports", before["made"]["translation"]["on"]}
    for key in ("made", "heads"):
        assert after[key]["translation"] == before[key]["translation"]
    assert after["heads"]["summarization"] != before["heads"]["summarization"]
    assert Shipped(after, threshold=0.5, domain="ports").frozen
    left_out = after["domains"]["ports"]["left_out"]
    assert {"entity", "unrelated", "looped"} <= set(left_out)
    assert all(found["low"] <= found["value"] <= found["high"] for found in left_out.values())


def test_one_task_alone_needs_a_file_that_has_the_other(ports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for asked in ([], ["--summaries", f"ports={ports}"]):
        with pytest.raises(SystemExit):
            main([*asked, "--out", str(ports / "none.json")])
        assert "give both" in capsys.readouterr().err
