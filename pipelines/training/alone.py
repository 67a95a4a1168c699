"""A base as it is, with the tokenizer and the room of the model that is trained from it: what training is measured against."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.artifact import Tokens, Weights
from pipelines.training.fit import fit

if TYPE_CHECKING:
    from pipelines.spec import Training


def alone(tokens: Tokens, training: "Training", base: Path, out: Path) -> Weights:
    """The weights of `base` after no step of `training`; made and named as any other weights are, and raises as fit does."""
    nothing = {"steps": 0, "select": "loss", "private": None, "lora": None}
    return fit(tokens, training.model_copy(update=nothing), base, out)
