"""Real tokens a CPU second of our loop beside transformers' Seq2SeqTrainer, and what each has learnt after as many tokens.

All arms start from the same weights (models/synopsis.yaml's shape), read the same pairs, minimise the same smoothed loss with
the same optimiser, schedule and clipping, and read as many real tokens a step on average; only the batches, their order and
the arithmetic differ. An arm trains, then the next: that is a round, with a seed of its own. CPU time is the process's, all
threads, without validation and the first steps. Every arm's weights are validated by the same loop, outside the clock.

ROUNDS (3), STEPS (100) and THREADS (1: on shared cores two threads wait for one another, and waiting counts as CPU time).
"""

import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import transformers
from filelock import FileLock

from pipelines import artifact, spec
from pipelines.spec import DebianSource, Training
from pipelines.training import base, batches
from pipelines.training.checkpoint import put_weights, weights_of
from pipelines.training.forward import fast_bfloat16
from pipelines.training.loop import Loop
from tests.benchmarks import corpora, results

ROUNDS, STEPS, THREADS = (int(os.environ.get(name, value)) for name, value in (("ROUNDS", 3), ("STEPS", 100), ("THREADS", 1)))
BUDGET = 4_096
WARM = 5
"""First steps that are not timed: memory is taken and kernels are chosen in them."""
LOSS_APART = 0.02
"""Nats a token by which ours may be worse after as many tokens; the seeds alone move an arm by more (see the spread)."""
PEER = f"Seq2SeqTrainer of transformers {transformers.__version__}"
ARMS: dict[str, dict[str, Any]] = {
    "default": {},
    "group_by_length": {"train_sampling_strategy": "group_by_length"},
    "bf16, group_by_length": {"train_sampling_strategy": "group_by_length", "bf16": True},
}
SYNOPSIS = spec.load(Path("models/synopsis.yaml"))


@dataclass
class Run:
    """One training: real tokens and CPU seconds of the timed steps, and [real tokens so far, validation loss]."""

    tokens: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = field(default_factory=list)

    @property
    def speed(self) -> float:
        return self.tokens / self.seconds

    def loss_at(self, tokens: float) -> float:
        return float(np.interp(tokens, *zip(*self.curve, strict=True)))


