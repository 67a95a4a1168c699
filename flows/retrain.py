"""The line: from raw data to a version in production.

raw ──▶ clean ──▶ dataset ──▶ tokens ──▶ weights ──▶ export ──▶ report ──▶ version ──▶ rollout
"""

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefect import flow

from flows import judges, planting, preferring, receipt, showing, teaching
from flows.alone import base_alone
from flows.commands import labels
from flows.prepare import prepare
from flows.rollout import Watched, watch
from flows.settings import Settings
from flows.sole import Busy, sole
from flows.stack import deployments
from flows.steps import console, step
from flows.zombies import bury_rivals
from pipelines import artifact, dataset, encode, scoring
from pipelines.artifact import Artifact, Clean, Raw, Report
from pipelines.dataset.preferences import beside
from pipelines.decode import Reading
from pipelines.errors import GateClosed
from pipelines.registry import Candidate, Lineage, Registry, Version
from pipelines.rollout import controller
from pipelines.rollout.store import Store
from pipelines.scoring.metrics import meteor
from pipelines.scrub.detect import placeholders
from pipelines.spec import Section, Spec, load
from pipelines.training import base, export, fit
from pipelines.training.metric import Metric


@dataclass(frozen=True)
class Retrained:
    """What a retrain made; `watched` is how its rollout stood when the watch ended, None if it was not watched here."""

    spec: Spec
    version: Version
    clean: Clean
    page: Artifact
    report: Report
    watched: Watched | None


@flow(name="retrain", flow_run_name=showing.named)
def retrain(spec: str, why: str = "") -> Retrained | None:
    """From raw data to a version in production; None when neither source nor spec nor code changed since the last time.

    `why` is the reason of whoever started it (flows/watch.py): it stands on the run and on the version.
    """
    settings = Settings().apply()
    path = Path(spec)
    model = load(path)
    with sole("retrain", model.name, settings), showing.shown(model.name):
        bury_rivals("retrain", "spec", spec)
        store = Store(settings.database)
        store.create()
        key = receipt.key(model, path, settings)
        done = receipt.find(model, key, settings)
        if done and store.open_rollout(model.name) is None:
            showing.nothing_to_do(model.name, done.version)
            return None
        return line(model, path, key, store, settings, why)


def line(spec: Spec, path: Path, key: str, store: Store, settings: Settings, why: str = "") -> Retrained:
    """Every arrow of the picture, in order."""
    if spec.scoring.asks_meteor:
        meteor.ready()
    work = settings.folder("work", spec.name)
    registry = Registry(settings.mlflow, settings.artifacts)
    champion = registry.champion(spec.name)
    in_production = registry.fetch(spec.name, champion.version, settings.folder("live", spec.name)) if champion else None

    prepared = prepare(spec, path, settings, learnt(spec, champion, registry, settings))
    raw, clean, pairs = prepared.raw, prepared.clean, prepared.pairs
    preferences = preferring.gathered(spec, prepared, settings)
    public = beside(pairs, preferences, work)
    pointer = step("version the data", dataset.publish)(public, spec.name, settings.project, origin(raw, clean))
    step("check the data", dataset.check)(public, spec.name, settings.project)
    taught = teaching.taught(spec, pairs, work, settings)
    start = base.resolve(spec.training.base, path.parent, lambda: in_production)
    tokens = step("encode", encode.encode)(taught.pairs, spec.tokens, placeholders(spec.privacy), start, work)
    page = step("draw the data page", dataset.draw_page)(clean, pairs, tokens, work)
    with showing.training(spec.name, spec.training.steps, work):
        weights = step("train", fit.fit)(tokens, spec.training, start, work, measured_by(spec.scoring.metric))
    weights = preferring.preferred(spec, weights, tokens, preferences, settings)
    make = step("export", export.export)
    exported = make(weights, spec.serving.quantisation, work, clean.path / "policy", spec.serving.decoding)
    filtering = scoring.Filtering(spec.serving.filters, spec.task, spec.privacy.target_language or spec.privacy.language)
    reading = Reading(spec.task, spec.privacy.language, spec.serving.long_inputs)
    judge = judges.opened(spec, settings)
    judged = step("score", scoring.score)
    told = (spec.scoring, spec.serving.decoding, work, filtering, reading)
    planted = planting.planted(spec, prepared, start, settings)
    alone = base_alone(spec, tokens, start, work)
    labelled = labels.known(spec, champion.version if champion else None, settings)
    report = judged(exported, pairs, in_production, *told, planted=planted, base=alone, labelled=labelled, judge=judge)
    showing.scored(spec.name, report)
    passed(report)
    candidate = Candidate(
        key=artifact.digest(exported, pairs, spec),
        task=spec.task,
        export=exported,
        report=report,
        dataset=pairs,
        clean=clean,
        page=page,
        weights=weights,
        privacy=json.loads((clean.path / "policy" / "privacy.json").read_text()),
        decoding=spec.serving.decoding.model_dump(mode="json"),
        lineage=replace(lineage_of(spec, path, pointer, settings), teacher=taught.teacher, why=why),
    )
    version = step("register", registry.register)(spec.name, candidate, settings.signing_key)
    shutil.copyfile(path, work / "spec.yaml")
    rollout = controller.open(store, spec.name, version.version, champion.version if champion else None, time.time())
    showing.linked(version, registry, settings, rollout)
    deployments.pace(spec, rollout_open=True)
    receipt.leave(receipt.Receipt(key, spec.name, version.version, report.path.name), settings)
    return Retrained(spec, version, clean, page, report, carried_on(spec, store, settings))


