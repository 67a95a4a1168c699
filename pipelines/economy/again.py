"""A registered version as weights again, so that it can be exported in other types, with the same proof of parity."""

import json
import shutil
from pathlib import Path

from pipelines import artifact
from pipelines.artifact import Dataset, Export, Weights
from pipelines.decode import Decoder

CODE_VERSION = 1
PROBES = 32
"""Validation pairs for the exports' parity check."""


def weights_of(export: Export, dataset: Dataset, out: Path) -> Weights:
    """The Hugging Face folder of `export`, with what pipelines.training.export reads beside it: training.json, probes.json.

    Raises:
        Corrupt: the Export does not hold the bytes that it was sealed with.
    """
    key = artifact.digest("weights again", CODE_VERSION, export, dataset)
    return artifact.make(Weights, out / f"again-{key[:16]}", lambda folder: _write(folder, export, dataset))


def _write(folder: Path, export: Export, dataset: Dataset) -> None:
    import pyarrow.parquet as pq

    decoder = Decoder(export.path, device="cpu")  # which verifies what is copied
    facts = json.loads((export.path / "export.json").read_text(encoding="utf-8"))
    shutil.copytree(export.path / "hf", folder, dirs_exist_ok=True)
    _forget_decoding(folder / "generation_config.json", facts["max_target"])
    held_out = pq.read_table(dataset.path / "validation.parquet", columns=["source", "target"]).slice(0, PROBES).to_pydict()
    targets = [one.ids for one in decoder.encode(held_out["target"])]
    most = facts["max_target"]
    probes = {
        "source_ids": [one.ids for one in decoder.encode(held_out["source"])],
        "target_ids": [ids if len(ids) <= most else [*ids[: most - 1], ids[-1]] for ids in targets],
    }
    longest = {name: facts[name] for name in ("max_source", "max_target")}
    (folder / "probes.json").write_text(json.dumps(probes), encoding="utf-8")
    (folder / "training.json").write_text(json.dumps(longest), encoding="utf-8")


def _forget_decoding(path: Path, longest: int) -> None:
    """Back to what training writes: the proof of parity compares the models, whatever way of decoding was chosen for one."""
    config = json.loads(path.read_text(encoding="utf-8"))
    marks = {name: value for name, value in config.items() if name.endswith("_token_id") or name.startswith("_")}
    path.write_text(json.dumps(marks | {"max_length": longest}, indent=2), encoding="utf-8")
