"""The second pass: placeholders for what was found, the same on both sides of a pair; the audit log and the vault."""

import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.scrub import allow, trail
from pipelines.scrub.align import Aligner, learn
from pipelines.scrub.audit import VAULT
from pipelines.scrub.finding import SIDES, Found, Taggers, row_groups
from pipelines.scrub.forms import words as forms
from pipelines.scrub.pairs import Disagreed, scrub_pair
from pipelines.scrub.spans import CARRIED, TAGGED, Lookup, Scrubbed, Span
from pipelines.scrub.vault import Row, Vault
from pipelines.scrub.workers import workers
from pipelines.spec import Privacy

if TYPE_CHECKING:
    from pipelines.scrub.step import Keys

CHUNK = 500  # pairs handed to a process at a time
ALIGNED = 50_000  # pairs from which translations of words are learnt


@dataclass
class Replaced:
    """What the second pass counted."""

    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why pairs were quarantined."""
    spans: Counter[str] = field(default_factory=Counter)
    values: dict[str, set[int]] = field(default_factory=dict)
    """Hashes of the distinct values of each entity."""

    @property
    def share(self) -> float:
        return self.reasons.total() / max(self.rows, 1)

    def count(self, scrubbed: Iterable[Scrubbed], reasons: Sequence[str]) -> None:
        self.reasons.update(reasons)
        self.rows += len(reasons)
        for one in scrubbed:
            self.rows += 1
            for entity, value in one.found:
                self.spans[entity] += 1
                self.values.setdefault(entity, set()).add(hash(value))

    def entities(self, privacy: Privacy) -> dict[str, dict[str, int]]:
        return {
            entity: {"spans": self.spans[entity], "values": len(self.values.get(entity, ()))} for entity in privacy.entities
        }


def policy(privacy: Privacy, found: Found, taggers: Taggers, folder: Path) -> Privacy:
    """The policy as it is applied, with the words learnt to be allowed; written to `folder` with the taggers."""
    learnt = allow.learn(found.tally.words) if privacy.learn_allow else frozenset()
    # a gateway reads sources: where their language has no tagger there is none for it to load
    level = "patterns" if privacy.level == "fast" and privacy.language not in taggers else privacy.level
    applied = privacy.model_copy(update={"allow": tuple(sorted({*privacy.allow, *learnt})), "level": level})
    folder.mkdir()
    (folder / "privacy.json").write_text(applied.model_dump_json(indent=1))
    for language, tagger in sorted(taggers.items()):
        shutil.copytree(tagger, folder / f"tagger-{language}")
    return applied


def replace(
    pairs: Path,
    privacy: Privacy,
    found: Found,
    forgotten: Collection[str],
    folder: Path,
    private: Path,
    keys: "Keys",
    count: int,
) -> Replaced:
    """Write pairs.parquet and trail.parquet to `folder`; quarantined.parquet and, if wanted, a vault to `private`."""
    done = Replaced()
    prepared = (privacy, _everywhere(found.tally.values, privacy), _aligner(pairs, found, privacy))
    with ExitStack() as stack:
        each = stack.enter_context(workers(count if _many(pairs) else 1, start, *prepared))
        clean = stack.enter_context(_Table(folder / "pairs.parquet", ("id", "source", "target")))
        aside = stack.enter_context(_Table(private / "quarantined.parquet", ("id", "source", "target", "reason"), mode=0o600))
        log = stack.enter_context(trail.writer(folder / "trail.parquet", keys.trail))
        vault = stack.enter_context(Vault(keys.vault).writer(private / VAULT)) if privacy.vault and keys.vault else None
        for group, spans in zip(row_groups(pairs, ("id", *SIDES)), row_groups(found.path), strict=True):
            jobs = [(group[at : at + CHUNK], spans[at : at + CHUNK]) for at in range(0, len(group), CHUNK)]
            results = [one for chunk in each(_replace_chunk, jobs) for one in chunk]
            wanted = [(row, one) for row, one in zip(group, results, strict=True) if row["id"] not in forgotten]
            kept = [(row, one) for row, one in wanted if isinstance(one, Scrubbed)]
            left = [(row, one.reason) for row, one in wanted if isinstance(one, Disagreed)]
            done.count([one for _, one in kept], [reason for _, reason in left])
            aside.add([{**row, "reason": reason} for row, reason in left])
            clean.add([{"id": row["id"], "source": one.texts[0], "target": one.texts[1]} for row, one in kept])
            log.add(_logged(kept))
            if vault:
                vault.add(Row(row["id"], (row["source"], row["target"]), one.replaced) for row, one in kept)
    return done


def _aligner(pairs: Path, found: Found, privacy: Privacy) -> Aligner | None:
    """For translations: which words stand for those that were found, learnt from as many pairs as are needed for that."""
    if privacy.target_language is None:
        return None
    wanted: tuple[set[str], set[str]] = (set(), set())
    sample: list[tuple[str, str]] = []
    for group, spans in zip(row_groups(pairs, SIDES), row_groups(found.path), strict=True):
        for row, its in zip(group, spans, strict=True):
            for side, words in zip(SIDES, wanted, strict=True):
                words.update(form.folds[0] for one in its[side] for form in forms(row[side], one["start"], one["end"]))
        sample += [(row["source"], row["target"]) for row in group]
        if len(sample) >= ALIGNED:
            break
    return learn(sample, wanted)


def _many(pairs: Path) -> bool:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(pairs).num_rows) > 10 * CHUNK


def _everywhere(values: Mapping[tuple[str, str], int], privacy: Privacy) -> dict[str, str]:
    """{value: entity}; a value found under two names counts as what it was taken for most often."""
    allowed = set(privacy.allow)
    ranked = sorted(values, key=lambda item: (values[item], item))
    return {value: entity for value, entity in ranked if value not in allowed}


_state: dict[str, Any] = {}  # of a replacing process


def start(privacy: Privacy, everywhere: Mapping[str, str], aligner: Aligner | None) -> None:
    _state.update(privacy=privacy, allow=frozenset(privacy.allow), everywhere=Lookup(everywhere, CARRIED), aligner=aligner)


def _replace_chunk(job: tuple[Sequence[Mapping[str, str]], Sequence[Mapping[str, Any]]]) -> list[Scrubbed | Disagreed]:
    results: list[Scrubbed | Disagreed] = []
    for row, spans in zip(*job, strict=True):
        if spans["failed"]:
            results.append(Disagreed(spans["failed"]))
            continue
        texts = (row["source"], row["target"])
        sides = tuple(list(_allowed(text, spans[side])) for text, side in zip(texts, SIDES, strict=True))
        results.append(scrub_pair(texts, (sides[0], sides[1]), _state["everywhere"], _state["privacy"], _state["aligner"]))
    return results


def _allowed(text: str, spans: Sequence[Mapping[str, Any]]) -> Iterator[Span]:
    """The spans that the policy does not allow (the words learnt in the first pass are known only now): names, no patterns."""
    for span in spans:
        if span["entity"] not in TAGGED or text[span["start"] : span["end"]] not in _state["allow"]:
            yield Span(**span)


def _logged(kept: Sequence[tuple[Mapping[str, str], Scrubbed]]) -> Iterator[trail.Entry]:
    for row, one in kept:
        for side, text, replaced in zip(SIDES, (row["source"], row["target"]), one.replaced, strict=True):
            for each in replaced:
                yield trail.Entry(row["id"], side, each, text[each.start : each.end])


class _Table:
    """A Parquet file of texts, written as rows come."""

    def __init__(self, path: Path, columns: Sequence[str], mode: int = 0o644) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([(name, pa.string()) for name in columns])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        path.chmod(mode)

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, rows: Sequence[Mapping[str, str]]) -> None:
        import pyarrow as pa

        if rows:
            self._writer.write_table(pa.Table.from_pylist(list(rows), self._schema))
