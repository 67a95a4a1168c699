"""One small trained export for all tests of decoding, and the same without ct2/."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.artifact import MANIFEST, Export, seal
from pipelines.decode import Decoder
from tests.training import line

LEARNT = line.TRAINING.model_copy(update={"steps": 600, "learning_rate": 5e-3, "validate_steps": 100, "checkpoint_steps": 600})


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return line.exported(tmp_path_factory.mktemp("decode"), "float32", LEARNT)


@pytest.fixture(scope="session")
def decoder(export: Export) -> Decoder:
    return Decoder(export.path)


@pytest.fixture(scope="session")
def sources() -> list[str]:
    return list(line.pairs(20, 3)["source"])


def resealed(folder: Path) -> Path:
    (folder / MANIFEST).unlink()
    seal(folder)
    return folder


@pytest.fixture(scope="session")
def plain(export: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same export without ct2/."""
    folder = Path(shutil.copytree(export.path, tmp_path_factory.mktemp("plain") / "export"))
    shutil.rmtree(folder / "ct2")
    return resealed(folder)


@pytest.fixture(scope="session")
def other(plain: Path) -> Decoder:
    return Decoder(plain)


@pytest.fixture(params=["ct2", "transformers"])
def either(request: pytest.FixtureRequest) -> Decoder:
    return request.getfixturevalue({"ct2": "decoder", "transformers": "other"}[request.param])


@pytest.fixture
def altered(export: Export, plain: Path, tmp_path: Path) -> Callable[[bool], Path]:
    """A copy to spoil: altered(True) without ct2/."""

    def copy(without_ct2: bool = False) -> Path:
        return Path(shutil.copytree(plain if without_ct2 else export.path, tmp_path / "export"))

    return copy
