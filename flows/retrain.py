"""The line: from raw data to a version in production.

raw ──▶ clean ──▶ dataset ──▶ tokens ──▶ weights ──▶ export ──▶ report ──▶ version ──▶ rollout
"""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from rich.console import Console

from flows import receipt
from flows.rollout import Watched, watch
from flows.settings import Settings
from flows.sole import Busy, sole
from flows.zombies import bury_rivals
from pipelines import artifact, dataset, encode, scoring, sources
from pipelines.artifact import Artifact, Clean, Raw, Report
from pipelines.decode import Reading
from pipelines.errors import GateClosed, Transient
from pipelines.registry import Candidate, Lineage, Registry, Version
from pipelines.rollout import controller
from pipelines.rollout.store import Store
from pipelines.scrub.audit import expire
from pipelines.scrub.detect import placeholders
from pipelines.scrub.step import Keys, scrub
from pipelines.spec import Spec, load
from pipelines.training import base, export, fit

P = ParamSpec("P")
R = TypeVar("R")
console = Console(highlight=False)


@dataclass(frozen=True)
class Retrained:
    """What a retrain made; `watched` is how its rollout stood when the watch ended, None if it was not watched here."""

    spec: Spec
    version: Version
    clean: Clean
    page: Artifact
    report: Report
    watched: Watched | None


def step(name: str, work: Callable[P, R]) -> Callable[P, R]:
    """A pipeline step as a Prefect task. Steps are content-addressed themselves, so Prefect's own cache stays out of it."""

    def transient(_task: object, _run: object, state: Any) -> bool:
        return isinstance(state.result(raise_on_failure=False), Transient)

    as_task: Any = task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=[5, 30],
        retry_condition_fn=transient,
    )
    run: Callable[P, R] = as_task(work)

    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        console.print(f"{time.strftime('%H:%M:%S')} {name}")
        return run(*args, **kwargs)

    return timed


@flow(name="retrain", flow_run_name="{spec}")
def retrain(spec: str) -> Retrained | None:
    """From raw data to a version in production; None when neither source nor spec nor code changed since the last time."""
    settings = Settings().apply()
    path = Path(spec)
    model = load(path)
    with sole("retrain", model.name, settings):
        bury_rivals("retrain", "spec", spec)
        store = Store(settings.database)
        store.create()
        key = receipt.key(model, path, settings)
        if receipt.find(model, key, settings) and store.open_rollout(model.name) is None:
            return None
        return line(model, path, key, store, settings)


def line(spec: Spec, path: Path, key: str, store: Store, settings: Settings) -> Retrained:
    """Every arrow of the picture, in order."""
    work, quarantine = settings.folder("work", spec.name), settings.quarantine(spec.name)
    registry = Registry(settings.mlflow, settings.artifacts)
    champion = registry.champion(spec.name)
    in_production = registry.fetch(spec.name, champion.version, settings.folder("live", spec.name)) if champion else None
    expire(quarantine, spec.privacy.quarantine_days)
    sources.expire(settings.source_cache, spec.privacy.quarantine_days)

    forgotten = dataset.forgotten(settings.project, spec.name)
    raw = step("ingest", sources.ingest)(spec.data, path.parent, settings.source_cache, quarantine, settings.source_urls)
    clean = step("scrub", scrub)(raw, spec.privacy, work, quarantine, Keys(settings.hmac_key, settings.vault_key), forgotten)
    published = dataset.frozen(settings.project / "data" / spec.name)
    pairs = step("curate and split", dataset.split)(clean, spec.data, work, published, forgotten)
    pointer = step("version the data", dataset.publish)(pairs, spec.name, settings.project, origin(raw, clean))
    step("check the data", dataset.check)(pairs, spec.name, settings.project)
    start = base.resolve(spec.training.base, path.parent, lambda: in_production)
    tokens = step("encode", encode.encode)(pairs, spec.tokens, placeholders(spec.privacy), start, work)
    page = step("draw the data page", dataset.draw_page)(clean, pairs, tokens, work)
    weights = step("train", fit.fit)(tokens, spec.training, start, work)
    exported = step("export", export.export)(weights, spec.serving.quantisation, work, clean.path / "policy")
    filtering = scoring.Filtering(spec.serving.filters, spec.task, spec.privacy.target_language or spec.privacy.language)
    reading = Reading(spec.task, spec.privacy.language, spec.serving.long_inputs)
    judged = step("score", scoring.score)
    report = judged(exported, pairs, in_production, spec.scoring, spec.serving.decoding, work, filtering, reading)
    create_markdown_artifact((report.path / "report.md").read_text(), key=f"report-{spec.name}")
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
        lineage=lineage_of(spec, path, pointer, settings),
    )
    version = step("register", registry.register)(spec.name, candidate, settings.signing_key)
    shutil.copyfile(path, work / "spec.yaml")
    controller.open(store, spec.name, version.version, champion.version if champion else None, time.time())
    receipt.leave(receipt.Receipt(key, spec.name, version.version, report.path.name), settings)
    return Retrained(spec, version, clean, page, report, carried_on(spec, store, settings))


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
        raise GateClosed(f"the gate is closed; the whole report: {report.path / 'report.md'}", reasons)


def lineage_of(spec: Spec, path: Path, pointer: dataset.Pointer, settings: Settings) -> Lineage:
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
