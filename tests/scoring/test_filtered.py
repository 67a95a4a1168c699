"""Leaks are looked for by the version's own policy, as its guard does."""

from pathlib import Path

import pytest

from pipelines import spec
from pipelines.scoring import Filtering
from pipelines.scoring.filtered import rates
from pipelines.scoring.heldout import HeldOut

TEST = HeldOut(
    ("1", "2", "3", "4"),
    ("a <PERSON_1> wrote 12 lines", "bob@example.org wrote", "a small file", "x"),
    ("<PERSON_1> wrote", "mail of bob@example.org", "a file by eve@example.org", "y"),
)
FILTERING = Filtering(spec.Filters(leak="refuse"), "summarization", "en")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    privacy = spec.Privacy(level="patterns", entities=("PERSON", "EMAIL_ADDRESS"))
    (folder / "privacy.json").write_text(privacy.model_dump_json())
    return folder


def test_a_value_is_a_leak_unless_its_source_has_it(policy: Path) -> None:
    found = rates(TEST, ("ok", "ok", "13 lines", "ok"), (True, True, True, False), FILTERING, policy, 0.95)
    assert list(found) == ["length", "repetition", "numbers", "names", "leak"]
    assert {name: (each["references"]["count"], each["outputs"]["count"]) for name, each in found.items()} == {
        "length": (0, 1), "repetition": (0, 0), "numbers": (0, 1), "names": (0, 0), "leak": (1, 0),
    }  # fmt: skip
    assert found["leak"]["action"] == "refuse"
    assert found["leak"]["references"]["interval"] == pytest.approx([0.0456, 0.6994], abs=1e-4), "Wilson, 1 of 4"
