"""Register, find, check and fetch versions; move their aliases.

Everything of a version is written before the version itself: the run, its files, last their manifest. One insert then makes
the version with all its tags, so that a kill anywhere before leaves a run without a version, which the next call sweeps away.
"""

import hashlib
import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import artifact, signature
from pipelines.errors import GateClosed, SeqlineError, Transient
from pipelines.registry import card, evaluation, package
from pipelines.registry.connect import Connection, asking
from pipelines.registry.records import Candidate, Version

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

MODEL = "model"
KEY = "seqline.key"
MANIFEST = "seqline.manifest"
EXPORT = "seqline.export"
GATE = "seqline.gate"
SIGNER = "seqline.signer"
STATE = "seqline.state"
WHY = "seqline.why"
DESCRIPTION_CHARS = 5_000  # the column's width in MLflow's schema
BATCH = 100  # params that MLflow takes at once


class Versions(Connection):
    @asking
    def find(self, name: str, key: str, signer: str | None = None) -> Version | None:
        """Return the usable version registered for the content key `key`, if any; with `signer`, one that it signed."""
        for found in self._search(f"name = '{name}' and tags.`{KEY}` = '{key}'"):
            version = _version(found)
            if signer and found.tags.get(SIGNER) != signer:
                continue  # engines refuse it: what is registered again is signed again
            try:
                self.usable(name, version.version)
            except Transient:
                raise
            except SeqlineError:
                continue
            return version
        return None

    @asking
    def version(self, name: str, number: str) -> Version:
        """Return version `number` of `name`, usable or not; SeqlineError if there is none."""
        return _version(self.client.get_model_version(name, number))

    @asking
    def register(self, name: str, candidate: Candidate, signing_key: Path) -> Version:
        """Return the version of `candidate`, making it unless it is there. Killed anywhere, it can be called again.

        Args:
            signing_key: the EC private key (PEM) that signs its export. One that is there unsigned, or signed by another
                key, does not count: engines refuse it.

        Raises:
            GateClosed: the candidate's gate record is not a passed one: such a model is no candidate for production.
            artifact.Corrupt: the export is not the one that was sealed.
            UserError: the key is none that can sign.
        """
        told = package.facts(candidate)
        if not told.gate["passed"]:
            raise GateClosed(f"{name}: the gate is closed", [r["rule"] for r in told.gate["rules"] if not r["passed"]])
        artifact.verify(candidate.export.path, candidate.export.sha256)
        signer = signature.fingerprint_of(signing_key)
        with self.alone("register"):
            found = self.find(name, candidate.key, signer)
            if found:
                return found
            experiment = self._experiment(name)
            self._sweep(experiment, candidate.key)
            run = self.client.create_run(experiment, tags={KEY: candidate.key}, run_name=f"{name}-{candidate.key[:8]}")
            try:
                tags = self._log(run.info.run_id, name, candidate, told, signing_key) | {SIGNER: signer}
            except BaseException:
                self._discard(run.info.run_id)
                raise
            return self._create(name, run.info.run_id, candidate, told, tags)

    def _log(self, run_id: str, name: str, candidate: Candidate, told: card.Facts, signing_key: Path) -> dict[str, str]:
        """Write all of a version to its run; return the version's tags."""
        from mlflow.entities import Metric, Param, RunTag

        with tempfile.TemporaryDirectory() as scratch:
            manifest = package.write(Path(scratch) / MODEL, name, candidate, told, run_id, signing_key)
            self.client.log_artifacts(run_id, str(Path(scratch) / MODEL), MODEL)
        params = [Param(key, value) for key, value in package.params(candidate.lineage.spec)]
        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, 0) for key, value in package.metrics(told)]
        tags = _tags(candidate, manifest)
        for start in range(0, len(params), BATCH):
            self.client.log_batch(run_id, params=params[start : start + BATCH])
        self.client.log_batch(run_id, metrics=metrics, tags=[RunTag(key, value) for key, value in tags.items()])
        if (pairs := evaluation.table(candidate)) is not None:
            self.client.log_table(run_id, pairs, evaluation.FILE)
        self.client.log_inputs(run_id, [package.data_input(name, candidate, told)])
        self.client.set_terminated(run_id)
        return tags

    def _create(self, name: str, run_id: str, candidate: Candidate, told: card.Facts, tags: dict[str, str]) -> Version:
        self._model(name)
        # A server's pages read files from `mlflow-artifacts:` only, not through `runs:`; a local path would name this machine.
        root = str(self.client.get_run(run_id).info.artifact_uri)
        made = self.client.create_model_version(
            name,
            source=f"{root}/{MODEL}" if root.startswith("mlflow-artifacts:") else f"runs:/{run_id}/{MODEL}",
            run_id=run_id,
            tags=tags | {STATE: "registered"},
            description=clipped(card.summary(candidate.task, told, candidate.lineage)),
        )
        return _version(made)

    @asking
    def usable(self, name: str, version: str) -> None:
        """Return if version `version` of `name` may serve: made whole, by us, with its manifest and a passed gate.

        Raises:
            SeqlineError: saying what is missing.
        """
        found = self.client.get_model_version(name, version)
        what = f"{name} version {version} is not usable"
        for tag in (KEY, MANIFEST, EXPORT, GATE):
            if not found.tags.get(tag):
                raise SeqlineError(f"{what}: it has no tag {tag}, so it was not registered by seqline")
        run = self.client.get_run(run_id := found.run_id or "")
        if run.info.status != "FINISHED" or run.info.lifecycle_stage != "active":
            raise SeqlineError(f"{what}: its run {run_id} is {run.info.lifecycle_stage}, {run.info.status}")
        files = self._files(run_id, found.tags[MANIFEST], what)
        for path in package.REQUIRED:
            if path not in files:
                raise SeqlineError(f"{what}: {path} is missing from its manifest")
        if files[f"{package.EXPORT}/{artifact.MANIFEST}"] != found.tags[EXPORT]:
            raise SeqlineError(f"{what}: tag {EXPORT} is not that of the files")
        gate = self.text(run_id, f"{MODEL}/{package.GATE}")
        if gate is None or not _sha256(gate) == found.tags[GATE] == files[package.GATE]:
            raise SeqlineError(f"{what}: its gate record is missing or was changed")
        if not json.loads(gate)["passed"]:
            raise SeqlineError(f"{what}: its gate is closed")

    def _files(self, run_id: str, manifest: str, what: str) -> dict[str, str]:
        text = self.text(run_id, f"{MODEL}/{artifact.MANIFEST}")
        if text is None:
            raise SeqlineError(f"{what}: {artifact.MANIFEST} is missing")
        if _sha256(text) != manifest:
            raise SeqlineError(f"{what}: {artifact.MANIFEST} was changed: its sha256 is not the tag {MANIFEST}")
        files: dict[str, str] = json.loads(text)["files"]
        return files

    @asking
    def fetch(self, name: str, version: str, live: Path, signer: Path | None = None) -> Path:
        """Return the folder live/VERSION with the version's sealed Export, downloading it unless it is there and whole.

        Args:
            signer: the public key (PEM) that must have signed it; without one (to read, not to serve) the manifest suffices.

        Raises:
            SeqlineError: the version is not usable.
            artifact.Corrupt: what came is not what was registered, or not what `signer` signed.
        """
        self.usable(name, version)
        wanted = self.version(name, version)
        target = live / version
        try:
            artifact.verify(target, wanted.manifest, signer=signer)
        except artifact.Corrupt:
            pass
        else:
            return target
        live.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{version}.", dir=live) as scratch:
            came = Path(self.client.download_artifacts(wanted.run_id, f"{MODEL}/{package.EXPORT}", scratch))
            artifact.verify(came, wanted.manifest, signer=signer)
            if target.exists():
                target.replace(Path(scratch) / "broken")
            came.replace(target)
        return target

    @asking
    def champion(self, name: str) -> Version | None:
        """Return the version that the alias `champion` names."""
        return self.by_alias(name, "champion")

    @asking
    def by_alias(self, name: str, alias: str) -> Version | None:
        from mlflow.exceptions import MlflowException

        try:
            return _version(self.client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    @asking
    def set_alias(self, name: str, alias: str, version: str | None) -> None:
        """Let `alias` name `version`, or nothing. Only the rollout's controller calls this."""
        if version is None:
            self.client.delete_registered_model_alias(name, alias)
        else:
            self.client.set_registered_model_alias(name, alias, version)

    def _search(self, query: str) -> "list[ModelVersion]":
        found: list[ModelVersion] = []
        token = None
        while True:
            page = self.client.search_model_versions(query, max_results=200, page_token=token)
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda version: int(version.version))

    def _model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is None:
            location = (self.artifacts / name).as_uri() if self.artifacts else None
            return self.client.create_experiment(name, artifact_location=location)
        if found.lifecycle_stage != "active":
            raise SeqlineError(f"MLflow: the experiment {name!r} was deleted there: restore it, or rename the model")
        return found.experiment_id

    def _sweep(self, experiment: str, key: str) -> None:
        """Discard the runs of this key that never became a version: what a kill left."""
        for run in self.client.search_runs([experiment], f"tags.`{KEY}` = '{key}'"):
            if not self._search(f"run_id = '{run.info.run_id}'"):
                self._discard(run.info.run_id)

    def _discard(self, run_id: str) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        run = self.client.get_run(run_id)
        self.client.set_terminated(run_id, "KILLED")
        self.client.delete_run(run_id)
        # A store that deletes nothing keeps the files of a deleted run until `mlflow gc`.
        with suppress(MlflowException, NotImplementedError, OSError):
            repository: Any = get_artifact_repository(str(run.info.artifact_uri), tracking_uri=self.uri)
            repository.delete_artifacts()


def clipped(text: str) -> str:
    """`text` as long as a description may be."""
    end = "\n\n... (cut; the whole is in the run's artifacts)"
    return text if len(text) <= DESCRIPTION_CHARS else text[: DESCRIPTION_CHARS - len(end)] + end


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _version(found: "ModelVersion") -> Version:
    return Version(found.name, str(found.version), found.run_id or "", found.tags.get(EXPORT, ""))


def _tags(candidate: Candidate, manifest: str) -> dict[str, str]:
    lineage = candidate.lineage
    return {
        KEY: candidate.key,
        MANIFEST: manifest,
        EXPORT: candidate.export.sha256,
        GATE: artifact.file_sha256(candidate.report.path / "gate.json"),
        "seqline.data_md5": lineage.data_md5,
        "seqline.spec_sha256": lineage.spec_sha256,
        "seqline.commit": lineage.commit + ("-dirty" if lineage.dirty else ""),
        "seqline.constraints_sha256": lineage.constraints_sha256,
        "seqline.dataset_sha256": candidate.dataset.sha256,
        **({WHY: lineage.why} if lineage.why else {}),
    }
