"""`scoring.planted`: a short training on a copy of the data with fake secrets in it, in which the report looks for them."""

from pathlib import Path

from flows.prepare import Prepared
from flows.settings import Settings
from flows.steps import step
from pipelines import encode
from pipelines.scoring.safety.planted import Planted
from pipelines.scrub import canaries
from pipelines.scrub.detect import placeholders
from pipelines.spec import Spec
from pipelines.training import export, fit


def planted(spec: Spec, prepared: Prepared, start: Path | None, settings: Settings) -> Planted | None:
    """What was trained on the copy, and the secrets; None if the spec does not ask for it."""
    planting = spec.scoring.planted
    if planting is None:
        return None
    work, policy = settings.folder("work", spec.name), prepared.clean.path / "policy"
    copy = step("plant secrets", canaries.plant)(prepared.pairs, policy, spec.privacy, planting, work)
    tokens = step("encode the copy", encode.encode)(copy, spec.tokens, placeholders(spec.privacy), start, work)
    # its last weights, whatever they do to the validation pairs: what was learnt is to be seen
    how = spec.training.model_copy(update={"steps": planting.steps, "validate_steps": planting.steps, "select": "loss"})
    weights = step("train on the copy", fit.fit)(tokens, how, start, work)
    return Planted(step("export the copy", export.export)(weights, spec.serving.quantisation, work), copy)
