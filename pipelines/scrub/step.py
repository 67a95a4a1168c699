"""Pairs with the personal data in them replaced by placeholders, the same on both sides, and measured.

Two passes over the slice, a row group at a time, so that memory does not grow with it. The first finds spans text by text, in
processes. The second replaces: what was found in either side of a pair on both, and every address, and every name of two or
more words, that was found anywhere, everywhere it stands: so that a value that was removed is nowhere.
"""

import hmac
import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from pipelines import artifact
from pipelines.artifact import Clean, Raw, digest
from pipelines.errors import GateClosed, UserError
from pipelines.scrub import allow, audit, finding, replacing
from pipelines.spec import Privacy

CODE_VERSION = 4
FEW = 300_000  # bytes of text


@dataclass(frozen=True)
class Keys:
    """Secrets of the scrub step: of the audit log's HMACs, and of the vault (None: no vault can be written)."""

    trail: bytes
    vault: bytes | None = None

    def name(self) -> str:
        """A digest by which a run with the same keys is known."""
        return hmac.digest(self.trail, b"seqline trail" + (self.vault or b""), "sha256").hex()[:16]


def scrub(
    raw: Raw,
    privacy: Privacy,
    out: Path,
    quarantine: Path,
    keys: Keys,
    forgotten: Collection[str] = (),
    *,
    workers: int | None = None,
) -> Clean:
    """Replace personal data in every pair of `raw`.

    Returns pairs.parquet (id, source, target), trail.parquet (the audit log: offsets, entities, HMACs), scrub.json (counts and
    recalls; no value) and policy/ (privacy.json as applied, with the words learnt to be allowed, and at level `fast` the
    taggers): what a gateway needs to find in requests what was found in training.

    The values that `raw` knows are never used to find anything, only to measure what was missed. Which of them were removed
    and which missed goes to `quarantine`/scrub-KEY/values.json (0700, 0600), for `sweep`; pairs that could not be scrubbed to
    quarantined.parquet beside it; with `privacy.vault` what was replaced goes, encrypted, to vault.parquet.

    Args:
        forgotten: ids of records that must not come back.
        workers: processes that detect; by default one a core, or none beside this one where the texts are few. The result
            does not depend on it.

    A fast tagger that fails its gate on this data is not used: the level is then `exact`, and the run says so.

    Raises:
        UserError: a tagger is not installed, too many pairs had to be quarantined, or there is no key for the vault.
        Transient: a process died.
    """
    if privacy.vault and keys.vault is None:
        raise UserError("privacy.vault: needs a key: set SEQLINE_VAULT_KEY, or turn the vault off")
    policy = privacy.model_dump(mode="json", exclude={"quarantine_days", "quarantined"})
    code = (CODE_VERSION, *finding.tagger_code(privacy))
    key = digest("scrub", *code, raw, policy, keys.name(), sorted(set(forgotten)))[:16]
    private = quarantine / f"scrub-{key}"

    def write(folder: Path) -> None:
        private.mkdir(parents=True, exist_ok=True, mode=0o700)
        _scrub(raw, privacy, frozenset(forgotten), folder, private, keys, workers or _processes(raw))

    return artifact.make(Clean, out / f"clean-{key}", write)


def _scrub(
    raw: Raw, privacy: Privacy, forgotten: frozenset[str], folder: Path, private: Path, keys: Keys, workers: int
) -> None:
    pairs = raw.path / "pairs.parquet"
    closed: tuple[str, ...] = ()
    try:
        taggers = finding.distil(pairs, privacy, private, workers)
    except GateClosed as gate:
        # what is slower and known is safer than to stop a schedule, or to trust a tagger that failed
        closed, taggers, privacy = gate.reasons, {}, privacy.model_copy(update={"level": "exact"})
        line = f"scrub: level exact instead of fast, {'; '.join(closed)}"
        Console(stderr=True, soft_wrap=True).print(line, markup=False)
    placed = audit.samples(pairs, privacy)
    found = finding.find(pairs, privacy, taggers, placed, private, keys.trail, workers)
    applied = replacing.policy(privacy, found, taggers, folder / "policy")
    replaced = replacing.replace(pairs, applied, found, forgotten, folder, private, keys, workers)
    if replaced.share > privacy.quarantined:
        raise UserError(
            f"privacy.quarantined: {replaced.share:.1%} of {replaced.rows} pairs cannot be scrubbed "
            f"({', '.join(f'{reason} {count}' for reason, count in replaced.reasons.most_common())}), "
            f"more than {privacy.quarantined:.1%}: see {private.name}/quarantined.parquet in the quarantine, or raise it"
        )
    learnt = set(applied.allow) - set(privacy.allow)
    missed = audit.missed_values(pairs, folder / "pairs.parquet", privacy)
    known, planted = (
        audit.recall(missed.counts, missed.missed),
        audit.recall(*audit.missed_placed(placed, found.placed, applied)),
    )
    facts = {
        "policy": digest(privacy),
        "level": privacy.level,
        "instead_of_fast": closed,
        "rows": replaced.rows,
        "pairs": replaced.rows - replaced.reasons.total(),
        "quarantined": dict(sorted(replaced.reasons.items())),
        "entities": replaced.entities(privacy),
        "lookalikes": found.tally.lookalikes,
        "allowed": sorted(learnt),
        "false_positives": allow.false_positives(found.tally.sample, found.tally.words, learnt),
        "known": known,
        "audit": planted,
        "verdicts": audit.verdicts(privacy, known, planted),
    }
    (folder / "scrub.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
    _write_private(private / "values.json", {"removed": missed.removed, "missed": missed.missed})


def _processes(raw: Raw) -> int:
    """How many processes are worth their start, which costs each the seconds in which one finds what FEW bytes hold."""
    import pyarrow.parquet as pq

    found = pq.read_metadata(raw.path / "pairs.parquet")
    few = sum(found.row_group(number).total_byte_size for number in range(found.num_row_groups)) <= FEW
    return 1 if few else os.cpu_count() or 1


def _write_private(path: Path, content: object) -> None:
    """Write JSON that only this user may read (mode 0600), whole or not at all."""
    building = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump(content, stream, ensure_ascii=False, indent=1)
    building.replace(path)
