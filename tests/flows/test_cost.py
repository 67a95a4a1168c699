"""`seqline cost NAME`: retrains out of a real Prefect, traces out of a real MLflow, what the command and `seqline status` say.

What a gateway counted is tested beside a real gateway and a real Prometheus: tests/infra/test_live.py.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.commands import cost
from flows.settings import Settings
from pipelines.monitoring.cost import Month, Prices, Retrain
from pipelines.registry.decoded import Decoded, Decodings
from pipelines.registry.traces import Sampled, Traces
from pipelines.spec import load
from tests.flows.project import ROOT
from tests.serving.site import until

SPEC = """
name: tiny
data:
  source: {kind: files, paths: [pairs.csv]}
serving:
  port: 9
  cost: {per_engine_hour: 0.5, per_training_hour: 36.0, budget_per_month: 0.000001}
"""
RUNS = """
import json, time
from contextlib import suppress
from pathlib import Path
from flows.settings import Settings, spec_of
settings = Settings().apply()
from prefect import flow, task
from flows.commands import cost
from flows.stack.prefect_server import served
from pipelines.registry import Registry
from tests.registry.conftest import KEY, make

@task
def train():
    time.sleep(0.2)

@task
def register():
    return Registry(settings.mlflow, settings.artifacts).register("tiny", make(Path("made")), KEY).version

@flow
def retrain(spec, worth=True):
    train()
    if not worth:
        raise ValueError("the gate is closed")
    return register()

with served(settings):
    retrain("models/tiny.yaml")
    with suppress(ValueError):
        retrain("models/tiny.yaml", worth=False)
    with suppress(ValueError):
        retrain("models/other.yaml", worth=False)
    print(json.dumps(cost.look(spec_of("tiny", settings), settings, time.time(), prometheus="http://127.0.0.1:9")))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "tiny.yaml").write_text(SPEC)
    return tmp_path


def settings_of(project: Path) -> Settings:
    return Settings.model_validate({"SEQLINE_PROJECT": project, "SEQLINE_HOME": project / ".seqline"})


def run(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**settings_of(project).environment(), "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(project / "prefect")}
    return subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )


def test_each_retrain_has_its_version_its_seconds_and_its_price(project: Path) -> None:
    ran = run(project, "-c", RUNS)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    made, refused = found["retrains"]
    assert [made["version"], refused["version"]] == ["1", None]
    assert made["seconds"] > refused["seconds"] >= 0.2
    for each in (made, refused):
        assert each["cost"] == pytest.approx(each["seconds"] * 36.0 / 3600)
    assert found["versions"] == []
    assert found["source"].startswith("nobody")
    assert json.loads((project / ".seqline" / "cost" / "tiny.json").read_text()) == found
    shown = run(project, "-m", "flows.cli", "status", "tiny")
    assert "OVER the budget of 0.00" in shown.stdout, shown.stderr
    assert json.loads(run(project, "-m", "flows.cli", "status", "tiny", "--json").stdout)["cost"] == found


def sampled(number: int, **more: object) -> Sampled:
    given = {"key": f"{number}", "request": f"{number}", "source": "a", "output": "b", "at": time.time(), "seconds": 0.1}
    tags = {"seqline.version": "2"}
    attributes = {
        "seqline.beam": 4,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.usage.input_tokens": 70,
        "gen_ai.usage.output_tokens": number,
    }
    told = {"reason": "random", "weight": 20.0, "tokens_in": 70, "tokens_out": number}
    return Sampled(**{**given, **told, "tags": tags, "attributes": {**attributes, **more}})  # type: ignore[arg-type]


def test_a_trace_says_how_its_answer_was_decoded(project: Path) -> None:
    settings = settings_of(project)
    began = time.time() - 60
    decodings = Decodings(settings.mlflow, settings.artifacts)
    assert decodings.sampled("tiny", began) == []
    traces = Traces(settings.mlflow, "tiny", settings.artifacts)
    traces.write(sampled(5))
    traces.write(sampled(6, **{"gen_ai.request.temperature": 0.7}))
    found = until(lambda: len(rows := decodings.sampled("tiny", began)) == 2 and rows)
    assert sorted(found, key=lambda row: row.tokens_out) == [Decoded("2", 4, 20.0, 70, 5), Decoded("2", None, 20.0, 70, 6)]
    assert len(decodings.sampled("tiny", began, most=1)) == 1
    assert decodings.sampled("tiny", time.time() + 60) == []
    shutil.rmtree(project / ".seqline")


def test_what_is_told_a_person(project: Path) -> None:
    settings = settings_of(project)
    assert (cost.last("tiny", settings), cost.summary("tiny", settings, 0.0)) == (None, [])
    prices = cost.prices_of(load(project / "models" / "tiny.yaml"))
    assert prices == Prices("EUR", 0.5, 36.0, {})
    trained = [Retrain("3", 1_000.0, 90.0, 0.9), Retrain(None, 2_000.0, 40.0, 0.4)]
    content = cost.plain("tiny", 3_600.0, prices, [], trained, Month(1.5, 4.5, 9.0, (3.0, 6.0)))
    cost.keep("tiny", {**content, "source": "a test", "days": 7.0}, settings)
    (line,) = cost.summary("tiny", settings, 7_200.0)
    assert line == "month: 1.50 EUR spent, forecast 4.50 [3.00, 6.00], within the budget of 9.00 (looked at 1.0 h ago)"
    shown = cost.lines(cost.last("tiny", settings) or {})
    assert shown[1:3] == [
        "retrain 1970-01-01 00:16  version 3          90 s  0.9 EUR",
        "retrain 1970-01-01 00:33  no version         40 s  0.4 EUR",
    ]
    (settings.workspace / "cost" / "tiny.json").write_text("{")
    assert cost.summary("tiny", settings, 0.0) == []
    (settings.workspace / "cost" / "tiny.json").write_text('{"at": 3, "month": 7}')
    assert cost.summary("tiny", settings, 0.0) == [
        "cost/tiny.json says nothing that can be read: `seqline cost tiny` writes it anew"
    ]
