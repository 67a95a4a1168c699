"""The memory: what happened to each version, and where a version comes from.

Events are tags on the version's run (`seqline.event.ID`, JSON): they survive, come back in one request, and writing one
twice changes nothing.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import SeqlineError, UserError
from pipelines.registry import package
from pipelines.registry.approval import ACCEPTED, APPROVER, EVIDENCE, verdict_of
from pipelines.registry.connect import asking
from pipelines.registry.records import PRODUCTION, Entry, Made, Version
from pipelines.registry.versions import MANIFEST, MODEL, SIGNER, WHY, Versions

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

EVENT = "seqline.event."
TAG_CHARS = 7_000  # a run's tag holds 8,000


class Memory(Versions):
    @asking
    def record(self, version: Version, event: str, detail: Mapping[str, Any], at: float, id: str) -> None:  # noqa: A002
        """Write one event of a rollout (`stage`, `rolled back`, `promoted`, ...); `id` makes it once only.

        `at` is in seconds since the epoch. A detail too long for a tag is kept as an artifact, and named.
        """
        entry = {"at": at, "version": version.version, "event": event, "detail": dict(detail)}
        text = json.dumps(entry, ensure_ascii=False)
        if len(text) > TAG_CHARS:
            path = f"events/{id}.json"
            self.client.log_text(version.run_id, text, path)
            text = json.dumps(entry | {"detail": {"artifact": path}}, ensure_ascii=False)
        self.client.set_tag(version.run_id, EVENT + id, text)

    @asking
    def history(self, name: str) -> list[Entry]:
        """Return all that happened to `name`, oldest first: registered, recorded events, let into or refused by `NAME-prod`."""
        entries: dict[str, Entry] = {}
        for made in self._search(f"name = '{name}'"):
            number, at = str(made.version), made.creation_timestamp / 1000
            entries[f"v{number}"] = Entry(at, number, "registered", f"v{number}", {"manifest": made.tags.get(MANIFEST)})
            if made.run_id:
                entries |= {entry.id: entry for entry in self._events(made.run_id)}
        for made in self._search(f"name = '{name}{PRODUCTION}'"):
            entry = _production(name, made)
            entries[entry.id] = entry
        return sorted(entries.values(), key=lambda entry: (entry.at, entry.id))

    def _events(self, run_id: str) -> list[Entry]:
        tags = self.client.get_run(run_id).data.tags
        events = [(key.removeprefix(EVENT), json.loads(value)) for key, value in tags.items() if key.startswith(EVENT)]
        return [Entry(float(e["at"]), e["version"], e["event"], id_, e["detail"]) for id_, e in events]

    @asking
    def trained_on(self, name: str | None = None) -> list[tuple[str, str, str]]:
        """(model, version, md5 of data/) of each version of `name`, or of every model."""
        found = self._search(f"name = '{name}'" if name else "")
        return [
            (made.name, str(made.version), made.tags["seqline.data_md5"])
            for made in found
            if made.tags.get("seqline.data_md5") and not made.name.endswith(PRODUCTION)
        ]

    @asking
    def data_of(self, name: str, version: str) -> str:
        """The md5 of data/ that version `version` of `name` was trained on; empty where it does not say."""
        return next((md5 for _, number, md5 in self.trained_on(name) if number == version), "")

    @asking
    def made(self, name: str) -> list[Made]:
        """Every version of `name`, the oldest first: when it was made, and why a watch had it made."""
        return [
            Made(str(each.version), each.run_id or "", each.creation_timestamp / 1000, each.tags.get(WHY, ""))
            for each in self._search(f"name = '{name}'")
        ]

    @asking
    def scores(self, run_id: str) -> dict[str, Any]:
        """The scores.json of the version that the run made; empty where it is gone."""
        text = self.text(run_id, f"{MODEL}/report/scores.json")
        return dict(json.loads(text)) if text else {}

    @asking
    def lineage(self, name: str, which: str = "champion") -> dict[str, Any]:
        """Return where a version (an alias or a number) comes from: data, code, spec, scores, gate, approver, files.

        Raises:
            UserError: there is no such version. SeqlineError: its files are gone.
        """
        version = self.version(name, which) if which.isdigit() else self.by_alias(name, which)
        if version is None:
            raise UserError(f"{name}: no version has the alias {which!r}: `seqline history {name}` lists what there is")
        found = self.client.get_model_version(name, version.version)
        scores, gate = self._file(version, "report/scores.json"), self._file(version, package.GATE)
        return {
            "name": name,
            "version": version.version,
            "run_id": version.run_id,
            "aliases": list(found.aliases),
            **self._file(version, package.LINEAGE),
            "data_dvc": self.text(version.run_id, f"{MODEL}/{package.DATA}"),
            "spec": self._file(version, package.SPEC),
            "scores": scores,
            "gate": gate,
            "privacy": self._file(version, package.POLICY),
            "scrub": self._file(version, package.SCRUB),
            "export": version.manifest,
            "manifest": found.tags.get(MANIFEST),
            "signer": found.tags.get(SIGNER),
            "production": self._approval(version),
        }

    def _file(self, version: Version, path: str) -> dict[str, Any]:
        text = self.text(version.run_id, f"{MODEL}/{path}")
        if text is None:
            raise SeqlineError(f"{version.name} version {version.version}: {path} is missing from its files")
        content: dict[str, Any] = json.loads(text)
        return content

    def _approval(self, version: Version) -> dict[str, Any] | None:
        for made in reversed(self._search(f"name = '{version.production}'")):
            if made.source == version.source and verdict_of(made) == ACCEPTED:
                return {"version": str(made.version), "at": made.creation_timestamp / 1000, **_who(made)}
        return None


def _who(made: "ModelVersion") -> dict[str, str | None]:
    return {"approver": made.tags.get(APPROVER), "evidence": made.tags.get(EVIDENCE)}


def _production(name: str, made: "ModelVersion") -> Entry:
    prefix = f"models:/{name}/"
    version = source.removeprefix(prefix) if (source := made.source or "").startswith(prefix) else "?"
    verdict = verdict_of(made) or "not judged yet"
    event = "let in" if verdict == ACCEPTED else "asked in"
    detail = {"production": str(made.version), "verdict": verdict, "source": made.source, **_who(made)}
    return Entry(made.creation_timestamp / 1000, version, event, f"p{made.version}", detail)
