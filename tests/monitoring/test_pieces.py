"""A model's own tokenizer counts pieces, those that it does not know, and what it would cut."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from pipelines.errors import SeqlineError
from pipelines.monitoring import Pieces
from pipelines.monitoring.pieces import counter


def test_pieces_are_counted_as_the_tokenizer_says(tmp_path: Path) -> None:
    made = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_truncation(2)  # what a model does to its own input must not hide how long that was
    made.enable_padding()
    made.save(str(tmp_path / "tokenizer.json"))
    counted = counter(tmp_path / "tokenizer.json", longest=3)
    assert counted is not None
    assert counted(["a b a b", "a q q", ""]) == [Pieces(4, 0, True), Pieces(3, 2, False), Pieces(0, 0, False)]


def test_without_a_tokenizer_nothing_is_counted_and_a_broken_one_is_named(tmp_path: Path) -> None:
    assert counter(tmp_path / "tokenizer.json", longest=3) is None
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SeqlineError, match=r"tokenizer\.json: cannot be read"):
        counter(tmp_path / "tokenizer.json", longest=3)
