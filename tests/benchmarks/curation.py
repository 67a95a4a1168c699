"""CPU seconds and memory of finding near-duplicates and of the whole split, beside datasketch's MinHash LSH.

The peer does what `split` did before: 128 permutations, an LSH index a side, candidates checked exactly. Both get the same
synthetic pairs, alternating; what each finds is compared. Each run is a process of its own; CPU is its user + system time.
Give a Parquet file (id, source, target) as argument to measure on real pairs as well.
"""

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipelines import artifact, dataset
from pipelines.artifact import Clean
from pipelines.dataset import likeness
from pipelines.spec import Data, FilesSource, Limits, Splits

THRESHOLD = 0.8
COMPARED, LARGE = 10_000, 100_000  # pairs: for the comparison; for the scale


def synthetic(count: int, path: Path) -> None:
    """Short pairs, a fifth of them near-duplicates of an earlier one; words by Zipf's law."""
    draw = random.Random(1)
    words = [f"w{number}" for number in range(20_000)]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    rows: list[tuple[str, list[str], list[str]]] = []
    for number in range(count):
        if rows and draw.random() < 0.2:
            source, target = (list(side) for side in draw.choice(rows)[1:])
            source[-1] = f"changed{number}"
        else:
            source, target = (
                draw.choices(words, weights, k=draw.randint(8, 24)),
                draw.choices(words, weights, k=draw.randint(4, 10)),
            )
        rows.append((f"{draw.getrandbits(64):016x}", source, target))
    table = [{"id": identity, "source": " ".join(source), "target": " ".join(target)} for identity, source, target in rows]
    pq.write_table(pa.Table.from_pylist(table), path)


def exact(sides: list[list[str]]) -> list[int]:
    labels: list[int] = likeness.clusters([likeness.shingles(side) for side in sides], THRESHOLD).tolist()
    return labels


def minhash(sides: list[list[str]]) -> list[int]:
    """Clusters as `split` found them before."""
    from datasketch import MinHash, MinHashLSH

    parent = list(range(len(sides[0])))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for side in sides:
        first: dict[frozenset[str], int] = {}
        sets: dict[int, frozenset[str]] = {}
        index = MinHashLSH(threshold=THRESHOLD - 0.1, num_perm=128)
        for number, text in enumerate(side):
            words = likeness.WORD.findall(text.lower()) or [text]
            own = frozenset(" ".join(words[start : start + 3]) for start in range(max(len(words) - 2, 1)))
            if own in first:
                parent[root(number)] = root(first[own])
                continue
            first[own], sets[number] = number, own
            sketch = MinHash(num_perm=128, seed=1)
            sketch.update_batch([piece.encode() for piece in sorted(own)])
            for other in index.query(sketch):
                if len(own & sets[other]) / len(own | sets[other]) >= THRESHOLD:
                    parent[root(number)] = root(other)
            index.insert(number, sketch, check_duplication=False)
    return [root(number) for number in range(len(parent))]


def whole(path: Path, out: Path) -> None:
    clean = artifact.make(Clean, out / "clean", lambda folder: pq.write_table(pq.read_table(path), folder / "pairs.parquet"))
    source = FilesSource(kind="files", paths=("x.csv",))
    dataset.split(clean, Data(source=source, limits=Limits(), splits=Splits(validation=150, test=300)), out)


def one(what: str, path: Path) -> None:
    """In a process of its own: prints CPU seconds, peak MB, joined pairs."""
    joined = 0
    if what == "split":
        with tempfile.TemporaryDirectory() as scratch:
            start = time.process_time()
            whole(path, Path(scratch))
            spent = time.process_time() - start
    else:
        table = pq.read_table(path)
        sides = [table[side].to_pylist() for side in ("source", "target")]
        start = time.process_time()
        labels = {"exact": exact, "minhash": minhash}[what](sides)
        spent = time.process_time() - start
        joined = len(labels) - len(set(labels))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": spent, "mb": peak, "joined": joined}))  # noqa: T201  (read by `measure`)


def measure(what: str, path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.curation", "--one", what, str(path)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def row(claim: str, unit: str, ours: list[float], peer: list[float], goal: str, holds: bool) -> dict[str, Any]:
    middle, other = statistics.median(ours), statistics.median(peer) if peer else None
    return {
        "claim": claim, "ours": round(middle, 2), "peer": other and round(other, 2),
        "peer_name": "datasketch MinHash LSH, 128 permutations, checked exactly" if peer else "",
        "unit": unit, "ratio": other and round(other / middle, 1), "goal": goal, "holds": holds, "runs": len(ours),
        "spread": [round(min(ours), 2), round(max(ours), 2)],
    }  # fmt: skip


def rows_of(name: str, path: Path, count: int, compared: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        part = Path(scratch) / "part.parquet"
        pq.write_table(pq.read_table(path).slice(0, compared), part)
        pairs = [(measure("exact", part), measure("minhash", part)) for _ in range(3)]
    ours, peer = zip(*pairs, strict=True)
    ratio = statistics.median(each["cpu"] for each in peer) / statistics.median(each["cpu"] for each in ours)
    split = [measure("split", path) for _ in range(3)]
    cpu, memory = [each["cpu"] for each in split], [each["mb"] for each in split]
    return [
        row(f"{name}: near-duplicates of {compared:,} pairs", "CPU s", [each["cpu"] for each in ours],
            [each["cpu"] for each in peer], "ratio >= 4", ratio >= 4),
        row(f"{name}: pairs joined with another, of {compared:,}", "pairs", [each["joined"] for each in ours],
            [each["joined"] for each in peer], ">= the peer", ours[0]["joined"] >= peer[0]["joined"]),
        row(f"{name}: the whole split of {count:,} pairs", "CPU s", cpu, [], "<= 40", max(cpu) <= 40),
        row(f"{name}: its memory", "MB", memory, [], "<= 1500", max(memory) <= 1500),
    ]  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], Path(sys.argv[3]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "synthetic.parquet"
        synthetic(LARGE, made)
        rows = rows_of("synthetic", made, LARGE, COMPARED)
        for real in map(Path, sys.argv[1:]):
            rows += rows_of(real.stem, real, pq.read_metadata(real).num_rows, COMPARED)
    out = Path(".seqline/bench/curation.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1))
    table = Table("claim", "ours", "peer", "unit", "ratio", "min-max", "goal", "holds")
    for each in rows:
        spread = f"{each['spread'][0]}-{each['spread'][1]}"
        cells = [each["claim"], each["ours"], each["peer"], each["unit"], each["ratio"], spread, each["goal"]]
        table.add_row(*("" if cell is None else str(cell) for cell in cells), "yes" if each["holds"] else "NO")
    Console().print(table, f"written to {out}")


if __name__ == "__main__":
    main()
