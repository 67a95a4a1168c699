"""CPU seconds of an unchanged retrain, and of all that a changed one costs beside its training.

The peer is the floor of the same stack: one interpreter that imports MLflow, DVC, Prefect and transformers and does nothing.
Each run is a process of its own; CPU is user + system time of the process and of all its children.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.flows.project import Project

IMPORTS = "import mlflow, dvc.repo, prefect, transformers.models.bart.modeling_bart"
TINY = "models/tiny.yaml"


def cpu_of(work: Callable[[], object]) -> float:
    """CPU seconds of the child processes that `work` starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def retrain(project: Project) -> None:
    ran = project.seqline("retrain", TINY)
    assert ran.code == 0, ran.err


def imports() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, capture_output=True)


def changed(folder: Path) -> tuple[float, float]:
    """A first retrain with one step of training, beside the imports' floor."""
    project = Project(folder)
    project.write_spec(steps=1)
    return cpu_of(lambda: retrain(project)), cpu_of(imports)


def row(claim: str, ours: list[float], peer: list[float], goal: float) -> dict[str, Any]:
    middle, other = statistics.median(ours), statistics.median(peer)
    return {
        "claim": claim,
        "ours": round(middle, 2),
        "peer": round(other, 2),
        "peer_name": "the imports of the same stack, doing nothing",
        "unit": "CPU s",
        "ratio": round(middle / other, 2),
        "goal": goal,
        "holds": middle <= goal,
        "runs": len(ours),
        "spread": [round(min(ours), 2), round(max(ours), 2)],
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        first = [changed(_made(Path(scratch) / str(run))) for run in range(3)]
        project = Project(_made(Path(scratch) / "unchanged"))
        project.write_spec(steps=1)
        retrain(project)
        pairs = [(cpu_of(lambda: retrain(project)), cpu_of(imports)) for _ in range(5)]
    rows = [
        row("an unchanged retrain", [ours for ours, _ in pairs], [peer for _, peer in pairs], 10),
        row("a changed retrain beside its training", [ours for ours, _ in first], [peer for _, peer in first], 60),
    ]
    out = Path(".seqline/bench/retrain.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1))
    table = Table("claim", "CPU s", "min-max", "floor", "ratio", "goal", "holds")
    for each in rows:
        spread = f"{each['spread'][0]}-{each['spread'][1]}"
        holds = "yes" if each["holds"] else "NO"
        table.add_row(each["claim"], str(each["ours"]), spread, str(each["peer"]), str(each["ratio"]),
                      f"<= {each['goal']}", holds)  # fmt: skip
    Console().print(table, f"written to {out}")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
