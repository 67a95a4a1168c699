"""What an export must be before any of it is loaded: what was sealed, and nothing that could run code."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipelines import artifact
from pipelines.artifact import MANIFEST, SIGNATURE, Corrupt

WEIGHTS = "ct2/model.bin"
RUNS_CODE = frozenset({".bin", ".ckpt", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so"})
"""Suffixes of pickles and code. CTranslate2's model.bin is neither, whatever it is called."""
SERVED = {
    ("cpu", "int8"): ("int8", "int8_float32"),
    ("cuda", "int8"): ("int8_float16", "int8_bfloat16", "int8_float32", "float16"),
    ("cuda", "bfloat16"): ("bfloat16",),
    ("cuda", "float16"): ("float16", "bfloat16"),
}
"""By device and exported type: the types to compute in, best first; float32 is always there. No float16 for what was exported
in bfloat16: it would overflow."""


def check(folder: Path, signer: Path | None = None) -> str:
    """The digest of the manifest, once every file is found to be as it was sealed (and signed, with a `signer`).

    No link is followed, and no file that could be a pickle is opened, whether the manifest lists it or not.

    Raises:
        Corrupt: naming the file that is changed, missing, unexpected, a link, or of a kind that has no place in an export.
        UserError: `signer` is not a public key.
    """
    for name, entry in _walk(folder):
        if not entry.is_file(follow_symlinks=False):
            raise Corrupt(f"{folder.name}/{name}: neither file nor folder: an export holds no links, pipes or devices")
        if Path(name).suffix.lower() in RUNS_CODE and name != WEIGHTS:
            raise Corrupt(
                f"{folder.name}/{name}: could be a pickle or code: an export holds safetensors and ct2/model.bin only"
            )
    sha256 = artifact.verify(folder, signer=signer)
    _listing(folder, sha256)
    return sha256


def contents(folder: Path, part: str, sha256: str) -> dict[str, bytes]:
    """The files of folder/part by name, each checked against the manifest (of digest `sha256`) as it is read.

    Raises:
        Corrupt: the manifest or a file changed since.
    """
    read = {}
    for name, expected in _listing(folder, sha256).items():
        if name.startswith(f"{part}/"):
            data = (folder / name).read_bytes()
            if hashlib.sha256(data).hexdigest() != expected:
                raise Corrupt(f"{folder.name}/{name}: the bytes changed since it was loaded")
            read[name.removeprefix(f"{part}/")] = data
    return read


def compute_type(exported: str, device: str, supported: Iterable[str]) -> str:
    """What to compute in on `device` (cpu or cuda) for weights `exported` as int8, bfloat16, float16 or float32."""
    able = set(supported)
    return next((kind for kind in SERVED.get((device, exported), ()) if kind in able), "float32")


def refuse_tensors(
    where: str, missing: Iterable[str], unexpected: Iterable[str], misshapen: Sequence[Sequence[object]]
) -> None:
    """Raise Corrupt naming the first tensor that is not as the architecture wants it; `misshapen` start with the name."""
    told = [(sorted(missing), "missing: the model would start from random numbers there"), (sorted(unexpected), "unexpected")]
    told.append((sorted(str(each[0]) for each in misshapen), "not of the shape that config.json says"))
    for names, what in told:
        if names:
            raise Corrupt(f"{where}: tensor {names[0]}: {what}")


def _walk(folder: Path, inside: str = "") -> Iterable[tuple[str, os.DirEntry[str]]]:
    """All that lies in `folder` but folders, by relative name."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{inside}{entry.name}/")
            else:
                yield f"{inside}{entry.name}", entry


def _listing(folder: Path, sha256: str) -> dict[str, str]:
    """The manifest's files. It must be what `artifact.seal` writes, byte by byte: a changed space is a change too."""
    data = (folder / MANIFEST).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Corrupt(f"{folder.name}/{MANIFEST}: changed while it was read")
    try:
        files: dict[str, str] = json.loads(data)["files"]
        canonical = json.dumps({"files": files}, indent=1, sort_keys=True).encode() == data
    except (ValueError, KeyError, TypeError, RecursionError):
        canonical = False
    if not canonical:
        raise Corrupt(f"{folder.name}/{MANIFEST}: not as it was sealed")
    for name in files:
        if name in (MANIFEST, SIGNATURE) or not re.fullmatch(r"(?!\.{1,2}/)[^/\\\0]+(/(?!\.{1,2}(/|$))[^/\\\0]+)*", name):
            raise Corrupt(f"{folder.name}/{MANIFEST}: lists a file that is not inside the folder")
    return files
