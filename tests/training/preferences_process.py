"""`python -m tests.training.preferences_process OUT`: one round on preferences in a process of its own, to be killed.

Their making for the tests, too: whoever corrects says more than the training targets do, which is less likely at first.
"""

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import artifact, spec
from pipelines.artifact import Preferences, Weights
from pipelines.training.preferences import prefer
from tests.training import line

SECTION = spec.Preferences(steps=30, learning_rate=0.01, validate_steps=5, drift=5.0, patience=30)


def preferences(out: Path, learnt: int = 48, held_out: int = 16) -> Preferences:
    def write(folder: Path) -> None:
        rows = line.pairs(learnt + held_out, 9)
        accepted = [f"{target} that reads {target.split()[2]}" for target in rows["target"]]
        columns = {"id": rows["id"], "source": rows["source"], "accepted": accepted, "rejected": rows["target"]}
        held = [number >= learnt for number in range(learnt + held_out)]
        pq.write_table(pa.table({**columns, "held_out": held}), folder / "preferences.parquet")
        facts = {"corrections": learnt + held_out + 1, "left_out": {"alike": 1}, "learnt_from": learnt, "held_out": held_out}
        (folder / "preferences.json").write_text(json.dumps(facts))

    return artifact.make(Preferences, out / f"preferences-{learnt}-{held_out}", write)


def preferred(out: Path, section: spec.Preferences = SECTION) -> Weights:
    return prefer(line.trained(out), line.encoded(out), preferences(out), section, line.TRAINING, out)


if __name__ == "__main__":
    preferred(Path(sys.argv[1]))
