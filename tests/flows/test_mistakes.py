"""What a user's mistake, a full disk or a dead server look like: one clear line, the right exit code, nothing half-made."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.project import Project, write_pairs

TINY = "models/tiny.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def refused(project: Project, said: str, code: int = 2, **environment: str) -> None:
    ran = project.seqline("retrain", TINY, **environment)
    assert ran.code == code, ran.err
    lines = ran.err.strip().splitlines()
    assert len(lines) == 1, ran.err
    assert said in lines[0], lines[0]
    assert "Traceback" not in ran.out + ran.err
    work = project.folder / ".seqline" / "work" / "tiny"
    whole = [path for path in work.glob("*") if path.is_dir()] if work.exists() else []
    assert all((path / "manifest.json").is_file() for path in whole if not path.name.startswith(".")), whole
    assert not (project.folder / "data.dvc").exists()


def test_a_missing_spec(project: Project) -> None:
    (project.folder / TINY).unlink()
    refused(project, "models/tiny.yaml: no such file")


def test_an_unknown_key(project: Project) -> None:
    (project.folder / TINY).write_text((project.folder / TINY).read_text() + "trainings: {steps: 3}\n")
    refused(project, "models/tiny.yaml: trainings: unknown key")


def test_a_wrong_type(project: Project) -> None:
    text = (project.folder / TINY).read_text()
    (project.folder / TINY).write_text(text.replace("test: 60", "test: many"))
    refused(project, "models/tiny.yaml: data.splits.test: must be")


def test_an_empty_data_file(project: Project) -> None:
    (project.folder / "models" / "pairs.csv").write_text("")
    refused(project, "pairs.csv")


def test_a_csv_without_the_target_column(project: Project) -> None:
    write_pairs(project.folder / "models" / "pairs.csv", 20, header=("stanza", "title"))
    refused(project, "synopsis")


def test_invalid_utf8_in_row_seven(project: Project) -> None:
    path = project.folder / "models" / "pairs.csv"
    write_pairs(path, 20)
    rows = path.read_bytes().split(b"\r\n")
    starts = [i for i, row in enumerate(rows) if row.startswith(b'"Package')] or list(range(1, len(rows)))
    rows[starts[6]] = rows[starts[6]].replace(b"Package", b"P\xffckage")
    path.write_bytes(b"\r\n".join(rows))
    refused(project, "row 7")


def test_a_registry_that_does_not_answer(project: Project) -> None:
    refused(project, "does not answer", code=1, MLFLOW_TRACKING_URI="http://127.0.0.1:9")


def test_no_space_for_the_run(project: Project) -> None:
    """In a mount namespace of its own the workspace is a file system of 3 MB."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mount namespace")
    workspace = project.folder / "full"
    workspace.mkdir()
    script = 'mount -t tmpfs -o size=3m none "$1" && shift && exec "$@"'
    command = [*unshare, "sh", "-c", script, "sh", str(workspace), sys.executable, "-m", "flows.cli", "retrain", TINY]
    ran = subprocess.run(
        command,
        cwd=project.folder,
        env={**project.environment, "SEQLINE_HOME": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    lines = ran.stderr.strip().splitlines()
    assert len(lines) == 1, ran.stderr
    assert "space" in lines[0]
