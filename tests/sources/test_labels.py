"""Labels: a trace in a real MLflow on SQLite, an expectation attached to it, and the pair read back."""

import json
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Expectation
from mlflow.tracing.client import TracingClient

from pipelines import sources
from pipelines.errors import GateClosed, UserError
from pipelines.registry import Registry
from pipelines.registry.traces import Sampled, Traces
from pipelines.sources import labels
from pipelines.spec import Data, FilesSource, LabelsSource

# MLflow logs, and drops, a trace whose export warns of anything
pytestmark = pytest.mark.filterwarnings("default")
LABELS = LabelsSource(kind="labels", model="tickets")


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    monkeypatch.chdir(tmp_path)  # an experiment's folder for files is relative to it
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    Registry(uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # set_tracking_uri would outlive this test
    return uri


def trace(text: object, expected: str | None) -> str:
    client = MlflowClient()
    found = client.get_experiment_by_name("tickets")
    experiment = found.experiment_id if found else client.create_experiment("tickets")
    span = client.start_trace("answer", inputs=text, experiment_id=experiment)
    client.end_trace(span.trace_id, outputs={"answer": "what the model said"})
    if expected is not None:
        source = AssessmentSource("HUMAN", "ann")
        mlflow.log_expectation(trace_id=span.trace_id, name="expected_response", value=expected, source=source)
    return str(span.trace_id)


def test_a_label_is_read_back(tmp_path: Path, uri: str) -> None:
    (tmp_path / "a.csv").write_text("source,target\nalpha,one\n")
    data = Data(source=FilesSource(kind="files", paths=("a.csv",)), extra=(LABELS,))
    before = sources.fingerprint(data, tmp_path, tmp_path / "cache", {"MLFLOW": uri})
    first = trace({"text": "why?"}, "because")
    trace({"text": "nobody has looked at this"}, None)
    trace({"text": "x" * 3_000}, "a long one")
    assert sources.fingerprint(data, tmp_path, tmp_path / "cache", {"MLFLOW": uri}) != before
    raw = sources.ingest(data, tmp_path, tmp_path / "cache", tmp_path / "quarantine", {"MLFLOW": uri})
    found = {(row["source"], row["target"]) for row in pq.read_table(raw.path / "pairs.parquet").to_pylist()}
    assert found == {("alpha", "one"), ("why?", "because"), ("x" * 3_000, "a long one")}
    mlflow.log_expectation(
        trace_id=first, name="expected_response", value="on second thoughts", source=AssessmentSource("HUMAN", "bo")
    )
    raw = sources.ingest(data, tmp_path, tmp_path / "cache", tmp_path / "quarantine", {"MLFLOW": uri})
    assert ("why?", "on second thoughts") in {
        (row["source"], row["target"]) for row in pq.read_table(raw.path / "pairs.parquet").to_pylist()
    }


def test_no_registry_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI"):
        sources.fingerprint(Data(source=LABELS), tmp_path, tmp_path)


def corrected(uri: str, source: str, answer: str, expected: str | None, who: str = "ann") -> str:
    """A trace as seqline's own review writes it (MLflow's way keeps to the first database that a process wrote to)."""
    key = f"{source}{answer}{expected}"
    written = Sampled(key, key, source, answer, at=1.0, seconds=0.1, reason="random", weight=1.0, tokens_in=1, tokens_out=1)
    Traces(uri, "tickets").write(written)
    if expected is not None:
        said = Expectation(name="expected_response", value=expected, source=AssessmentSource("HUMAN", who))
        TracingClient(uri).log_assessment(written.trace, said)
    return written.trace


def test_a_correction_is_preferred_to_what_the_model_said(uri: str) -> None:
    assert labels.preferred("tickets", {"MLFLOW": uri}) == [], "there is no such experiment yet"
    corrected(uri, "why?", "so", "because")
    corrected(uri, "how?", "thus", " thus ")
    corrected(uri, "when?", "then", "  ")
    corrected(uri, "nobody has looked at this", "so", None)
    assert labels.preferred("tickets", {"MLFLOW": uri}) == [("why?", "because", "so")]


def stanzas(count: int) -> list[tuple[str, str]]:
    uses = ("images", "sound", "maps", "letters", "clocks", "music", "tables", "mail")
    return [
        (f"Package: tool-{number}\nDescription: a tool that edits {uses[number % 8]} and {uses[number // 8 % 8]}",
         f"editor of {uses[number % 8]} and {uses[number // 8 % 8]} ({number})")
        for number in range(count)
    ]  # fmt: skip


def screening(tmp_path: Path) -> tuple[Data, list[tuple[str, str]]]:
    """A source of 300 pairs with people's corrections beside it, and what was asked besides."""
    pairs, asked = stanzas(300), stanzas(340)[300:]
    rows = "".join(json.dumps({"source": source, "target": target}) + "\n" for source, target in pairs)
    (tmp_path / "a.jsonl").write_text(rows)
    return Data(source=FilesSource(kind="files", paths=("a.jsonl",)), extra=(LABELS,)), asked


def test_lies_are_set_aside_and_counted(tmp_path: Path, uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    data, asked = screening(tmp_path)
    lies = [corrected(uri, source, "so", "cheap pills", who="Mallory") for source, _ in asked[:10]]
    for source, target in asked[10:]:
        corrected(uri, source, "so", target)
    raw = sources.ingest(data, tmp_path, tmp_path / "cache", tmp_path / "quarantine", {"MLFLOW": uri})
    facts = json.loads((raw.path / "facts.json").read_text())
    assert sum(facts["dropped"].values()) == 10
    assert facts["rows_by_input"] == {"a.jsonl": 300, "labels:tickets": 30}
    targets = pq.read_table(raw.path / "pairs.parquet")["target"].to_pylist()
    assert "cheap pills" not in targets
    assert len(targets) == 330
    assert "labels:tickets: 10 of 40 corrections set aside (10 " in capsys.readouterr().err
    (aside,) = (tmp_path / "quarantine").glob("aside-*.jsonl")
    assert sorted(json.loads(line)["trace"] for line in aside.read_text().splitlines()) == sorted(lies)
    assert "pills" not in aside.read_text()
    assert aside.stat().st_mode & 0o777 == 0o600
    preferred = labels.preferred("tickets", {"MLFLOW": uri}, raw)
    assert len(preferred) == 30
    assert len(labels.preferred("tickets", {"MLFLOW": uri})) == 40, "what there is, for the key of a retrain"


def test_a_batch_of_lies_stops_the_run_unless_somebody_vouches_for_it(tmp_path: Path, uri: str) -> None:
    data, asked = screening(tmp_path)
    for source, _ in asked[:30]:
        corrected(uri, source, "so", "cheap pills")
    with pytest.raises(GateClosed, match=r"^labels:tickets: 30 of 30 corrections set aside: nothing is learnt") as closed:
        sources.ingest(data, tmp_path, tmp_path / "cache", tmp_path / "quarantine", {"MLFLOW": uri})
    assert closed.value.reasons[0].startswith("30 ")
    assert "say `screened: false` in data.extra" in closed.value.reasons[-1]
    vouched = data.model_copy(update={"extra": (LABELS.model_copy(update={"screened": False}),)})
    raw = sources.ingest(vouched, tmp_path, tmp_path / "cache", tmp_path / "quarantine", {"MLFLOW": uri})
    assert pq.read_metadata(raw.path / "pairs.parquet").num_rows == 330


def test_preferences_without_a_registry_name_what_to_set() -> None:
    with pytest.raises(UserError, match=r"^preferences: labels need a registry: set MLFLOW_TRACKING_URI"):
        labels.preferred("tickets", {})
