"""Reads a text on standard input and prints the model's answer. Needs ctranslate2 and sentencepiece, nothing else."""

import json
import re
import sys
from pathlib import Path

import ctranslate2
import sentencepiece

HERE = Path(__file__).parent
TOLD = json.loads((HERE / "decoding.json").read_text(encoding="utf-8"))
SOURCE, TARGET = (sentencepiece.SentencePieceProcessor(model_file=str(HERE / f"{side}.model")) for side in ("source", "target"))
MODEL = ctranslate2.Translator(str(HERE / "model"))


def encode(text: str) -> list[str]:
    words = re.findall(TOLD["words"], re.sub(TOLD["start"], " ", text.replace("\0", "\U0010ffff")))
    pieces = [piece for word in words for piece in SOURCE.encode(word, out_type=str)]
    if len(pieces) > TOLD["longest"]:
        sys.stderr.write(f"only the first {TOLD['longest']} of {len(pieces)} tokens are read\n")
    return [*TOLD["before"], *pieces[: TOLD["longest"]], *TOLD["after"]]


def decode(pieces: list[str]) -> str:
    return str(TARGET.decode(pieces, out_type=bytes), "utf-8", "replace").strip()


def answer(text: str) -> str:
    return decode(MODEL.translate_batch([encode(text)], **TOLD["translate"])[0].hypotheses[0])


if __name__ == "__main__":
    sys.stdout.write(answer(sys.stdin.read()) + "\n")
