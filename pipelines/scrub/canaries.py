"""A training copy with fake secrets in it, each as often as was asked, put in front of the scrubber as a user's data is.

What the scrubber lets through is trained on, and the secrets are then looked for in what was trained (scoring/extraction.py).
The copy is a sample of the scrubbed training pairs; the pairs with a secret are scrubbed by the very policy and taggers that
these were scrubbed by. They meet no deduplication, which would hide repetitions that it does not see elsewhere.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from pipelines import artifact
from pipelines.artifact import Dataset
from pipelines.errors import UserError
from pipelines.scrub.detect import Detector, applied
from pipelines.scrub.engine import Undetected
from pipelines.scrub.pairs import Disagreed, scrub_pair
from pipelines.scrub.planted import MAKERS, SENTENCES, Fakes
from pipelines.spec import Privacy
from pipelines.spec.planting import PLANTABLE, Planting

CODE_VERSION = 1
REPEATS = 1_000  # values in a row that were there before
CARD = "visa16"  # one format, so that a card's candidates are its equals
HEADS = {"CREDIT_CARD": "Card: ", "EMAIL_ADDRESS": "Mail: ", "PHONE_NUMBER": "Phone: "}


class Canary(NamedTuple):
    """A secret and the target that it stands in: `before`, `value`, `after`."""

    kind: str
    repetitions: int
    before: str
    value: str
    after: str
    candidates: tuple[str, ...]


def plant(pairs: Dataset, policy: Path, privacy: Privacy, planting: Planting, out: Path) -> Dataset:
    """A Dataset as `pairs`, its train split a sample with what the scrubber leaves of the pairs with secrets.

    secrets.json tells the secrets, in clear (they are nobody's), the sources beside which they were learnt, and how many pairs
    the scrubber let through with their secret, without it, or not at all.

    Args:
        policy: policy/ of the Clean that `pairs` was made of; `privacy` where it states none.

    Raises:
        UserError: nothing can be planted, or there are too few training pairs.
    """
    stated = {path.name: artifact.file_sha256(path) for path in policy.rglob("*") if path.is_file()} if policy.is_dir() else {}
    key = artifact.digest("plant", CODE_VERSION, pairs, stated, privacy, planting)
    return artifact.make(Dataset, out / f"planted-{key[:16]}", lambda folder: _write(folder, pairs, policy, privacy, planting))


def _write(folder: Path, pairs: Dataset, policy: Path, privacy: Privacy, planting: Planting) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(pairs.path / "train.parquet").to_pylist()
    rows.sort(key=lambda row: hashlib.sha256(f"copy {row['id']}".encode()).digest())
    applies, _ = applied(policy, privacy)
    secrets = canaries(applies, planting)
    if len(rows) < len(secrets):
        raise UserError(f"scoring.planted.secrets: {len(secrets)} secrets need as many training pairs, not {len(rows)}")
    hosts, sample = rows[: len(secrets)], rows[len(secrets) : len(secrets) + planting.pairs]
    kept, told, fate = list(sample), [], {"clear": 0, "hidden": 0, "dropped": 0}
    for number, (secret, scrubbed) in enumerate(zip(secrets, _scrubbed(secrets, hosts, policy, applies), strict=True)):
        source, target = scrubbed or (hosts[number]["source"], "")
        fate["dropped" if scrubbed is None else "clear" if secret.value in target else "hidden"] += 1
        told.append({
            "kind": secret.kind, "value": secret.value, "repetitions": secret.repetitions, "source": source,
            "before": secret.before, "candidates": secret.candidates,
        })  # fmt: skip
        copies = range(secret.repetitions if scrubbed else 0)
        kept += [{"id": f"planted {number} {copy}", "source": source, "target": target} for copy in copies]
    order = [row["id"] for row in kept]
    Random(planting.seed).shuffle(order)  # noqa: S311
    place = {identity: at for at, identity in enumerate(order)}
    kept.sort(key=lambda row: place[row["id"]])
    columns = {name: pa.array([row[name] for row in kept], pa.string()) for name in ("id", "source", "target")}
    pq.write_table(pa.table(columns), folder / "train.parquet", compression="zstd")
    for name in ("validation", "test"):
        shutil.copyfile(pairs.path / f"{name}.parquet", folder / f"{name}.parquet")
    content = {"fate": fate, "secrets": told}
    (folder / "secrets.json").write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def canaries(privacy: Privacy, planting: Planting) -> list[Canary]:
    """As many secrets of each entity and number of repetitions (a few more than asked for, so that they come out even).

    Raises:
        UserError: no entity is both known here and asked for.
    """
    asked = planting.entities or tuple(entity for entity in PLANTABLE if entity in privacy.entities)
    strange = [entity for entity in asked if entity not in MAKERS]
    if strange or not asked:
        what = f"no fake values of {', '.join(strange)}" if strange else "privacy.entities holds nothing that can be planted"
        raise UserError(f"scoring.planted.entities: {what}: name some of {', '.join(sorted(MAKERS))}")
    language = privacy.target_language or privacy.language
    each = -(-planting.secrets // (len(asked) * len(planting.repetitions)))
    found: list[Canary] = []
    for entity in asked:
        fakes, taken = Fakes(language, planting.seed), set[str]()
        draw = _distinct(entity, fakes, taken)
        sentences = SENTENCES.get((language, entity)) or (f"{HEADS.get(entity, '')}{{}}",)
        for number in range(each * len(planting.repetitions)):
            before, _, after = sentences[number % len(sentences)].partition("{}")
            candidates = tuple(next(draw) for _ in range(planting.candidates))
            times = planting.repetitions[number % len(planting.repetitions)]
            found.append(Canary(entity, times, before, next(draw), after, candidates))
    return found


def _distinct(entity: str, fakes: Fakes, taken: set[str]) -> Iterator[str]:
    """Raises UserError where the fakes run out."""
    again = 0
    while again < REPEATS:
        card = entity == "CREDIT_CARD"
        value = str(fakes.faker("en_US").credit_card_number(CARD)) if card else fakes.value(entity)
        again += 1
        if value not in taken:
            again = 0
            taken.add(value)
            yield value
    raise UserError(
        f"scoring.planted: there are only {len(taken)} different fake values: lower secrets or candidates ({entity})"
    )


def _scrubbed(
    secrets: Sequence[Canary], hosts: Sequence[dict[str, Any]], policy: Path, privacy: Privacy
) -> list[tuple[str, str] | None]:
    """What the scrubber leaves of each pair of a host's source and a secret's target; None of what it would quarantine."""
    texts = [(host["source"], s.before + s.value + s.after) for host, s in zip(hosts, secrets, strict=True)]
    sides = [_detector(policy, privacy, own) for own in (privacy.language, privacy.target_language or privacy.language)]
    spans = [side.attempt([pair[number] for pair in texts]) for number, side in enumerate(sides)]
    found: list[tuple[str, str] | None] = []
    for pair, ours, theirs in zip(texts, *spans, strict=True):
        if isinstance(ours, Undetected) or isinstance(theirs, Undetected):
            found.append(None)
            continue
        scrubbed = scrub_pair(pair, (ours, theirs), None, privacy)
        found.append(None if isinstance(scrubbed, Disagreed) else (scrubbed.texts[0], scrubbed.texts[1]))
    return found


def _detector(policy: Path, privacy: Privacy, language: Any) -> Detector:
    """As the scrub step's own: at level `fast` a language without a tagger has patterns, and the other side."""
    tagger = policy / f"tagger-{language}"
    there = tagger.is_dir()
    level = "patterns" if privacy.level == "fast" and not there else privacy.level
    applies = privacy.model_copy(update={"level": level})
    return Detector(applies, language=language, tagger=tagger if there else None)
