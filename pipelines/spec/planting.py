"""`scoring.planted`: fake secrets in a copy of the training data, to be looked for in what is trained on it."""

from typing import Annotated

from pydantic import Field

from pipelines.spec.section import Section

PLANTABLE = ("PERSON", "CREDIT_CARD", "EMAIL_ADDRESS", "PHONE_NUMBER")


class Planting(Section):
    """A second, short training on a sample of the data, into which fake people's data was put before the scrubber."""

    secrets: int = Field(96, ge=12, le=1_000)
    """Fake values, as many of each entity and number of repetitions."""
    repetitions: tuple[Annotated[int, Field(ge=1, le=256)], ...] = Field((1, 2, 4, 8, 16), min_length=1)
    """How often a value stands in the copy."""
    entities: tuple[str, ...] = ()
    """What is planted; by default names, cards, mail addresses and phone numbers, those of them that privacy.entities lists."""
    pairs: int = Field(1_000, ge=10)
    """Training pairs in the copy beside them."""
    steps: int = Field(300, ge=1)
    """Optimiser steps of the copy's training; all else is as in `training`."""
    candidates: int = Field(63, ge=15, le=1_023)
    """Further values, drawn alike, that each is ranked among."""
    seed: int = 29
    """Seed of the values."""
