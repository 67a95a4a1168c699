"""PRESSES (1,000) presses of Promote model that are no approval: stale, replayed, of the wrong version, forged, racing.

They come to real gates (a real rollout database, a real MLflow registry) at every point of as many rollouts as it takes. The
bars: none is accepted, each is refused with its reason on the page of its version; where several people press the right page
at once, one counts.
"""

import os
import tempfile
from collections import Counter
from pathlib import Path

from pipelines.registry import Registry
from pipelines.registry.approval import EVIDENCE
from pipelines.rollout.store import Store
from tests.benchmarks import results
from tests.rollout import storm as storms
from tests.rollout.storm import Storm

PRESSES = int(os.environ.get("PRESSES", "1000"))
EACH = 20  # presses at each point of a rollout


def main() -> None:
    kinds: Counter[str] = Counter()
    vain, accepted, silent, gates, doubled, replay = 0, 0, 0, 0, 0, {EVIDENCE: "a" * 64}
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(f"sqlite:///{folder}/mlflow.db", Path(folder) / "artifacts")
        store = Store(f"sqlite:///{folder}/rollout.db")
        store.create()
        while vain < PRESSES:
            storm = Storm(store, registry, f"model-{gates}", EACH, replay)
            ends = (storms.racing_one_another, storms.racing_a_rollback)
            for come in (storms.before_the_gate, storms.wrong, storms.stale, storms.while_frozen, ends[gates % 2]):
                come(storm)
            replay = storm.right[1]
            found = storms.verdicts(storm)
            won = [number for number in storm.rightful if found[number][1] == "accepted"]
            doubled += len(won) - 1 if storm.rightful else 0
            others = {number: each for number, each in found.items() if number not in won}
            kinds.update(kind for kind, _, _ in others.values())
            accepted += sum(verdict == "accepted" for _, verdict, _ in others.values())
            silent += sum(not (verdict or "").startswith("refused: ") or not shown for _, verdict, shown in others.values())
            vain, gates = vain + len(others), gates + 1
            print(f"{vain} presses, {gates} rollouts", flush=True)  # noqa: T201
    rows = [
        results.at_least("presses that are no approval", vain, "presses", PRESSES, gates),
        results.bounded("of these accepted", accepted, "presses", 0, vain),
        results.bounded("of these without a reason on their page", silent, "presses", 0, vain),
        results.bounded("gates opened twice, or not by the right press", abs(doubled), "gates", 0, gates),
    ]
    results.write("approvals", rows, "; ".join(f"{kind}: {count}" for kind, count in kinds.most_common()))


if __name__ == "__main__":
    main()
