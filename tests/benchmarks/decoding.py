"""Evaluation decoding: pipelines.decode.Decoder on an int8 Export beside transformers.generate in float32, one thread each.

The same model (served.py's 15M one), the same texts, the same decoding; both sort their texts by length and read them in
batches (the peer 32 at a time). Texts to texts: tokenizing counts. Turns alternate; CPU time is the process's, all threads.
Quality is ROUGE-L against each text's first sentence, towards which the model was trained: ours may lose at most 0.3, and
the paired 95 % interval of what it loses stands beside. So it is for the default model, where `make retrain` has made one here:
as it is served, on all its held-out pairs.

ROUNDS (3) and TEXTS (96). With and without the spec's no_repeat_ngram, which costs the peer a pass in Python.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import transformers

from pipelines import artifact, spec
from pipelines.decode import Decoder
from pipelines.scoring import compare
from pipelines.scoring.metrics.sentences import sentences
from pipelines.spec import Decoding
from tests.benchmarks import results, served

ROUNDS, TEXTS = int(os.environ.get("ROUNDS", "3")), int(os.environ.get("TEXTS", "96"))
BATCH = 32
PEER = f"transformers {transformers.__version__} generate"
LOST = 0.3
GOALS = {1: 7.0, 4: 5.0}


class Peer:
    """The export's hf/ folder in transformers, float32."""

    def __init__(self, export: Path) -> None:
        hf = export / "hf"
        self.longest: int = json.loads((export / "export.json").read_text(encoding="utf-8"))["max_source"]
        tokenizer: Any = transformers.PreTrainedTokenizerFast.from_pretrained(hf)
        self.tokenizer = tokenizer
        self.model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(hf, dtype=torch.float32).eval()

    def generate(self, texts: Sequence[str], decoding: Decoding) -> list[str]:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        answers: dict[int, str] = {}
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            read = self.tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=self.longest,
                return_token_type_ids=False,
                return_tensors="pt",
            )
            with torch.inference_mode():
                made = self.model.generate(
                    **read,
                    num_beams=decoding.beam,
                    do_sample=False,
                    max_new_tokens=decoding.max_tokens,
                    min_new_tokens=1,
                    max_length=None,
                    length_penalty=decoding.length_penalty,
                    no_repeat_ngram_size=decoding.no_repeat_ngram,
                )
            told = self.tokenizer.batch_decode(made, skip_special_tokens=True)
            answers |= zip(places, (text.strip() for text in told), strict=True)
        return [answers[place] for place in range(len(texts))]


def timed(generate: Callable[[], list[str]]) -> tuple[float, list[str]]:
    began = time.process_time()
    answers = generate()
    return time.process_time() - began, answers


def references(texts: Sequence[str]) -> list[str]:
    return [found[0] if (found := served.SENTENCE.match(text)) else text for text in texts]


def rows_of(beam: int, ngram: int, ours: Decoder, peer: Peer, texts: Sequence[str]) -> list[results.Row]:
    decoding = Decoding(beam=beam, max_tokens=served.MAX_TARGET, no_repeat_ngram=ngram)
    name = ("greedy" if beam == 1 else f"beam {beam}") + (f", no_repeat_ngram {ngram}" if ngram else "")
    mine, theirs = list[float](), list[float]()
    for _ in range(ROUNDS):
        spent, answers = timed(lambda: [answer.text for answer in ours.generate(texts, decoding)])
        mine.append(len(texts) / spent)
        spent, answers_of_peer = timed(lambda: peer.generate(texts, decoding))
        theirs.append(len(texts) / spent)
    return [
        results.compared(f"decoding, {name}", mine, theirs, PEER, "texts/CPU s", GOALS[beam]),
        lost(name, answers, answers_of_peer, references(texts)),
    ]


def lost(name: str, ours: Sequence[str], peers: Sequence[str], wanted: Sequence[str]) -> results.Row:
    """What our answers lose against the peer's, with its paired interval, and the share of equal answers."""
    score, of_peer = (sentences(["rougeL"], made, wanted)["rougeL"] for made in (ours, peers))
    less = compare.difference(of_peer, score)
    same = sum(a == b for a, b in zip(ours, peers, strict=True)) / len(wanted)
    return results.bounded(f"ROUGE-L lost, {name}", less.value, "points", LOST, less.n, (less.low, less.high),
                           ours_rouge=round(float(score.mean()), 2), peer_rouge=round(float(of_peer.mean()), 2),
                           same=round(same, 3))  # fmt: skip


def default() -> list[results.Row]:
    """The default model's answers to its held-out pairs, decoded as it is served; nothing where no retrain has made one."""
    synopsis = spec.load(Path("models/synopsis.yaml"))
    made = [path for path in Path(".seqline/work/synopsis").glob("export-*") if (path / artifact.MANIFEST).is_file()]
    if not made:
        return []
    export = max(made, key=lambda path: path.stat().st_mtime)
    pairs = pq.read_table("data/synopsis/test.parquet", columns=["source", "target"])
    texts, wanted, decoding = pairs["source"].to_pylist(), pairs["target"].to_pylist(), synopsis.serving.decoding
    answers = [answer.text for answer in Decoder(export, threads=1).generate(texts, decoding)]
    return [lost(f"synopsis, beam {decoding.beam}", answers, Peer(export).generate(texts, decoding), wanted)]


def main() -> None:
    transformers.logging.set_verbosity_error()
    export = served.export()
    texts = served.texts()[:TEXTS]
    torch.set_num_threads(1)
    ours, peer = Decoder(export, threads=1), Peer(export)
    ours.generate(texts[:8], Decoding())
    peer.generate(texts[:8], Decoding())
    rows = [row for beam in (1, 4) for ngram in (0, 3) for row in rows_of(beam, ngram, ours, peer, texts)]
    of_default = default()
    results.write(
        "decoding",
        rows + of_default,
        f"{len(texts)} real descriptions, 15M parameters, int8 beside float32; answers of at most {served.MAX_TARGET} tokens",
        "answers that are equal: "
        + ", ".join(f"{row['claim'][14:]} {row['same']:.0%}" for row in rows + of_default if "same" in row),
        *([] if of_default else ["synopsis was not measured: `make retrain` has made none here"]),
    )


if __name__ == "__main__":
    main()
