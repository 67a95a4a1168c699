"""The report's two pictures, drawn without a display; the same numbers give the same bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipelines.scoring.report.markdown import METRIC_NAMES, SYSTEMS

OURS, THEIRS, INK = "#1f5fa8", "#8a8f98", "#333333"


def scores(found: Mapping[str, Any], path: Path) -> None:
    """Every metric of every system with its interval: one panel a metric, one row a system."""
    known = {"model": found["model"], **found["baselines"]}
    rows = {system: known[system] for system in SYSTEMS if system in known}
    names = [name for name in METRIC_NAMES if name in found["model"]]
    figure = Figure(figsize=(11, 0.42 * len(rows) + 1.5), layout="constrained")
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        for place, (system, row) in enumerate(rows.items()):
            value, (low, high) = row[name]["value"], row[name]["interval"]
            color = OURS if system == "model" else THEIRS
            axis.plot([low, high], [place, place], color=color, linewidth=3, alpha=0.5, solid_capstyle="butt")
            axis.plot(value, place, "o", color=color, markersize=6)
            axis.annotate(
                f"{value:.1f}", (value, place), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8, color=INK
            )
        gates = name == found["metric"]
        axis.set_title(
            METRIC_NAMES[name] + (" (gates)" if gates else ""), fontsize=10, fontweight="bold" if gates else "normal"
        )
        axis.margins(x=0.15, y=0.2)
        axis.set_xlim(left=-0.04 * axis.get_xlim()[1])
        _plain(axis)
        axis.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes[0].set_yticks(range(len(rows)), [SYSTEMS[system] for system in rows])
    axes[0].invert_yaxis()
    figure.supxlabel(f"mean over {found['n']} test pairs, with its {found['confidence']:.0%} interval", fontsize=9, color=INK)
    _save(figure, path)


def differences(gains: Mapping[str, NDArray[np.float64]], found: Mapping[str, Any], path: Path) -> None:
    """How the model's score minus an opponent's is spread over the pairs; the band is the interval of the mean."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    axes = figure.subplots(1, len(gains), squeeze=False, sharex=True, sharey=True)[0]
    metric = METRIC_NAMES[found["metric"]]
    reach = max(10.0, *(float(np.abs(values).max()) for values in gains.values()))
    for axis, (opponent, values) in zip(axes, gains.items(), strict=True):
        mean = found["baselines"][opponent]["difference"]
        ours, ties, theirs = ((values > 0).mean(), (values == 0).mean(), (values < 0).mean())
        axis.hist(values[values != 0], bins=np.linspace(-reach, reach, 42).tolist(), color=THEIRS, alpha=0.6)
        axis.axvline(0, color=INK, linewidth=1)
        axis.axvspan(*mean["interval"], color=OURS, alpha=0.25, linewidth=0)
        axis.axvline(mean["value"], color=OURS, linewidth=2)
        low, high = mean["interval"]
        axis.set_title(
            f"{metric} minus {SYSTEMS[opponent]}: {mean['value']:+.1f} [{low:+.1f}, {high:+.1f}] {mean['verdict']}\n"
            f"higher in {ours:.0%} of the pairs, equal in {ties:.0%}, lower in {theirs:.0%}",
            fontsize=9, color=INK,
        )  # fmt: skip
        axis.set_xlabel(f"points of {metric}, a pair", fontsize=9, color=INK)
        _plain(axis)
    axes[0].set_ylabel("test pairs that differ", fontsize=9, color=INK)
    _save(figure, path)


def _plain(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8, colors=INK)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None}, facecolor="white")
