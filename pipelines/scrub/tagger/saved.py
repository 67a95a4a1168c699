"""A tagger in a folder: weights and digests as safetensors, what a person reads as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import SeqlineError
from pipelines.scrub.tagger.find import Finder
from pipelines.scrub.tagger.network import Network
from pipelines.scrub.tagger.words import LISTS, SPECIAL, Lexicon

WEIGHTS, FACTS = "tagger.safetensors", "tagger.json"
FORMAT = 2  # of the folder; features and network belong to it


def save(folder: Path, lexicon: Lexicon, network: Network, facts: Mapping[str, Any]) -> None:
    from safetensors.numpy import save_file

    tensors: dict[str, Any] = {
        "table": network.table,
        "first": network.first.astype(np.int8),
        "second": network.second.astype(np.int8),
        "bias": network.bias.astype(np.int32),
        "offset": network.offset.astype(np.int32),
        "known": np.array(list(lexicon.known), np.uint32),
        "common": np.array(sorted(lexicon.common), np.uint32),
    }
    for name, members in zip(LISTS, lexicon.lists, strict=True):
        tensors[f"list.{name}"] = np.array(sorted(members), np.uint32)
    # safetensors writes an array's memory as it lies: one that is transposed would come back as another
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)
    scales = {"format": FORMAT, "salt": lexicon.salt, "shift": network.shift, "nat": network.nat}
    (folder / FACTS).write_text(json.dumps({**scales, **facts}, indent=1, sort_keys=True))


def load(folder: Path) -> Finder:
    """Raises: SeqlineError, if the folder holds no tagger, or one of another version's."""
    from safetensors.numpy import load_file

    if not (folder / FACTS).is_file():
        raise SeqlineError(f"{folder.name}: no {FACTS}: not a tagger's folder")
    facts = json.loads((folder / FACTS).read_text())
    if facts.get("format") != FORMAT:
        raise SeqlineError(f"{folder.name}: a tagger of format {facts.get('format')}, {FORMAT} is wanted: distil it again")
    tensors = load_file(folder / WEIGHTS)
    network = Network(
        tensors["table"],
        tensors["first"].astype(np.float32),
        tensors["bias"].astype(np.float32),
        facts["shift"],
        tensors["second"].astype(np.float32),
        tensors["offset"].astype(np.float32),
        facts["nat"],
    )
    lexicon = Lexicon(
        facts["salt"],
        {int(own): SPECIAL + place for place, own in enumerate(tensors["known"])},
        tuple(frozenset(tensors[f"list.{name}"].tolist()) for name in LISTS),
        frozenset(tensors["common"].tolist()),
    )
    return Finder(lexicon, network)
