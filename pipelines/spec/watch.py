"""`watch:` of a spec: what starts a retrain between two scheduled ones, and how long is waited when one did not help."""

from typing import Literal

from pydantic import Field, model_validator

from pipelines.spec.section import Section, Share

LOOKED_BACK = 30
"""Days that the tests of `drift` and `quality` look back at the most (pipelines/monitoring/watching.py)."""
Kind = Literal["cron", "drift", "quality", "hallucination", "labels", "source"]


class Watch(Section):
    triggers: tuple[Kind, ...] = ("cron", "drift", "quality", "hallucination", "labels", "source")
    """Which of them may start a retrain; all are looked at and shown."""
    every_days: float = Field(14, gt=0)
    """`cron`: days after which a retrain is due although nothing else asks for one."""
    doubted: float = Field(2, gt=1)
    """`quality`: how many times as many answers as of the held-out ones the filters may doubt."""
    disliked: Share = 0.3
    """`quality`: share of the rated answers that senders may rate down."""
    unsupported: Share = 0.2
    """`hallucination`: share of answers that their source may not support, by people's labels; `scoring.max_unsupported`
    counts instead where it is below 1."""
    labels: int = Field(200, ge=1)
    """`labels`: answers labelled or corrected by people since the version in production was trained."""
    wait_hours: float = Field(6, gt=0)
    """Wait after a retrain that did not help; doubled after each further one, until one helps."""
    longest_wait_hours: float = Field(336, gt=0)
    """Longest such wait."""

    def check(self, keep_days: int) -> None:
        """Raises ValueError: samples are deleted before a trigger's test has read them, which then tells of another traffic."""
        asked = [each for each in self.triggers if each in ("drift", "quality")]
        if asked and keep_days < LOOKED_BACK:
            raise ValueError(
                f"serving.review.keep_days must be at least {LOOKED_BACK}, not {keep_days}, with {' and '.join(asked)} in "
                "watch.triggers, which look back so far: keep samples longer, or leave these out"
            )

    @model_validator(mode="after")
    def waits_grow(self) -> "Watch":
        if self.longest_wait_hours < self.wait_hours:
            raise ValueError(f"longest_wait_hours must be at least wait_hours ({self.wait_hours:g})")
        return self
