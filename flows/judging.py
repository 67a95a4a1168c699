"""The line of a judge: what says whether a source supports an output.

corpora ──▶ corruptions ──▶ judge ──▶ report ──▶ version, champion when its gate is open
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from flows import showing
from flows.prepare import Prepared, prepare
from flows.retrain import lineage_of, origin, passed
from flows.settings import Settings
from flows.sole import sole
from flows.steps import console, step
from flows.zombies import bury_rivals
from pipelines import artifact, dataset
from pipelines.artifact import Clean, Dataset, Raw, Report
from pipelines.registry import Candidate, Registry, Version, labels
from pipelines.scoring.filtered import leaks_of
from pipelines.scoring.judge import assess, corpus, learn
from pipelines.scoring.judge.corpus import Corpus
from pipelines.scoring.judge.embeddings import encoder_folder
from pipelines.scoring.judge.people import Label, Opinion, opinions
from pipelines.sources.labels import honest
from pipelines.spec import Judge, Spec, load, load_judge


@dataclass(frozen=True)
class Judged:
    """What a judge's retrain made."""

    version: Version
    report: Report


@flow(name="judging", flow_run_name=showing.named)
def judging(spec: str) -> Judged:
    """From the data of several models to the judge that `spec` names."""
    settings = Settings().apply()
    path = Path(spec)
    judge = load_judge(path)
    with sole("retrain", judge.name, settings), showing.shown(judge.name):
        bury_rivals("judging", "spec", spec)
        return line(judge, path, settings)


def line(judge: Judge, path: Path, settings: Settings) -> Judged:
    """Every arrow of the picture, in order."""
    work = settings.folder("work", judge.name)
    registry = Registry(settings.mlflow, settings.artifacts)
    champion = registry.champion(judge.name)
    specs = {name: load(path.parent / name) for name in judge.corpora}
    prepared = [prepare(spec, path.parent / name, settings) for name, spec in specs.items()]
    corpora = [corpus_of(spec, each, judge, settings) for spec, each in zip(specs.values(), prepared, strict=True)]

    pairs = step("corrupt", corpus.corrupted)(corpora, judge.corruptions, work)
    origins = {each.domain: origin(one.raw, one.clean) for each, one in zip(corpora, prepared, strict=True)}
    pointer = step("version the data", dataset.publish)(pairs, judge.name, settings.project, origins)
    step("check the data", dataset.check)(pairs, judge.name, settings.project)
    encoder = None if judge.encoder == "none" else encoder_folder(judge.encoder, path.parent)
    trained = step("train the judge", learn.learn)(pairs, judge, encoder, work)
    live = settings.folder("live", judge.name)
    rival = registry.fetch(judge.name, champion.version, live, settings.signer) if champion else None
    report = step("score the judge", assess.assess)(trained, pairs, judge, rival, work)
    showing.reported(judge.name, report)
    passed(report)
    scrubbed = told(corpora, prepared, pairs, work)
    candidate = Candidate(
        key=artifact.digest(trained, pairs, judge),
        task="judge",
        export=trained,
        report=report,
        dataset=pairs,
        clean=scrubbed,
        page=scrubbed,
        weights=artifact.Weights(trained.path, trained.sha256),
        privacy=json.loads((scrubbed.path / "privacy.json").read_text()),
        decoding={},
        lineage=lineage_of(judge, path, pointer, settings),
        kind="judge",
    )
    version = step("register", registry.register)(judge.name, candidate, settings.signing_key)
    registry.set_alias(judge.name, "champion", version.version)
    showing.linked(version, registry, settings)
    return Judged(version, report)


def corpus_of(spec: Spec, prepared: Prepared, judge: Judge, settings: Settings) -> Corpus:
    """A model's pairs, as the judge's corruptions need to know them, and what people said of its answers."""
    language = spec.privacy.target_language or spec.privacy.language
    return Corpus(
        spec.name,
        prepared.pairs,
        language,
        spec.task == "translation",
        said_of(spec.name, prepared.clean.path / "policy", prepared.raw if judge.screened else None, settings),
    )


def said_of(name: str, policy: Path, beside: Raw | None, settings: Settings) -> tuple[Opinion, ...]:
    """What people said in the review queue of model `name`, and what they corrected.

    What cannot be read is left out, and so is a correction into which somebody typed personal data, or that looks like a lie
    beside the pairs of `beside` (None: not asked); all are counted.

    Raises:
        GateClosed: most of the corrections look like lies.
    """
    answered = labels.judged(settings.mlflow, name, settings.artifacts)
    if answered.malformed:
        console.print(f"{name}: {len(answered.malformed)} labels cannot be read: `seqline labels {name} status` names them")
    found = labels.corrections(settings.mlflow, name, settings.artifacts)
    leaks = leaks_of(policy) if found else None
    sound = [each for each in found if leaks is not None and not leaks(each.source, each.expected)]
    if len(sound) < len(found):
        console.print(f"{name}: {len(found) - len(sound)} corrections hold personal data: the judge does not learn from them")
    if beside is not None:
        sound = honest(f"corrections of {name}", sound, beside, "the judge's YAML")
    corrected = {(each.source, each.answer): each.expected for each in sorted(sound, key=repr)}
    return opinions(
        Label(row.item, row.source, row.output, row.answer, row.span, corrected.get((row.source, row.output), ""))
        for row in answered.rows
    )


def told(corpora: Sequence[Corpus], prepared: Sequence[Prepared], pairs: Dataset, work: Path) -> Clean:
    """What the scrubbers of all corpora say of themselves (scrub.json, privacy.json), each under its model's name; and
    samples.md: corruptions of every kind, to look at."""

    def write(folder: Path) -> None:
        for name in ("scrub.json", "policy/privacy.json"):
            found = {
                each.domain: json.loads((one.clean.path / name).read_text())
                for each, one in zip(corpora, prepared, strict=True)
            }
            (folder / Path(name).name).write_text(json.dumps({"corpora": found}, indent=1, sort_keys=True) + "\n")

        (folder / "samples.md").write_text(corpus.samples(pairs), encoding="utf-8")

    key = artifact.digest("told", pairs, [one.clean.sha256 for one in prepared])
    return artifact.make(Clean, work / f"scrubbed-{key[:16]}", write)
