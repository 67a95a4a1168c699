"""A base as others take it: half-precision weights, tokenizer and a card, beside the spec that made it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.artifact import Dataset, Report, Tokens, Weights
from pipelines.errors import UserError
from pipelines.spec import Base
from pipelines.training.progress import lines

MOST_BYTES = 64_000_000
NOT_BASE = ("model.safetensors", "training.json", "probes.json", artifact.MANIFEST)


@dataclass(frozen=True)
class Corpus:
    """One model whose pairs went in, and how well the base does that model's task before any fine-tuning."""

    name: str
    source: str
    report: Report


def release(base: Base, mixture: Dataset, tokens: Tokens, weights: Weights, corpora: Sequence[Corpus], folder: Path) -> Path:
    """Write the base to `folder`, in place of an earlier one: a Hugging Face folder (float16), README.md and base.json.

    Raises:
        UserError: it would be larger than 64 MB.
    """
    building = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(weights.path, building, ignore=shutil.ignore_patterns(*NOT_BASE))
    _halve(weights.path, building)
    size = sum(path.stat().st_size for path in building.iterdir())
    if size > MOST_BYTES:
        shutil.rmtree(building)
        raise UserError(
            f"training.architecture: the base is {size / 1e6:.0f} MB, more than {MOST_BYTES / 1e6:.0f}: make it smaller"
        )
    facts = _facts(base, mixture, tokens, weights, corpora) | {"bytes": size}
    (building / "base.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (building / "README.md").write_text(card(facts), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    building.replace(folder)
    return folder


def _halve(weights: Path, building: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights / "model.safetensors")
    half = {name: tensor.to(torch.float16) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_file(half, building / "model.safetensors", metadata={"format": "pt"})


def _facts(base: Base, mixture: Dataset, tokens: Tokens, weights: Weights, corpora: Sequence[Corpus]) -> dict[str, Any]:
    trained = json.loads((weights.path / "training.json").read_text(encoding="utf-8"))
    mixed = json.loads((mixture.path / "dataset.json").read_text(encoding="utf-8"))["corpora"]
    encoded = json.loads((tokens.path / "tokens.json").read_text(encoding="utf-8"))
    log = weights.path.parent / f"{weights.path.name}.jsonl"
    return {
        "name": base.name,
        "licence": base.licence,
        "margin": base.margin,
        "near_duplicate": base.near_duplicate,
        "parameters": trained["parameters"],
        "steps": trained["step"],
        "best_step": trained["best_step"],
        "best_loss": trained["best_loss"],
        "tokens": trained["tokens"],
        "epoch_tokens": encoded["train"]["source_tokens"] + encoded["train"]["target_tokens"],
        "vocabulary": encoded["vocabulary"],
        "hours": _hours(log),
        "device": trained["device"],
        "training": trained["training"],
        "corpora": [
            {"name": corpus.name, "source": corpus.source, "scores": _scores(corpus.report), **told}
            for corpus, told in zip(corpora, mixed, strict=True)
        ],
    }


def _hours(log: Path) -> float:
    """What the training took, runs that were killed included."""
    total = last = 0.0
    for line in lines(log):
        if line.get("event") == "resume":
            total, last = total + last, 0.0
        last = line.get("seconds", last)
    return round((total + last) / 3600, 2)


def _scores(report: Report) -> dict[str, Any]:
    found = json.loads((report.path / "scores.json").read_text(encoding="utf-8"))
    return {"base": found["model"], **found["baselines"]}


def card(facts: Mapping[str, Any]) -> str:
    """The model card (Mitchell et al., 2019) in markdown."""
    shape = facts["training"]["architecture"]
    lines = [
        f"# {facts['name']}: a base for seqline's models",
        "",
        f"A BART-shaped encoder-decoder of {facts['parameters'] / 1e6:.1f}M parameters (width {shape['width']}, "
        f"{shape['encoder_layers']} + {shape['decoder_layers']} layers, {facts['vocabulary']} pieces), in float16. It is no "
        f"product: fine-tune it (`training: {{base: {facts['name']}}}` in a model's YAML). Licence: {facts['licence']}.",
        "",
        "## Data",
        "",
        "Scrubbed training pairs of these models, each pair as it is or as denoising of its source. Left out: every validation "
        f"and test pair, the {facts['margin']} pairs of each that newer data would draw into a test set next, and every "
        f"near-duplicate (Jaccard {facts['near_duplicate']:g} of word 3-shingles, either side) of any of these.",
        "",
        "| model | source | pairs | held out | near those | dataset |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {each['name']} | {each['source']} | {each['pairs']} | {each['held_out']} | {each['near_held_out']} "
            f"| {each['sha256'][:12]} |"
            for each in facts["corpora"]
        ),
        "",
        "## Cost",
        "",
        f"{facts['hours']:g} hours on {facts['device']}: {facts['steps']} steps, {facts['tokens'] / 1e6:.1f}M tokens "
        f"({facts['tokens'] / max(facts['epoch_tokens'], 1):.1f} epochs); the best validation loss, {facts['best_loss']:.3f} "
        f"nats a token, was at step {facts['best_step']}.",
        "",
        "## Scores, before any fine-tuning",
        "",
        "On each model's own test set (0 to 100, with 95 % intervals).",
        "",
        *(line for each in facts["corpora"] for line in _table(each)),
        "## Limits",
        "",
        "It knows package descriptions and strings of user interfaces, nothing else. What was scrubbed may hold what the "
        "detectors missed: each model's retrain measures how much that is.",
        "",
    ]
    return "\n".join(lines)


def _table(corpus: Mapping[str, Any]) -> list[str]:
    systems = corpus["scores"]
    metrics = [name for name, value in systems["base"].items() if isinstance(value, Mapping)]
    rows = [
        f"| {metric} | " + " | ".join(_shown(system.get(metric)) for system in systems.values()) + " |" for metric in metrics
    ]
    return [f"| {corpus['name']} | " + " | ".join(systems) + " |", "| --- |" + " --- |" * len(systems), *rows, ""]


def _shown(measured: Any) -> str:
    if not isinstance(measured, Mapping):
        return "-"
    low, high = measured["interval"]
    return f"{measured['value']:.1f} [{low:.1f}, {high:.1f}]"
