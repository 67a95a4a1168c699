"""The data page's pictures as SVG, drawn without a display; the same numbers give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

KEPT, GONE, INK, GRID = "#1f5fa8", "#c8553d", "#333333", "#e6e6e6"
BINS = 40


def waterfall(filters: Sequence[Mapping[str, Any]], rows: int) -> str:
    """A bar a filter: what stays, and beside it what it took."""
    figure = Figure(figsize=(9, 0.34 * (len(filters) + 1) + 0.7), layout="constrained")
    axis = figure.subplots()
    names = ["rows", *(each["name"] for each in filters)]
    stays = [rows, *(each["out"] for each in filters)]
    gone = [0, *(each["in"] - each["out"] for each in filters)]
    axis.barh(range(len(names)), stays, color=KEPT, height=0.7)
    axis.barh(range(len(names)), gone, left=stays, color=GONE, height=0.7)
    for place, (stay, lost) in enumerate(zip(stays, gone, strict=True)):
        label = f"{stay:,}" + (f"  (-{lost:,})" if lost else "")
        axis.annotate(
            label, (stay + lost, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, max(rows, 1) * 1.18)
    axis.set_xlabel("pairs", fontsize=9, color=INK)
    return _svg(figure, axis)


def lengths(panels: Sequence[tuple[str, Mapping[str, Sequence[int]], int | None]]) -> str:
    """Histograms: (title, lengths by split, a limit to mark or None) a panel; each split's bars are shares of its pairs."""
    figure = Figure(figsize=(4.5 * len(panels), 2.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, found, limit) in zip(axes, panels, strict=True):
        longest = max((max(values, default=1) for values in found.values()), default=1)
        width = longest // BINS + 1  # whole words or tokens: else some bars would count one length more than others
        edges = [start - 0.5 for start in range(0, longest + 1 + width, width)]
        for name, values in found.items():
            style: dict[str, Any] = {"histtype": "stepfilled", "alpha": 0.35} if name == "train" else {"histtype": "step"}
            color = {"train": KEPT, "validation": INK, "test": GONE}[name]
            axis.hist(values, bins=edges, weights=[100 / max(len(values), 1)] * len(values), color=color, label=name, **style)
        if limit is not None:
            axis.axvline(limit, color=INK, linewidth=1, linestyle="--")
        axis.set_title(title if limit is None else f"{title} (limit {limit})", fontsize=10)
        axis.set_ylabel("% of the split", fontsize=8, color=INK)
        axis.legend(fontsize=7, frameon=False)
    return _svg(figure, *axes)


def clusters(sizes: Mapping[str, int]) -> str:
    """How many clusters of near-duplicates have how many pairs; logarithmic, for most have one."""
    figure = Figure(figsize=(5, 2.4), layout="constrained")
    axis = figure.subplots()
    ranked = sorted(sizes, key=lambda size: int(size.rstrip("+")))
    bars = axis.bar(ranked, [sizes[size] for size in ranked], color=KEPT)
    axis.bar_label(bars, fmt="{:,.0f}", fontsize=8, color=INK)
    axis.set_yscale("log")
    axis.margins(y=0.15)
    axis.set_xlabel("pairs in a cluster", fontsize=9, color=INK)
    axis.set_ylabel("clusters", fontsize=9, color=INK)
    return _svg(figure, axis)


def _svg(figure: Figure, *axes: Any) -> str:
    for axis in axes:
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        axis.tick_params(labelsize=8, colors=INK)
        axis.grid(axis="x", color=GRID, linewidth=0.6)
        axis.set_axisbelow(True)
    drawn = io.StringIO()
    with rc_context({"svg.hashsalt": "seqline", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]
