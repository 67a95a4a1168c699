"""What a base may see: the training pairs of its corpora, and nothing near what any of them holds out."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import artifact
from pipelines.artifact import Dataset
from pipelines.dataset.mixture import mix
from pipelines.dataset.splits import Pair, rank, read_pairs
from pipelines.errors import UserError

TREES = ("alder", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "spruce", "yew")


def text(number: int) -> str:
    """Ten words of their own for each number."""
    return " ".join(f"{TREES[(number * 7 + step * 5) % 13]}{number}{step}" for step in range(10))


def rows(first: int, count: int) -> list[Pair]:
    return [Pair(f"{number:016x}", text(number), f"answer {text(number + 5_000)}") for number in range(first, first + count)]


def make(out: Path, name: str, **splits: list[Pair]) -> Dataset:
    def write(folder: Path) -> None:
        for split in ("train", "validation", "test"):
            columns = list(zip(*splits.get(split, []), strict=True)) or [(), (), ()]
            pq.write_table(
                pa.table([pa.array(column, pa.string()) for column in columns], names=list(Pair._fields)),
                folder / f"{split}.parquet",
            )

    return artifact.make(Dataset, out / name, write)


def mixed(out: Path, *datasets: Dataset, margin: int = 5, validation: int = 3) -> tuple[Dataset, list[Pair], list[Pair]]:
    made = mix(datasets, margin, validation, 0.8, out)
    return made, read_pairs(made.path / "train.parquet"), read_pairs(made.path / "validation.parquet")


def test_train_without_the_margin_that_newer_data_would_hold_out(tmp_path: Path) -> None:
    trained = rows(0, 40)
    made, train, validation = mixed(tmp_path, make(tmp_path, "a", train=trained, validation=rows(100, 3), test=rows(200, 3)))
    by_rank = sorted(trained, key=lambda pair: rank(pair.id))
    assert train == sorted(by_rank[5:])
    assert validation == sorted(by_rank[:3])
    told = json.loads((made.path / "dataset.json").read_text())["corpora"]
    assert [(each["pairs"], each["held_out"], each["near_held_out"]) for each in told] == [(35, 11, 0)]


def test_what_resembles_a_held_out_pair_of_any_corpus_is_left_out(tmp_path: Path) -> None:
    test = rows(300, 2)
    near = Pair("f" * 16, f"{test[0].source} more", "another answer")
    same_answer = Pair("e" * 16, text(900), test[1].target)
    one = make(tmp_path, "one", train=rows(0, 20), test=test)
    other = make(tmp_path, "other", train=[*rows(400, 20), near, same_answer])
    made, train, _ = mixed(tmp_path, one, other)
    assert not {near, same_answer} & set(train)
    told = json.loads((made.path / "dataset.json").read_text())["corpora"]
    left = 17 - sum(
        pair.id in {near.id, same_answer.id}
        for pair in sorted((*rows(400, 20), near, same_answer), key=lambda p: rank(p.id))[:5]
    )
    assert told[1]["near_held_out"] + told[1]["pairs"] == 17
    assert told[1]["pairs"] <= left


def test_the_order_of_files_means_nothing_and_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    one = make(tmp_path, "one", train=rows(0, 20))
    assert mixed(tmp_path, one)[0] == mixed(tmp_path, one)[0]


def test_a_margin_larger_than_a_corpus_is_refused(tmp_path: Path) -> None:
    one = make(tmp_path, "one", train=rows(0, 20))
    with pytest.raises(UserError, match=r"^margin: a corpus has 20 training pairs"):
        mixed(tmp_path, one, margin=20)
    with pytest.raises(UserError, match=r"^validation: must be at most the margin"):
        mixed(tmp_path, one, validation=6)
