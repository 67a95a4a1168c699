"""The line of a base: what other models are fine-tuned from.

corpora ──▶ mixture ──▶ tokens ──▶ weights ──▶ export ──▶ reports ──▶ models/NAME/
"""

from pathlib import Path

from prefect import flow

from flows.prepare import Prepared, prepare
from flows.settings import Settings
from flows.sole import sole
from flows.steps import step
from flows.zombies import bury_rivals
from pipelines import encode, scoring
from pipelines.artifact import Export, Report
from pipelines.dataset import mixture
from pipelines.decode import Reading
from pipelines.scrub.detect import placeholders
from pipelines.spec import Base, Spec, load, load_base
from pipelines.training import base as starts
from pipelines.training import export, fit
from pipelines.training.release import Corpus, release


@flow(name="pretrain", flow_run_name="{spec}")
def pretrain(spec: str) -> Path:
    """From the data of several models to a base beside `spec`."""
    settings = Settings().apply()
    path = Path(spec)
    model = load_base(path)
    with sole("pretrain", model.name, settings):
        bury_rivals("pretrain", "spec", spec)
        return line(model, path, settings)


def line(base: Base, path: Path, settings: Settings) -> Path:
    """Every arrow of the picture, in order."""
    work = settings.folder("work", base.name)
    specs = {each: load(path.parent / each) for each in base.corpora}
    prepared = [prepare(spec, path.parent / name, settings) for name, spec in specs.items()]
    mix = step("mix", mixture.mix)
    mixed = mix([each.pairs for each in prepared], base.margin, base.validation, base.near_duplicate, work)
    start = starts.resolve(base.training.base, path.parent, lambda: None)
    marks = tuple(dict.fromkeys(mark for spec in specs.values() for mark in placeholders(spec.privacy)))
    tokens = step("encode", encode.encode)(mixed, base.tokens, marks, start, work)
    weights = step("train", fit.fit)(tokens, base.training, start, work)
    exported = step("export", export.export)(weights, "int8", work)
    corpora = [
        Corpus(spec.name, spec.data.source.kind, scored(spec, exported, each, work))
        for spec, each in zip(specs.values(), prepared, strict=True)
    ]
    return step("release", release)(base, mixed, tokens, weights, corpora, path.parent / base.name)


def scored(spec: Spec, exported: Export, prepared: Prepared, work: Path) -> Report:
    """How well the base alone does the task of `spec`, on that model's own test set."""
    reading = Reading(spec.task, spec.privacy.language, "cut")
    score = step(f"score on {spec.name}", scoring.score)
    return score(exported, prepared.pairs, None, spec.scoring, spec.serving.decoding, work, None, reading)
