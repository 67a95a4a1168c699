"""What decoding costs on a registered version: types of the weights, beams, and CTranslate2's vocabulary map.

NAME (synopsis by default) is a version of this project's registry, as `seqline sweep` takes it; all is measured on its test
split, on one thread, in CPU time, in turns (ROUNDS, 5). The vocabulary map lists, for each piece of a source, the pieces that
an answer to it may hold: IBM model 1 (Brown et al. 1993) on the training pairs, the piece itself, and the most frequent ones;
the output layer then scores a few hundred pieces instead of thousands. It is tried here alone: serving does without it.

Measured (3.7M parameters, 6,000 pieces, 400 English-German strings, int8, 2 busy cores): 1.2 to 1.4 times the texts a CPU
second, but greedy answers, which are the cheapest way anyhow, lose 0.3 chrF [0.04, 0.97]: not surely within half a point.
Longer lists lose and save less (750 pieces a source: 1.0 to 1.2 times). That is too little for one more file in every export.
"""

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from flows.commands.economy import Overlap, Registered, reading_of, registered
from flows.commands.sweep import exports
from flows.settings import Settings, spec_of
from pipelines.decode.translator import beams
from pipelines.economy import sources
from pipelines.economy.judging import cell
from pipelines.economy.turns import Runner, race
from pipelines.spec import Decoding, Spec
from tests.benchmarks.results import Row, at_least, bounded, compared, write

ROUNDS = int(os.environ.get("ROUNDS", "5"))
PAIRS = 8_000  # training pairs that the map is made from
FREQUENT = 150  # pieces that every answer may hold
EACH = 24  # pieces for each piece of the source
FLOOR = 0.5  # points of the metric


def main() -> None:
    settings = Settings().apply()
    made = registered(os.environ.get("NAME", "synopsis"), settings)
    spec = spec_of(made.name, settings)
    judge = Overlap(made.pairs, spec.scoring, FLOOR)
    rows = [*types(made, spec, judge, settings)]
    told, notes = mapped(made, spec, judge)
    n = len(sources(made.pairs, "test"))
    write(
        "economy", [*rows, *told], f"{made.name} version {made.version}, {n} test pairs, metric {spec.scoring.metric}", *notes
    )


def types(made: Registered, spec: Spec, judge: Overlap, settings: Settings) -> list[Row]:
    """int8 beside float32, and greedy beside the spec's own decoding: time, and the score lost."""
    found = exports(made, "int8", ("float32",), settings.folder("work", made.name))
    now = spec.serving.decoding
    greedy = now.model_copy(update={"beam": 1})
    beams = now if now.beam > 1 else now.model_copy(update={"beam": 4})
    ways = {
        "int8 beams": Runner(found["int8"].path, beams),
        "int8 greedy": Runner(found["int8"].path, greedy),
        "float32 beams": Runner(found["float32"].path, beams),
        "float32 greedy": Runner(found["float32"].path, greedy),
    }
    texts, reading = sources(made.pairs, "test"), reading_of(spec)
    turns = [race([*ways.values()], texts, reading, spec.serving.batch_tokens, 1) for _ in range(ROUNDS)]
    speed = {way: [1_000 / turn[place].cpu_ms for turn in turns] for place, way in enumerate(ways)}
    scores = {way: judge.score(ran.answers) for way, ran in zip(ways, turns[0], strict=True)}
    rows = []
    for ours, peer in (("int8 greedy", "float32 greedy"), ("int8 beams", "float32 beams"), ("int8 greedy", "int8 beams")):
        rows.append(
            compared(
                f"{ours} over {peer}, {beams.beam} beams" if "beams" in ours + peer else f"{ours} over {peer}",
                speed[ours],
                speed[peer],
                peer,
                "texts / CPU s",
                None,
            )
        )
        rows.append(_lost(f"score gained by {ours} over {peer}", judge, scores[ours], scores[peer]))
    return rows


def _lost(claim: str, judge: Overlap, ours: Any, theirs: Any) -> Row:
    found = judge.difference(ours, theirs)
    return at_least(claim, found.value, "points", -FLOOR, len(ours), interval=[found.low, found.high], verdict=found.verdict)


# ------------------------------------------------------------------------------------------------- the vocabulary map


