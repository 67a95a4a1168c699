"""The model that the serving benchmarks serve, made once into .seqline/bench/model15, and the real texts that it is asked.

15M parameters, int8, by the real steps (tokenizer, training, export). Random weights never end an answer; a hundred steps
towards the first sentence of each text (half a minute) are enough that answers end by themselves, at lengths like those of
real summaries. Speed depends on shapes and lengths, not on what is said.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from pipelines import artifact
from pipelines.spec import Decoding, Spec
from tests.benchmarks import corpora

FOLDER = corpora.CACHE / "model15"
MAX_SOURCE, MAX_TARGET = 128, 64
MEDIAN, LONG = (16, 24), 64  # tokens: where the median answer's length must lie, and the most that 95 % of the answers may have
CTRANSLATE2 = {"max_decoding_length": MAX_TARGET, "no_repeat_ngram_size": 3}
"""The spec's own decoding, as CTranslate2 calls it."""
SENTENCE = re.compile(r".{20,}?[.:;](?= |$)")
TEXTS = 2_400
LENGTHS = {"short": (8, 32), "median": (48, 72), "long": (104, MAX_SOURCE - 2)}
"""Tokens of a source, from and to."""


def spec(**sections: Any) -> Spec:
    """The spec of that model, with bounds that do not bind. `sections` replace or join the defaults, section by section."""
    base: dict[str, Any] = {
        "name": "bench15",
        "task": "summarization",
        "data": {"source": {"kind": "files", "paths": ["unused.jsonl"]}},
        "privacy": {"level": "patterns"},
        "tokens": {"vocabulary": 8000, "max_source": MAX_SOURCE, "max_target": MAX_TARGET},
        "training": {
            "architecture": {"width": 320, "heads": 5, "encoder_layers": 6, "decoder_layers": 3},
            "steps": 100,
            "batch_tokens": 512,
        },
        "serving": {"threads": 1, "timeout_ms": 10_000, "cache": {"entries": 0}, "decoding": {"max_tokens": MAX_TARGET}},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section} if isinstance(section, dict) else section
    return Spec.model_validate(base)


