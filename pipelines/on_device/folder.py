"""The folder: model, pieces, patterns, the code that runs them, what it is and who vouches for it."""

import itertools
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import artifact, signature
from pipelines.decode.translator import beams
from pipelines.errors import UserError
from pipelines.on_device.check import EXAMPLE, refuse_difference
from pipelines.on_device.pieces import Pieces, pieces_of
from pipelines.spec import Decoding


@dataclass(frozen=True)
class About:
    """What is told beside the model. `name` and `version` as registered; `card` and `licence` are texts, "" for none."""

    name: str
    version: str
    card: str
    licence: str


def export(export_folder: Path, decoding: Decoding, about: About, signing_key: Path, out: Path) -> str:
    """Make `out` of a verified Export, signed; return its manifest's digest.

    Args:
        decoding: how the model decodes there; the same as it serves, so that it answers the same.
        signing_key: EC private key (PEM) that signs the folder.

    Raises:
        UserError: `out` is there already, the export has no CTranslate2 form, or its tokenizer no SentencePiece form.
        SeqlineError: the folder reads or answers probes differently from the decoder that serves.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: is there already: name a folder that is not, or is empty")
    if not (export_folder / "ct2").is_dir():
        why = json.loads((export_folder / "export.json").read_text(encoding="utf-8")).get("why_not", "no ct2/ in the export")
        raise UserError(f"{about.name} {about.version}: cannot run without torch: CTranslate2 does not know it: {why}")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
        building = Path(scratch) / out.name
        _write(building, export_folder, decoding, about, signature.fingerprint_of(signing_key))
        refuse_difference(building, export_folder, decoding)
        sha256 = artifact.seal(building)
        signature.sign(building, signing_key)
        if out.exists():
            out.rmdir()
        building.replace(out)
    return sha256


def _write(folder: Path, export_folder: Path, decoding: Decoding, about: About, signer: str) -> None:
    hf = export_folder / "hf"
    pieces = pieces_of(hf)
    shutil.copytree(export_folder / "ct2", folder / "model")
    (folder / "source.model").write_bytes(pieces.source)
    (folder / "target.model").write_bytes(pieces.target)
    facts = json.loads((export_folder / "export.json").read_text(encoding="utf-8"))
    told = json.dumps(_told(pieces, hf, facts["max_source"], decoding), indent=1, sort_keys=True)
    shutil.copyfile(Path(__file__).with_name(EXAMPLE), folder / EXAMPLE)
    texts = {
        "decoding.json": told + "\n",
        "README.md": _readme(about, facts, decoding, signer),
        "MODEL_CARD.md": about.card,
        "LICENSE": about.licence,
    }
    for name, text in texts.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")


def _told(pieces: Pieces, hf: Path, longest: int, decoding: Decoding) -> dict[str, Any]:
    """What example.py reads: how to cut a text, the frame around its pieces, what CTranslate2 is asked."""
    from tokenizers import Tokenizer

    frame = Tokenizer.from_file(str(hf / "tokenizer.json")).encode("a")
    marks = [bool(mark) for mark in frame.special_tokens_mask]
    before = list(itertools.takewhile(lambda piece: piece[1], zip(frame.tokens, marks, strict=True)))
    after = list(itertools.takewhile(lambda piece: piece[1], zip(reversed(frame.tokens), reversed(marks), strict=True)))
    drawn = {"sampling_temperature": decoding.temperature, "sampling_topk": decoding.top_k, "sampling_topp": decoding.top_p}
    return {
        "start": pieces.start,
        "words": pieces.words,
        "before": [piece for piece, _ in before],
        "after": [piece for piece, _ in reversed(after)],
        "longest": longest - len(before) - len(after),
        "translate": {
            **beams(decoding.beam),
            "max_input_length": 0,  # example.py saw to that, and says so; CTranslate2 would cut at 1,024 without a word
            "max_decoding_length": decoding.max_tokens,
            "length_penalty": decoding.length_penalty,
            "no_repeat_ngram_size": decoding.no_repeat_ngram,
            **(drawn if decoding.temperature else {}),
        },
    }


def _readme(about: About, facts: dict[str, Any], decoding: Decoding, signer: str) -> str:
    drawn = "Its answers are drawn (`sampling_*` in decoding.json): they vary from run to run." if decoding.temperature else ""
    return f"""\
# {about.name} {about.version}, on a device

A sequence-to-sequence model for CTranslate2 ({facts["quantisation"]}) with its tokenizer as SentencePiece models. \
It runs without network.

    pip install ctranslate2 sentencepiece
    python {EXAMPLE} < text.txt

`{EXAMPLE}` is all the code there is: copy its functions into your program. It answers as version {about.version} does when \
seqline serves it. {drawn}

- `model/`: the weights. `source.model`, `target.model`: the pieces of what is read and of what is written.
- `decoding.json`: `words` cuts a text into words before SentencePiece reads them; where `start` matches, a space comes \
first; `before` and `after` frame the pieces; at most `longest` of them are read (more are cut, and that is said); \
`translate` is what CTranslate2 is asked.
- Personal data: the model learnt from text in which placeholders replace it. Replace it here too, or it is read as it is.
- Licence: LICENSE covers the code. The weights derive from data that has terms of its own: see MODEL_CARD.md.
- `manifest.json` holds the sha256 of every file, `model.sig` the signature of the key {signer}:

      python -m model_signing verify key . --signature model.sig --public_key signing.pub --no-ignore-git-paths

  with signing.pub from whom you trust, not from where this folder came from.
"""
