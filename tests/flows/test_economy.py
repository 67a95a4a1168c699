"""`seqline sweep` and `seqline distil` as a user runs them, on a version that a retrain registered."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from flows.commands.sweep import changed
from flows.zombies import bury_servers
from pipelines.spec import load
from tests.flows.project import Project

TINY = "models/tiny.yaml"
NOW = "decoding: {max_tokens: 12}"
SLOW = "decoding: {beam: 4, max_tokens: 12}  # as many as it takes"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("project"))
    spec = made.folder / TINY
    spec.write_text(
        spec.read_text().replace(NOW, SLOW).replace("validation: 20", "validation: 40")
        + "sweep: {beams: [1, 2], length_penalties: [1.0], floor: 100, rounds: 1}\n"
    )
    done = made.seqline("retrain", TINY)
    assert done.code == 0, done.err
    yield made
    bury_servers(made.settings.workspace / "prefect")


def test_a_sweep_chooses_the_cheapest_above_the_floor(project: Project) -> None:
    found = project.json("sweep", "tiny")
    rows, chosen = found["points"], found["points"][found["chosen"]]
    assert (found["version"], found["n"], found["test"]["n"], found["written"]) == ("1", 40, 60, False)
    assert rows[found["now"]]["name"] == "int8, beam 4, penalty 1"
    assert chosen["cpu_ms"] == min(row["cpu_ms"] for row in rows), "all are above a floor of 100 points"
    assert all(row["quality"]["interval"][0] <= row["quality"]["value"] <= row["quality"]["interval"][1] for row in rows)
    assert {row["quantisation"] for row in rows} == {"int8", "bfloat16", "float16", "float32"}
    folder = Path(found["folder"])
    assert {path.name for path in folder.iterdir()} == {"sweep.json", "report.md", "frontier.png", "manifest.json"}
    report = (folder / "report.md").read_text()
    assert "**chosen**" in report
    assert "on the 60 test pairs, which chose nothing: " in report
    assert found["test"]["difference"]["verdict"] in ("better", "not worse"), "within a floor of 100 points"
    assert project.json("sweep", "tiny@1") == found, "made once"


def test_quantisation_alone_is_a_table_of_four(project: Project) -> None:
    done = project.seqline("sweep", "tiny", "--quantisation-only")
    assert done.code == 0, done.err
    assert done.err == ""
    table = [line.split("|")[1].strip() for line in done.out.splitlines() if line.startswith("|")]
    assert table == ["weights", "---", "int8", "bfloat16", "float16", "float32"]


def test_the_choice_is_written_into_the_yaml_and_read_by_the_next_retrain(project: Project) -> None:
    path = project.folder / TINY
    before = path.read_text()
    found = project.json("sweep", "tiny", "--write")
    chosen, after = found["points"][found["chosen"]], load(path)
    assert found["written"]
    assert (after.serving.decoding.beam, after.serving.quantisation) == (chosen["beam"], chosen["quantisation"])
    assert "# as many as it takes" in path.read_text()
    again = project.seqline("sweep", "tiny")
    path.write_text(before)
    assert again.code == 0, again.err


def test_a_student_learns_from_the_teachers_answers(project: Project) -> None:
    small = project.folder / "models" / "small.yaml"
    text = (project.folder / TINY).read_text()
    small.write_text(text.replace("name: tiny", "name: small").replace("width: 32", "width: 16"))
    found = project.json("distil", str(small), "--teacher", "tiny@1", "--beside")
    teacher, taught, real = found["rows"]
    assert teacher["parameters"] > taught["parameters"] == real["parameters"]
    assert teacher["bytes"] > taught["bytes"]
    assert set(taught["against"]) == {teacher["name"], real["name"]}
    work = project.folder / ".seqline" / "work" / "small"
    told = json.loads(next(work.glob("taught-*/dataset.json")).read_text())["taught"]
    assert told["pairs"] == pq.read_table(next(work.glob("taught-*/train.parquet"))).num_rows
    with safe_open(Path(taught["export"]) / "hf" / "model.safetensors", "np") as weights:
        assert weights.get_slice("model.shared.weight").get_shape()[1] == 16
    assert "this model" in Path(taught["report"]).read_text()
    again = project.seqline("distil", str(small), "--teacher", "tiny", "--beside")
    assert again.code == 0, again.err
    assert "the teacher's answers instead of real targets" in again.out
    assert [each.version for each in [project.registry.champion("tiny")] if each] == ["1"], "the registry is not touched"


def test_mistakes_are_one_line(project: Project) -> None:
    other = project.folder / "models" / "other.yaml"
    other.write_text(
        (project.folder / TINY).read_text().replace("name: tiny", "name: other").replace("validation: 40", "validation: 41")
    )
    wrong = {
        ("distil", str(other), "--teacher", "tiny"): "data: must be as in tiny version 1, whose pairs the student learns from",
        ("distil", TINY, "--teacher", "tiny@canary"): "tiny: no version has the alias 'canary'",
        ("sweep", "nobody"): "nobody: no YAML in models/ has this name",
    }
    for command, line in wrong.items():
        done = project.seqline(*command)
        assert done.code == 2, done.err
        assert done.err.startswith(f"seqline: {line}")
        assert done.err.count("\n") == 1


def test_mistakes_are_told_before_anything_is_read(tmp_path: Path) -> None:
    made = Project(tmp_path)
    untaught = made.seqline("distil", TINY)
    (made.folder / TINY).rename(made.settings.folder("work", "tiny") / "spec.yaml")
    nowhere = made.seqline("sweep", "tiny", "--write")
    for done, line in (
        (untaught, f"{TINY}: teacher: must be given, there or by --teacher"),
        (nowhere, "tiny: no YAML in models/ has this name, so there is none to write the choice into"),
    ):
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert done.err.startswith(f"seqline: {line}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "name: a\nserving:\n  port: 1  # here\n\nslo: {}\n",
            "name: a\nserving:\n  quantisation: float32\n  port: 1  # here\n\nslo: {}\n",
        ),
        ("name: a\n", "name: a\nserving:\n  quantisation: float32\n"),
    ],
)
def test_yaml_keeps_its_comments_and_blank_lines(text: str, expected: str) -> None:
    assert changed(text, {"quantisation": "float32"}) == expected


def test_a_decoding_that_is_not_there_is_made() -> None:
    text = changed("serving: {port: 1}\n", {"decoding.beam": 3, "decoding.length_penalty": 0.6})
    assert "decoding: {length_penalty: 0.6, beam: 3}" in text
