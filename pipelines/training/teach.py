"""A teacher's answers in the place of the training targets: sequence-level knowledge distillation (Kim and Rush, 2016).

What a small model cannot learn of many people's ways to say a thing, it can learn of one model's way to say it. Only the train
split is answered: what is validated and tested on stays what people wrote.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pipelines import artifact
from pipelines.artifact import Dataset, Export
from pipelines.decode import Decoder, Reading
from pipelines.spec import Decoding

CODE_VERSION = 1
CHUNK = 256
"""Sources answered at a time: what a kill can cost at most. Cut by position alone, so that a resumed run answers the same."""


def teach(teacher: Export, dataset: Dataset, decoding: Decoding, reading: Reading, batch_tokens: int, out: Path) -> Dataset:
    """`dataset` with the `teacher`'s answers as the targets of the train split; its dataset.json says of how many.

    An answer that is empty, or that the teacher did not end before decoding.max_tokens, teaches nothing: there the target
    stays. Answers are kept in parts in out/.taught-KEY.partial, each whole or absent: killed, the next run goes on after them.

    Raises:
        Corrupt: the teacher does not hold the bytes that it was sealed with.
    """
    key = artifact.digest("teach", CODE_VERSION, CHUNK, teacher, dataset, decoding, astuple(reading), batch_tokens)
    folder = out / f"taught-{key[:16]}"
    found = artifact.existing(Dataset, folder)
    if found:
        return found
    parts = out / f".{folder.name}.partial"
    parts.mkdir(parents=True, exist_ok=True)
    answered = list(_answers(teacher, dataset, decoding, reading, batch_tokens, parts))
    made = artifact.make(Dataset, folder, lambda building: _write(building, dataset, teacher, answered))
    shutil.rmtree(parts)
    return made


def _answers(
    teacher: Export, dataset: Dataset, decoding: Decoding, reading: Reading, batch_tokens: int, parts: Path
) -> Iterator[Path]:
    """The parts in order, each made if it is not there: id, and answer (null where the target stays)."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from rich.console import Console
    from rich.progress import track

    table = pq.read_table(dataset.path / "train.parquet", columns=["id", "source"])
    decoder = Decoder(teacher.path, threads=len(os.sched_getaffinity(0)), device="auto")
    starts = range(0, table.num_rows, CHUNK)
    shown = {"console": Console(stderr=True), "disable": not sys.stderr.isatty()}
    for number, start in enumerate(track(starts, f"the teacher answers {table.num_rows:,} sources", **shown)):  # type: ignore[arg-type]
        path = parts / f"{number:06d}.parquet"
        if not path.is_file():
            chunk = table.slice(start, CHUNK)
            found = decoder.answer(chunk["source"].to_pylist(), decoding, reading, batch_tokens)
            told = [answer.text if answer.finished and answer.text.strip() else None for answer in found]
            fresh = path.with_suffix(".new")
            pq.write_table(pa.table({"id": chunk["id"], "answer": pa.array(told, pa.string())}), fresh)
            fresh.replace(path)
        yield path


def _write(folder: Path, dataset: Dataset, teacher: Export, parts: list[Path]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    train = pq.read_table(dataset.path / "train.parquet")
    answers = pa.concat_tables([pq.read_table(path) for path in parts])["answer"].combine_chunks()
    place = train.column_names.index("target")
    taught = train.set_column(place, train.schema.field(place), pc.coalesce(answers, train["target"]))
    pq.write_table(taught, folder / "train.parquet")
    for name in ("validation.parquet", "test.parquet"):
        shutil.copyfile(dataset.path / name, folder / name)
    facts: dict[str, Any] = {}
    if (dataset.path / "dataset.json").is_file():
        facts = json.loads((dataset.path / "dataset.json").read_text(encoding="utf-8"))
    same = int(pc.sum(pc.equal(taught["target"], train["target"])).as_py() or 0)
    facts["taught"] = {
        "teacher": teacher.sha256, "dataset": dataset.sha256, "pairs": train.num_rows,
        "targets_kept": answers.null_count, "as_the_target": same - answers.null_count,
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1, sort_keys=True), encoding="utf-8")
