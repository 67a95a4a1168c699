"""A judge from data to verdicts: corrupted pairs, heads, bands, thresholds, the folder, its report."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import artifact, spec
from pipelines.artifact import Corrupt, Dataset
from pipelines.errors import UserError
from pipelines.scoring.judge import corpus, open_judge
from pipelines.scoring.judge.assess import assess, gain_over
from pipelines.scoring.judge.cascade import Cascade, Opened, open_folder
from pipelines.scoring.judge.corpus import Corpus
from pipelines.scoring.judge.learn import Trained, band, examples, learn
from pipelines.scoring.judge.pyfunc import _load_pyfunc
from tests.scoring.judge.encoders import pairs, tiny_encoder

SMALL = {"train": 24, "validation": 120, "test": 30, "held_out": ["number"]}


def dataset(folder: Path, train: int = 400, test: int = 40) -> Dataset:
    """A model's dataset."""

    def write(building: Path) -> None:
        for split, count, seed in (("train", train, 1), ("test", test, 2)):
            sources, targets = pairs(count, seed)
            ids = [f"{split}-{number}" for number in range(count)]
            pq.write_table(pa.table({"id": ids, "source": sources, "target": targets}), building / f"{split}.parquet")

    return artifact.make(Dataset, folder, write)


def judge_spec(**changes: object) -> spec.Judge:
    given = {
        "kind": "judge",
        "name": "judge",
        "corpora": ["tiny.yaml"],
        "licence": "Apache-2.0",
        "corruptions": SMALL,
        **changes,
    }
    return spec.Judge.model_validate(given)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def data(work: Path) -> Dataset:
    return corpus.corrupted([Corpus("tiny", dataset(work / "pairs"), "en", False)], judge_spec().corruptions, work)


@pytest.fixture(scope="module")
def cheap(work: Path, data: Dataset) -> Trained:
    """Of evidence alone."""
    return learn(data, judge_spec(encoder="none"), None, work)


@pytest.fixture(scope="module")
def trained(work: Path, data: Dataset) -> Trained:
    how = judge_spec(training={"length": 64, "batch": 8, "learning_rate": 0.001, "frozen_layers": 0})
    return learn(data, how, tiny_encoder(work / "encoder"), work)


def test_rows_of_the_data(data: Dataset) -> None:
    train, validation, test = (corpus.read(data, split) for split in ("train", "validation", "test"))
    assert {row.kind for row in train + validation} <= {"", *judge_spec().corruptions.learnt}
    assert "number" in {row.kind for row in test}
    ids = [{row.id for row in rows} for rows in (train, validation, test)]
    assert sum(map(len, ids)) == len(set[str]().union(*ids))
    for true, bad in zip(train[::2], train[1::2], strict=True):
        assert (true.id, true.source, true.kind) == (bad.id, bad.source, "")
        assert true.target != bad.target
        assert bad.target[bad.start : bad.end]
    assert "**[" in corpus.samples(data)


def test_the_sentence_that_changed_is_what_is_learnt() -> None:
    rows = [
        corpus.Row("1", "s", "One is. Two is.", "d", "", -1, -1),
        corpus.Row("1", "s", "One is. Two is not.", "d", "negation", 12, 18),
    ]
    true, bad = examples(rows)
    assert (true.output, bad.output) == ("Two is.", "Two is not.")
    assert bad.output[bad.start : bad.end] == "is not"


@pytest.mark.parametrize("which", ["cheap", "trained"])
def test_it_knows_references_from_their_corruptions(which: str, data: Dataset, request: pytest.FixtureRequest) -> None:
    judge = open_folder(request.getfixturevalue(which).path, name="judge@1", threshold=0.9, domain="tiny")
    rows = corpus.read(data, "test")
    found = np.array([each.probability for each in judge.judge([row.source for row in rows], [row.target for row in rows])])
    wrong = np.array([row.kind == "detached" for row in rows])
    true = np.array([row.kind == "" for row in rows])
    assert found[wrong].mean() > found[true].mean()
    assert judge.name.startswith("judge@1 sha256:")
    assert judge.threshold != 0.9, "its own, frozen"


def test_verdicts_are_the_same_in_any_batch_and_order(trained: Trained, data: Dataset) -> None:
    rows = corpus.read(data, "test")[:40]
    sources, targets = [row.source for row in rows], [f"{row.target}. It runs on {row.target}." for row in rows]
    judge = open_folder(trained.path, name="judge", threshold=0.5)
    together = judge.judge(sources, targets)
    assert [judge.judge([source], [target])[0] for source, target in zip(sources, targets, strict=True)] == together
    for verdict, target in zip(together, targets, strict=True):
        assert verdict.probability >= max(each.probability for each in verdict.sentences)
        assert verdict.support == 1 - verdict.probability
        assert verdict.flagged == (verdict.probability >= 0.5)
        assert all(target[span.start : span.end] == span.text for span in verdict.unsupported)