class Bench:
    """The pairs, and for each seed the training and the weights that all arms start from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vocabulary = int(facts_of(folder)["vocabulary"])
        shape = {"base": "scratch", "batch_tokens": BUDGET, "steps": STEPS, "seed": 1}
        self.training = Training.model_validate(SYNOPSIS.training.model_dump() | shape)
        self.judge = self.loop(self.training)
        rows = len(self.judge.train_pairs.sources)
        self.row_tokens = sum(int(side.sum()) for side in self.judge.lengths) / rows
        planned = batches.plan(*self.judge.lengths, BUDGET, seed=1, epoch=0)
        self.padding = batches.padding(planned, *self.judge.lengths)
        self.rows_a_step = round(rows / len(planned))

    def model(self, training: Training) -> Any:
        torch.manual_seed(training.seed)
        return base.from_scratch(training.architecture, self.vocabulary, SYNOPSIS.tokens.max_source)

    def loop(self, training: Training) -> Loop:
        longest = SYNOPSIS.tokens.max_target
        return Loop(self.model(training), self.folder, training, rebuild=False, longest_target=longest)

    def judged(self, model: Any) -> float:
        put_weights(self.judge.model, weights_of(model))
        return self.judge.validate()[0]

    def ours(self, training: Training) -> Run:
        loop, run = self.loop(training), Run()
        due = validations()
        for step in range(1, STEPS + 1):
            began = time.process_time()
            read = loop.step()[1]
            if step > WARM:
                run.tokens, run.seconds = run.tokens + read, run.seconds + time.process_time() - began
            if step in due:
                run.curve.append((loop.state.tokens, self.judged(loop.model)))
        return run

    def trainer(self, training: Training, **asked: Any) -> Run:
        from datasets import Dataset
        from transformers import DataCollatorForSeq2Seq, PreTrainedTokenizerFast, Seq2SeqTrainer, Seq2SeqTrainingArguments

        model, pairs = self.model(training), self.judge.train_pairs
        tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(self.folder / "tokenizer")
        counted = Counted(DataCollatorForSeq2Seq(tokenizer, model=model))
        masks = [[1] * len(ids) for ids in pairs.sources]
        columns = {"input_ids": pairs.sources, "attention_mask": masks, "labels": pairs.targets}
        with tempfile.TemporaryDirectory() as scratch:
            arguments = Seq2SeqTrainingArguments(
                output_dir=scratch, max_steps=STEPS, per_device_train_batch_size=self.rows_a_step, seed=training.seed,
                learning_rate=training.learning_rate, lr_scheduler_type="cosine", warmup_steps=round(training.warmup * STEPS),
                weight_decay=training.weight_decay, adam_beta1=0.9, adam_beta2=0.98, max_grad_norm=training.clip,
                label_smoothing_factor=training.label_smoothing, use_cpu=True, save_strategy="no", report_to=[],
                disable_tqdm=True, logging_strategy="no", **asked,
            )  # fmt: skip
            clock = clock_of(counted, self.judged)
            rows = Dataset.from_dict(columns)
            made: Any = Seq2SeqTrainer(model, arguments, counted, rows, callbacks=[clock], processing_class=tokenizer)
            made.train()
        run: Run = clock.run
        return run


class Counted:
    """A collator that notes the real tokens of every batch that it makes."""

    def __init__(self, collator: Callable[[list[Any]], Any]) -> None:
        self.collator, self.tokens = collator, list[int]()

    def __call__(self, rows: list[Any]) -> Any:
        self.tokens.append(sum(len(row["input_ids"]) + len(row["labels"]) for row in rows))
        return self.collator(rows)


def clock_of(counted: Counted, judged: Callable[[Any], float]) -> Any:
    """A callback whose `run` has the CPU time from the end of step WARM to the end of the last, validations left out.

    The Trainer collates one batch ahead: the first N that were counted are the first N steps'.
    """

    class Clock(transformers.TrainerCallback):
        def __init__(self) -> None:
            self.run, self.due, self.began = Run(), validations(), 0.0

        def on_step_end(self, _args: Any, state: Any, _control: Any, **given: Any) -> None:
            now, step = time.process_time(), state.global_step
            if step > WARM:
                self.run.seconds += now - self.began
                self.run.tokens += counted.tokens[step - 1]
            if step in self.due:
                self.run.curve.append((sum(counted.tokens[:step]), judged(given["model"])))
            self.began = time.process_time()

    return Clock()


def validations() -> set[int]:
    return {round(STEPS * share / 5) for share in range(1, 6)}


def facts_of(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    return facts


def tokens() -> tuple[Path, str]:
    """The encoded pairs, and what they are: those of the last `make retrain` of synopsis, else made from the apt index."""
    found = sorted(Path(".seqline/work/synopsis").glob("tokens-*"), key=lambda path: path.stat().st_mtime)
    if found:
        return found[-1], f"real pairs of models/synopsis.yaml ({found[-1].name})"
    folder = corpora.CACHE / "training"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        from pipelines.encode import encode

        dataset = artifact.existing(artifact.Dataset, folder / "dataset")
        dataset = dataset or artifact.make(artifact.Dataset, folder / "dataset", splits)
        return encode(dataset, SYNOPSIS.tokens, (), None, folder).path, "real Debian stanzas and synopses, not scrubbed"


def splits(folder: Path) -> None:
    from pipelines.sources import debian

    corpora.stanzas(1)  # fetches the index
    source = DebianSource(kind="debian", max_chars=20_000_000, description_chars=160)
    rows = [(text[:1_000], synopsis[:100]) for text, synopsis, _ in debian.read(source, corpora.CACHE / "apt", Counter())]
    for split, part in {"validation": rows[:512], "test": rows[512:600], "train": rows[600:]}.items():
        names = [f"{number:016x}" for number in range(len(part))]
        columns = dict(zip(("id", "source", "target"), (names, *map(list, zip(*part, strict=True))), strict=True))
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    (folder / "dataset.json").write_text("{}", encoding="utf-8")


def draw(runs: dict[str, list[Run]], path: Path) -> None:
    """Validation loss over real tokens, a thin line a round."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    for number, (name, arm) in enumerate(runs.items()):
        for turn, run in enumerate(arm):
            seen, losses = zip(*run.curve, strict=True)
            axes.plot(seen, losses, color=f"C{number}", label=None if turn else name, linewidth=1, marker=".", markersize=3)
    axes.set(xlabel="real tokens seen", ylabel="validation loss, nats a token", title=f"{STEPS} steps of {BUDGET:,} tokens")
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def rows_of(bench: Bench, runs: dict[str, list[Run]]) -> Iterator[results.Row]:
    mine = runs["ours"]
    for name, goal in (("default", 2.7), ("group_by_length", 1.15), ("bf16, group_by_length", None)):
        speeds = [[run.speed for run in arm] for arm in (mine, runs[name])]
        yield results.compared(f"training beside {name}", *speeds, PEER, "real tokens/CPU s", goal)
    for name in ARMS:
        apart = [
            own.loss_at(end) - other.loss_at(end)
            for own, other in zip(mine, runs[name], strict=True)
            for end in [min(own.curve[-1][0], other.curve[-1][0])]
        ]
        middle = statistics.mean(apart)
        claim = f"validation loss less that of {name}, after as many tokens"
        yield results.bounded(claim, middle, "nats/token", LOSS_APART, len(apart), apart)
    yield results.bounded(f"padding at {BUDGET:,} tokens", 100 * bench.padding, "%", 3.0)


def main() -> None:
    if not find_spec("accelerate"):
        raise SystemExit("bench-training: Seq2SeqTrainer needs accelerate: uv pip install -c infra/constraints.txt -e .[lora]")
    torch.set_num_threads(THREADS)
    transformers.logging.set_verbosity_error()
    folder, what = tokens()
    bench = Bench(folder)
    runs: dict[str, list[Run]] = {"ours": [], **{name: [] for name in ARMS}}
    for number in range(ROUNDS):
        training = bench.training.model_copy(update={"seed": 1 + number})
        runs["ours"].append(bench.ours(training))
        for name, asked in ARMS.items():
            runs[name].append(bench.trainer(training, **asked))
    picture = corpora.CACHE / "training.png"
    draw(runs, picture)
    ends = {name: statistics.mean(run.curve[-1][1] for run in arm) for name, arm in runs.items()}
    results.write(
        "training",
        list(rows_of(bench, runs)),
        f"{what}; {bench.row_tokens:.0f} tokens a pair; {STEPS} steps, {THREADS} thread(s), bf16 of ours: "
        f"{'on' if fast_bfloat16(bench.judge.device) else 'off'}; the peer's batch: {bench.rows_a_step} pairs",
        "validation loss at the end: " + ", ".join(f"{name} {loss:.3f}" for name, loss in ends.items()),
        f"the curves are in {picture}",
    )


if __name__ == "__main__":
    main()
