"""Weights as they serve: the Hugging Face folder, and CTranslate2's form of it in the type asked for, proved equal first.

Parity: converted to float32, CTranslate2 gives each token of the probe targets the log-probability that transformers gives.
What quantising costs on top is measured on the same probes and reported, not judged: scoring decodes the quantised model.
"""

import itertools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.artifact import Export, Weights
from pipelines.errors import SeqlineError
from pipelines.spec import Decoding
from pipelines.training import generation

CODE_VERSION = 1
TOLERANCE = 1e-4
"""Largest difference of a token's log-probability (nats) between the two, both in float32."""
BATCH_TOKENS = 1_024
NOT_MODEL = ("training.json", "probes.json", artifact.MANIFEST)


@dataclass(frozen=True)
class Probes:
    """Encoded validation pairs: token ids, in the model's frame."""

    sources: list[list[int]]
    targets: list[list[int]]


def export(
    weights: Weights, quantisation: str, out: Path, policy: Path | None = None, decoding: Decoding | None = None
) -> Export:
    """Make hf/, ct2/ (`quantisation`: int8, bfloat16, float16 or float32) and export.json (parity, bytes, longest texts).

    An architecture that CTranslate2 does not know gets no ct2/, and export.json says so: it decodes through transformers.

    Args:
        policy: how the texts that it learned from were scrubbed: copied to policy/, for the gateway to do the same.
        decoding: how it shall answer: written into the Hugging Face folder's generation_config.json.

    Raises:
        SeqlineError: CTranslate2's float32 log-probabilities differ from transformers' by more than 1e-4.
    """
    files = sorted(path for path in policy.rglob("*") if path.is_file()) if policy else []
    scrubbed = [(path.name, artifact.file_sha256(path)) for path in files]
    key = artifact.digest("export", CODE_VERSION, weights, quantisation, scrubbed, *([decoding] if decoding else []))

    def write(folder: Path) -> None:
        _write(folder, weights.path, quantisation)
        if decoding:
            generation.write(folder / "hf", decoding)  # after the proof of parity, which is greedy
        if policy:
            shutil.copytree(policy, folder / "policy")

    return artifact.make(Export, out / f"export-{key[:16]}", write)


