"""Presses that are no approval, at every point of a rollout: none counts, each is told why on its page."""

import pytest

from pipelines.registry import Registry
from pipelines.rollout.store import Store
from tests.rollout import storm as storms
from tests.rollout.storm import Storm
from tests.rollout.test_controller import aliases


@pytest.mark.parametrize("end", [storms.racing_one_another, storms.racing_a_rollback])
def test_none_of_them_counts(store: Store, registry: Registry, end: object) -> None:
    promoted = end is storms.racing_one_another
    storm = Storm(store, registry, f"storm-{'promoted' if promoted else 'rolled-back'}", each=5)
    for come in (storms.before_the_gate, storms.wrong, storms.stale, storms.while_frozen, end):
        come(storm)  # type: ignore[operator]
    found = storms.verdicts(storm)
    assert len(found) == len(storm.pressed) == 40
    accepted = [number for number, (_, verdict, _) in found.items() if verdict == "accepted"]
    assert len(accepted) == promoted, found
    assert set(accepted) <= set(storm.rightful)
    for number, (kind, verdict, shown) in found.items():
        assert number in accepted or (verdict and verdict.startswith("refused: ") and shown), f"{kind}: {verdict}"
    assert aliases(registry, storm.name) == {"champion": "2" if promoted else "1"}
