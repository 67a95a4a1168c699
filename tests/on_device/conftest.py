"""A tiny model made by the real steps, its words German and emoji too, and the folder that is exported of it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.settings import Settings
from pipelines import artifact
from pipelines.encode import encode
from pipelines.on_device import About, export
from pipelines.scrub.detect import placeholders
from pipelines.spec import Decoding
from pipelines.training.export import export as export_weights
from pipelines.training.fit import fit
from tests.serving.site import spec

WORDS = (
    "small",
    "package",
    "Größe",
    "Schlüssel",
    "für",
    "reading",
    "files",
    "😀",
    "don't",
    "it's",
    "12",
    "<PERSON_1>",
    "games",
)
DECODING = Decoding(beam=2, max_tokens=12, no_repeat_ngram=3)
ABOUT = About("tiny", "7", "# Model card: tiny\n", "Apache-2.0\n")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an Export."""
    out = tmp_path_factory.mktemp("small")
    given = spec(tokens={"vocabulary": 420})
    dataset = artifact.make(artifact.Dataset, out / "dataset", _write_splits)
    tokens = encode(dataset, given.tokens, placeholders(given.privacy), None, out)
    return export_weights(fit(tokens, given.training, None, out), "int8", out).path


@pytest.fixture(scope="session")
def folder(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for a device."""
    out = tmp_path_factory.mktemp("device") / "tiny"
    export(served, DECODING, ABOUT, Settings().signing_key, out)
    return out


def _write_splits(folder: Path) -> None:
    for split, rows in {"train": 60, "validation": 8, "test": 8}.items():
        sources = [" ".join(WORDS[(n * k) % len(WORDS)] for k in range(2, 12)) for n in range(rows)]
        columns = {"id": [f"{n:016x}" for n in range(rows)], "source": sources, "target": [text[:20] for text in sources]}
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    (folder / "dataset.json").write_text("{}")
