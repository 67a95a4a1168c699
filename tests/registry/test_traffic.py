"""Sampled answers read back from a real MLflow as an even sample of the traffic."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import artifact
from pipelines.errors import SeqlineError
from pipelines.registry import Registry, traffic
from pipelines.registry.traces import Sampled, Traces
from pipelines.registry.traffic import DAY, Traffic, unit
from tests.registry.conftest import KEY, Make

NOON = 20_000.5 * DAY


def answered(number: int, at: float, reason: str = "random", weight: float = 10.0, version: str = "3") -> Sampled:
    source, output = f"source {number}", f"output {number}"
    tags = {"seqline.version": version}
    return Sampled(f"r{number}", f"r{number}", source, output, at, 0.0, reason, weight, 7, 3, tags)


def test_it_reads_what_came_in_the_time_asked_for_oldest_first(registry: Registry) -> None:
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for number, hours in enumerate((3, 1, 2, -1, 4)):
        traces.write(answered(number, NOON + 3_600 * hours, version=str(number)))
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 4 * 3_600, 0.1)
    assert [(each.source, each.output, each.version) for each in found] == [
        (f"source {number}", f"output {number}", str(number)) for number in (1, 2, 0)
    ]
    assert found[0].at == NOON + 3_600


def test_a_model_without_traces_has_no_traffic(registry: Registry) -> None:
    assert Traffic(registry.uri, registry.artifacts).sampled("nobody", 0.0, NOON, 1.0) == []


def test_what_was_picked_out_counts_no_more_than_the_rest(registry: Registry) -> None:
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    picked = [answered(number, NOON + number, "filter", 1.0) for number in range(40)]
    for each in picked:
        traces.write(each)
    traces.write(answered(99, NOON + 99))
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 100, 0.1)
    let_in = [each.source for each in picked if unit(each.trace) < 0.1]
    assert [each.source for each in found] == [*let_in, "source 99"]
    assert 0 < len(let_in) < 12


def test_a_day_has_its_bound_and_long_texts_their_heads(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "DAILY", 2)
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for number in range(6):
        long = replace(answered(number, NOON + number * DAY / 4), source=f"{number} " + "x" * 5_000)
        traces.write(long)
    found = Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 2 * DAY, 1.0)
    assert [each.source[:2] for each in found] == ["0 ", "1 ", "2 ", "3 "]
    assert {len(each.source) for each in found} == {1_000}


def test_pages_are_read_to_the_last(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "PAGE", 2)
    traces = Traces(registry.uri, "tiny", registry.artifacts)
    for number in range(5):
        traces.write(answered(number, NOON + number))
    assert len(Traffic(registry.uri, registry.artifacts).sampled("tiny", NOON, NOON + 9, 1.0)) == 5


def test_a_versions_outputs_come_back_or_are_said_to_be_missing(registry: Registry, candidate: Make, tmp_path: Path) -> None:
    made = candidate()
    bare = registry.register("tiny", made, KEY)
    with pytest.raises(SeqlineError, match=r"tiny version 1: report/outputs\.parquet is missing"):
        Traffic(registry.uri, registry.artifacts).outputs(bare)

    def write(folder: Path) -> None:
        for path in made.report.path.iterdir():
            if path.name != artifact.MANIFEST:
                (folder / path.name).write_bytes(path.read_bytes())
        pq.write_table(pa.table({"id": ["a", "b"], "output": ["one", "two"]}), folder / "outputs.parquet")

    report = artifact.make(artifact.Report, tmp_path / "report-with", write)
    whole = registry.register("tiny", replace(made, report=report, key="k2"), KEY)
    assert Traffic(registry.uri, registry.artifacts).outputs(whole) == ["one", "two"]
