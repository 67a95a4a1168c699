import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from pipelines import artifact
from pipelines.artifact import Dataset
from pipelines.encode import encode
from pipelines.errors import UserError
from pipelines.spec import TokensSection
from tests.training import line

REPO = Path(__file__).parents[1]
AGAIN = """
import sys; from pathlib import Path; from tests.training import line
print(line.encoded(Path(sys.argv[1])).sha256)
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encode")


@pytest.fixture(scope="module")
def tokenizer(out: Path) -> Tokenizer:
    return Tokenizer.from_file(str(line.encoded(out).path / "tokenizer" / "tokenizer.json"))


def test_two_processes_give_the_same_bytes(out: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "3"}
    command = [sys.executable, "-c", AGAIN, str(tmp_path)]
    again = subprocess.run(command, cwd=REPO, env=environment, check=True, capture_output=True, text=True)
    assert again.stdout.split()[-1] == line.encoded(out).sha256


def test_specials_and_placeholders_are_single_pieces(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(name) for name in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert tokenizer.get_vocab_size() <= line.SECTION.vocabulary
    text = "Maintainer: <PERSON_1> <<EMAIL_ADDRESS_1>>, by <PERSON_2>'s"
    encoding = tokenizer.encode(text)
    assert encoding.ids[-1] == 2
    assert [token for token in encoding.tokens if token in line.PLACEHOLDERS] == [
        "<PERSON_1>",
        "<EMAIL_ADDRESS_1>",
        "<PERSON_2>",
    ]
    assert tokenizer.decode(encoding.ids, skip_special_tokens=True) == text


@given(st.text().map(lambda text: text.removeprefix(" ")))
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    """Byte-level: nothing is unknown. (A text that itself spells a special token is the one exception.)"""
    if any(special in text for special in ("<s>", "<pad>", "</s>", "<unk>")):
        return
    encoding = tokenizer.encode(text)
    assert tokenizer.decode(encoding.ids, skip_special_tokens=True).lstrip(" ") == text.lstrip(" ")
    assert 3 not in encoding.ids


def test_a_word_is_the_same_piece_at_the_head_of_a_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("library").ids[0] == tokenizer.encode("a library").ids[1]


def test_auto_tokenizer_loads_it_alike(out: Path, tokenizer: Tokenizer) -> None:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(line.encoded(out).path / "tokenizer")
    for text in line.pairs(10, 9)["source"]:
        assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
        assert loaded.decode(tokenizer.encode(text).ids, skip_special_tokens=True) == text
    assert (loaded.pad_token_id, loaded.eos_token_id, loaded.model_max_length) == (1, 2, 48)


def test_pairs_are_framed_cut_and_counted(out: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    dataset = line.dataset(out)
    short = encode(dataset, TokensSection(vocabulary=400, max_source=20, max_target=4), line.PLACEHOLDERS, None, tmp_path)
    table = pq.read_table(short.path / "train.parquet")
    assert table.schema.field("source_ids").type == pa.list_(pa.int32())
    assert table.num_rows == 120
    facts = json.loads((short.path / "tokens.json").read_text())
    longest = {"source": 20, "target": 4}
    texts = pq.read_table(dataset.path / "train.parquet")
    for side in ("source", "target"):
        full = [tokenizer.encode(text).ids for text in texts[side].to_pylist()]
        for ids, whole in zip(table[f"{side}_ids"].to_pylist(), full, strict=True):
            assert ids == (whole if len(whole) <= longest[side] else [*whole[: longest[side] - 1], 2])
        assert facts["train"][f"{side}s_cut"] == sum(len(ids) > longest[side] for ids in full) / 120
        assert facts["train"][f"{side}_tokens"] == sum(map(len, table[f"{side}_ids"].to_pylist()))
    assert facts["train"]["unknown"] == 0
    assert facts["train"]["pieces_per_word"] > 0
    validation = pq.read_table(short.path / "validation.parquet")
    assert validation.column_names == ["id", "source", "target", "source_ids", "target_ids"]


def test_a_base_keeps_its_tokenizer_and_gains_the_placeholders(out: Path, tmp_path: Path, tokenizer: Tokenizer) -> None:
    base = line.encoded(out).path / "tokenizer"
    tokens = encode(line.dataset(out), line.SECTION, (*line.PLACEHOLDERS, "<URL_1>"), base, tmp_path)
    grown = Tokenizer.from_file(str(tokens.path / "tokenizer" / "tokenizer.json"))
    assert grown.token_to_id("<URL_1>") == tokenizer.get_vocab_size()
    assert grown.encode("by <PERSON_1>").ids == tokenizer.encode("by <PERSON_1>").ids
    assert json.loads((tokens.path / "tokens.json").read_text())["vocabulary"] == tokenizer.get_vocab_size() + 1


def test_what_cannot_be_encoded_is_refused_in_one_line(out: Path, tmp_path: Path) -> None:
    dataset = line.dataset(out)
    with pytest.raises(UserError, match=r"^tokens\.vocabulary: must be at least 263 .*, not 250$"):
        encode(dataset, TokensSection(vocabulary=250), line.PLACEHOLDERS, None, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"^training\.base: empty: holds no tokenizer"):
        encode(dataset, line.SECTION, (), tmp_path / "empty", tmp_path)
    assert not list(tmp_path.glob("*tokens-*"))


def test_an_empty_train_split_is_refused(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        for name in ("train", "validation"):
            columns = {column: pa.array([], pa.string()) for column in ("id", "source", "target")}
            pq.write_table(pa.table(columns), folder / f"{name}.parquet")

    with pytest.raises(UserError, match=r"^data: the train split is empty"):
        encode(artifact.make(Dataset, tmp_path / "dataset-0", write), line.SECTION, (), None, tmp_path)


def test_what_is_there_already_is_found_without_heavy_imports(out: Path) -> None:
    made = line.encoded(out)
    code = """
import sys; from pathlib import Path
from pipelines import artifact; from pipelines.artifact import Dataset; from pipelines.encode import encode
from pipelines.spec import TokensSection
dataset = artifact.existing(Dataset, Path(sys.argv[1]))
section = TokensSection.model_validate_json(sys.argv[2])
print(encode(dataset, section, tuple(sys.argv[4:]), None, Path(sys.argv[3])).sha256)
import pipelines.decode, pipelines.training.base, pipelines.training.export, pipelines.training.fit
print(sorted({"torch", "transformers", "datasets", "pyarrow", "tokenizers", "ctranslate2", "numpy", "rich"} & set(sys.modules)))
"""
    arguments = [str(line.dataset(out).path), line.SECTION.model_dump_json(), str(out), *line.PLACEHOLDERS]
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=REPO, check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == [made.sha256, "[]"]
