"""Train on encoded pairs; killed at any moment, the next run carries on from the last checkpoint to the same weights.

While it runs, checkpoints and log lie in out/.weights-KEY.partial; the log ends beside the weights as out/weights-KEY.jsonl,
outside the sealed folder, since it holds wall-clock times and the same input must give the same bytes. Its last line
(`"event": "end"`) tells the speed: FLOP/s of the model's own arithmetic, and of a known GPU the share that this is of its peak.

On a GPU machine this needs only torch, transformers, safetensors, numpy, pyarrow and rich (with training.private opacus too,
with training.lora peft). Under torchrun each process calls `fit`, and the first one writes (see pipelines.training.torchrun).
With training.private a resumed run is as good and as private as an unbroken one, but not the same: its noise is never repeated.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import artifact
from pipelines.artifact import Tokens, Weights
from pipelines.errors import SeqlineError, UserError
from pipelines.training import base as start

if TYPE_CHECKING:
    from pipelines.spec import Training
    from pipelines.training.loop import Loop
    from pipelines.training.metric import Metric
    from pipelines.training.progress import Journal
    from pipelines.training.speed import Speed

CODE_VERSION = 4
PROBES = 32
"""Validation pairs that travel with the weights, for the export's parity check."""


def fit(tokens: Tokens, training: "Training", base: Path | None, out: Path, metric: "Metric | None" = None) -> Weights:
    """Train from `base` (a Hugging Face folder; None is from scratch) and keep the weights of the best validation.

    Makes a Hugging Face folder (safetensors, configs, tokenizer), training.json (steps, tokens, losses, FLOPs)
    and probes.json (a few validation pairs, encoded).

    Args:
        metric: what `training.select: metric` chooses by; not read otherwise.

    Raises:
        UserError: the base does not fit (see base.from_folder), training.private or training.lora cannot be had (see
            private.PrivateLoop, adapters.added), or training.select wants a metric and none is given.
        SeqlineError: too little disk, at the start or in mid-run, a loss that is not finite (its batch is kept), or (of
            several processes) another has ended.
    """
    if training.select == "loss":
        metric = None
    elif metric is None:
        raise UserError("training.select: metric: nothing here measures one: `seqline retrain` does; or set it to loss")
    key = artifact.digest("fit", CODE_VERSION, tokens, _counted(training, metric), base and start.fingerprint(base))
    folder = out / f"weights-{key[:16]}"
    partial = out / f".{folder.name}.partial"
    found = artifact.existing(Weights, folder)
    if found and "WORLD_SIZE" not in os.environ:  # else all processes have to see it, below
        shutil.rmtree(partial, ignore_errors=True)  # a kill after the weights were made left it
        return found
    from pipelines.training import checkpoint, parallel

    with checkpoint.disk_faults(out), _alone(out):
        # Another process may have made it while this one waited.
        if not parallel.anywhere(artifact.existing(Weights, folder) is not None):
            _train(tokens, training, base, partial, folder, metric)
        parallel.wait()
        if parallel.rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
    made = artifact.existing(Weights, folder)
    if made is None:
        raise SeqlineError(f"training: {folder.name} was made and is gone: does something else delete in {out}?")
    return made


def _counted(training: "Training", metric: "Metric | None") -> dict[str, Any]:
    """What of `training` decides the weights. A key that came later counts where it is not at its default, and only there:
    weights that were made before are still found."""
    told = training.model_dump(mode="json")
    del told["select"]
    return told | ({"select": metric.name} if metric else {})


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """One training at a time under `out`: two would fight over cores and checkpoints. The lock dies with its process.

    Of several processes that train together the first one holds it, and the others ask it every second: one long wait would
    run into the limit of parallel.PATIENCE. What a kill left half written goes.
    """
    from rich.console import Console

    from pipelines.training import parallel

    out.mkdir(parents=True, exist_ok=True)
    with (out / ".training.lock").open("w") as stream:
        first, said = parallel.rank() == 0, False
        while not parallel.anywhere(first and _locked(stream.fileno())):
            if first and not said:
                Console().print(f"training: waits for another training in {out}", soft_wrap=True)
                said = True
            time.sleep(1)
        if first:
            _sweep(out)
        yield


def _sweep(out: Path) -> None:
    """Delete what kills left in `out` (who wrote it held the lock): checkpoints of finished weights, weights half written."""
    for path in out.glob(".weights-*.*"):
        name, _, kind = path.name.removeprefix(".").rpartition(".")
        if kind.isdigit() or (kind == "partial" and (out / name).is_dir()):
            shutil.rmtree(path, ignore_errors=True)


def _locked(stream: int) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _train(
    tokens: Tokens, training: "Training", base: Path | None, partial: Path, folder: Path, metric: "Metric | None"
) -> None:
    from pipelines.training import checkpoint, parallel
    from pipelines.training.progress import Journal, last_step

    partial.mkdir(exist_ok=True)
    log = partial / "log.jsonl"
    loop = _loop(tokens, training, base, partial)
    if metric:
        loop.answer(tokens.path, metric)
    reached = last_step(log)
    first = parallel.rank() == 0
    with Journal(log, training.steps, loop.state.step, shown=first) as journal:
        for told in _told_first(tokens, training, base):
            journal.say(told)
        with parallel.first_alone():  # it deletes what is damaged
            saved = checkpoint.load(partial, journal.say)
        if saved:
            loop.restore(saved)
        if saved or reached:
            _resumed(journal, loop.state.step, reached)
        speed = _run(loop, training, partial, journal, folder)
    if first:
        shutil.copyfile(log, folder.parent / f"{folder.name}.jsonl")
        artifact.make(Weights, folder, lambda building: _write(building, loop, tokens, base, speed))


