"""The step itself: a small random BART, exported as it would serve, scored on pairs on disk."""

import json
import random
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines import artifact, spec
from pipelines.artifact import Dataset, Export, Report, Weights
from pipelines.errors import UserError
from pipelines.scoring import Filtering, score
from pipelines.scoring.report import markdown as report
from pipelines.training.export import export

SCORING = spec.Scoring(lead_words=4, resamples=200)
DECODING = spec.Decoding(beam=1, max_tokens=12)
SENTENCE = "game of fast text tool library for Python data client server files based small web simple image"
WORDS = SENTENCE.split()


def pairs(n: int, seed: int) -> pa.Table:
    rng = random.Random(seed)
    sources = [" ".join(rng.choices(WORDS, k=rng.randint(6, 20))) for _ in range(n)]
    targets = [" ".join(source.split()[:4]) for source in sources]
    return pa.table({"id": [f"{seed}{i:015x}" for i in range(n)], "source": sources, "target": targets})


def dataset(folder: Path, test: int) -> Dataset:
    def write(path: Path) -> None:
        for seed, (name, rows) in enumerate([("train", 60), ("validation", 5), ("test", test)]):
            parquet.write_table(pairs(rows, seed), path / f"{name}.parquet")

    return artifact.make(Dataset, folder / f"dataset-{test}", write)


