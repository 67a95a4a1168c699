"""A judge as a user makes it: a version like any other, champion when its gate is open, named by `scoring.judge`."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mlflow.entities import AssessmentSource, Expectation
from mlflow.tracing.client import TracingClient

from flows.fetching import fetched
from flows.judging import said_of
from flows.zombies import bury_servers
from pipelines import artifact
from pipelines.artifact import Corrupt, Raw
from pipelines.errors import GateClosed, UserError
from pipelines.registry.traces import Traces
from pipelines.scoring.judge import open_judge
from tests.flows.project import PEOPLE, Project
from tests.registry.test_queues import ONE, TWO, answer, sampled
from tests.registry.test_traces import SAMPLED

JUDGE = """
kind: judge
name: judge
corpora: [tiny.yaml]
licence: Apache-2.0
encoder: none
corruptions: {train: 20, validation: 100, test: 40, held_out: [neighbour]}
gate: {auroc: GATE, brier: 0.9, margin: 0.5}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("project"))
    (made.folder / "models" / "judge.yaml").write_text(JUDGE.replace("GATE", "0.55"))
    yield made
    bury_servers(made.settings.workspace / "prefect")


@pytest.fixture(scope="module")
def version(project: Project) -> str:
    return str(project.json("retrain", "models/judge.yaml")["version"])


def test_a_registered_judge_with_its_card(project: Project, version: str) -> None:
    champion = project.registry.champion("judge")
    assert champion
    assert champion.version == version
    lineage = project.registry.lineage("judge")
    assert lineage["gate"]["passed"]
    assert lineage["scores"]["gated"] == ["neighbour"]
    assert lineage["data_dvc"].startswith("outs:")
    assert list(lineage["privacy"]["corpora"]) == ["tiny"]
    card = project.registry.text(champion.run_id, "model/README.md")
    assert card
    assert "Never shown before the test: neighbour." in card
    assert "| auroc.tiny |" in card
    assert (project.folder / "data" / "judge" / "train.parquet").is_file()
    assert not project.personal_values_left()


def test_a_spec_names_it_by_its_alias(project: Project, version: str) -> None:
    def fetch(reference: str) -> Path:
        return fetched(reference, project.settings)

    judge = open_judge("judge@champion", threshold=0.9, domain="tiny", fetch=fetch)
    assert judge.name.startswith("judge@champion sha256:")
    assert judge.threshold != 0.9
    source = "Package: game-maps-1\nDescription: a game that handles maps and sound"
    good, bad = judge.judge([source, source], ["Game for maps and sound", f"Server for clocks by {PEOPLE[0]}"])
    assert good.probability < bad.probability
    assert open_judge(f"judge@{version}", threshold=0.9, domain="tiny", fetch=fetch).judge([source], ["Game"])
    with pytest.raises(UserError, match="no version has this alias"):
        fetch("judge@winner")


def test_a_changed_byte_is_fetched_anew_or_refused(project: Project, version: str) -> None:
    folder = fetched(f"judge@{version}", project.settings)
    path = folder / "judge.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"prevalence", b"prevalance"))
    with pytest.raises(Corrupt, match=r"judge\.json"):
        open_judge(str(folder), threshold=0.5)
    assert fetched(f"judge@{version}", project.settings).joinpath("judge.json").read_bytes() == whole


def test_mlflow_loads_it(project: Project, version: str) -> None:
    import pandas as pd

    found = project.registry.version("judge", version)
    local = project.registry.client.download_artifacts(found.run_id, "model")
    table = pd.DataFrame({"source": ["a game for maps"], "output": ["Server for clocks"], "domain": ["tiny"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about the type hints of its own classes
        from mlflow import pyfunc

        (probability,) = pyfunc.load_model(local).predict(table)["probability"]
    folder = fetched(f"judge@{version}", project.settings)
    (verdict,) = open_judge(str(folder), threshold=0.5, domain="tiny").judge(["a game for maps"], ["Server for clocks"])
    assert probability == verdict.probability


def test_other_commands_name_the_mistake(project: Project) -> None:
    done = project.seqline("pretrain", "models/judge.yaml")
    assert done.code == 2
    assert done.err.startswith("seqline: models/judge.yaml: kind: must be base")
    (project.folder / "models" / "bad.yaml").write_text(JUDGE.replace("neighbour", "sarcasm").replace("GATE", "0.9"))
    done = project.seqline("retrain", "models/bad.yaml")
    assert done.code == 2
    assert "corruptions.held_out" in done.err
    assert done.err.count("\n") == 1
    scores = next((project.folder / ".seqline" / "work" / "judge").glob("report-*/scores.json"))
    assert json.loads(scores.read_text())["metric"] == "auroc"


def test_what_people_said_and_typed(project: Project, version: str) -> None:
    assert version
    settings = project.settings
    policy, raw = policy_and_raw(project)
    assert said_of("tiny", policy, raw, settings) == ()
    sampled(settings.mlflow, "tiny", settings.artifacts)
    typed = {ONE.trace: f"ask {PEOPLE[0]}, reachable at someone@somewhere.org", TWO.trace: "a better answer"}
    for trace, correction in typed.items():
        answer(settings.mlflow, trace, "unsupported")
        said = Expectation(name="expected_response", value=correction, source=AssessmentSource("HUMAN", "ann"))
        TracingClient(settings.mlflow).log_assessment(trace, said)
    found = {each.id: each for each in said_of("tiny", policy, raw, settings)}
    assert found.keys() == typed.keys()
    assert not any(each.supported for each in found.values())
    assert [found[trace].corrected for trace in typed] == ["", "a better answer"], "what names somebody is no lesson"


def test_a_batch_of_lies_teaches_no_judge(project: Project, version: str) -> None:
    assert version
    settings = project.settings
    policy, raw = policy_and_raw(project)
    asked = pq.read_table(raw.path / "pairs.parquet")["source"].to_pylist()[:60]
    traces = Traces(settings.mlflow, "tiny", settings.artifacts)
    for number, source in enumerate(asked):
        one = replace(SAMPLED, key=f"lie{number}.3.0", request=f"lie{number}", source=source, output="no answer")
        traces.write(one)
        answer(settings.mlflow, one.trace, "unsupported", "mallory")
        lie = Expectation(
            name="expected_response", value="cheap pills from a friend", source=AssessmentSource("HUMAN", "mallory")
        )
        TracingClient(settings.mlflow).log_assessment(one.trace, lie)
    with pytest.raises(GateClosed, match=r"corrections of tiny: 60 of \d+ corrections set aside") as closed:
        said_of("tiny", policy, raw, settings)
    assert "`screened: false` in the judge's YAML" in " ".join(closed.value.reasons)
    assert sum(each.corrected.startswith("cheap") for each in said_of("tiny", policy, None, settings)) == 60


def policy_and_raw(project: Project) -> tuple[Path, Raw]:
    """What the corpus was scrubbed by, and its raw pairs."""
    (policy,) = (project.folder / ".seqline" / "work" / "tiny").glob("clean-*/policy")
    (raw,) = project.settings.quarantine("tiny").glob("raw-*")
    return policy, Raw(raw, artifact.verify(raw))
