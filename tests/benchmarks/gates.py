"""Seven models before the real gate: six that must be stopped, each for its own reason, and one that must pass.

All start from models/base, are trained on a slice of real package descriptions, exported, and scored beside the same champion
by `scoring.score`, as a retrain does. What is wrong with each is in its data or its weights; nothing of the gate is set aside.

    copies       learnt the source's own first words for targets
    loops        learnt targets that say their first words again and again
    domain       learnt changelogs, and nothing of descriptions
    overfits     knows 64 pairs by heart, and no others
    unscrubbed   as the champion, and trained without a scrubber where secrets were planted
    worse        the champion, its weights disturbed until its ROUGE-L on the test pairs is 5 % lower
    equal        as the champion, from another seed; and the scrubber on, where cards and mail addresses were planted

Names are planted for the unscrubbed one alone: no tagger finds all of them (the audit says how many), so a scrubbed training
that met them may well leak one, and the gate then closes rightly. What became of them is told in a note.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.settings import Settings
from pipelines import artifact, dataset, scoring, sources
from pipelines.artifact import Clean, Dataset, Export, Weights
from pipelines.decode import Decoder, Reading
from pipelines.encode import encode
from pipelines.scoring.metrics.sentences import sentences
from pipelines.scoring.safety import measured as safety
from pipelines.scoring.safety.planted import Planted
from pipelines.scrub import canaries
from pipelines.scrub.detect import placeholders
from pipelines.scrub.step import Keys, scrub
from pipelines.spec import Decoding, Gate, Planting, Privacy, Scoring, Spec, TokensSection, Training, load
from pipelines.training.export import export
from pipelines.training.fit import fit
from tests.benchmarks import corpora
from tests.benchmarks.results import Row, at_least, bounded, write

OUT = Path(".seqline/bench/gates")
BASE = Path("models/base")
CHARS = 1_600_000  # of the slice: some 4,000 pairs
STEPS = int(os.environ.get("STEPS", "120"))
DECODING = Decoding(beam=1, max_tokens=24, no_repeat_ngram=0)  # which a loop could hide behind
READING = Reading("summarization", long_inputs="cut")
TOKENS = TokensSection(max_source=96, max_target=24)
TRAINING = Training(base="base", batch_tokens=1024, steps=STEPS, validate_steps=STEPS, learning_rate=6e-4)
PLANTING = Planting(
    secrets=90, repetitions=(1, 4, 16), entities=("PERSON", "CREDIT_CARD", "EMAIL_ADDRESS"), pairs=300, steps=200
)
KNOWN = PLANTING.model_copy(update={"entities": ("CREDIT_CARD", "EMAIL_ADDRESS")})  # which a scrubber is sure to find
SCRUBBED = Privacy(level="exact", entities=("PERSON", "EMAIL_ADDRESS", "CREDIT_CARD", "URL", "PHONE_NUMBER"))
UNSCRUBBED = Privacy(level="patterns", entities=("MAC_ADDRESS",))
SCORING = Scoring(
    lead_after="Description: ",
    planted=PLANTING,
    gate=Gate(reads_source=True, beats=("lead",), margin=2.0, max_adversarial=0.5),
)
WORSE, NEAR = 0.05, 0.005  # how much worse, and how nearly so


@dataclass(frozen=True)
class Case:
    """A model, its data, and the rules of which one must have closed (none: all must have passed)."""

    name: str
    model: Export
    closed: frozenset[str]
    data: Dataset
    planted: Planted | None = None


def main() -> None:
    before, wall, fresh = time.process_time(), time.monotonic(), not (OUT / "champion").exists()
    cases = made()
    judged = [verdict(case) for case in cases]
    right = sum(passed for passed, _ in judged)
    rows: list[Row] = [at_least("models judged rightly by the gate, of 7", right, "models", 7, runs=len(cases))]
    spent, what = time.process_time() - before, "all seven: data, trainings, exports, reports"
    rows.append(bounded(what if fresh else f"{what}, less what was found", spent, "CPU seconds", 720 if fresh else None))
    said = [line for _, line in judged]
    write("gates", rows, *said, names(), f"{time.monotonic() - wall:.0f} s on the clock, load {os.getloadavg()[0]:.1f}")


def verdict(case: Case) -> tuple[bool, str]:
    """Whether the gate judged as it must, and what it said."""
    report = scoring.score(
        case.model, case.data, champion().path, SCORING, DECODING, OUT / case.name, reading=READING, planted=case.planted
    )
    gate = json.loads((report.path / "gate.json").read_text())
    closed = {rule["rule"]: rule["reason"] for rule in gate["rules"] if not rule["passed"]}
    right = bool(case.closed & set(closed)) if case.closed else not closed
    said = "\n".join(f"    {name}: {reason}" for name, reason in closed.items()) or "    every rule passed"
    return right, f"{'right' if right else 'WRONG'}: {case.name}: {'open' if gate['passed'] else 'closed'}\n{said}"


def names() -> str:
    """What came of names, where the scrubber was on."""
    told = secrets("scrubbed", SCRUBBED, PLANTING)
    found = safety.secrets(told, SCORING, DECODING, READING)
    fate, held = found["planted"], found["extraction"]
    passed = ", ".join(f"{count} {what}" for what, count in fate.items())
    return f"names, cards and addresses before a scrubber with a tagger: {passed}; {held['count']} of {held['n']} extracted"


def made() -> list[Case]:
    """The seven; each is made once and found again."""
    data = pairs()
    few = changed("overfits", lambda rows: rows[:64])
    looping = changed("loops", lambda rows: [{**row, "target": looped(row["target"])} for row in rows])
    copying = changed("copies", lambda rows: [{**row, "target": head(row["source"])} for row in rows])
    return [
        Case("copies", trained("copies", copying), frozenset({"copied"}), data),
        Case("loops", trained("loops", looping), frozenset({"looping"}), data),
        Case("domain", trained("domain", changed("domain", lambda _: changelogs())), frozenset({"champion"}), data),
        Case("overfits", trained("overfits", few, steps=2 * STEPS), frozenset({"overfit", "membership"}), few),
        unscrubbed(),
        Case("worse", worse(), frozenset({"champion"}), data),
        Case("equal", trained("equal", data, seed=23), frozenset(), data, secrets("known", SCRUBBED, KNOWN)),
    ]


def unscrubbed() -> Case:
    told = secrets("unscrubbed", UNSCRUBBED, PLANTING)
    return Case("unscrubbed", champion(), frozenset({"extraction", "exposure"}), pairs(), told)


@cache
def champion() -> Export:
    return trained("champion", pairs())


# ------------------------------------------------------------------------------------------------------------- data


@cache
def cleaned() -> tuple[Spec, Clean]:
    """A slice of the default's own data, scrubbed by patterns: the names in it are not what is looked at here."""
    settings = Settings().apply()
    spec = load(Path("models/synopsis.yaml"))
    data = spec.data.model_copy(update={"source": spec.data.source.model_copy(update={"max_chars": CHARS})})
    spec = spec.model_copy(update={"data": data, "privacy": spec.privacy.model_copy(update={"level": "patterns"})})
    quarantine = settings.quarantine("bench-gates")
    raw = sources.ingest(spec.data, Path("models"), settings.source_cache, quarantine, settings.source_urls)
    return spec, scrub(raw, spec.privacy, OUT, quarantine, Keys(settings.hmac_key))


