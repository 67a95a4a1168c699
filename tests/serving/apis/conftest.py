"""A gateway that translates English into German (as well as a model trained for two steps can), with real engines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.site import Site, site, spec


@pytest.fixture(scope="session")
def translator(tmp_path_factory: pytest.TempPathFactory, export: Path) -> Iterator[Site]:
    given = spec(privacy={"target_language": "de", "level": "patterns", "entities": ["EMAIL_ADDRESS"]})
    with site(given.model_copy(update={"task": "translation"}), tmp_path_factory.mktemp("translator"), export) as running:
        running.route()
        yield running
