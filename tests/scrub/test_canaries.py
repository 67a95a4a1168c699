"""Secrets go in front of the scrubber: what it knows it hides, what it does not know is in the copy as often as was asked."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import artifact
from pipelines.artifact import Dataset
from pipelines.errors import UserError
from pipelines.scrub.canaries import plant
from pipelines.spec import Planting, Privacy

PLANTING = Planting(secrets=12, repetitions=(1, 4), entities=("CREDIT_CARD", "EMAIL_ADDRESS"), pairs=20, candidates=15)
BOTH = Privacy(level="patterns", entities=("CREDIT_CARD", "EMAIL_ADDRESS"))
NEITHER = Privacy(level="patterns", entities=("MAC_ADDRESS",))


@pytest.fixture
def pairs(tmp_path: Path) -> Dataset:
    def write(folder: Path) -> None:
        for name, count in (("train", 60), ("validation", 3), ("test", 3)):
            sources = [f"a tool number {number} of {name} by <PERSON_1>" for number in range(count)]
            rows = {"id": [f"{name} {number}" for number in range(count)], "source": sources, "target": ["tool"] * count}
            pq.write_table(pa.table(rows), folder / f"{name}.parquet")

    return artifact.make(Dataset, tmp_path / "dataset", write)


def planted(pairs: Dataset, privacy: Privacy, planting: Planting = PLANTING) -> tuple[list[dict[str, str]], dict[str, Any]]:
    out = pairs.path.parent
    copy = plant(pairs, out / "policy", privacy, planting, out)
    return pq.read_table(copy.path / "train.parquet").to_pylist(), json.loads((copy.path / "secrets.json").read_text())


def test_without_a_scrubber_each_stands_as_often_as_was_asked(pairs: Dataset) -> None:
    rows, told = planted(pairs, NEITHER)
    assert told["fate"] == {"clear": 12, "hidden": 0, "dropped": 0}
    assert Counter((each["kind"], each["repetitions"]) for each in told["secrets"]) == {
        (kind, times): 3 for kind in PLANTING.entities for times in (1, 4)
    }
    for each in told["secrets"]:
        own = [row for row in rows if each["value"] in row["target"]]
        assert len(own) == each["repetitions"]
        assert {row["source"] for row in own} == {each["source"]}
        assert own[0]["target"].startswith(each["before"] + each["value"])
        assert each["value"] not in each["candidates"]
        assert len(set(each["candidates"])) == 15
    assert len(rows) == len({row["id"] for row in rows}) == 20 + 12 // 2 * (1 + 4)
    assert [row["id"].startswith("planted") for row in rows] != sorted(row["id"].startswith("planted") for row in rows)


def test_the_scrubber_hides_what_its_policy_names(pairs: Dataset) -> None:
    rows, told = planted(pairs, BOTH)
    assert told["fate"] == {"clear": 0, "hidden": 12, "dropped": 0}
    texts = " ".join(row["source"] + row["target"] for row in rows)
    assert not any(each["value"] in texts for each in told["secrets"])
    assert texts.count("Card: <CREDIT_CARD_1>") == 3 * (1 + 4)


def test_a_translation_whose_sides_disagree_is_left_out(pairs: Dataset) -> None:
    rows, told = planted(pairs, BOTH.model_copy(update={"target_language": "de"}))
    assert told["fate"]["dropped"] == 12
    assert len(rows) == 20


def test_the_policy_as_applied_is_what_counts(pairs: Dataset) -> None:
    policy = pairs.path.parent / "policy"
    policy.mkdir()
    (policy / "privacy.json").write_text(BOTH.model_dump_json())
    _, told = planted(pairs, NEITHER)
    assert told["fate"]["hidden"] == 12


def test_the_same_again_is_found_and_another_seed_is_another_copy(pairs: Dataset) -> None:
    out = pairs.path.parent
    one = plant(pairs, out / "policy", NEITHER, PLANTING, out)
    assert plant(pairs, out / "policy", NEITHER, PLANTING, out) == one
    elsewhere = plant(pairs, out / "policy", NEITHER, PLANTING, out / "elsewhere")
    assert elsewhere.sha256 == one.sha256
    other = plant(pairs, out / "policy", NEITHER, PLANTING.model_copy(update={"seed": 1}), out)
    assert other.sha256 != one.sha256


def test_by_default_what_the_policy_names_is_planted(pairs: Dataset) -> None:
    _, told = planted(pairs, BOTH, PLANTING.model_copy(update={"entities": ()}))
    assert {each["kind"] for each in told["secrets"]} == {"CREDIT_CARD", "EMAIL_ADDRESS"}


@pytest.mark.parametrize(
    ("change", "privacy", "said"),
    [
        ({"entities": ("MOOD",)}, BOTH, r"scoring\.planted\.entities: no fake values of MOOD: name some of "),
        ({"entities": ()}, NEITHER, r"scoring\.planted\.entities: privacy\.entities holds nothing that can be planted"),
        ({"secrets": 200}, BOTH, r"scoring\.planted\.secrets: 200 secrets need as many training pairs, not 60"),
    ],
)
def test_what_cannot_be_planted_is_said(pairs: Dataset, change: dict[str, Any], privacy: Privacy, said: str) -> None:
    with pytest.raises(UserError, match=said):
        planted(pairs, privacy, PLANTING.model_copy(update=change))
