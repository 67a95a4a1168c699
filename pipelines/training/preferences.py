"""A round on people's preferences after the fine-tuning: direct preference optimisation (DPO, Rafailov et al., 2023).

Of each correction, the corrected answer shall gain on the model's own, against what the weights gave both at the start:
-log sigmoid(beta x ((log p(accepted) - its start) - (log p(rejected) - its start))), and the corrected answer's own loss beside
it, since preferring alone may make both less likely (Pal et al., 2024). No reference model is kept: its log-probabilities are
taken once, before the first step. Nothing is random but the order of the pairs: no dropout, and float32 all through, for a
margin is a small difference of large sums.

Killed at any moment, the next run carries on from the last checkpoint to the same weights. The weights kept are those of the
best validation, the start among them: a round that helps nowhere changes nothing.
"""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import artifact
from pipelines.artifact import Preferences, Tokens, Weights
from pipelines.training import base

if TYPE_CHECKING:
    from pipelines import spec
    from pipelines.training.dpo import Measured, Round
    from pipelines.training.progress import Journal

CODE_VERSION = 1
FEWEST = 2
"""Corrections on either side of a round."""


def too_few(preferences: Preferences, section: "spec.Preferences") -> str | None:
    """Why there is no round, in a line; None if there are enough corrections."""
    facts = json.loads((preferences.path / "preferences.json").read_text(encoding="utf-8"))
    learnt, held, out = facts["learnt_from"], facts["held_out"], {k: v for k, v in facts["left_out"].items() if v}
    if learnt + held >= section.pairs and min(learnt, held) >= FEWEST:
        return None
    why = f" ({facts['corrections']} corrections; left out: {', '.join(f'{k} {v}' for k, v in out.items())})" if out else ""
    needs = f"needs {section.pairs}" if learnt + held < section.pairs else f"needs {FEWEST} to learn from and {FEWEST} held out"
    return f"preferences: {learnt + held} pairs{why}, {held} held out, {needs}: no round, the weights stay as they are"


def prefer(
    weights: Weights,
    tokens: Tokens,
    preferences: Preferences,
    section: "spec.Preferences",
    training: "spec.Training",
    out: Path,
) -> Weights:
    """Train `weights` on what people preferred; their training.json then says how (`preferences`).

    Its figures on the corrections held out: `accuracy` before and after is the share whose corrected answer is likelier than
    the model's own, `gained` the share where it gained on it, each with its exact 95 % interval. The same corrections chose the
    best weights. `validation_loss` is that of ordinary pairs (nats a token).

    Args:
        tokens: what `weights` learnt from; its validation pairs tell of drift.
        training: batch_tokens, warmup, weight_decay, clip and seed are taken from it.

    Raises:
        SeqlineError: too little disk, at the start or in mid-run, or a loss that is not finite.
    """
    from filelock import FileLock

    taken = training.model_dump(mode="json", include={"batch_tokens", "warmup", "weight_decay", "clip", "seed"})
    key = artifact.digest("prefer", CODE_VERSION, weights, tokens, preferences, section, taken)
    folder = out / f"preferred-{key[:16]}"
    if found := artifact.existing(Weights, folder):
        return found
    partial = out / f".{folder.name}.partial"
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".preferring.lock"):
        if found := artifact.existing(Weights, folder):
            return found
        partial.mkdir(exist_ok=True)
        made = _train(weights, tokens, preferences, section, training, partial, folder)
        shutil.rmtree(partial)
    return made


