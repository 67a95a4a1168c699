"""A file of texts through a real version: the three formats, what is special, a kill in between, the same answers again."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import batch
from pipelines.batch import tables
from pipelines.decode import Answer, Decoder
from pipelines.errors import UserError
from pipelines.filters import Inspector
from pipelines.scrub.detect import Detector
from tests.serving.conftest import WORDS
from tests.serving.site import spec, until

TEXTS = [" ".join(WORDS[(n * k) % 10] for k in range(2, 9)) for n in range(12)]


@pytest.fixture(scope="module")
def model(export: Path) -> batch.Model:
    given = spec(privacy={"level": "patterns", "entities": ["EMAIL_ADDRESS"]})
    inspector = Inspector(given.serving.filters, given.task, "en")
    return batch.Model("7", Decoder(export), Detector(given.privacy), inspector, given, given.serving.decoding)


def quiet(_done: int, _total: int) -> None:
    pass


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case _:
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    match path.suffix:
        case ".parquet":
            rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
            return rows
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        case _:
            with path.open(newline="") as stream:
                return list(csv.DictReader(stream))


@pytest.mark.parametrize("kind", [".parquet", ".jsonl", ".csv"])
def test_each_format_gives_the_gateways_answers_beside_all_columns(tmp_path: Path, model: batch.Model, kind: str) -> None:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)]
    done = batch.run(write(tmp_path / f"in{kind}", rows), tmp_path / f"out{kind}", "text", model, quiet)
    found = read(done.out)
    assert [{"id": row["id"], "text": row["text"]} for row in found] == rows
    alone = [model.decoder.generate([text], model.decoding)[0].text for text in TEXTS]
    assert [row["answer"] for row in found] == alone
    assert {row["answer_version"] for row in found} == {"7"}
    assert (done.rows, done.resumed) == (12, 0)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_answered_is_counted_and_said(tmp_path: Path, model: batch.Model) -> None:
    rows = [{"text": "a small package"}, {"text": None}, {"text": "  "}, {"text": "write to ann.smith@example.org"}]
    done = batch.run(write(tmp_path / "in.parquet", rows), tmp_path / "out.jsonl", "text", model, quiet)
    found = read(done.out)
    assert [row["answer"] is None for row in found] == [False, True, True, False]
    assert done.counts["empty"] == 2
    assert found[1]["answer_flags"] == ["empty"]


def test_the_model_never_sees_personal_data(tmp_path: Path, model: batch.Model) -> None:
    seen: list[str] = []

    class Watched(Decoder):
        def encode(self, texts: Any) -> Any:
            seen.extend(texts)
            return super().encode(texts)

    model.decoder.__class__ = Watched
    try:
        rows = [{"text": "write to ann.smith@example.org about files"}]
        batch.run(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", "text", model, quiet)
    finally:
        model.decoder.__class__ = Decoder
    assert seen == ["write to <EMAIL_ADDRESS_1> about files"]


def test_a_leak_is_redacted_and_a_refused_request_is_not_answered(
    tmp_path: Path, model: batch.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    filters = model.spec.serving.filters.model_copy(update={"input_patterns": ("(?i)forbidden",)})
    guarded = replace(model, inspector=Inspector(filters, model.spec.task, "en"))
    answers = model.decoder.answer

    def leaking(texts: Sequence[str], *rest: Any) -> list[Answer]:
        return [replace(answer, text="ask bob.stone@example.org") for answer in answers(texts, *rest)]

    monkeypatch.setattr(model.decoder, "answer", leaking)
    rows = [{"text": "ask ann.smith@example.org"}, {"text": "a forbidden thing"}]
    done = batch.run(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", "text", guarded, quiet)
    leaked, refused = read(done.out)
    assert leaked["answer"] == "ask <EMAIL_ADDRESS_2>"
    assert "leak" in leaked["answer_flags"]
    assert (refused["answer"], refused["answer_flags"]) == (None, ["input_pattern"])


@pytest.mark.parametrize(
    ("name", "content", "column", "said"),
    [
        ("in.txt", "a", "text", "in.txt: must end in .parquet, .jsonl, .csv"),
        ("in.csv", "a,b\n1,2\n", "text", "in.csv: no column text: give --column, one of a, b"),
        ("in.jsonl", '{"text": 3}\n', "text", "in.jsonl: column text holds no texts"),
        ("in.jsonl", '{"text": "a", "answer": "b"}\n', "text", "in.jsonl: a column is called answer"),
        ("in.jsonl", '{"text": \n', "text", "in.jsonl: cannot be read"),
        ("in.csv", "", "text", "in.csv: "),
    ],
)
def test_a_bad_file_gets_one_line(tmp_path: Path, model: batch.Model, name: str, content: str, column: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as refused:
        batch.run(tmp_path / name, tmp_path / "out.csv", column, model, quiet)
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out.csv").exists()


def test_killed_it_goes_on_and_gives_the_same_bytes(
    tmp_path: Path, model: batch.Model, export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": text, "n": n} for n, text in enumerate(TEXTS * 40)]
    source = write(tmp_path / "in.parquet", rows)
    monkeypatch.setattr(tables, "CHUNK", 40)
    whole = batch.run(source, tmp_path / "whole.parquet", "text", model, quiet).out
    command = [sys.executable, "-m", "tests.batch.slow", str(export), str(source), str(tmp_path / "out.parquet")]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        parts = tmp_path / ".out.parquet.parts"
        until(lambda: len(list(parts.glob("*.parquet"))) >= 3, 60)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out.parquet").exists()
    done = batch.run(source, tmp_path / "out.parquet", "text", model, quiet)
    assert 3 * 40 <= done.resumed < len(rows)
    assert done.out.read_bytes() == whole.read_bytes()


def test_another_input_starts_anew(tmp_path: Path, model: batch.Model) -> None:
    parts = tmp_path / ".out.jsonl.parts"
    parts.mkdir()
    (parts / "job").write_text("of another input")
    (parts / "000000.parquet").write_bytes(b"what that made")
    source = write(tmp_path / "in.jsonl", [{"text": TEXTS[0]}])
    done = batch.run(source, tmp_path / "out.jsonl", "text", model, quiet)
    assert (done.rows, done.resumed) == (1, 0)
