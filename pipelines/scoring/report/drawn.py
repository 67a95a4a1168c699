"""Where the lines and bars of the report lie: geometry for the small SVG of its template. Pure: equal numbers, equal paths."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 300, 130  # of a chart's field, in SVG units
BINS = 30
AIR = 0.06  # of a track's width, left free on both sides
FEWEST = 2  # values that make a picture
Pair = tuple[float, float]


@dataclass(frozen=True)
class Track:
    """An interval on a scale of 0 to 100: its ends, its value, the bar it must clear and zero, where these are in sight."""

    low: float
    high: float
    value: float
    bar: float | None = None
    zero: float | None = None


@dataclass(frozen=True)
class Shape:
    """One SVG path; `kind` is its class in the template, `name` what the legend calls it ("": nothing)."""

    kind: str
    path: str
    name: str = ""


@dataclass(frozen=True)
class Chart:
    """A field of `width` x `height` with its shapes; `rows` and `columns` are the axes' (place, text); `described` is for who
    cannot see it."""

    title: str
    described: str
    unit: str
    shapes: tuple[Shape, ...]
    rows: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, str], ...]
    note: str = ""
    width: int = WIDTH
    height: int = HEIGHT


def track(value: float, interval: Sequence[float], scale: Pair, bar: float | None = None) -> Track:
    """The interval on `scale`, (lowest, highest); what lies beyond is drawn at the end."""
    zero = _place(0.0, scale) if scale[0] < 0 < scale[1] and bar != 0 else None
    low, high = (_place(each, scale) for each in interval)
    return Track(low, high, _place(value, scale), None if bar is None else _place(bar, scale), zero)


def scale(values: Sequence[float]) -> Pair:
    """A scale on which all `values` have some air around them."""
    low, high = min(values), max(values)
    air = AIR * (high - low) or 1.0
    return low - air, high + air


def _place(value: float, among: Pair) -> float:
    share = (value - among[0]) / (among[1] - among[0])
    return round(100 * min(max(share, 0.0), 1.0), 2)


def lengths(title: str, ours: Sequence[int], references: Sequence[int]) -> Chart:
    """Histograms over words: this model's outputs, and the references in outline. Both have the same bins, of whole words."""
    longest = _percentile(sorted([*ours, *references]), 0.995)
    width = max(1, math.ceil((longest + 1) / BINS))
    bins = longest // width + 1
    counts = [_counted([min(each // width, bins - 1) for each in values], bins) for values in (ours, references)]
    top = max(max(each) for each in counts)
    shapes = (
        Shape("first", _stairs(counts[0], top), "outputs"),
        Shape("second", _stairs(counts[1], top), "references"),
    )
    columns = tuple((round(WIDTH * (at / width + 0.5) / bins, 1), str(at)) for at in _ticks(longest, width))
    described = f"Words of an output: median {_median(ours):g}; of a reference: median {_median(references):g}."
    note = "What is longer stands in the last bar." if max([*ours, *references]) > longest else ""
    return Chart(title, described, "words", shapes, _rows(top), columns, note)


def spread(title: str, values: Sequence[float], unit: str) -> Chart:
    """A histogram of `values`."""
    low, high = min(values), max(values)
    span = high - low or 1.0
    counts = _counted([min(int(BINS * (each - low) / span), BINS - 1) for each in values], BINS)
    described = f"{title}: median {_median(values):.2f}, from {low:.2f} to {high:.2f}."
    columns = tuple((round(WIDTH * part, 1), f"{low + span * part:.2f}") for part in (0, 0.25, 0.5, 0.75, 1))
    return Chart(title, described, unit, (Shape("first", _stairs(counts, max(counts))),), _rows(max(counts)), columns)


def cloud(title: str, points: Sequence[Pair], unit: str, said: str) -> Chart:
    """A dot a pair: (x, score of 0 to 100)."""
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    span = high - low or 1.0
    dots = "".join(f"M{WIDTH * (x - low) / span:.1f} {HEIGHT * (1 - y / 100):.1f}h0" for x, y in points)
    rows = tuple((round(HEIGHT * (1 - score / 100), 1), str(score)) for score in (0, 50, 100))
    columns = tuple((round(WIDTH * part, 1), f"{low + span * part:.2f}") for part in (0, 0.25, 0.5, 0.75, 1))
    return Chart(title, f"{title}. {said}", unit, (Shape("points", dots),), rows, columns, said)


def _stairs(counts: Sequence[int], top: int) -> str:
    """The outline of bars that stand side by side."""
    step = WIDTH / len(counts)
    steps = "".join(f"V{HEIGHT * (1 - count / top):.1f}H{step * (i + 1):.1f}" for i, count in enumerate(counts))
    return f"M0 {HEIGHT}{steps}V{HEIGHT}Z"


def _counted(places: Sequence[int], bins: int) -> list[int]:
    counts = [0] * bins
    for place in places:
        counts[place] += 1
    return counts


def _rows(top: int) -> tuple[tuple[float, str], ...]:
    return (0.0, str(top)), (float(HEIGHT), "0")


def _ticks(longest: int, width: int) -> list[int]:
    """About five lengths to name, each the beginning of a bar."""
    every = max(1, round((longest + 1) / width / 5)) * width
    return list(range(0, longest + 1, every))


def _percentile(ranked: Sequence[int], share: float) -> int:
    return ranked[min(len(ranked) - 1, math.ceil(share * len(ranked)) - 1)]


def _median(values: Sequence[Any]) -> float:
    ranked = sorted(values)
    middle = len(ranked) // 2
    return float(ranked[middle]) if len(ranked) % 2 else float(ranked[middle - 1] + ranked[middle]) / 2
