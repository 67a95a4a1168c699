"""A small curve for a table's cell: SVG points, and the same in words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 140.0, 30.0  # of the field, in SVG units


@dataclass(frozen=True)
class Spark:
    """`points` of a polyline in a field of WIDTH x HEIGHT, its `end` (x, y), and what it says for who cannot see it."""

    points: str
    end: tuple[float, float]
    said: str


def spark(series: Sequence[tuple[float, float]], what: str) -> Spark | None:
    """The curve of shares (time, share), from 0 to the highest, at least 5 %; None of fewer than two points."""
    if len(series) < 2:
        return None
    start, end = series[0][0], series[-1][0]
    top = max(0.05, *(share for _, share in series))
    drawn = [(WIDTH * (at - start) / max(end - start, 1e-9), HEIGHT * (1 - share / top)) for at, share in series]
    low, high = min(share for _, share in series), max(share for _, share in series)
    said = f"{what}: {series[-1][1]:.1%} now, {low:.1%} to {high:.1%} over {(end - start) / 86_400:.0f} days"
    return Spark(" ".join(f"{x:.1f},{y:.1f}" for x, y in drawn), drawn[-1], said)