def learnt(spec: Spec, champion: Version | None, registry: Registry, settings: Settings) -> list[tuple[str, str]]:
    """The data, (model, md5) each, that the version in production and the teacher have learned from."""
    teacher, _, version = (teaching.seen(spec, settings) or "").partition("@")
    models = [(spec.name, champion.version)] if champion else []
    return [(name, registry.data_of(name, which)) for name, which in [*models, *([(teacher, version)] if teacher else [])]]


def measured_by(name: str) -> Metric:
    """`scoring.metric`, for `training.select: metric`."""

    def score(outputs: Sequence[str], targets: Sequence[str]) -> float:
        from pipelines.scoring.metrics.sentences import sentences

        return float(sentences([name], outputs, targets)[name].mean())

    return Metric(name, score)


def origin(raw: Raw, clean: Clean) -> dict[str, Any]:
    """What a version of the data says of where it comes from: checksums of what was read, the policy, its measured recall."""
    read = json.loads((raw.path / "facts.json").read_text())
    scrubbed = json.loads((clean.path / "scrub.json").read_text())
    told = {name: scrubbed[name] for name in ("policy", "level", "verdicts", "quarantined")}
    return {"inputs": read["inputs"], "rows": read["rows"], **told}


def carried_on(spec: Spec, store: Store, settings: Settings) -> Watched | None:
    """Watch the open rollout; None if there is none, or the scheduled controller watches it."""
    if store.open_rollout(spec.name) is None:
        return None
    try:
        return watch(spec, settings)
    except Busy as busy:
        console.print(str(busy), markup=False)
        return None


def passed(report: Report) -> None:
    """Raises GateClosed, with the reason of each closed rule."""
    gate = json.loads((report.path / "gate.json").read_text())
    if not gate["passed"]:
        reasons = [f"{rule['rule']}: {rule['reason']}" for rule in gate["rules"] if not rule["passed"]]
        raise GateClosed(f"the gate is closed; the whole report: {report.path / 'report.html'}", reasons)


def lineage_of(spec: Section, path: Path, pointer: dataset.Pointer, settings: Settings) -> Lineage:
    """Where a version comes from: spec, data, code and the versions of all that was installed."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=settings.project, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    constraints = settings.project / "infra" / "constraints.txt"
    return Lineage(
        spec=spec.model_dump(mode="json"),
        spec_sha256=artifact.file_sha256(path),
        data_md5=pointer.md5,
        data_dvc=pointer.text,
        commit=git("rev-parse", "HEAD"),
        dirty=bool(git("status", "--porcelain", "--", ":!data.dvc")),
        constraints_sha256=artifact.file_sha256(constraints) if constraints.is_file() else "",
    )
