from pathlib import Path

import pytest

from tests.training import line


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small finished training in it (make nothing in it that others would find)."""
    out = tmp_path_factory.mktemp("line")
    line.trained(out)
    return out