def _train(
    weights: Weights,
    tokens: Tokens,
    preferences: Preferences,
    section: "spec.Preferences",
    training: "spec.Training",
    partial: Path,
    folder: Path,
) -> Weights:
    from pipelines.training import checkpoint
    from pipelines.training.progress import Journal, last_step

    log = partial / "log.jsonl"
    with checkpoint.disk_faults(partial):
        learning = _round(weights, tokens, preferences, section, training, partial)
        reached = last_step(log)
        with Journal(log, section.steps, 0) as journal:
            saved = checkpoint.load(partial, journal.say)
            if saved:
                learning.restore(saved)
            if saved or reached:
                step = learning.state.step
                repeated = max(0, reached - step)
                journal.say(f"preferences: resumed at step {step} ({repeated} steps repeated)")
                journal.write(event="resume", step=step, repeated=repeated)
            _run(learning, partial, journal)
            after = learning.end()
            journal.say(_told(learning, after))
        shutil.copyfile(log, folder.with_suffix(".jsonl"))
        facts = _facts(learning, after, preferences)
        return artifact.make(Weights, folder, lambda building: _write(building, learning, weights, facts))


def _round(
    weights: Weights,
    tokens: Tokens,
    preferences: Preferences,
    section: "spec.Preferences",
    training: "spec.Training",
    partial: Path,
) -> "Round":
    import torch

    from pipelines.training import checkpoint
    from pipelines.training.dpo import VALIDATION_PAIRS, Round, encoded
    from pipelines.training.pairs import Pairs

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    facts = json.loads((weights.path / "training.json").read_text(encoding="utf-8"))
    longest = (facts["max_source"], facts["max_target"])
    checkpoint.check_disk(partial, facts["parameters"])
    model = base.from_folder(weights.path, 0, max(longest))
    learnt, held_out = encoded(preferences.path / "preferences.parquet", weights.path / "tokenizer.json", longest)
    plain = Pairs.read(tokens.path / "validation.parquet", VALIDATION_PAIRS)
    return Round(model, learnt, held_out, plain, section, training)


def _run(learning: "Round", partial: Path, journal: "Journal") -> None:
    from pipelines.training import checkpoint

    section = learning.section
    while not learning.done:
        loss, read, rate = learning.step()
        step = learning.state.step
        journal.step(step, loss, read, rate)
        if step % section.validate_steps == 0 or step == section.steps:
            journal.validation(step, *learning.validate())
            if not learning.done:
                checkpoint.save(partial, learning.checkpoint())


def _told(learning: "Round", after: "Measured") -> str:
    state, before = learning.state, learning.before
    if not state.best_step:
        return "preferences: no step served the corrections held out: the weights stay as they are"
    drifted = f"; ended at step {state.step}: ordinary pairs drifted by {state.gap:.2f} nats" if state.overfit else ""
    return (
        f"preferences: of {after.n} corrections held out, the corrected answer was the likelier in {before.ranked}, "
        f"now in {after.ranked} (step {state.best_step}){drifted}"
    )


def _facts(learning: "Round", after: "Measured", preferences: Preferences) -> dict[str, Any]:
    state, before = learning.state, learning.before
    counts = json.loads((preferences.path / "preferences.json").read_text(encoding="utf-8"))
    return {
        "sha256": preferences.sha256,
        **{name: counts[name] for name in ("corrections", "left_out", "learnt_from", "held_out")},
        "section": learning.section.model_dump(mode="json"),
        **{name: getattr(state, name) for name in ("step", "best_step", "validations")},
        "ended_by_drift": state.overfit,
        "accuracy": {"before": _share(before.ranked, before.n), "after": _share(after.ranked, after.n)},
        "gained": _share(after.gained, after.n),
        "validation_loss": {"before": before.plain, "after": after.plain},
    }


def _share(hits: int, n: int) -> dict[str, Any]:
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(0.95)
    return {"value": hits / n, "interval": [float(found.low), float(found.high)], "n": n}


def _write(folder: Path, learning: "Round", weights: Weights, facts: dict[str, Any]) -> None:
    from transformers.utils import logging as transformers_log

    transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    replaced = shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json", "training.json", artifact.MANIFEST)
    shutil.copytree(weights.path, folder, dirs_exist_ok=True, ignore=replaced)
    learning.model.cpu().save_pretrained(folder)
    trained = json.loads((weights.path / "training.json").read_text(encoding="utf-8"))
    told = json.dumps({**trained, "preferences": facts}, indent=1, sort_keys=True) + "\n"
    (folder / "training.json").write_text(told, encoding="utf-8")
