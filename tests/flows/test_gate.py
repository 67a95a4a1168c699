"""`seqline gate`: what a report's gate said, from the files alone, as a user asks for it."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from pipelines import artifact, spec
from pipelines.artifact import Corrupt, Report
from pipelines.errors import GateClosed, UserError
from pipelines.scoring.gate import gate
from tests.scoring.test_gate import scores


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / ".seqline"))
    return tmp_path


def reported(project: Path, name: str, at: int, **found: Any) -> Path:
    """A sealed report of `tiny` with the gate's answer to these scores, made `at` seconds past the hour."""

    def write(folder: Path) -> None:
        rules = gate(scores(**found), spec.Gate(beats=("lead",)))
        verdict = {"passed": all(rule.passed for rule in rules), "rules": [asdict(rule) for rule in rules]}
        (folder / "gate.json").write_text(json.dumps(verdict))

    made = artifact.make(Report, project / ".seqline" / "work" / "tiny" / f"report-{name}", write)
    os.utime(made.path / artifact.MANIFEST, (at, at))
    return made.path


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["gate", *arguments])


def test_every_rule_is_printed_with_its_number_interval_and_verdict(project: Path) -> None:
    reported(project, "older", int(time.time()) - 60, lead=(-5, -6, -4))
    newest = reported(project, "newer", int(time.time()))
    found = asked("tiny")
    assert found.exit_code == 0
    assert found.stdout.splitlines()[0] == f"gate open: {newest}"
    assert "reads_source  9       [8, 10]" in found.stdout
    told = json.loads((newest / "gate.json").read_text())["rules"]
    assert [rule["rule"] for rule in told][:3] == ["reads_source", "beats_lead", "champion"]
    assert all(rule["reason"] in found.stdout for rule in told)


def test_a_closed_gate_ends_with_three_and_json_says_the_same(project: Path) -> None:
    folder = reported(project, "closed", int(time.time()), lead=(-5, -6, -4), champion=(-1, -4, 2))
    found = asked(str(folder), "--json")
    assert isinstance(found.exception, GateClosed)
    assert found.exception.exit_code == 3
    assert str(found.exception) == "the gate is closed by: beats_lead, champion"
    content = json.loads(found.stdout)
    assert not content["passed"]
    verdicts = {rule["rule"]: rule["verdict"] for rule in content["rules"]}
    assert (verdicts["beats_lead"], verdicts["champion"]) == ("worse", "inconclusive")
    assert asked("tiny").exit_code != 0


def test_what_is_not_there_or_was_changed_is_told_in_one_line(project: Path) -> None:
    folder = reported(project, "changed", int(time.time()))
    assert isinstance(found := asked("nobody").exception, UserError)
    assert str(found) == "nobody: no report of it here: `seqline retrain` makes one, or give a report's folder"
    assert isinstance(found := asked(str(project)).exception, UserError)
    assert "holds no gate.json" in str(found)
    text = (folder / "gate.json").read_text()
    (folder / "gate.json").write_text(text.replace("worse", "better") + " ")
    assert isinstance(asked(str(folder)).exception, Corrupt)