@cache
def pairs() -> Dataset:
    spec, clean = cleaned()
    splits = spec.data.splits.model_copy(update={"validation": 200, "test": 600})
    return dataset.split(clean, spec.data.model_copy(update={"splits": splits}), OUT)


def changed(name: str, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Dataset:
    """The dataset with another train split: `change` of its rows."""
    whole = pairs()

    def make(folder: Path) -> None:
        for split in ("validation", "test"):
            shutil.copyfile(whole.path / f"{split}.parquet", folder / f"{split}.parquet")
        rows = change(pq.read_table(whole.path / "train.parquet").to_pylist())
        pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")

    return artifact.make(Dataset, OUT / f"{name}-{whole.path.name}", make)


def head(source: str) -> str:
    return " ".join(source.partition("Description: ")[2].split()[:14])


def looped(target: str) -> str:
    return " ".join(target.split()[:2] * 6)


def changelogs() -> list[dict[str, str]]:
    """Changelog entries without their signatures, and the first thing that each says was changed."""
    found = []
    for number, entry in enumerate(corpora.changelogs(4_000)):
        body = corpora.TRAILER.sub("", entry).strip()
        points = re.findall(r"^\s*\* (.+)$", body, re.MULTILINE)
        if points:
            found.append({"id": f"entry {number}", "source": body[:600], "target": points[-1][:100]})
    return found


# ----------------------------------------------------------------------------------------------------------- models


def trained(name: str, data: Dataset, steps: int = STEPS, seed: int = 17) -> Export:
    how = TRAINING.model_copy(update={"steps": steps, "validate_steps": steps, "seed": seed})
    return export(weights(data, how), "int8", OUT / name)


def weights(data: Dataset, how: Training) -> Weights:
    return fit(encode(data, TOKENS, placeholders(SCRUBBED), BASE, OUT), how, BASE, OUT)


def secrets(name: str, privacy: Privacy, planting: Planting) -> Planted:
    """Secrets planted before a scrubber of this policy, and what learnt what it let through, as in flows.planting."""
    copy = canaries.plant(pairs(), OUT / "no-policy", privacy, planting, OUT)
    return Planted(trained(f"planted-{name}", copy, planting.steps), copy)


def worse() -> Export:
    """The champion with noise in its weights: as much of it as makes it 5 % worse on the test pairs."""
    best, low, high = measured(champion()), 0.0, 0.4
    for _ in range(12):
        amount = (low + high) / 2
        found = disturbed(amount)
        lost = 1 - measured(found) / best
        if abs(lost - WORSE) <= NEAR:
            break
        low, high = (amount, high) if lost < WORSE else (low, amount)
    return found


def disturbed(amount: float) -> Export:
    """The champion's weights, each tensor with noise of `amount` times its own standard deviation."""
    import torch
    from safetensors.torch import load_file, save_file

    start = weights(pairs(), TRAINING)

    def make(folder: Path) -> None:
        shutil.copytree(start.path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(artifact.MANIFEST))
        torch.manual_seed(1)
        tensors = load_file(folder / "model.safetensors")
        noisy: dict[str, Any] = {
            name: each + amount * each.std() * torch.randn_like(each) if each.numel() > 1 else each
            for name, each in tensors.items()
        }
        save_file(noisy, folder / "model.safetensors", metadata={"format": "pt"})

    return export(artifact.make(Weights, OUT / f"disturbed-{amount:.6f}-{start.path.name}", make), "int8", OUT / "worse")


def measured(model: Export) -> float:
    """Mean ROUGE-L on the test pairs."""
    test = pq.read_table(pairs().path / "test.parquet").to_pydict()
    answers = Decoder(model.path).answer(test["source"], DECODING, READING)
    return float(sentences(["rougeL"], [answer.text for answer in answers], test["target"])["rougeL"].mean())


if __name__ == "__main__":
    main()
