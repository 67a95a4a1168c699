"""`sweep`: which ways to decode `seqline sweep` compares, and how much of the score may be given up for a cheaper one."""

from typing import Literal

from pydantic import Field, field_validator

from pipelines.spec.section import Section


class Sweep(Section):
    beams: tuple[int, ...] = Field((1, 3, 5), min_length=1, max_length=16)
    """Beams compared, 1 to 16."""
    length_penalties: tuple[float, ...] = Field((0.6, 1.0, 1.4), min_length=1, max_length=16)
    """Length penalties compared, 0 to 10, with beams above 1 (a greedy answer is the same with all of them)."""
    quantisations: tuple[Literal["int8", "bfloat16", "float16", "float32"], ...] = Field(
        ("int8", "bfloat16", "float16", "float32"), min_length=1, max_length=4
    )
    """Types of the weights compared; one that the machine does not compute in is measured as the spec decodes."""
    pairs: int = Field(1_000, ge=2)
    """Most validation pairs on which the ways are compared; the choice alone is then measured on all test pairs, once."""
    floor: float = Field(0.5, ge=0, le=100)
    """The cheapest way may be worse than the best by at most this many points of the metric, interval and all."""
    rounds: int = Field(3, ge=1, le=99)
    """How often each way is timed, in turn with the others; the middle time counts."""

    @field_validator("beams")
    @classmethod
    def beams_are_beams(cls, beams: tuple[int, ...]) -> tuple[int, ...]:
        if not all(1 <= beam <= 16 for beam in beams):
            raise ValueError("every beam must be 1 to 16")
        return beams

    @field_validator("length_penalties")
    @classmethod
    def penalties_are_penalties(cls, penalties: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= penalty <= 10 for penalty in penalties):
            raise ValueError("every length penalty must be 0 to 10")
        return penalties
