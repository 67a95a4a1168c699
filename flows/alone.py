"""`scoring.base`, `gate.beats: [base]`: the base alone, exported as the model is, so that the report can decode with both."""

from pathlib import Path

from flows.steps import step
from pipelines.artifact import Tokens
from pipelines.spec import Spec
from pipelines.training import export
from pipelines.training.alone import alone


def base_alone(spec: Spec, tokens: Tokens, start: Path | None, work: Path) -> Path | None:
    """The folder of the Export; None where nobody asks for it, or there is no base (`champion`, before there is one)."""
    if start is None or not spec.scoring.asks_base:
        return None
    weights = step("take the base as it is", alone)(tokens, spec.training, start, work)
    return step("export the base", export.export)(weights, spec.serving.quantisation, work, None, spec.serving.decoding).path
