"""The cross-encoder: source and output read together, word by word, by a small encoder that learnt from corruptions.

Warm-started from a sentence encoder. Two linear heads over its last layer: one over the first token (is the pair sound?), one
over each token of the output (does the change lie here?), which corruptions label exactly; the pair's logit is the first plus
the largest of the second. So a pair is judged by its worst word, and the word is named.

It runs as int8 in CTranslate2, one pair a call: on one core 190 pairs/s of 90 tokens, against 33 of torch and 166 in batches of
16 (padding costs more than batches save), and a pair's verdict does not depend on its neighbours in a batch.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Encoding

HEADS, RUNS, FACTS = "heads.safetensors", "ct2", "cross.json"
LEAST_OUTPUT = 2  # the output may take the pair's tokens but 1/2: a window of source must fit beside it
OVERLAP = 4  # windows overlap by a quarter: what stands on an edge is whole in one of them


@dataclass(frozen=True)
class Reading:
    """What the cross-encoder says of a pair: its logit (above 0: unsupported), and of each word piece of the output the logit
    and where it stands (characters of the output)."""

    logit: float
    tokens: tuple[tuple[int, int, float], ...]


@dataclass(frozen=True)
class Window:
    """One call of the encoder: token ids and types, and where the output's tokens stand in them."""

    ids: list[int]
    types: list[int]
    at: slice


class Pieces:
    """The tokenizer, and how a pair becomes windows of at most `length` tokens: [CLS] source [SEP] output [SEP]."""

    def __init__(self, folder: Path, length: int) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.length = length
        marks = [self.tokenizer.token_to_id(mark) for mark in ("[CLS]", "[SEP]")]
        if None in marks:
            raise UserError(f"{folder.name}: its tokenizer has no [CLS] and [SEP]; give an encoder of BERT's kind")
        self.cls, self.sep = (int(mark) for mark in marks if mark is not None)

    def encode(self, texts: Sequence[str]) -> "list[Encoding]":
        found: list[Encoding] = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return found

    def windows(self, source: "Encoding", output: "Encoding") -> Iterator[Window]:
        """One, or several that overlap where the source is long. An output longer than half of it is cut."""
        said = output.ids[: self.length // LEAST_OUTPUT]
        room = self.length - len(said) - 3
        step = room - room // OVERLAP
        for start in range(0, max(len(source.ids) - room // OVERLAP, 1), step):
            read = source.ids[start : start + room]
            first = len(read) + 2
            ids = [self.cls, *read, self.sep, *said, self.sep]
            yield Window(ids, [0] * first + [1] * (len(said) + 1), slice(first, first + len(said)))


class Cross:
    """A trained cross-encoder, opened from its folder. Deterministic; one thread."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        self._folder = folder
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        self.pieces = Pieces(folder, int(facts["length"]))
        heads = load_file(folder / HEADS)
        self._weight, self._bias = heads["weight"], heads["bias"]  # rows: pair, token

    @cached_property
    def _encoder(self) -> Any:
        import ctranslate2

        return ctranslate2.Encoder(str(self._folder / RUNS), device="cpu", inter_threads=1, intra_threads=1)

    def read(self, sources: Sequence[str], outputs: Sequence[str]) -> list[Reading]:
        """One reading a pair. Of a source in several windows, the one that supports the most counts, word by word."""
        pairs = zip(self.pieces.encode(sources), self.pieces.encode(outputs), strict=True)
        return [self._one(source, output) for source, output in pairs]

    def _one(self, source: "Encoding", output: "Encoding") -> Reading:
        seen = [self._logits(window) for window in self.pieces.windows(source, output)]
        pair, tokens = min(each[0] for each in seen), np.min([each[1] for each in seen], axis=0)
        places = zip(output.offsets, tokens.tolist(), strict=False)
        return Reading(joined(pair, tokens), tuple((start, end, logit) for (start, end), logit in places))

    def _logits(self, window: Window) -> tuple[float, NDArray[np.float32]]:
        out = self._encoder.forward_batch([window.ids], token_type_ids=[window.types]).last_hidden_state
        logits = np.asarray(out)[0] @ self._weight.T + self._bias
        return float(logits[0, 0]), logits[window.at, 1]


def joined(pair: float, tokens: NDArray[np.float32]) -> float:
    """The pair's logit of that over the first token and those over the output's tokens."""
    return pair + (float(tokens.max()) if len(tokens) else 0.0)


def save(model: Any, weight: Any, bias: Any, encoder: Path, length: int, folder: Path) -> None:
    """Write a trained cross-encoder into `folder`: what runs (int8), its heads, its tokenizer."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    convert(model, encoder, folder / RUNS, "int8")
    shutil.copyfile(encoder / "tokenizer.json", folder / "tokenizer.json")
    save_file({"weight": weight, "bias": bias}, folder / HEADS)
    (folder / FACTS).write_text(json.dumps({"length": length}, indent=1) + "\n")


def convert(model: Any, encoder: Path, folder: Path, quantization: str) -> None:
    """Write `model`, whose tokenizer is that of the folder `encoder`, as CTranslate2 runs it."""
    import tempfile

    from ctranslate2.converters import TransformersConverter

    model.config.position_embedding_type = "absolute"  # transformers 5 knows no other and says none; CTranslate2 4.8 asks
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
            if (encoder / name).is_file():
                shutil.copyfile(encoder / name, Path(scratch) / name)
        TransformersConverter(scratch).convert(str(folder), quantization=quantization, force=True)
