"""A file of texts through a version: scrubbed, decoded, filtered, restored, as the gateway does; resumable and deterministic.

Rows are taken CHUNK at a time; each chunk becomes a part file, whole or absent, in a hidden folder beside the output. A run
that is killed goes on after its last part. Chunks are cut by position alone, so that the same file gives the same answers
however often it was interrupted (quantised arithmetic depends on which texts are decoded together).
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from pipelines import artifact
from pipelines.batch import tables
from pipelines.decode import Answer, Decoder, Reading
from pipelines.errors import UserError
from pipelines.filters import Inspector
from pipelines.filters.leaks import Leak, new_data, personal, redact
from pipelines.scrub.detect import Detector, Undetected, restore
from pipelines.spec import Decoding, Spec

CODE_VERSION = 1
Progress = Callable[[int, int], None]
"""Told the rows done and the rows there are."""


@dataclass(frozen=True)
class Model:
    """A version, ready to answer as its gateway does."""

    version: str
    decoder: Decoder
    detector: Detector
    inspector: Inspector
    spec: Spec
    decoding: Decoding


@dataclass(frozen=True)
class Done:
    """What a run made. `seconds` are of decoding, earlier runs included; `counts` are rows by what is special."""

    out: Path
    rows: int
    resumed: int
    seconds: float
    counts: Mapping[str, int]

    def cost_per_1000(self, spec: Spec) -> float:
        return self.seconds / 3600 * spec.serving.cost.per_engine_hour / max(self.rows, 1) * 1_000


def run(source: Path, out: Path, column: str, model: Model, progress: Progress) -> Done:
    """Answer the texts in `column` of `source` into `out` (parquet, jsonl or csv, by name): all columns and tables.ANSWERS.

    Raises:
        UserError: a file of another kind, no such column, a column that holds no texts or is called as one of ANSWERS, or
            another run that is writing `out`.
    """
    tables.format_of(out)
    table = tables.open_table(source, column)
    key = artifact.digest(
        "batch", CODE_VERSION, tables.CHUNK, artifact.file_sha256(source), column, model.decoder.sha256, model.decoding,
        model.spec.serving.filters, model.spec.serving.long_inputs,
    )  # fmt: skip
    parts = out.parent / f".{out.name}.parts"
    parts.mkdir(mode=0o700, exist_ok=True)
    try:
        with FileLock(parts / "lock", timeout=0):
            _same_job(parts, key)
            total = table.count_rows()
            made = list(_answer(table, column, parts, model, lambda rows: progress(rows, total)))
            resumed = sum(1 for _, fresh in made if not fresh) * tables.CHUNK
            tables.join([path for path, _ in made], table.schema, out)
            told = [json.loads(pq.read_schema(path).metadata[b"seqline"]) for path, _ in made]
    except Timeout:
        raise UserError(f"{out.name}: another run is writing it: wait for it, or give another name") from None
    shutil.rmtree(parts)
    counts = sum((Counter(each["counts"]) for each in told), Counter[str]())
    return Done(out, total, min(resumed, total), sum(each["seconds"] for each in told), dict(counts))


def _same_job(parts: Path, key: str) -> None:
    """Parts of another input, version or decoding are of no use here."""
    state = parts / "job"
    if not state.is_file() or state.read_text() != key:
        for part in parts.glob("*.parquet"):
            part.unlink()
        state.write_text(key)


def _answer(table: Any, column: str, parts: Path, model: Model, progress: Callable[[int], None]) -> Iterator[tuple[Path, bool]]:
    """(part, was it made now) of each chunk. The next chunk is scrubbed while one is decoded."""
    with ThreadPoolExecutor(1) as ahead:
        waiting: list[tuple[Path, pa.Table, Any]] = []
        rows = 0
        for number, chunk in enumerate(tables.chunks(table)):
            path = parts / f"{number:06d}.parquet"
            found = None if path.is_file() else ahead.submit(_scrub, chunk.column(column).to_pylist(), model)
            waiting.append((path, chunk, found))
            if len(waiting) > 1:
                yield _finished(*waiting.pop(0), model)
                progress(rows := rows + tables.CHUNK)
        for each in waiting:
            yield _finished(*each, model)
            progress(rows + each[1].num_rows)


def _leaks(source: str, output: str, model: Model) -> list[Leak]:
    return new_data(output, personal(model.detector.scrub([output]).replaced[0]), source)


@dataclass(frozen=True)
class _Row:
    """A row's scrubbed text and its own values; `why` there is none, if so."""

    text: str
    values: Mapping[str, str]
    why: str = ""