def test_an_empty_output_is_flagged(trained: Trained) -> None:
    (verdict,) = open_folder(trained.path, name="judge", threshold=0.5).judge(["a tool"], [" "])
    assert (verdict.flagged, verdict.probability, verdict.unsupported) == (True, 1.0, ())


def test_only_what_the_evidence_leaves_undecided_is_read(trained: Trained, data: Dataset) -> None:
    opened = Opened(trained.path)
    domain = opened.domain("tiny")
    nothing, everything = (
        Cascade(replace(domain, low=low, high=1 - low), opened.cross, opened.rarity, name="x", threshold=0.5)
        for low in (1.0, 0.0)
    )
    rows = corpus.read(data, "test")[:10]
    for judge in (nothing, everything):
        judge.judge([row.source for row in rows], [row.target for row in rows])
    assert nothing.read == 0
    assert everything.read == everything.asked == 10


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=300))
def test_outside_the_band_few_are_on_the_wrong_side(rows: list[tuple[float, bool]]) -> None:
    p, wrong = np.array([each for each, _ in rows]), np.array([each for _, each in rows])
    if wrong.all() or not wrong.any():
        return
    low, high = band(p, wrong)
    assert (p[wrong] < low).sum() <= 0.01 * wrong.sum()
    assert (p[~wrong] > high).sum() <= 0.01 * (~wrong).sum()


def test_a_changed_byte_is_refused_and_named(trained: Trained, tmp_path: Path) -> None:
    import shutil

    for name in ("judge.json", "cross/heads.safetensors", "cross/ct2/model.bin"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(trained.path, copy)
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(Corrupt, match=name):
            open_judge(str(copy), threshold=0.5)


def test_a_folder_without_a_judge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no judge\.json in it"):
        open_folder(tmp_path, name="x", threshold=0.5)


def test_learning_twice_gives_the_same_bytes(trained: Trained, work: Path, data: Dataset, tmp_path: Path) -> None:
    how = judge_spec(training={"length": 64, "batch": 8, "learning_rate": 0.001, "frozen_layers": 0})
    assert learn(data, how, work / "encoder", tmp_path).sha256 == trained.sha256


def test_too_few_pairs_are_told(work: Path) -> None:
    few = dataset(work / "few", train=100)
    with pytest.raises(UserError, match=r"corruptions\.validation: tiny has 100 training pairs"):
        corpus.corrupted([Corpus("tiny", few, "en", False)], judge_spec().corruptions, work)


def test_the_report_has_intervals_baselines_and_a_gate(trained: Trained, cheap: Trained, data: Dataset, work: Path) -> None:
    how = judge_spec(gate={"auroc": 0.501, "brier": 1.0, "margin": 1.0})
    report = assess(trained, data, how, cheap.path, work)
    scores, gate = (json.loads((report.path / f"{name}.json").read_text()) for name in ("scores", "gate"))
    assert {"tiny", "tiny.number", "tiny.detached"} <= set(scores["model"])
    assert set(scores["baselines"]) == {"lexical", "evidence", "champion"}
    assert scores["gated"] == ["number"]
    for table in (scores["model"], *scores["baselines"].values()):
        for found in table.values():
            assert found["interval"][0] <= found["value"] <= found["interval"][1]
    assert [rule["rule"] for rule in gate["rules"]] == ["auroc.tiny", "brier.tiny", "champion.tiny"]
    assert gate["passed"]
    shut = assess(trained, data, judge_spec(gate={"auroc": 0.9999}), None, work)
    rule = json.loads((shut.path / "gate.json").read_text())["rules"][0]
    assert not rule["passed"]
    assert rule["reason"] == "references of tiny against number (held out): the lower end must reach 0.9999"
    text = (report.path / "report.md").read_text()
    assert "tiny.number (held out)" in text
    assert pq.read_table(report.path / "outputs.parquet").num_rows == len(corpus.read(data, "test"))


def test_a_worse_judge_does_not_pass_the_champion() -> None:
    rng = np.random.default_rng(1)
    wrong = np.arange(400) % 2 == 0
    good, poor = wrong + rng.normal(size=400) / 2, wrong + rng.normal(size=400) * 3
    assert gain_over(poor, good, wrong).high < 0
    assert gain_over(good, good, wrong).value == 0
    assert gain_over(good, poor, wrong).low > 0


def test_mlflow_s_loader_judges_a_table(trained: Trained) -> None:
    import pandas as pd

    sources, targets = pairs(4, 9)
    table = pd.DataFrame({"source": sources, "output": targets, "domain": ["tiny", "", "tiny", "other"]})
    found = _load_pyfunc(str(trained.path)).predict(table)
    own = open_folder(trained.path, name="x", threshold=0.5, domain="tiny").judge(sources, targets)
    assert found["probability"][0] == own[0].probability
    assert found["flagged"].dtype == bool
