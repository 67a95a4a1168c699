"""A real registry (MLflow on SQLite) with versions to roll out, and a rollout database."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.registry import Registry
from pipelines.rollout.store import Store
from pipelines.spec import Spec
from tests.rollout import page


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    home = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{home / 'mlflow.db'}", home / "artifacts")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(f"sqlite:///{tmp_path / 'rollout.db'}")
    made.create()
    return made


@pytest.fixture
def model(registry: Registry, request: pytest.FixtureRequest) -> Callable[[int], Spec]:
    """Register versions 1 to n of a model of this test's own, and return its spec."""

    def register(versions: int) -> Spec:
        name = page.name_of(request.node.name)
        page.register(registry, name, versions)
        return page.spec_of(name)

    return register