def _scrub(texts: Sequence[str | None], model: Model) -> list[_Row]:
    rows = []
    for text in texts:
        if text is None or not text.strip():
            rows.append(_Row("", {}, "empty"))
            continue
        try:
            (scrubbed,) = model.detector.scrub_each([text])
        except Undetected:
            rows.append(_Row("", {}, "unscrubbed"))
            continue
        if model.inspector.request(scrubbed.texts[0]):
            rows.append(_Row("", {}, "input_pattern"))
            continue
        too_long = model.spec.serving.long_inputs == "refuse" and len(model.decoder.windows(scrubbed.texts[0])) > 1
        rows.append(_Row(scrubbed.texts[0], dict(scrubbed.values), "too_long" if too_long else ""))
    return rows


def _finished(path: Path, chunk: pa.Table, found: Any, model: Model) -> tuple[Path, bool]:
    if found is None:
        return path, False
    rows: list[_Row] = found.result()
    wanted = [row for row in rows if not row.why]
    began = time.monotonic()
    answers = iter(_decode([row.text for row in wanted], model))
    seconds = time.monotonic() - began
    answered = [_refused(row, model) if row.why else _checked(row, next(answers), model) for row in rows]
    counts = Counter(flag for row in answered for flag in row["answer_flags"])
    counts["truncated"] = sum(bool(row.get("answer_truncated")) for row in answered)
    columns = pa.Table.from_pylist(answered, tables.ANSWERS)
    for name in tables.ANSWERS.names:
        chunk = chunk.append_column(tables.ANSWERS.field(name), columns.column(name))
    told = json.dumps({"seconds": seconds, "counts": counts})
    temporary = path.with_suffix(".tmp")
    pq.write_table(chunk.replace_schema_metadata({"seqline": told}), temporary)
    temporary.replace(path)
    return path, True


def _decode(texts: list[str], model: Model) -> list[Answer]:
    serving = model.spec.serving
    reading = Reading(model.spec.task, model.spec.privacy.language, serving.long_inputs)
    return model.decoder.answer(texts, model.decoding, reading, serving.batch_tokens)


def _refused(row: _Row, model: Model) -> dict[str, Any]:
    return {"answer": None, "answer_version": model.version, "answer_flags": [row.why]}


def _checked(row: _Row, answer: Answer, model: Model) -> dict[str, Any]:
    inspector, action = model.inspector, model.spec.serving.filters.leak
    flags = inspector.answer(row.text, answer.text, finished=answer.finished)
    text: str | None = answer.text
    leaks = [] if action == "off" else _leaks(row.text, answer.text, model)
    if leaks:
        flags = [*flags, "leak"]
        text = answer.text if action == "flag" else redact(answer.text, leaks, row.text)
    if any(inspector.action(flag) == "refuse" for flag in flags):
        text, flags = None, [*flags, "withheld"]
    return {
        "answer": None if text is None else restore(text, row.values),
        "answer_version": model.version,
        "answer_logprob": answer.logprob,
        "answer_flags": flags,
        "answer_truncated": answer.truncated,
        "answer_parts": answer.parts,
        "answer_source_tokens": answer.source_tokens,
        "answer_target_tokens": answer.target_tokens,
        "answer_seed": answer.seed,
    }
