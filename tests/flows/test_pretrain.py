"""A base as a user makes it, and a model fine-tuned from it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors import safe_open

from flows.zombies import bury_servers
from tests.flows.project import Project

BASE = """
kind: base
name: base
licence: Apache-2.0
corpora: [tiny.yaml]
margin: 20
validation: 10
tokens: {vocabulary: 400, max_source: 64, max_target: 16}
training:
  steps: 30
  batch_tokens: 1024
  validate_steps: 15
  learning_rate: 0.003
  architecture: {width: 32, heads: 2, encoder_layers: 1, decoder_layers: 1}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("project"))
    (made.folder / "models" / "base.yaml").write_text(BASE)
    yield made
    bury_servers(made.settings.workspace / "prefect")


def test_a_base_with_its_card(project: Project) -> None:
    folder = project.folder / "models" / "base"
    assert project.json("pretrain", "models/base.yaml")["folder"] == str(folder.relative_to(project.folder))
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {weights.get_tensor(name).dtype.itemsize for name in weights.keys()} == {2}  # noqa: SIM118  no dict
    told = json.loads((folder / "base.json").read_text())
    assert [corpus["name"] for corpus in told["corpora"]] == ["tiny"]
    assert told["corpora"][0]["held_out"] >= 100
    card = (folder / "README.md").read_text()
    assert "Licence: Apache-2.0" in card
    assert "| rougeL |" in card
    mixture = next((project.folder / ".seqline" / "work" / "base").glob("mixture-*"))
    seen = set(pq.read_table(mixture / "train.parquet")["source"].to_pylist())
    split = next((project.folder / ".seqline" / "work" / "tiny").glob("dataset-*"))
    assert not seen & set(pq.read_table(split / "test.parquet")["source"].to_pylist())
    assert not project.personal_values_left()


def test_a_model_from_it_says_which_data_the_base_learned_from(project: Project) -> None:
    spec = project.folder / "models" / "tiny.yaml"
    spec.write_text(spec.read_text().replace("training:\n", "training:\n  base: base\n"))
    done = project.seqline("retrain", "models/tiny.yaml")
    assert done.code == 0, done.err
    weights = next((project.folder / ".seqline" / "work" / "tiny").glob("weights-*/training.json"))
    base = json.loads(weights.read_text())["base"]
    told = json.loads((project.folder / "models" / "base" / "base.json").read_text())
    assert base["datasets"] == {"tiny": told["corpora"][0]["sha256"]}


@pytest.mark.parametrize(
    ("command", "file", "line"),
    [
        ("retrain", "base", "models/base.yaml: kind: this is a base, which nobody serves: `seqline pretrain models/base.yaml`"),
        ("pretrain", "tiny", "models/tiny.yaml: kind: must be base: `seqline retrain models/tiny.yaml` trains a model"),
    ],
)
def test_the_wrong_kind_of_spec_is_one_line(project: Project, command: str, file: str, line: str) -> None:
    done = project.seqline(command, str(Path("models", f"{file}.yaml")))
    assert done.code == 2
    assert done.err.startswith(f"seqline: {line}")
    assert done.err.count("\n") == 1
