"""A run whose steps are small: python -m tests.flows.shown WORK, in a project with models/tiny.yaml."""

import os
import sys
from pathlib import Path

from prefect import flow

from flows import showing
from flows.stack import deployments
from flows.steps import step
from pipelines import artifact
from pipelines.errors import UserError
from pipelines.spec import load
from pipelines.training.progress import Journal


def make(work: Path, name: str) -> artifact.Clean:
    def write(folder: Path) -> None:
        (folder / "a.txt").write_text(name)

    return artifact.make(artifact.Clean, work / name, write)


def fit(work: Path) -> Path:
    """Leaves the log that a training leaves."""
    partial = work / ".weights-1.partial"
    partial.mkdir()
    with Journal(partial / "log.jsonl", 4, 0) as journal:
        for number in (1, 2, 3):
            journal.step(number, 1.0 / number, 10, 0.1)
        journal.validation(3, 0.25, True)
    return (partial / "log.jsonl").rename(work / "weights-1.jsonl")


def refuse() -> None:
    raise UserError("pairs.csv: row 3: has no target")


@flow(name="retrain", flow_run_name=showing.named)
def retrain(name: str, work: Path, why: str = "") -> None:  # noqa: ARG001  # it stands in the name of the run
    with showing.shown(name):
        showing.nothing_to_do(name, "7")
        step("scrub", make)(work, "clean-2")
        step("scrub again", make)(work, "clean-1")
        with showing.training(name, 4, work):
            step("train", fit)(work)
        step("check the data", refuse)()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.utime(make(folder, "clean-1").path / artifact.MANIFEST, (0, 0))  # an earlier run made it
    tiny = load(Path("models/tiny.yaml"))
    deployments.tidy(tiny)
    deployments.pace(tiny, rollout_open=True)
    retrain("tiny", folder, why="drift: other words", return_state=True)
