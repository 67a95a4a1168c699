"""The frontier: quality against cost, drawn without a display."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLORS = {"int8": "#1f5fa8", "bfloat16": "#2a9d6f", "float16": "#c77d1a", "float32": "#8a8f98"}
MARKS = "osD^vP*X"
INK = "#333333"


def frontier(found: Mapping[str, Any], path: Path) -> None:
    """Each way's score with its interval, and its difference from the best with the paired one, over CPU time a text."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    rows = found["points"]
    best = rows[found["best"]]
    marks = {beam: MARKS[place % len(MARKS)] for place, beam in enumerate(sorted({row["beam"] for row in rows}))}
    for axis, part in ((left, "quality"), (right, "behind")):
        for place, row in enumerate(rows):
            _point(axis, row, row[part], marks[row["beam"]], chosen=place == found["chosen"], now=place == found["now"])
        edge = sorted((row["cpu_ms"], row[part]["value"]) for row in rows if row["on_frontier"])
        axis.plot(*zip(*edge, strict=True), color=INK, linewidth=1, drawstyle="steps-post", zorder=1)
        axis.set_xscale("log")
        axis.set_xlabel(_cost(found), fontsize=9, color=INK)
        axis.tick_params(labelsize=8, colors=INK, which="both")
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_formatter("{x:g}")
        axis.grid(color="#e6e6e6", linewidth=0.8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    right.axhline(-found["floor"], color="#b03030", linewidth=1, linestyle="--")
    right.annotate(
        f"floor: {found['floor']:g} points", (best["cpu_ms"], -found["floor"]), xytext=(0, -11),
        textcoords="offset points", fontsize=8, color="#b03030", ha="right",
    )  # fmt: skip
    left.set_title(f"{found['metric']}, mean of {found['n']} validation pairs", fontsize=10)
    right.set_title(f"minus the best ({best['name']}), pair by pair", fontsize=10)
    _legend(left, rows, marks)
    figure.suptitle(f"{found['name']} version {found['version']}: chosen {rows[found['chosen']]['name']}", fontsize=11)
    figure.savefig(path, dpi=110, metadata={"Software": None}, facecolor="white")


def _point(axis: Any, row: Mapping[str, Any], measured: Mapping[str, Any], mark: str, *, chosen: bool, now: bool) -> None:
    x, y, color = row["cpu_ms"], measured["value"], COLORS[row["quantisation"]]
    axis.plot([x, x], measured["interval"], color=color, linewidth=2, alpha=0.35, solid_capstyle="butt", zorder=2)
    axis.plot(row["spread"], [y, y], color=color, linewidth=1, alpha=0.5, zorder=2)
    axis.plot(x, y, mark, color=color, markersize=6, zorder=3)
    if chosen:
        axis.plot(x, y, "o", markersize=14, markerfacecolor="none", markeredgecolor="#b03030", markeredgewidth=1.8, zorder=4)
    if chosen or now:
        text = "chosen, as now" if chosen and now else "chosen" if chosen else "now"
        axis.annotate(text, (x, y), xytext=(9, 9), textcoords="offset points", fontsize=9, color=INK, fontweight="bold")


def _legend(axis: Any, rows: list[Mapping[str, Any]], marks: Mapping[int, str]) -> None:
    for quantisation in dict.fromkeys(row["quantisation"] for row in rows):
        axis.plot([], [], "o", color=COLORS[quantisation], label=quantisation)
    for beam, mark in marks.items():
        axis.plot([], [], mark, color=INK, markerfacecolor="none", label="greedy" if beam == 1 else f"beam {beam}")
    axis.legend(fontsize=8, frameon=False, loc="best")


def _cost(found: Mapping[str, Any]) -> str:
    price = found["per_engine_hour"]
    shown = f"; 1 ms is {price / 3600:.6f} {found['currency']} per 1,000 texts" if price else ""
    return f"CPU ms a text, one thread{shown}"
