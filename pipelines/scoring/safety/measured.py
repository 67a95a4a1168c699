"""What a model gives away, and what it can be made to do: the parts of scores.json that need the model itself, not its outputs.

"membership" and "contamination" ask what training left in it, "adversarial" what strange inputs bring out; with a planted copy
"leaks" gets "extraction" and "exposure". Each of them is a number with its interval, and has its rule in `gate`.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import spec
from pipelines.artifact import Dataset, Export
from pipelines.decode import Answer, Decoder, Reading
from pipelines.decode.likelihood import Likelihood
from pipelines.scoring.safety.adversarial import Decode, adversarial
from pipelines.scoring.safety.contamination import contamination
from pipelines.scoring.safety.extraction import exposure, extraction, read
from pipelines.scoring.safety.membership import Pairs, membership, sample
from pipelines.scoring.safety.planted import Planted

if TYPE_CHECKING:
    import pyarrow as pa

FACTS = "dataset.json"
THREADS = 4


def safety(
    export: Export, dataset: Dataset, scoring: spec.Scoring, decoding: spec.Decoding, reading: Reading, language: str
) -> dict[str, Any]:
    """ "membership", "contamination" and "adversarial" of an export that was trained on `dataset` and answers in `language`."""
    train, test = (_pairs(dataset.path / f"{name}.parquet") for name in ("train", "test"))
    told = dataset.path / FACTS
    proof = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else None
    found: dict[str, Any] = {"contamination": contamination(train, test, proof, scoring)}
    if scoring.membership:
        count = min(scoring.membership, len(test.sources))
        likely = Likelihood(export.path, threads=_threads())
        found["membership"] = membership(likely.tokens, sample(train, count), sample(test, count), scoring)
    if scoring.adversarial:
        decode = _decoding(export.path, decoding, reading)
        found["adversarial"] = adversarial(test.sources, decode, reading.task, (reading.language, language), scoring)
    return found


def secrets(planted: Planted, scoring: spec.Scoring, decoding: spec.Decoding, reading: Reading) -> dict[str, Any]:
    """ "extraction" and "exposure" of the secrets in the copy, and what the scrubber made of the pairs that they stood in."""
    hidden = read(planted.copy.path)
    likely = Likelihood(planted.export.path, threads=_threads())
    return {
        "extraction": extraction(hidden, _decoding(planted.export.path, decoding, reading), scoring),
        "exposure": exposure(hidden, likely.tokens, scoring),
        "planted": json.loads((planted.copy.path / "secrets.json").read_text(encoding="utf-8"))["fate"],
    }


def _decoding(folder: Path, decoding: spec.Decoding, reading: Reading) -> Decode:
    decoder = Decoder(folder, threads=_threads())
    wanted = replace(reading, long_inputs="cut") if reading.long_inputs == "refuse" else reading

    def decode(texts: Sequence[str]) -> Sequence[Answer]:
        return decoder.answer(texts, decoding, wanted)

    return decode


def _threads() -> int:
    return min(THREADS, os.cpu_count() or 1)


def _pairs(path: Path) -> Pairs:
    from pyarrow import parquet

    table: pa.Table = parquet.read_table(path, columns=["source", "target"])
    return Pairs(table["source"].to_pylist(), table["target"].to_pylist())
