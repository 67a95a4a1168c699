"""Which way of decoding is worth its price. Pure: measurements in, the choice out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipelines.economy.judging import Measured
from pipelines.spec import Decoding, Sweep

PASSING = ("better", "not worse")


@dataclass(frozen=True)
class Setting:
    """One way: type of the weights, beams, length penalty."""

    quantisation: str
    beam: int
    length_penalty: float

    def decoding(self, given: Decoding) -> Decoding:
        """`given`, in this way."""
        return given.model_copy(update={"beam": self.beam, "length_penalty": self.length_penalty})

    def __str__(self) -> str:
        return f"{self.quantisation}, {'greedy' if self.beam == 1 else f'beam {self.beam}, penalty {self.length_penalty:g}'}"


@dataclass(frozen=True)
class Point:
    """A setting as measured. `behind` is its quality minus the best setting's, pair by pair; `slowest` of its times."""

    setting: Setting
    quality: Measured
    behind: Measured
    cpu_ms: float
    slowest: float

    @property
    def passes(self) -> bool:
        return self.behind.verdict in PASSING


def grid(sweep: Sweep, given: Decoding, served: str, able: Collection[str]) -> list[Setting]:
    """The settings to compare, those of one quantisation together.

    They are what is served now (`served`, decoded as `given`), each quantisation decoded as `given`, and the product of the
    section's axes, greedy once a quantisation. Of a quantisation that the machine is not `able` to compute in, `given` alone:
    it is computed in float32 there, and only its rounding can differ.
    """
    penalty = given.length_penalty
    found: dict[Setting, None] = {}
    for quantisation in dict.fromkeys((served, *sweep.quantisations)):
        found[Setting(quantisation, given.beam, penalty)] = None
        if quantisation in able and quantisation in sweep.quantisations:
            for beam in sweep.beams:
                penalties = sweep.length_penalties if beam > 1 else (penalty,)
                found |= {Setting(quantisation, beam, each): None for each in penalties}
    return list(found)


def best(points: Sequence[tuple[float, float]]) -> int:
    """The place of the best of (quality, CPU milliseconds): the highest quality; of equals the cheapest, then the first."""
    return min(range(len(points)), key=lambda place: (-points[place][0], points[place][1], place))


def choose(points: Sequence[Point], leader: Point) -> Point:
    """The cheapest of `points` that is not worse than `leader`, the best of them, by more than the floor.

    "Inconclusive" does not pass, so with few pairs the choice is the leader itself. What takes no longer than the cheapest
    took in its slowest round is as cheap, as far as was measured: of these the best wins.
    """
    passing = [leader, *(point for point in points if point.passes)]
    cheapest = min(passing, key=lambda point: point.cpu_ms)
    alike = (point for point in passing if point.cpu_ms <= cheapest.slowest)
    return min(alike, key=lambda point: (-point.quality.value, point.cpu_ms))


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both time and quality, cheapest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cpu_ms, -point.quality.value)):
        if not found or point.quality.value > found[-1].quality.value:
            found.append(point)
    return found
