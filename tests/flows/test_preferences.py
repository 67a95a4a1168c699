"""What people corrected, and what another model answers, in a retrain as a user runs it: real review, registry and rollout."""

import csv
import json
import signal
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlflow.entities import AssessmentSource, Expectation
from mlflow.tracing.client import TracingClient

from flows.zombies import bury_servers
from pipelines.decode import Decoder
from pipelines.scrub.audit import sweep
from pipelines.spec import Decoding
from tests.flows.project import PEOPLE, Project, address_of, write_pairs
from tests.flows.test_judge import Process, pair

TINY = "models/tiny.yaml"
ROUND = "preferences: {steps: 60, learning_rate: 0.003, drift: 1.0}\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("project"))
    path = made.folder / TINY
    path.write_text(path.read_text() + ROUND)
    yield made
    bury_servers(made.settings.workspace / "prefect")


def work(project: Project, name: str = "tiny") -> Path:
    return project.folder / ".seqline" / "work" / name


def asked(project: Project, count: int) -> list[tuple[str, str, str]]:
    """(input as the gateway passes it on, what the champion answers, what a person would have it say), none of the data's."""
    path = project.folder / "asked.csv"
    write_pairs(path, 330 + count)  # the first 330 are the data's
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))[330:]
    sources = [row["stanza"] for row in rows]
    for person in PEOPLE:
        known = {person: "<PERSON_1>", address_of(person): "<EMAIL_ADDRESS_1>"}
        sources = [reduce(lambda text, one: text.replace(*one), known.items(), source) for source in sources]
    (export,) = work(project).glob("export-*")
    answers = Decoder(export).generate(sources, Decoding(max_tokens=12))
    return [(source, answer.text, row["synopsis"]) for source, answer, row in zip(sources, answers, rows, strict=True)]


def review(project: Project, pairs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Send `pairs` through the review's own process into the project's MLflow."""
    for name, value in {"SEQLINE_PROJECT": project.folder, "SEQLINE_HOME": project.settings.workspace}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", project.settings.mlflow)
    process = Process(["--name", "tiny", "--per-hour", "1000"], project.folder / "review.log", "flows.services.review")
    try:
        assert process.client.post("/pairs", json={"pairs": pairs}).status_code == 202
        process.popen.send_signal(signal.SIGTERM)  # it writes what it has before it ends
        assert process.popen.wait(240) == 0
    finally:
        process.end()


def correct(project: Project, trace: str, expected: str) -> None:
    said = Expectation(name="expected_response", value=expected, source=AssessmentSource("HUMAN", "ann"))
    TracingClient(project.settings.mlflow).log_assessment(trace, said)


def test_without_corrections_the_retrain_goes_on_and_says_so(project: Project) -> None:
    done = project.seqline("retrain", TINY)
    assert done.code == 0, done.err
    assert "preferences: nobody has corrected an answer of tiny yet: no round" in done.out
    assert not list(work(project).glob("preferred-*"))
    champion = project.registry.champion("tiny")
    assert champion is not None
    assert champion.version == "1"


def test_what_people_correct_is_learnt_in_a_round_and_the_version_says_so(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The personal data that a corrector types stays in MLflow, where it was typed, and in the quarantine."""
    offered = asked(project, 80)
    assert sum(answer != target for _, answer, target in offered) > 40, "there is something to correct"
    pairs = [
        pair(f"r{number}", answer, source=source, reason="random", weight=1.0, index=0)
        for number, (source, answer, _) in enumerate(offered)
    ]
    review(project, pairs, monkeypatch)
    client, targets = project.registry.client, {f"r{number}": target for number, (_, _, target) in enumerate(offered)}
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    found = client.search_traces(locations=[experiment.experiment_id], max_results=500)
    traces = {str(each.info.client_request_id): each.info.trace_id for each in found}
    for request, target in targets.items():
        said = f"{target} by {PEOPLE[0]}" if target.startswith("Game") else target
        correct(project, traces[request], said)

    done = project.seqline("retrain", TINY)
    assert done.code == 0, done.err
    assert "corrections held out, the corrected answer was the likelier in" in done.out
    (preferred,) = work(project).glob("preferred-*/training.json")
    told = json.loads(preferred.read_text())["preferences"]
    before, after = told["accuracy"]["before"], told["accuracy"]["after"]
    assert after["value"] > before["value"]
    assert told["learnt_from"] + told["held_out"] > 40
    published = project.folder / "data" / "tiny" / "preferences.parquet"
    rows = pq.read_table(published).to_pylist()
    assert len(rows) == told["learnt_from"] + told["held_out"]
    typed = {row["accepted"][-11:] for row in rows if row["accepted"].startswith("Game")}
    assert typed == {" <PERSON_2>"}, "the maintainer is the first"
    assert sweep([PEOPLE[0]], [work(project), project.folder / "data"]) == []

    metrics = project.registry.client.get_run(project.json("lineage", "tiny@2")["run_id"]).data.metrics
    assert metrics["preferences.accuracy.after"] == after["value"]
    scores = [project.json("lineage", f"tiny@{version}")["scores"]["model"]["rougeL"]["value"] for version in (1, 2)]
    assert scores[1] > scores[0] - 5, "the plain metric does not collapse"


def test_unchanged_corrections_leave_nothing_to_do(project: Project) -> None:
    project.seqline("rollback", "tiny")
    assert project.seqline("rollout", "tiny").code == 0
    done = project.seqline("retrain", TINY)
    assert (done.code, "nothing to do" in done.out) == (0, True), done.err


def test_a_student_is_a_version_like_any_other_with_its_teacher_in_its_lineage(project: Project) -> None:
    small = project.folder / "models" / "small.yaml"
    text = (project.folder / TINY).read_text().replace(ROUND, "")
    small.write_text(text.replace("name: tiny", "name: small\nteacher: tiny@1").replace("width: 32", "width: 16"))
    done = project.seqline("retrain", "models/small.yaml")
    assert done.code == 0, done.err
    found = project.json("lineage", "small")
    assert (found["version"], found["spec"]["teacher"]) == ("1", "tiny@1")
    teacher = project.json("lineage", "tiny@1")
    assert found["teacher"] == {"name": "tiny", "version": "1", "export_sha256": teacher["export_sha256"]}
    assert found["signer"]
    taught = json.loads(next(work(project, "small").glob("taught-*/dataset.json")).read_text())["taught"]
    assert taught["teacher"] == teacher["export_sha256"]
    assert pq.read_table(project.folder / "data" / "small" / "train.parquet").num_rows == taught["pairs"]
    again = project.seqline("retrain", "models/small.yaml")
    assert (again.code, "nothing to do" in again.out) == (0, True)


def test_a_student_on_other_data_is_refused_in_a_line(project: Project) -> None:
    small = project.folder / "models" / "small.yaml"
    small.write_text(small.read_text().replace("validation: 20", "validation: 21"))
    done = project.seqline("retrain", "models/small.yaml")
    assert done.code == 2
    assert done.err.startswith("seqline: data: must be as in tiny version 1")
    assert done.err.count("\n") == 1
