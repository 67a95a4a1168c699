"""What is written into generation_config.json is what is served: transformers alone, told nothing, answers the same."""

import logging
import shutil
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from pipelines.artifact import MANIFEST, Export, seal
from pipelines.decode import Decoder
from pipelines.spec import Decoding
from pipelines.training import generation
from tests.training import line


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return line.exported(tmp_path_factory.mktemp("generation"), "float32")


@pytest.mark.parametrize(
    "decoding",
    [Decoding(max_tokens=9), Decoding(beam=3, max_tokens=9, length_penalty=0.6), Decoding(max_tokens=9, no_repeat_ngram=0)],
    ids=["greedy", "beams", "plain"],
)
def test_transformers_told_nothing_answers_as_is_served(
    tmp_path: Path, export: Export, decoding: Decoding, caplog: pytest.LogCaptureFixture
) -> None:
    written = Path(shutil.copytree(export.path, tmp_path / "export"))
    generation.write(written / "hf", decoding)
    shutil.rmtree(written / "ct2")
    (written / MANIFEST).unlink()
    seal(written)
    sources = pq.read_table(line.dataset(tmp_path).path / "test.parquet")["source"].to_pylist()[:6]
    model = AutoModelForSeq2SeqLM.from_pretrained(written / "hf", local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(written / "hf", local_files_only=True)
    with torch.inference_mode(), warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        ids = [model.generate(torch.tensor([tokenizer(source)["input_ids"]]))[0] for source in sources]
    answers = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]
    served = Decoder(written)
    assert answers == [served.generate([source], decoding)[0].text for source in sources]
    assert not caplog.records


def test_a_draw_says_so() -> None:
    keys = generation.keys_of(Decoding(temperature=0.7, top_k=20))
    assert (keys["do_sample"], keys["temperature"], keys["top_k"]) == (True, 0.7, 20)
    assert "num_beams" not in keys
