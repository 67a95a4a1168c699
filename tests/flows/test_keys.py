"""`seqline keys` as typed: the key is shown once, lists show nothing secret, a mistake is one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    shutil.copy(ROOT / "models" / "synopsis.yaml", tmp_path / "models")
    return tmp_path


def seqline(project: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "flows.cli", "keys", *words]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "SEQLINE_PROJECT": str(project), "HOME": str(project)}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_a_key_is_shown_once_listed_without_its_secret_and_taken_back(project: Path) -> None:
    made = json.loads(seqline(project, "add", "synopsis", "ann", "--rate", "5", "--admin", "--json").stdout)
    secret = made["key"]
    listed = seqline(project, "list", "synopsis", "--json").stdout
    [key] = json.loads(listed)
    assert (key["holder"], key["requests_per_minute"], key["admin"], key["revoked_at"]) == ("ann", 5, True, None)
    assert secret[3:] not in listed
    assert key["id"] in seqline(project, "list", "synopsis").stdout
    revoked = seqline(project, "revoke", "synopsis", key["id"])
    assert (revoked.returncode, "ann" in revoked.stdout) == (0, True)
    [after] = json.loads(seqline(project, "list", "synopsis", "--json").stdout)
    assert after["revoked_at"]


def test_a_mistake_is_one_line(project: Path) -> None:
    for words, line in {
        ("revoke", "synopsis", "nobody"): "seqline: nobody: no key of synopsis in use has this id or holder",
        ("add", "synopsis", "a" * 64): "seqline: HOLDER: must be 1 to 63 printable characters",
        ("list", "nothing"): "seqline: nothing: no YAML in models/ has this name",
    }.items():
        done = seqline(project, *words)
        assert done.returncode == 2
        assert done.stderr.startswith(line)
        assert done.stderr.count("\n") == 1
