"""The data page: whole, without the network, and never a text taken for markup."""

import json
import re
from html import unescape
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import artifact, dataset
from pipelines.artifact import Artifact, Clean, Dataset, Tokens
from pipelines.spec import Curation
from tests.dataset.test_split import data, make_clean, various

SCRUBBED = {
    "entities": {"PERSON": {"spans": 1234, "values": 56}},
    "quarantined": {"one side only": 7},
    "audit": {"en": {"PERSON": {"values": 400, "missed": 12, "recall": 0.97, "interval": [0.948, 0.984]}}},
}
HOSTILE = "<script>alert(1)</script> & <PERSON_1>"


@pytest.fixture
def made(tmp_path: Path) -> tuple[Clean, Dataset, Tokens]:
    rows = [*various(40), (HOSTILE, ""), ("", HOSTILE), *various(2)]
    pairs = make_clean(tmp_path, rows)
    (tmp_path / "scrubbed").mkdir()

    def scrub(folder: Path) -> None:
        pq.write_table(pq.read_table(pairs.path / "pairs.parquet"), folder / "pairs.parquet")
        (folder / "scrub.json").write_text(json.dumps(SCRUBBED))

    clean = artifact.make(Clean, tmp_path / "scrubbed" / "clean", scrub)
    divided = dataset.split(clean, data(curation=Curation(near_duplicates="drop")), tmp_path, None, ["0000000000000000"])

    def encode(folder: Path) -> None:
        ids = pa.array([[1, 2, 3], [4] * 64], pa.list_(pa.int32()))
        for name in ("train", "validation"):
            pq.write_table(pa.table({"source_ids": ids, "target_ids": ids}), folder / f"{name}.parquet")
        cut = {"sources_cut": 0.5, "targets_cut": 0.125}
        facts = {"max_source": 64, "max_target": 64, "train": cut, "validation": cut}
        (folder / "tokens.json").write_text(json.dumps(facts))

    return clean, divided, artifact.make(Tokens, tmp_path / "tokens", encode)


def html(page: Artifact) -> str:
    return (page.path / "data.html").read_text()


def test_the_page_tells_what_came_what_went_and_why(made: tuple[Clean, Dataset, Tokens], tmp_path: Path) -> None:
    page = html(dataset.draw_page(*made, tmp_path))
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())
    for said in (
        "44 rows came", "40 pairs stay", "Nothing leaks between the splits", "empty: 2 of 43", "duplicate: 1 of 41",
        "one side only 7", "PERSON 1,234 56", "audit, en, PERSON 400 12 97.0% 94.8% to 98.4%", "sources 64 tokens 50.0%",
        "targets 64 tokens 12.5%",
    ):  # fmt: skip
        assert said in text, said
    assert page.count("<svg") == 4


def test_texts_are_no_markup_and_nothing_is_fetched(made: tuple[Clean, Dataset, Tokens], tmp_path: Path) -> None:
    page = html(dataset.draw_page(*made, tmp_path))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &lt;PERSON_1&gt;" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\((?!#)""", page)


def test_the_same_page_again_and_the_data_untouched(made: tuple[Clean, Dataset, Tokens], tmp_path: Path) -> None:
    one, other = (dataset.draw_page(*made, tmp_path / place) for place in ("one", "other"))
    assert one.sha256 == other.sha256
    assert artifact.verify(made[1].path) == made[1].sha256
