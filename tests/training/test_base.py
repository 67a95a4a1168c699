import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.training.base import resolve
from tests.training import line

REPO = Path(__file__).parents[2]


def nobody() -> None:
    return None


def test_scratch_and_folders(work: Path) -> None:
    weights = line.trained(work)
    assert resolve("scratch", work, nobody) is None
    assert resolve(weights.path.name, work, nobody) == weights.path
    assert resolve(f"./{weights.path.name}", work, nobody) == work / weights.path.name
    assert resolve(str(weights.path), Path("elsewhere"), nobody) == weights.path


def test_champion_is_its_hugging_face_folder_or_scratch_said_in_one_line(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resolve("champion", work, lambda: tmp_path) == tmp_path / "hf"
    assert capsys.readouterr().out == ""
    assert resolve("champion", work, nobody) is None
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "no model in production yet" in said


@pytest.mark.parametrize("base", ["./nowhere", "/nowhere/at/all", "not a hub id", "a/b/c"])
def test_what_is_neither_folder_nor_hub_id_is_refused(tmp_path: Path, base: str) -> None:
    with pytest.raises(UserError, match=r"^training\.base: .*: not a Hugging Face folder .* and not a hub id$"):
        resolve(base, tmp_path, nobody)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match=r"^training\.base: model: not a Hugging Face folder"):
        resolve("model", tmp_path, nobody)


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_that_does_not_answer_is_one_line(tmp_path: Path, offline: str) -> None:
    code = """
import sys; from pathlib import Path; from pipelines.training.base import resolve; from pipelines.errors import UserError
try: resolve("someone/some-model", Path(sys.argv[1]), lambda: None)
except UserError as error: print(error)
"""
    environment = os.environ | {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": offline,
        "HF_HOME": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=REPO, env=environment, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(
        "training.base: someone/some-model: no such folder beside the spec, and the hub does not give it ("
    )
    assert done.stdout.count("\n") == 1