def random_bart(folder: Path, seed: int) -> Weights:
    """Untrained: its outputs are words of the vocabulary, and have nothing to do with the source."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    def write(path: Path) -> None:
        vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *WORDS])}
        raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        raw.pre_tokenizer = pre_tokenizers.Whitespace()
        raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
        special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
        PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=64, **special).save_pretrained(path)
        torch.manual_seed(seed)
        config = BartConfig(
            vocab_size=len(vocabulary), d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_position_embeddings=64, init_std=1.0,
            pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2,
        )  # fmt: skip
        BartForConditionalGeneration(config).save_pretrained(path)
        (path / "training.json").write_text(json.dumps({"max_source": 32, "max_target": 12}))
        (path / "probes.json").write_text(json.dumps({"source_ids": [[0, 4, 5, 6, 2]], "target_ids": [[4, 5, 2]]}))

    return artifact.make(Weights, folder / f"weights-{seed}", write)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Export]:
    folder = tmp_path_factory.mktemp("exports")
    return [export(random_bart(folder, seed), "float32", folder) for seed in (1, 2)]


def test_an_untrained_model_is_scored_and_stopped_at_the_gate(exports: list[Export], tmp_path: Path) -> None:
    found = score(exports[0], dataset(tmp_path, 100), None, SCORING, DECODING, tmp_path)
    assert {path.name for path in found.path.iterdir()} == {
        "scores.json", "gate.json", "report.html", "report.md", "scores.png", "differences.png", "outputs.parquet",
        artifact.MANIFEST,
    }  # fmt: skip
    outputs = parquet.read_table(found.path / "outputs.parquet").to_pydict()
    assert outputs["id"] == parquet.read_table(tmp_path / "dataset-100" / "test.parquet")["id"].to_pylist()
    assert len(set(outputs["output"])) > 1
    assert outputs["champion"] == outputs["champion_score"] == [None] * 100
    verdict = json.loads((found.path / "gate.json").read_text())
    assert not verdict["passed"]
    assert [rule["rule"] for rule in verdict["rules"] if not rule["passed"]] == ["reads_source", "looping", "contamination"]
    scores = json.loads((found.path / "scores.json").read_text())
    assert scores["n"] == 100
    assert scores["baselines"]["lead"]["rougeL"]["value"] == 100  # the references are the sources' first four words
    assert scores["baselines"]["lead"]["difference"]["verdict"] == "worse"
    assert "gate: closed" in report.summary(found.path)
    assert "closed** by: reads_source, looping" in (found.path / "report.md").read_text()


def test_each_filter_of_serving_has_its_rate_of_false_alarms(exports: list[Export], tmp_path: Path) -> None:
    def filtering(**filters: object) -> Filtering:
        return Filtering(spec.Filters.model_validate(filters), "translation", "en")

    data = dataset(tmp_path, 40)
    found = score(exports[0], data, None, SCORING, DECODING, tmp_path, filtering(patterns=["game"], length="off"))
    rates = json.loads((found.path / "scores.json").read_text())["filters"]
    assert set(rates) == {"length", "repetition", "echo", "numbers", "names", "pattern"}, "no leak: there is no policy"
    assert {name: rate["action"] for name, rate in rates.items()}["length"] == "off", "what is off is measured too"
    games = sum("game" in target for target in pairs(40, 2)["target"].to_pylist())
    assert rates["pattern"]["references"]["count"] == games > 0
    low, high = rates["pattern"]["references"]["interval"]
    assert low < games / 40 < high
    assert rates["numbers"]["references"]["count"] == rates["names"]["references"]["count"] == 0
    assert rates["length"]["outputs"]["count"] == 40, "an untrained model never ends"
    text = (found.path / "report.md").read_text()
    assert f"| pattern | is withheld | {games / 40:.1%} [" in text
    other = score(exports[0], data, None, SCORING, DECODING, tmp_path, filtering())
    assert other.path != found.path, "other filters, another report"


def test_the_same_input_gives_the_same_bytes_and_is_not_scored_twice(exports: list[Export], tmp_path: Path) -> None:
    data = dataset(tmp_path, 40)
    one, two = (score(exports[0], data, exports[1].path, SCORING, DECODING, tmp_path / name) for name in ("one", "two"))
    assert (one.path.name, one.sha256) == (two.path.name, two.sha256)
    before = {path: path.stat().st_mtime_ns for path in one.path.iterdir()}
    assert score(exports[0], data, exports[1].path, SCORING, DECODING, tmp_path / "one") == Report(one.path, one.sha256)
    assert {path: path.stat().st_mtime_ns for path in one.path.iterdir()} == before


def test_a_champion_of_the_same_bytes_is_not_worse(exports: list[Export], tmp_path: Path) -> None:
    found = score(exports[0], dataset(tmp_path, 40), exports[0].path, SCORING, DECODING, tmp_path)
    rules = {rule["rule"]: rule for rule in json.loads((found.path / "gate.json").read_text())["rules"]}
    assert (rules["champion"]["verdict"], rules["champion"]["value"], rules["champion"]["passed"]) == ("not worse", 0, True)


@pytest.mark.parametrize("side", ["source", "target"])
def test_pairs_of_one_side_are_named(exports: list[Export], tmp_path: Path, side: str) -> None:
    whole = pairs(40, 2)

    def write(path: Path, test: pa.Table) -> None:
        parquet.write_table(pairs(60, 0), path / "train.parquet")
        parquet.write_table(test, path / "test.parquet")

    lacking = artifact.make(Dataset, tmp_path / "lacking", lambda path: write(path, whole.drop_columns([side])))
    with pytest.raises(UserError, match=rf"^test\.parquet: no column {side}: a pair has an id, a source and a target"):
        score(exports[0], lacking, None, SCORING, DECODING, tmp_path / "out")
    holes = [None if row == 6 else text for row, text in enumerate(whole[side].to_pylist())]
    holed = whole.set_column(whole.column_names.index(side), side, pa.array(holes, pa.string()))
    lacking = artifact.make(Dataset, tmp_path / "holed", lambda path: write(path, holed))
    with pytest.raises(UserError, match=rf"^test\.parquet: row 7: {side}: is missing: a pair has both sides"):
        score(exports[0], lacking, None, SCORING, DECODING, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_what_cannot_be_scored_is_refused_and_leaves_nothing(exports: list[Export], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.splits\.test: 1 test pairs are too few"):
        score(exports[0], dataset(tmp_path, 1), None, SCORING, DECODING, tmp_path / "out")
    with pytest.raises(artifact.Corrupt, match="never completed"):
        score(exports[0], dataset(tmp_path, 40), tmp_path / "nowhere", SCORING, DECODING, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_what_labels_say_stands_in_the_report_and_a_judge_that_drifted_closes_the_gate(
    exports: list[Export], tmp_path: Path
) -> None:
    rate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 60}
    drift = {"tpr": rate, "fpr": rate, "frozen_tpr": rate, "frozen_fpr": rate, "verdict": "changed", "closes": True}
    labelled = {"corrected": {"version": "1", "corrected": "unknown", "labels": 0}, "drift": drift}
    scoring = SCORING.model_copy(update={"gate": SCORING.gate.model_copy(update={"max_flagged_more": 1.0})})
    data = dataset(tmp_path, 40)
    found, without = (
        score(exports[0], data, exports[1].path, scoring, DECODING, tmp_path, labelled=told) for told in (labelled, None)
    )
    assert found.path != without.path
    scores = json.loads((found.path / "scores.json").read_text())
    assert (scores["corrected"], scores["drift"]["verdict"]) == (labelled["corrected"], "changed")
    gates = [json.loads((each.path / "gate.json").read_text())["rules"] for each in (found, without)]
    closed, silent = ({rule["rule"]: rule["passed"] for rule in rules} for rules in gates)
    assert (closed["drift"], closed["max_flagged_more"]) == (False, True)
    assert "drift" not in silent