@dataclass(frozen=True)
class Shortlist:
    """Pieces that an answer may hold: always, and for each piece of its source."""

    always: list[str]
    by_piece: dict[str, list[str]]

    def write(self, path: Path) -> None:
        lines = ["\t" + " ".join(self.always), *(f"{piece}\t{' '.join(to)}" for piece, to in self.by_piece.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def holds(self, source: Sequence[str]) -> set[str]:
        return set(self.always).union(*(self.by_piece.get(piece, ()) for piece in source))


def shortlist(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], names: Sequence[str]) -> Shortlist:
    """Of pairs of token ids; `names` are the tokens by id."""
    size = len(names)
    probability = _model_1([(np.unique(source), np.unique(target)) for source, target in pairs], size)
    by_source: dict[int, list[tuple[float, int]]] = {}
    for key, value in probability.items():
        by_source.setdefault(key // size, []).append((value, key % size))
    frequent = Counter(token for _, target in pairs for token in target).most_common(FREQUENT)
    each = {
        names[source]: [names[source], *(names[target] for _, target in sorted(found, reverse=True)[:EACH])]
        for source, found in by_source.items()
    }
    return Shortlist([names[token] for token, _ in frequent], each)


def _model_1(pairs: Sequence[tuple[Any, Any]], size: int, rounds: int = 4) -> dict[int, float]:
    """Probability of a target piece given a source piece, by source * size + target: expectation maximisation on all links."""
    sources_ = np.concatenate([np.tile(source, len(target)) for source, target in pairs]).astype(np.int64)
    targets = np.concatenate([np.repeat(target, len(source)) for source, target in pairs]).astype(np.int64)
    # one slot a target piece of a pair: its links share a probability of 1
    lengths = np.concatenate([np.full(len(target), len(source)) for source, target in pairs])
    slots = np.repeat(np.arange(len(lengths)), lengths)
    keys, link = np.unique(sources_ * size + targets, return_inverse=True)
    given = np.ones(len(keys))
    for _ in range(rounds):
        weight = given[link]
        share = weight / np.bincount(slots, weight)[slots]
        counts = np.bincount(link, share, len(keys))
        given = counts / np.bincount(keys // size, counts, size)[keys // size]
    return dict(zip(keys.tolist(), given.tolist(), strict=True))


def mapped(made: Registered, spec: Spec, judge: Overlap) -> tuple[list[Row], list[str]]:
    """The served model with and without the map: texts together, and one by one as in a quiet gateway."""
    tokenizer = Tokenizer.from_file(str(made.export.path / "hf" / "tokenizer.json"))
    longest = json.loads((made.export.path / "export.json").read_text())["max_source"]
    tokenizer.enable_truncation(longest)
    train = pq.read_table(made.pairs.path / "train.parquet", columns=["source", "target"]).slice(0, PAIRS).to_pydict()
    sides = [[one.ids for one in tokenizer.encode_batch(train[side])] for side in ("source", "target")]
    names = [str(tokenizer.id_to_token(number)) for number in range(tokenizer.get_vocab_size())]
    short = shortlist([*zip(*sides, strict=True)], names)
    test = pq.read_table(made.pairs.path / "test.parquet", columns=["source", "target"]).to_pydict()
    encoded, references = ([one.tokens for one in tokenizer.encode_batch(test[side])] for side in ("source", "target"))
    held = [short.holds(source) for source in encoded]
    found = sum(token in allowed for target, allowed in zip(references, held, strict=True) for token in target)
    pieces = sum(map(len, references))
    notes = [
        f"vocabulary map: {np.mean([*map(len, held)]):.0f} of {len(names)} pieces for one source, "
        f"{len(set().union(*held[:32]))} for 32 of them; {found / pieces:.1%} of the references' pieces are listed"
    ]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(shutil.copytree(made.export.path / "ct2", Path(scratch) / "ct2"))
        short.write(folder / "vmap.txt")
        translator = ctranslate2.Translator(str(folder), device="cpu", inter_threads=1, intra_threads=1)
        now = spec.serving.decoding
        for beam in (1, now.beam if now.beam > 1 else 4):
            for many in (1, spec.serving.batch_tokens):
                decoding = now.model_copy(update={"beam": beam})
                rows += _with_map(translator, encoded, decoding, many, judge, tokenizer)
        rows.append(bounded("bytes of the map", (folder / "vmap.txt").stat().st_size / 1e6, "MB", None))
    return rows, notes


def _with_map(
    translator: Any, encoded: Sequence[Sequence[str]], decoding: Decoding, many: int, judge: Overlap, tokenizer: Tokenizer
) -> list[Row]:
    options = {
        **beams(decoding.beam), "max_decoding_length": decoding.max_tokens, "length_penalty": decoding.length_penalty,
        "no_repeat_ngram_size": decoding.no_repeat_ngram, "max_input_length": 0,
    }  # fmt: skip

    vocabulary = tokenizer.get_vocab()

    def decode(use_vmap: bool) -> list[str]:
        groups = [[source] for source in encoded] if many == 1 else [list(encoded)]
        size = {"max_batch_size": many, "batch_type": "tokens"} if many > 1 else {}
        results = [one for group in groups for one in translator.translate_batch(group, use_vmap=use_vmap, **options, **size)]
        ids = [[vocabulary[piece] for piece in one.hypotheses[0]] for one in results]
        return [text.strip() for text in tokenizer.decode_batch(ids)]

    answers = {use: decode(use) for use in (True, False)}
    speed: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for use, spent in speed.items():
            spent.append(len(encoded) / _seconds(lambda use=use: decode(use)))  # type: ignore[misc]
    what = f"vocabulary map, {'greedy' if decoding.beam == 1 else f'beam {decoding.beam}'}, "
    what += "one text at a time" if many == 1 else "texts together"
    scores = {use: judge.score(texts) for use, texts in answers.items()}
    gain = judge.difference(scores[True], scores[False])
    return [
        compared(what, speed[True], speed[False], "without", "texts / CPU s", None),
        at_least(
            f"score gained: {cell(gain.plain(), '+.2f')}", gain.value, "points", -FLOOR, len(encoded), verdict=gain.verdict
        ),
    ]


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    main()