def export() -> Path:
    """The folder of its Export, made if it is not there (a minute)."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / ".lock"):
        folder = FOLDER / "export"
        if not (folder / artifact.MANIFEST).is_file():
            _make(folder)
    return folder


def tiny_spec(**sections: Any) -> Spec:
    """The spec of `tiny`: for what is about the gateway and its processes and not about the model."""
    small: dict[str, Any] = {
        "name": "tiny",
        "tokens": {"vocabulary": 1_000, "max_source": MAX_SOURCE, "max_target": MAX_TARGET},
        "training": {"architecture": {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}, "steps": 2},
        "serving": {"decoding": {"max_tokens": 8}},
    }
    for name, section in sections.items():
        small[name] = {**small.get(name, {}), **section} if isinstance(section, dict) else section
    return spec(**small)


def tiny() -> Path:
    """The folder of an Export that answers with eight tokens in no time."""
    folder = FOLDER.with_name("tiny") / "export"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / ".lock"):
        if not (folder / artifact.MANIFEST).is_file():
            with tempfile.TemporaryDirectory(prefix="tiny-", dir=folder.parent) as scratch:
                shutil.rmtree(folder, ignore_errors=True)
                _trained(tiny_spec(), _sources(600), Path(scratch)).rename(folder)
    return folder


def texts(length: str | None = None) -> list[str]:
    """Real package descriptions that fit the model whole, in a fixed order that is none; of one of LENGTHS, if it is named."""
    export()
    rows: list[tuple[str, int]] = json.loads((FOLDER / "texts.json").read_text(encoding="utf-8"))
    low, high = LENGTHS[length] if length else (0, MAX_SOURCE)
    return [text for text, tokens in rows if low <= tokens <= high]


def tagged(folder: Path) -> tuple[str, Path]:
    """Level `fast` and the same export with a tagger (made once, two CPU minutes); `exact`, if its gate closes."""
    from pipelines.errors import GateClosed
    from pipelines.scrub.detect import Detector
    from pipelines.scrub.tagger import distil
    from pipelines.spec import Privacy

    def write(to: Path) -> None:
        exact = Detector(Privacy())
        tagger = distil(corpora.stanzas(9_000), exact.find, exact.privacy, "en", FOLDER, sample=900_000, planted=30_000).path
        shutil.copytree(folder, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns(artifact.MANIFEST))
        (to / "policy").mkdir()
        (to / "policy" / "privacy.json").write_text(Privacy(level="fast").model_dump_json(), encoding="utf-8")
        shutil.copytree(tagger, to / "policy" / "tagger-en")

    try:
        return "fast", artifact.make(artifact.Export, FOLDER / "export-fast", write).path
    except GateClosed:
        return "exact", folder


def answered(folder: Path, asked: Sequence[str], beam: int) -> list[int]:
    """Tokens in each answer."""
    from pipelines.decode import Decoder

    decoding = Decoding(beam=beam, max_tokens=MAX_TARGET)
    return [answer.target_tokens for answer in Decoder(folder).generate(asked, decoding)]


def distribution(folder: Path) -> str:
    """Lengths of answers in tokens, for people."""
    told = []
    for name, beam in (("greedy", 1), ("beam 4", 4)):
        lengths = answered(folder, texts()[:400], beam)
        low, median, high = np.percentile(lengths, [5, 50, 95])
        whole = sum(length < MAX_TARGET for length in lengths) / len(lengths)
        told.append(f"{name}: p5 {low:.0f}, median {median:.0f}, p95 {high:.0f}, ended by themselves {whole:.0%}")
    return "; ".join(told)


def _make(folder: Path) -> None:
    sources = _sources(9_000)
    with tempfile.TemporaryDirectory(prefix="model15-", dir=FOLDER) as scratch:
        made = _trained(spec(), sources[TEXTS * 2 :], Path(scratch))
        rows = _fitting(made / "hf" / "tokenizer.json", sources[: TEXTS * 2])[:TEXTS]
        for beam in (1, 4):
            median, high = np.percentile(answered(made, [text for text, _ in rows[:400]], beam), [50, 95])
            fit_for_it = MEDIAN[0] <= median <= MEDIAN[1] and high <= LONG
            assert fit_for_it, f"beam {beam}: median {median}, p95 {high} tokens"
        (FOLDER / "texts.json").write_text(json.dumps(rows), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _trained(given: Spec, sources: Sequence[str], out: Path) -> Path:
    from pipelines.encode import encode
    from pipelines.scrub.detect import placeholders
    from pipelines.training.export import export as export_weights
    from pipelines.training.fit import fit

    dataset = artifact.make(artifact.Dataset, out / "dataset", lambda to: _splits(to, sources))
    tokens = encode(dataset, given.tokens, placeholders(given.privacy), None, out)
    return export_weights(fit(tokens, given.training, None, out), given.serving.quantisation, out).path


def _sources(count: int) -> list[str]:
    described = (text.rpartition("\nDescription: ")[2] for text in corpora.stanzas(count))
    return [text for text in (" ".join(each.split())[:700] for each in described) if len(text) >= 24]


def _fitting(tokenizer: Path, sources: Sequence[str]) -> list[tuple[str, int]]:
    from tokenizers import Tokenizer

    encoded = Tokenizer.from_file(str(tokenizer)).encode_batch(list(sources))
    return [(text, len(each.ids)) for text, each in zip(sources, encoded, strict=True) if len(each.ids) <= MAX_SOURCE - 2]


def _splits(folder: Path, sources: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for split, (start, end) in {"validation": (0, 20), "test": (20, 40), "train": (40, len(sources))}.items():
        chosen = sources[start:end]
        sentences = [found[0] if (found := SENTENCE.match(text)) else text for text in chosen]
        targets = [" ".join(sentence.split()[:40]) for sentence in sentences]
        columns = {"id": [f"{number:016x}" for number in range(len(chosen))], "source": chosen, "target": targets}
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    (folder / "dataset.json").write_text("{}", encoding="utf-8")


if __name__ == "__main__":
    from rich.console import Console

    Console().print(f"{export()}: {len(texts())} texts; tokens an answer: {distribution(export())}", soft_wrap=True)
