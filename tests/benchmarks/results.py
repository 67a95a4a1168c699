"""Rows of the serving benchmarks: DESIGN 8's form, a table for people, a file for machines."""

import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


def compared(claim: str, ours: Sequence[float], peer: Sequence[float], peer_name: str, unit: str, goal: float | None) -> Row:
    """More is better: the median of the paired ratios ours / peer against `goal` (None: reported, no bar)."""
    ratios = [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]
    ratio = statistics.median(ratios)
    return {
        "claim": claim, "ours": _round(statistics.median(ours)), "peer": _round(statistics.median(peer)),
        "peer_name": peer_name, "unit": unit, "ratio": round(ratio, 3), "goal": goal,
        "holds": None if goal is None else ratio >= goal, "runs": len(ratios),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }  # fmt: skip


def bounded(
    claim: str, ours: float, unit: str, goal: float | None, runs: int = 1, spread: Sequence[float] = (), **more: Any
) -> Row:
    """Less is better: `ours` is at most `goal` (None: reported, no bar)."""
    low, high = (min(spread), max(spread)) if spread else (ours, ours)
    return {
        "claim": claim, "ours": _round(ours), "peer": None, "peer_name": None, "unit": unit, "ratio": None, "goal": goal,
        "holds": None if goal is None else bool(ours <= goal), "runs": runs, "spread": [_round(low), _round(high)], **more,
    }  # fmt: skip


def at_least(claim: str, ours: float, unit: str, goal: float | None, runs: int = 1, **more: Any) -> Row:
    """More is better: `ours` is at least `goal`."""
    row = bounded(claim, ours, unit, goal, runs, **more)
    return {**row, "holds": None if goal is None else bool(ours >= goal), "least": True}


def write(name: str, rows: Sequence[Row], *notes: str) -> None:
    """Print the table and the notes, and write .seqline/bench/NAME.json."""
    out = Path(".seqline/bench") / f"{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(list(rows), indent=1), encoding="utf-8")
    table = Table("claim", "ours", "peer", "unit", "ratio", "min-max", "goal", "holds")
    for row in rows:
        least = row["ratio"] is not None or row.get("least")
        goal = "" if row["goal"] is None else f"{'>=' if least else '<='} {row['goal']}"
        holds = {True: "yes", False: "NO", None: ""}[row["holds"]]
        peer = "" if row["peer"] is None else f"{row['peer']} ({row['peer_name']})"
        ratio = "" if row["ratio"] is None else str(row["ratio"])
        table.add_row(row["claim"], str(row["ours"]), peer, row["unit"], ratio, "-".join(map(str, row["spread"])), goal, holds)
    console = Console(width=180)
    console.print(table)
    for note in notes:
        console.print(note, markup=False, soft_wrap=True)
    console.print(f"load average {os.getloadavg()[0]:.1f} at the end; written to {out}", soft_wrap=True)


def _round(value: float) -> float:
    return float(f"{value:.4g}")
