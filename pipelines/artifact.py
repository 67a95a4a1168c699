"""What travels on the arrows: sealed, content-addressed folders.

A step writes into a temporary folder beside the final one and seals it: `manifest.json` lists the sha256 of every file and
is written last, then the folder is renamed. A folder that exists under its final name is therefore whole. The name carries
the hash of what made it (inputs, spec section, version of the step's code), so that an unchanged run finds it and does nothing.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from pipelines.errors import SeqlineError

MANIFEST = "manifest.json"
SIGNATURE = "model.sig"
"""Beside the manifest, in a registered version: who vouches for it (pipelines/signature.py). The manifest does not list it."""


@dataclass(frozen=True)
class Artifact:
    """A sealed folder; `sha256` is the digest of its manifest, hence of every byte in it."""

    path: Path
    sha256: str


class Raw(Artifact):
    """Pairs as they came, with personal data in them: in the quarantine only (pairs.parquet, rejects.jsonl, facts.json)."""


class Clean(Artifact):
    """Scrubbed pairs (pairs.parquet, trail.parquet, scrub.json; at level `fast` tagger/)."""


class Tagger(Artifact):
    """A small tagger of names and places, distilled on the model's own data (tagger.safetensors, tagger.json)."""


class Dataset(Artifact):
    """Deduplicated, split pairs (train, validation, test .parquet, dataset.json)."""


class Preferences(Artifact):
    """What people corrected, scrubbed (preferences.parquet: id, source, accepted, rejected, held_out; preferences.json)."""


class Tokens(Artifact):
    """Tokenizer and encoded pairs (tokenizer/, train.parquet, validation.parquet, tokens.json)."""


class Weights(Artifact):
    """A Hugging Face folder: safetensors, config, tokenizer, generation config, training.json."""


class Export(Artifact):
    """What serves: hf/ (Hugging Face folder), ct2/ (CTranslate2, quantised), export.json."""


class Report(Artifact):
    """Scores of an Export (scores.json, gate.json, report.md, *.png, outputs.parquet)."""


A = TypeVar("A", bound=Artifact)


class Corrupt(SeqlineError):
    """A sealed folder no longer holds the bytes it was sealed with."""


def digest(*parts: object) -> str:
    """The sha256 (hex) of the canonical JSON of `parts`; pydantic models count by their fields, artifacts by their bytes."""

    def plain(value: object) -> object:
        if isinstance(value, BaseModel):
            return value.model_dump(mode="json")
        if isinstance(value, Artifact):
            return value.sha256
        raise TypeError(f"{type(value).__name__} has no digest")

    text = json.dumps(parts, default=plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(folder: Path) -> str:
    """Write the manifest of `folder` (every file's sha256, paths relative, sorted) and return the manifest's own digest."""
    besides = {folder / MANIFEST, folder / SIGNATURE}
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p not in besides)
    manifest = {"files": {p.relative_to(folder).as_posix(): file_sha256(p) for p in files}}
    path = folder / MANIFEST
    with path.open("w") as stream:
        json.dump(manifest, stream, indent=1, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    return file_sha256(path)


def verify(folder: Path, sha256: str | None = None, *, signer: Path | None = None) -> str:
    """Check `folder` against its manifest, byte by byte, and return the manifest's digest.

    Args:
        sha256: what the manifest's digest must be.
        signer: a public key (PEM): the manifest and every file must be those that its owner signed.

    Raises:
        Corrupt: naming the first file that is missing, changed or unexpected (or the manifest itself); with `signer`, also a
            folder that is not signed, or not by this key.
        UserError: `signer` is not a public key.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise Corrupt(f"{folder.name}: no {MANIFEST}: the folder was never completed")
    found = file_sha256(path)
    if sha256 is not None and found != sha256:
        raise Corrupt(f"{folder.name}/{MANIFEST}: sha256 is {found[:12]}, expected {sha256[:12]}")
    expected = _listed(path)
    besides = {path, folder / SIGNATURE}
    present = {
        p.relative_to(folder).as_posix() for p in folder.rglob("*") if (p.is_file() or p.is_symlink()) and p not in besides
    }
    for name in sorted(expected.keys() | present):
        if name not in present:
            raise Corrupt(f"{folder.name}/{name}: missing")
        if name not in expected:
            raise Corrupt(f"{folder.name}/{name}: not in the manifest")
        if not (folder / name).is_file() or file_sha256(folder / name) != expected[name]:
            raise Corrupt(f"{folder.name}/{name}: the bytes changed since the folder was sealed")
    if signer:
        from pipelines import signature  # it brings cryptography, which most who verify do without

        signature.refuse_differences(folder.name, expected | {MANIFEST: found}, signature.signed_files(folder, signer))
    return found


def _listed(manifest: Path) -> dict[str, str]:
    try:
        files = json.loads(manifest.read_bytes())["files"]
        return {str(name): str(sha256) for name, sha256 in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Corrupt(f"{manifest.parent.name}/{MANIFEST}: not a manifest") from None


def existing(kind: type[A], folder: Path) -> A | None:
    """The artifact in `folder` if it is there (the rename at the end of `make` is the proof that it is whole)."""
    path = folder / MANIFEST
    return kind(folder, file_sha256(path)) if path.is_file() else None


def make(kind: type[A], folder: Path, write: Callable[[Path], None], *, mode: int = 0o755) -> A:
    """Return the artifact in `folder`, calling `write(temporary folder)` to make it only if it is not there yet."""
    found = existing(kind, folder)
    if found:
        return found
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.parent / f".{folder.name}.{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=mode)
    try:
        write(building)
        sha256 = seal(building)
        try:
            building.replace(folder)
        except OSError:
            made = existing(kind, folder)  # by another process, at the same time
            if made is None:
                raise
            return made
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return kind(folder, sha256)
