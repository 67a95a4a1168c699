"""Peak memory of reading (and with `scrub` as argument, of scrubbing) a million rows, beside a tenth of them.

Each run is a process of its own; peak is VmHWM, its resident high-water mark, of that process alone. The imports count too.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FEW, MANY = 100_000, 1_000_000
GOAL = 1.5  # times the peak of a tenth of the rows: the sort may use its bound, and no more


def write(path: Path, rows: int) -> None:
    """JSONL of `rows` rows, about 300 bytes each, in an order that is none."""
    with path.open("w") as stream:
        for number in range(rows):
            scattered = number * 2_654_435_761 % 2**32
            source = f"Package: tool{scattered}\nSection: utils\nDescription: " + f"a text of words {scattered % 9_973} " * 9
            stream.write(json.dumps({"source": source, "target": f"short words about tool {scattered}"}) + "\n")


def step(name: str, folder: Path) -> None:
    """One step, in this process; prints its peak (MB) and CPU seconds."""
    from pipelines import sources
    from pipelines.scrub.step import Keys, scrub
    from pipelines.spec import Data, FilesSource, Limits, Privacy

    data = Data(source=FilesSource(kind="files", paths=("rows.jsonl",)), limits=Limits(bad_rows=0.0))
    raw = sources.ingest(data, folder, folder / "quarantine/_cache", folder / "quarantine")
    if name == "scrub":
        scrub(raw, Privacy(level="patterns"), folder / "work", folder / "quarantine", Keys(b"k"), workers=1)
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    used = resource.getrusage(resource.RUSAGE_SELF)
    sys.stdout.write(json.dumps([int(peak) / 1024, used.ru_utime + used.ru_stime]))


def measured(name: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.benchmarks.streaming", "--step", name, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    peak, seconds = json.loads(done.stdout)
    return peak, seconds


def row(name: str, many: tuple[float, float], few: tuple[float, float]) -> dict[str, Any]:
    return {
        "claim": f"{name}: {MANY:,} rows in constant memory",
        "ours": round(many[0]),
        "peer": round(few[0]),
        "peer_name": f"the same with {FEW:,} rows",
        "unit": "MB at peak",
        "ratio": round(many[0] / few[0], 2),
        "goal": GOAL,
        "holds": many[0] <= GOAL * few[0],
        "runs": 1,
        "spread": [round(many[0]), round(many[0])],
        "cpu_seconds": [round(many[1], 1), round(few[1], 1)],
    }


def main(names: list[str]) -> None:
    peaks: dict[tuple[str, int], tuple[float, float]] = {}
    for rows in (FEW, MANY):
        with tempfile.TemporaryDirectory() as scratch:
            write(Path(scratch) / "rows.jsonl", rows)
            for name in names:
                peaks[name, rows] = measured(name, Path(scratch))
    found = [row(name, peaks[name, MANY], peaks[name, FEW]) for name in names]
    out = Path(".seqline/bench/streaming.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=1))
    table = Table("claim", "MB", "with a tenth", "ratio", "goal", "CPU s", "holds")
    for each in found:
        holds = "yes" if each["holds"] else "NO"
        table.add_row(each["claim"], str(each["ours"]), str(each["peer"]), str(each["ratio"]), f"<= {GOAL}",
                      str(each["cpu_seconds"][0]), holds)  # fmt: skip
    Console().print(table, f"written to {out}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        step(sys.argv[2], Path(sys.argv[3]))
    else:
        main(["ingest", *sys.argv[1:]])
