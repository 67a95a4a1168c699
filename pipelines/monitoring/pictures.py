"""The drift page's pictures as SVG, drawn without a display; the same numbers give the same bytes."""

import io
from collections.abc import Mapping, Sequence
from math import log

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipelines.monitoring.wagers import BLOCK

COLORS, BAR, INK, GRID = ("#1f5fa8", "#c8553d", "#2a7a3b", "#8a5fb0"), "#b3261e", "#333333", "#e6e6e6"
SIZE = (7.2, 2.3)  # inches


def evidence(curve: Sequence[float], alpha: float) -> str:
    """The most evidence so far (natural logs) after each block of texts, and the bar at 1/alpha."""
    figure, axis = _figure()
    axis.step(*_steps([each / log(10) for each in curve]), where="pre", color=COLORS[0], linewidth=1.6)
    axis.axhline(-log(alpha) / log(10), color=BAR, linewidth=1, linestyle="--")
    axis.annotate(
        "drifted above", (1, -log(alpha) / log(10)), xycoords=("axes fraction", "data"), xytext=(0, 3),
        textcoords="offset points", ha="right", fontsize=8, color=BAR,
    )  # fmt: skip
    axis.set_ylabel("evidence (log10 e-value)", fontsize=8, color=INK)
    return _svg(figure, axis)


def shares(found: Mapping[str, Sequence[float]]) -> str:
    """The share of yeses to each question in each block of texts."""
    figure, axis = _figure()
    for color, (name, values) in zip(COLORS, found.items(), strict=False):
        axis.step(*_steps(values), where="pre", color=color, linewidth=1.4, label=name)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    axis.set_ylim(-0.02, 1.02)
    axis.set_ylabel("of the texts", fontsize=8, color=INK)
    axis.legend(fontsize=7, frameon=False, loc="upper left")
    return _svg(figure, axis)


def _steps(values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Each value over the texts of its block."""
    return [BLOCK * at for at in range(len(values) + 1)], [*values[:1], *values]


def _figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    axis.set_xlabel("texts compared", fontsize=8, color=INK)
    return figure, axis


def _svg(figure: Figure, axis: Axes) -> str:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8, colors=INK)
    axis.grid(color=GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    drawn = io.StringIO()
    with rc_context({"svg.hashsalt": "seqline", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]
