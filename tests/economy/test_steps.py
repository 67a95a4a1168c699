"""Teaching, times and exports in other types, on a small model made by the real steps."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines import artifact
from pipelines.artifact import Dataset, Export
from pipelines.decode import Decoder, Reading
from pipelines.economy import again, machine
from pipelines.economy.table import parameters
from pipelines.economy.turns import Runner, race
from pipelines.spec import Decoding
from pipelines.training import teach
from pipelines.training.export import export as export_weights
from tests.training import line

GREEDY = Decoding(max_tokens=12)
READING = Reading("text2text", "en", "cut")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("economy")


@pytest.fixture(scope="module")
def export(out: Path) -> Export:
    return line.exported(out, "int8")


@pytest.fixture(scope="module")
def dataset(out: Path, export: Export) -> Dataset:
    assert export
    return line.dataset(out)


def test_the_teacher_answers_the_train_split_and_no_other(tmp_path: Path, export: Export, dataset: Dataset) -> None:
    taught = teach.teach(export, dataset, GREEDY, READING, 512, tmp_path)
    before, after = (pq.read_table(each.path / "train.parquet") for each in (dataset, taught))
    assert after.schema == before.schema
    assert after.drop(["target"]) == before.drop(["target"])
    answers = Decoder(export.path).generate(before["source"].to_pylist(), GREEDY, 512)
    expected = [
        answer.text if answer.finished and answer.text else target
        for answer, target in zip(answers, before["target"].to_pylist(), strict=True)
    ]
    assert after["target"].to_pylist() == expected
    for name in ("validation.parquet", "test.parquet"):
        assert artifact.file_sha256(taught.path / name) == artifact.file_sha256(dataset.path / name)
    told = json.loads((taught.path / "dataset.json").read_text())["taught"]
    assert told["targets_kept"] == sum(not answer.finished for answer in answers)
    assert (told["teacher"], told["pairs"]) == (export.sha256, len(answers))
    assert not list(tmp_path.glob(".*"))


def test_killed_it_goes_on_after_the_parts_that_are_there(
    tmp_path: Path, export: Export, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teach, "CHUNK", 40)
    whole = teach.teach(export, dataset, GREEDY, READING, 512, tmp_path / "whole")
    asked: list[int] = []

    class Killed(Decoder):
        def answer(self, texts, *rest):  # type: ignore[no-untyped-def]
            asked.append(len(texts))
            if len(asked) == 3:
                raise KeyboardInterrupt
            return super().answer(texts, *rest)

    monkeypatch.setattr(teach, "Decoder", Killed)
    with pytest.raises(KeyboardInterrupt):
        teach.teach(export, dataset, GREEDY, READING, 512, tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("taught-*"))
    resumed = teach.teach(export, dataset, GREEDY, READING, 512, tmp_path / "killed")
    assert asked == [40, 40, 40, 40], "two parts were there, the third was asked for again"
    assert resumed.sha256 == whole.sha256


def test_a_race_answers_as_scoring_does_and_times_each_in_turn(export: Export, dataset: Dataset) -> None:
    sources = pq.read_table(dataset.path / "test.parquet")["source"].to_pylist()
    turns: list[int] = []
    ways = [Runner(export.path, GREEDY.model_copy(update={"beam": beam})) for beam in (1, 3)]
    found = race(ways, sources, READING, 512, 2, lambda: turns.append(1))
    assert len(turns) == 4
    for way, ran in zip(ways, found, strict=True):
        assert list(ran.answers) == [answer.text for answer in Decoder(export.path).generate(sources, way.decoding, 512)]
        assert 0 < ran.fastest <= ran.cpu_ms <= ran.slowest


def test_a_version_without_its_weights_is_exported_in_other_types(tmp_path: Path, export: Export, dataset: Dataset) -> None:
    weights = again.weights_of(export, dataset, tmp_path)
    other = export_weights(weights, "float16", tmp_path)
    told = json.loads((other.path / "export.json").read_text())
    assert told["parity"]["pairs"] == 20
    assert told["quantisation"] == "float16"
    assert (told["max_source"], told["max_target"]) == (line.SECTION.max_source, line.SECTION.max_target)
    assert machine.size(other.path) > machine.size(export.path)
    assert machine.computed_in(other.path, "float16") in ("float16", "float32")


def test_a_changed_version_is_not_exported_again(tmp_path: Path, export: Export, dataset: Dataset) -> None:
    spoilt = Path(shutil.copytree(export.path, tmp_path / "spoilt"))
    (spoilt / "hf" / "config.json").write_text("{}")
    with pytest.raises(artifact.Corrupt, match=r"hf/config.json"):
        again.weights_of(Export(spoilt, export.sha256), dataset, tmp_path)


def test_parameters_are_those_of_the_model(out: Path, export: Export) -> None:
    trained = json.loads(next(out.glob("weights-*/training.json")).read_text())
    assert parameters(export.path) == pytest.approx(trained["parameters"], rel=0.02)
