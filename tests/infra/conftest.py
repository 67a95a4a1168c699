from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.spec import Spec
from tests.infra.servers import Hook
from tests.serving.conftest import export  # noqa: F401  the tiny model that serves
from tests.serving.site import spec


@pytest.fixture(scope="module")
def promised() -> Spec:
    """A spec that promises all that can be promised, and whose money has an end."""
    return spec(
        slo={"pii": {"objective": 0.99}, "policy": {"objective": 0.99}},
        serving={
            "filters": {"patterns": ["forbidden"]},
            "cost": {"per_engine_hour": 3600.0, "cap_per_hour": 1e6, "budget_per_month": 5000.0},
            "decoding": {"max_tokens": 8, "beam": 2},
            "overload": {"smaller_beam_at": 0.0},
            "cache": {"entries": 64},
        },
    )


@pytest.fixture
def hook() -> Iterator[Hook]:
    running = Hook()
    yield running
    running.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("infra")
