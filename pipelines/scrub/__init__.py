"""Pairs with the personal data in them replaced by placeholders, the same on both sides, and measured.

Two passes. The first finds spans text by text, in processes. The second replaces every address, and every name of two or
more words, that the first found anywhere, everywhere it stands: so that a value that was removed is nowhere.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.artifact import Clean, Raw, digest
from pipelines.errors import Transient
from pipelines.scrub import audit
from pipelines.scrub.spans import CARRIED, LITERAL, Lookup, Scrubbed, Span, agree, lookalikes, replace, resolve
from pipelines.spec import Privacy

CODE_VERSION = 1
CHUNK = 64  # texts handed to a process at a time
ANYWHERE = ("EMAIL_ADDRESS", "URL", "PERSON")  # entities whose values are looked for in the whole slice


def scrub(raw: Raw, privacy: Privacy, out: Path, quarantine: Path, *, workers: int = 2) -> Clean:
    """Replace personal data in every pair; returns pairs.parquet (id, source, target) and scrub.json (counts, no value).

    The values that `raw` knows are never used to find anything, only to measure what was missed. Which of them were removed
    and which missed goes to `quarantine`/scrub-KEY/values.json (0700, 0600), for `audit.sweep`.

    Args:
        workers: processes that detect; the result does not depend on it.

    Raises:
        UserError: the tagger is not installed. Transient: a process died.
    """
    policy = privacy.model_dump(mode="json", exclude={"quarantine_days"})
    key = digest("scrub", CODE_VERSION, raw, policy)[:16]
    return artifact.make(
        Clean, out / f"clean-{key}", lambda folder: _scrub(raw, privacy, folder, quarantine / f"scrub-{key}", workers)
    )


def _scrub(raw: Raw, privacy: Privacy, folder: Path, vault: Path, workers: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pairs = pq.read_table(raw.path / "pairs.parquet").to_pylist()
    known = audit.known_values(pairs, privacy)
    sentences = audit.sentences(known)
    spans = _find(
        [*(pair[side] for pair in pairs for side in ("source", "target")), *(text for _, _, text in sentences)],
        privacy,
        workers,
    )
    scrubbed = _second_pass([(pair["source"], pair["target"]) for pair in pairs], spans, privacy)
    rows = [
        {"id": pair["id"], "source": done.texts[0], "target": done.texts[1]} for pair, done in zip(pairs, scrubbed, strict=True)
    ]
    schema = pa.schema([(name, pa.string()) for name in ("id", "source", "target")])
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "pairs.parquet", compression="zstd")

    removed, missed = audit.split_known(known, [text for done in scrubbed for text in done.texts])
    facts = {
        "policy": digest(privacy),
        "pairs": len(rows),
        "entities": _counts(scrubbed, privacy),
        "lookalikes": sum(len(lookalikes(pair[side], privacy.entities)) for pair in pairs for side in ("source", "target")),
        "known": audit.recall({entity: len(values) for entity, values in known.items()}, missed),
        "audit": audit.recall(*audit.missed_sentences(sentences, spans, privacy)),
    }
    (folder / "scrub.json").write_text(json.dumps(facts, indent=1, sort_keys=True))
    _write_private(vault / "values.json", {"removed": removed, "missed": missed})


def _second_pass(pairs: Sequence[tuple[str, str]], spans: Mapping[str, list[Span]], privacy: Privacy) -> list[Scrubbed]:
    values: Counter[tuple[str, str]] = Counter()
    for text in {text for pair in pairs for text in pair}:
        for span in resolve(text, spans[text]):
            value = text[span.start : span.end]
            if span.entity in ANYWHERE and span.score < LITERAL and (span.entity != "PERSON" or len(value.split()) > 1):
                values[value, span.entity] += 1
    # a value found under two names counts as what it was taken for most often
    ranked = sorted(values, key=lambda item: (values[item], item))
    everywhere = Lookup(dict(ranked), CARRIED)
    return [
        replace(pair, agree(pair, [[*spans[text], *everywhere.find(text)] for text in pair]), privacy.placeholders)
        for pair in pairs
    ]


def _counts(scrubbed: Sequence[Scrubbed], privacy: Privacy) -> dict[str, dict[str, int]]:
    spans = Counter(entity for done in scrubbed for entity, _ in done.found)
    values = Counter(entity for entity, _ in {found for done in scrubbed for found in done.found})
    return {entity: {"spans": spans[entity], "values": values[entity]} for entity in privacy.entities}


def _find(texts: Sequence[str], privacy: Privacy, workers: int) -> dict[str, list[Span]]:
    """The detector's spans of each distinct text, by `workers` processes of their own."""
    from rich.console import Console
    from rich.progress import Progress

    # by length: a batch of like texts wastes no padding, and the longest first keeps the processes even to the end
    distinct = sorted(set(texts), key=lambda text: (-len(text), text))
    chunks = [distinct[start : start + CHUNK] for start in range(0, len(distinct), CHUNK)]
    found: dict[str, list[Span]] = {}
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(f"scrub: {len(distinct)} texts", total=len(distinct))
        for chunk, spans in zip(chunks, _spread(chunks, privacy, workers), strict=True):
            found.update(zip(chunk, spans, strict=True))
            progress.advance(task, len(chunk))
    return found


def _spread(chunks: Sequence[Sequence[str]], privacy: Privacy, workers: int) -> Any:
    """Yields the spans of each chunk, in order. Spawned processes: a fork of a process with threads can hang."""
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    if workers < 2 or len(chunks) < 2:
        _start(privacy)
        yield from map(_find_chunk, chunks)
        return
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start, initargs=(privacy,)) as pool:
            yield from pool.map(_find_chunk, chunks)
    except BrokenProcessPool:
        raise Transient("scrub: a detecting process died (out of memory?)") from None


_state: dict[str, Any] = {}  # of a detecting process: its one detector


def _start(privacy: Privacy) -> None:
    from pipelines.scrub.detect import Detector

    _state["detector"] = Detector(privacy)


def _find_chunk(texts: Sequence[str]) -> list[list[Span]]:
    spans: list[list[Span]] = _state["detector"].find(texts)
    return spans


def _write_private(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    building = path.with_suffix(f".{os.getpid()}")
    with open(os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:  # noqa: PTH123  (Path.open sets no mode)
        json.dump(content, stream, ensure_ascii=False, indent=1)
    building.replace(path)