def _told_first(tokens: Tokens, training: "Training", base: Path | None) -> Iterator[str]:
    """What a person should know before hours go by."""
    from pipelines.training import adapters, parallel

    if unused := parallel.unused_gpu():
        yield unused
    if training.lora and base and (strange := adapters.strange(base, _facts(tokens)["vocabulary"])):
        yield strange


def _resumed(journal: "Journal", step: int, reached: int) -> None:
    repeated = max(0, reached - step)
    journal.say(f"training: resumed at step {step} ({repeated} steps repeated)")
    journal.write(event="resume", step=step, repeated=repeated)


def _loop(tokens: Tokens, training: "Training", base: Path | None, partial: Path) -> "Loop":
    import torch

    from pipelines.training import checkpoint, parallel
    from pipelines.training.loop import Loop

    kind = Loop
    if training.private:
        from pipelines.training.private import PrivateLoop

        if parallel.size() > 1:
            raise UserError("training.private: its noise is drawn in one process: start it without torchrun")
        kind = PrivateLoop
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))

    def room_for(sized: Any) -> None:
        if parallel.rank() == 0:  # which writes
            checkpoint.check_disk(partial, _parameters(sized))

    facts = _facts(tokens)
    longest = max(facts["max_source"], facts["max_target"])
    torch.manual_seed(training.seed)
    if base is None:
        shape = training.architecture
        with torch.device("meta"):
            sized = start.from_scratch(shape, facts["vocabulary"], longest)
        room_for(sized)
        torch.manual_seed(training.seed)
        model = start.from_scratch(shape, facts["vocabulary"], longest)
    else:
        model = start.from_folder(base, facts["vocabulary"], longest)
        room_for(model)
        if training.lora:
            from pipelines.training.adapters import added

            model = added(model, training.lora)
    return kind(model, tokens.path, training, rebuild=base is None, longest_target=facts["max_target"])


def _facts(tokens: Tokens) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((tokens.path / "tokens.json").read_text(encoding="utf-8"))
    return facts


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _run(loop: "Loop", training: "Training", partial: Path, journal: "Journal", folder: Path) -> "Speed":
    """Train to the end, and give back how fast that was."""
    from pipelines.training import checkpoint, parallel
    from pipelines.training.loop import LossError
    from pipelines.training.speed import Watch

    loop.say, watch = journal.say, Watch(loop.state.flops)
    while not loop.done:
        try:
            loss, read, rate = loop.step()
        except LossError as fault:
            kept = folder.parent / f"{folder.name}.not-finite.json"
            if parallel.rank() == 0:
                kept.write_text(json.dumps({"step": fault.step, **fault.rows}), encoding="utf-8")
            raise SeqlineError(f"training: {fault}: the batch is kept in {kept.name}: lower training.learning_rate") from None
        watch.stepped()
        step = loop.state.step
        journal.step(step, loss, read, rate)
        if step % training.validate_steps == 0 or step == training.steps:
            journal.validation(step, *loop.validate())
            watch.validated()
        if step % training.checkpoint_steps == 0 and not loop.done and parallel.rank() == 0:
            checkpoint.save(partial, loop.checkpoint())
        watch.skip()
    speed = watch.speed(loop.state.flops, loop.device)
    journal.write(event="end", step=loop.state.step, device=_device(loop), **asdict(speed))
    journal.say(speed.line(_device(loop)))
    return speed


def _write(building: Path, loop: "Loop", tokens: Tokens, base: Path | None, speed: "Speed") -> None:
    from transformers.utils import logging as transformers_log

    from pipelines.training import generation
    from pipelines.training.adapters import merged
    from pipelines.training.checkpoint import put_weights

    put_weights(loop.model, loop.best)
    model, state = merged(loop.model), loop.state
    model.generation_config = generation.plain(model.config, loop.marks.start, loop.longest_target)
    transformers_log.disable_progress_bar()  # type: ignore[no-untyped-call]
    model.cpu().save_pretrained(building)
    shutil.copytree(tokens.path / "tokenizer", building, dirs_exist_ok=True)
    held_out = [(s, t) for pairs in loop.held_out for s, t in zip(pairs.sources, pairs.targets, strict=True)][:PROBES]
    probes = {"source_ids": [source for source, _ in held_out], "target_ids": [target for _, target in held_out]}
    facts = _facts(tokens)
    trained = {
        **{name: value for name, value in asdict(state).items() if name not in {"spent", "recent"}},
        "metric": loop.answering.metric.name if loop.answering else None,
        "private": loop.private(),
        "device": _device(loop),
        "speed": asdict(speed) if loop.device.type == "cuda" else None,  # on CPUs the same input gives the same bytes
        "base": start.told(base),
        "parameters": _parameters(model),
        "padding": loop.padding(),
        "max_source": facts["max_source"],
        "max_target": facts["max_target"],
        "training": loop.training.model_dump(mode="json"),
    }
    (building / "probes.json").write_text(json.dumps(probes), encoding="utf-8")
    (building / "training.json").write_text(json.dumps(trained, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _device(loop: "Loop") -> str:
    import torch

    if loop.device.type == "cuda":
        return str(torch.cuda.get_device_name(loop.device))
    cores = torch.get_num_threads()
    return f"{cores} CPU core{'s' if cores > 1 else ''}"
