"""A tiny model, made once by the real steps (tokenizer, two steps of training, export), and a gateway that serves it."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import artifact
from pipelines.encode import encode
from pipelines.scrub.detect import placeholders
from pipelines.training.export import export as export_weights
from pipelines.training.fit import fit
from tests.serving.judge import Judge
from tests.serving.site import Site, site, spec

WORDS = ("small", "package", "library", "for", "reading", "writing", "text", "files", "fonts", "games")


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an Export that serves under `tests.serving.site.spec`."""
    out = tmp_path_factory.mktemp("tiny")
    given = spec()
    dataset = artifact.make(artifact.Dataset, out / "dataset", _write_splits)
    tokens = encode(dataset, given.tokens, placeholders(given.privacy), None, out)
    weights = fit(tokens, given.training, None, out)
    return export_weights(weights, given.serving.quantisation, out).path


def _write_splits(folder: Path) -> None:
    for split, rows in {"train": 40, "validation": 8, "test": 8}.items():
        sources = [" ".join(WORDS[(n * k) % 10] for k in range(2, 12)) for n in range(rows)]
        columns = {"id": [f"{n:016x}" for n in range(rows)], "source": sources, "target": [text[:20] for text in sources]}
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    (folder / "dataset.json").write_text("{}")


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    running = Judge()
    yield running
    running.close()


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory, export: Path, judge: Judge) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("gate")
    with site(spec(slo={"judged": 1.0}, serving={"queue": 16}), folder, export, judge.url) as running:
        answer = running.ask()
        assert (answer.status_code, answer.json()) == (503, {"error": "no model in production yet"})
        running.route()
        yield running
