"""`seqline data`: what a person sees of the versions of a model's data, and does with them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands.data import app
from pipelines import dataset
from tests.dataset.project import identity, make_dataset
from tests.flows.project import Project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two committed versions of the data of `tiny`, no registry."""
    folder = tmp_path / "project"
    folder.mkdir()
    project = Project(folder)
    for name, value in (("SEQLINE_PROJECT", folder), ("SEQLINE_HOME", folder / ".seqline"), ("PREFECT_HOME", tmp_path)):
        monkeypatch.setenv(name, str(value))
    for count in (20, 25):
        dataset.publish(make_dataset(folder / ".seqline/work/tiny", range(count)), "tiny", folder, {"policy": f"p{count}"})
        project.commit(f"{count} rows")
    return project


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def as_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_log_diff_restore_forget_sweep(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    told = as_json("log", "tiny")
    assert [(each["rows"], each["used_by"]) for each in told] == [(20, []), (25, [])]
    old, new = (each["md5"] for each in told)
    differs = as_json("diff", "tiny", "HEAD~1", new[:8])
    assert differs["splits"]["train"]["ids"]["added"] == [identity(n) for n in range(20, 25)]
    assert differs["facts"] == {"policy": ["p20", "p25"]}
    assert as_json("restore", "tiny", old[:8])["data_md5"] == old
    gone = as_json("forget", "tiny", identity(7), "--why", "asked")
    assert set(gone["rows"]) == {old, new}
    assert len(gone["artifacts"]) == 2
    assert as_json("sweep")["kept"] == ""
    for arguments in (
        ("log", "tiny"),
        ("diff", "tiny", old, new),
        ("restore", "tiny", old),
        ("forget", "tiny", identity(8)),
        ("sweep",),
    ):
        capfd.readouterr()
        run(*arguments)
        assert str(project.folder) not in capfd.readouterr().out