def _write(folder: Path, weights: Path, quantisation: str) -> None:
    hf = folder / "hf"
    shutil.copytree(weights, hf, ignore=shutil.ignore_patterns(*NOT_MODEL))
    trained = json.loads((weights / "training.json").read_text(encoding="utf-8"))
    content = json.loads((weights / "probes.json").read_text(encoding="utf-8"))
    probes = Probes(content["source_ids"], content["target_ids"])
    facts: dict[str, Any] = {
        "max_source": trained["max_source"],
        "max_target": trained["max_target"],
        "quantisation": quantisation,
    }
    with tempfile.TemporaryDirectory(prefix="seqline-export-") as scratch:
        why_not = _convert(hf, folder / "ct2", quantisation, Path(scratch))
        if why_not:
            facts |= {"ct2": False, "why_not": why_not}
        else:
            facts |= {"ct2": True, "parity": _parity(hf, folder / "ct2", Path(scratch), probes, trained["max_target"])}
    facts["bytes"] = {part: _bytes(folder / part) for part in ("hf", "ct2") if (folder / part).is_dir()}
    (folder / "export.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _convert(hf: Path, ct2: Path, quantisation: str, scratch: Path) -> str | None:
    """Convert to `ct2` and, in float32, to scratch/float32; return why not where CTranslate2 does not know the model."""
    from ctranslate2.converters import TransformersConverter

    if not (hf / "tokenizer.json").is_file():
        return "its tokenizer has no tokenizer.json"
    dressed = scratch / "hf"
    shutil.copytree(hf, dressed)
    _restore_bart_keys(dressed / "config.json")
    try:
        for target, kind in ((scratch / "float32", "float32"), (ct2, quantisation)):
            with _quiet_transformers():
                TransformersConverter(str(dressed)).convert(str(target), quantization=kind)
    except (ValueError, NotImplementedError, AttributeError) as error:
        shutil.rmtree(ct2, ignore_errors=True)
        return str(error).splitlines()[0]
    return None


def _restore_bart_keys(path: Path) -> None:
    """transformers 5 dropped two keys of BART's config that CTranslate2 4.8 reads; their values never varied in BART."""
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("model_type") == "bart":
        config |= {"normalize_before": False, "normalize_embedding": True}
        path.write_text(json.dumps(config), encoding="utf-8")


def _parity(hf: Path, ct2: Path, scratch: Path, probes: Probes, longest: int) -> dict[str, float | int]:
    import numpy as np

    exact = _ct2_logprobs(scratch / "float32", hf, probes)
    served = _ct2_logprobs(ct2, hf, probes)
    theirs, answers = _hf_logprobs_and_answers(hf, probes, longest)
    ours, reference = (np.array([*itertools.chain(*logprobs)]) for logprobs in (exact, theirs))
    off = float(np.abs(ours - reference).max(initial=0.0))  # NaN where either has one
    if not off <= TOLERANCE:
        raise SeqlineError(
            f"export: CTranslate2's float32 log-probabilities differ from transformers' by {off:.2g}, more than {TOLERANCE:g}"
        )
    drift = [sum(one) - sum(other) for one, other in zip(served, theirs, strict=True)]
    same = [a == b for a, b in zip(_ct2_answers(ct2, hf, probes, longest), answers, strict=True)]
    count = max(len(same), 1)
    return {
        "pairs": len(same),
        "float32_largest_difference": float(f"{off:.1g}"),
        "quantised_same_greedy": sum(same) / count,
        "quantised_mean_logprob_difference": round(sum(drift) / count, 4),
    }


def _ct2_logprobs(model: Path, hf: Path, probes: Probes) -> list[list[float]]:
    translator, pieces, end = _open(model, hf)
    sources = [pieces(ids) for ids in probes.sources]
    targets = [pieces(ids[:-1] if ids[-1:] == [end] else ids) for ids in probes.targets]
    return [
        list(result.log_probs)
        for result in translator.score_batch(sources, targets, max_batch_size=BATCH_TOKENS, batch_type="tokens")
    ]


def _ct2_answers(model: Path, hf: Path, probes: Probes, longest: int) -> list[list[int]]:
    from tokenizers import Tokenizer

    translator, pieces, _ = _open(model, hf)
    sources = [pieces(ids) for ids in probes.sources]
    results = translator.translate_batch(
        sources, beam_size=1, max_decoding_length=longest, max_batch_size=BATCH_TOKENS, batch_type="tokens"
    )
    vocabulary = Tokenizer.from_file(str(hf / "tokenizer.json")).get_vocab()
    return [[vocabulary[piece] for piece in result.hypotheses[0]] for result in results]


def _open(model: Path, hf: Path) -> tuple[Any, Any, int]:
    """The translator, a function from ids to pieces, and the id of the end token."""
    import ctranslate2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(hf / "tokenizer.json"))
    end = json.loads((hf / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"]
    cores = len(os.sched_getaffinity(0))  # batches beside one another: threads within one spin while they wait
    translator = ctranslate2.Translator(str(model), device="cpu", inter_threads=cores, intra_threads=1)
    return translator, lambda ids: [tokenizer.id_to_token(token) for token in ids], end


def _hf_logprobs_and_answers(hf: Path, probes: Probes, longest: int) -> tuple[list[list[float]], list[list[int]]]:
    """Log-probability of every token of the probe targets, one pair at a time, and the greedy answers (ids without marks)."""
    import torch
    from transformers import AutoModelForSeq2SeqLM
    from transformers.utils import logging as transformers_log

    transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    model = AutoModelForSeq2SeqLM.from_pretrained(hf, local_files_only=True, dtype=torch.float32).eval()
    logprobs: list[list[float]] = []
    with torch.inference_mode():
        for source, target in zip(probes.sources, probes.targets, strict=True):
            decoder = torch.tensor([[model.generation_config.decoder_start_token_id, *target[:-1]]])
            scores = model(input_ids=torch.tensor([source]), decoder_input_ids=decoder).logits[0].log_softmax(-1)
            logprobs.append(scores[torch.arange(len(target)), torch.tensor(target)].tolist())
        return logprobs, _hf_answers(model, probes.sources, longest)


def _hf_answers(model: Any, sources: list[list[int]], longest: int) -> list[list[int]]:
    """Greedy answers, all at once: a step of so small a batch takes hardly longer than one of a single source."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    pad = model.config.pad_token_id or 0  # masked: any id does
    marks = {pad, model.generation_config.eos_token_id, model.generation_config.decoder_start_token_id}
    rows = [torch.tensor(source) for source in sources]
    answers = model.generate(
        input_ids=pad_sequence(rows, batch_first=True, padding_value=pad),
        attention_mask=pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
        num_beams=1,
        do_sample=False,
        max_new_tokens=longest,
        min_new_tokens=1,
        max_length=None,
    )
    return [[token for token in answer if token not in marks] for answer in answers.tolist()]


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """The converter reads the config as transformers 4 wrote it, and transformers 5 warns of that on every load.

    The bars that it draws while it loads are nothing for a log either.
    """
    from transformers.utils import logging as transformers_log

    transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
