"""Evaluation decoding: pipelines.decode.Decoder on an int8 Export beside transformers.generate in float32, one thread each.

The same model (served.py's 15M one), the same texts, the same decoding; both sort their texts by length and read them in
batches (the peer 32 at a time). Texts to texts: tokenizing counts. Turns alternate; CPU time is the process's, all threads.
Quality is ROUGE-L against each text's first sentence, towards which the model was trained: ours may lose at most 0.3.

ROUNDS (3) and TEXTS (96). With and without the spec's no_repeat_ngram, which costs the peer a pass in Python.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from pipelines.decode import Decoder
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

    def __init__(self, hf: Path) -> None:
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
                max_length=served.MAX_SOURCE,
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
    wanted = references(texts)
    score, of_peer = (float(sentences(["rougeL"], made, wanted)["rougeL"].mean()) for made in (answers, answers_of_peer))
    same = sum(a == b for a, b in zip(answers, answers_of_peer, strict=True)) / len(texts)
    return [
        results.compared(f"decoding, {name}", mine, theirs, PEER, "texts/CPU s", GOALS[beam]),
        results.bounded(f"ROUGE-L lost, {name}", of_peer - score, "points", LOST, len(texts),
                        ours_rouge=round(score, 2), peer_rouge=round(of_peer, 2), same=round(same, 3)),
    ]  # fmt: skip


def main() -> None:
    transformers.logging.set_verbosity_error()
    export = served.export()
    texts = served.texts()[:TEXTS]
    torch.set_num_threads(1)
    ours, peer = Decoder(export, threads=1), Peer(export / "hf")
    ours.generate(texts[:8], Decoding())
    peer.generate(texts[:8], Decoding())
    rows = [row for beam in (1, 4) for ngram in (0, 3) for row in rows_of(beam, ngram, ours, peer, texts)]
    results.write(
        "decoding",
        rows,
        f"{len(texts)} real descriptions, 15M parameters, int8 beside float32; answers of at most {served.MAX_TARGET} tokens",
        "answers that are equal: " + ", ".join(f"{row['claim'][14:]} {row['same']:.0%}" for row in rows if "same" in row),
    )


if __name__ == "__main__":
    main()
