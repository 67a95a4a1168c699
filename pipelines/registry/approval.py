"""The gate before 100 %: the evidence on the candidate's page, a person's Promote model, and its judgement.

Promote model copies the page's tags and names the page's version as its source. So a version of `NAME-prod` is an approval
only if it names exactly the waiting candidate, carries the digest of the evidence that is on the page now, and is younger
than the gate. What is judged once is marked, and never judged again.
"""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.registry import stamps
from pipelines.registry.connect import asking
from pipelines.registry.records import PRODUCTION, Approval, Version
from pipelines.registry.versions import STATE, Versions, clipped

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

EVIDENCE = "seqline.evidence"
OPENED = "seqline.gate_opened_at"
VERDICT = "seqline.verdict"
APPROVER = "seqline.approver"
DATA_MD5 = "seqline.data_md5"
ACCEPTED = "accepted"
NOBODY = "unknown (MLflow keeps no name without authentication)"


def refusal(
    source: str | None, digest: str | None, created: float, version: Version, expected: str, opened_at: float
) -> str | None:
    """Why a version of `NAME-prod` does not approve `version`; None if it does. Times in seconds since the epoch."""
    if source != version.source:
        return f"its source is {source}, while {version.source} waits for approval"
    if created < opened_at:
        return f"it was made at {stamp(created)}, before the gate opened at {stamp(opened_at)}"
    if not digest:
        return (
            f"it carries no {EVIDENCE} tag: it was promoted from a page without the evidence; reload the page and press again"
        )
    if digest != expected:
        return (
            f"its evidence {digest[:12]} is not the evidence {expected[:12]} of the open gate; reload the page and press again"
        )
    return None


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


class Approvals(Versions):
    audit_key: bytes | None = None
    """What MLflow's server signs the approvers' names with, where it runs with our authorization; None: nobody is known."""

    @asking
    def open_gate(self, version: Version, evidence: str, digest: str, at: float) -> None:
        """Write the evidence (Markdown) and what to press on the candidate's page, and tag it with the evidence's `digest`.

        `at` is when the gate opened (seconds since the epoch), by a clock that agrees with the MLflow server's. The tags come
        last: a page that carries the digest shows the evidence. Doing it twice changes nothing.
        """
        self._model(version.production)
        self._evidence(version, evidence, digest)
        self.client.update_model_version(version.name, version.version, clipped(_waiting(version, evidence, digest, at)))
        self._tag(version.name, version.version, {OPENED: f"{at:.3f}", STATE: "awaiting approval", EVIDENCE: digest})

    @asking
    def close_gate(self, version: Version, outcome: str) -> None:
        """Say on the candidate's page how it ended (`promoted`, `rolled back: ...`); nothing can be approved there any more."""
        digest = self.client.get_model_version(version.name, version.version).tags.get(EVIDENCE)
        evidence = self.text(version.run_id, _path(digest)) if digest else None
        text = f"## {outcome.capitalize()}\n\n{evidence or 'No gate was opened for this version.'}"
        self.client.update_model_version(version.name, version.version, clipped(text))
        self._tag(version.name, version.version, {STATE: outcome})

    @asking
    def approvals(self, version: Version, digest: str, opened_at: float) -> list[Approval]:
        """Judge each version of `NAME-prod` that was not judged yet, in order; one accepted for this candidate comes again."""
        judged = []
        for made in self._search(f"name = '{version.production}'"):
            created = made.creation_timestamp / 1000
            verdict = verdict_of(made)
            # The server keeps whole milliseconds.
            reason = refusal(made.source, made.tags.get(EVIDENCE), created, version, digest, int(opened_at * 1000) / 1000)
            if verdict is None or (verdict == ACCEPTED and reason is None):  # accepted before: a killed caller asks again
                judged.append(Approval(str(made.version), reason is None, reason or "", self._person(made), created))
        return judged

    @asking
    def unjudged(self, name: str) -> list[str]:
        """The versions of `NAME-prod` that nobody has judged yet, in order."""
        return [str(made.version) for made in self._search(f"name = '{name}{PRODUCTION}'") if verdict_of(made) is None]

    @asking
    def data_md5(self, version: Version) -> str | None:
        """The md5 of the data that a version was trained on, None if it was not registered by seqline."""
        return self.client.get_model_version(version.name, version.version).tags.get(DATA_MD5)

    @asking
    def keep(self, version: Version, path: str, text: str) -> None:
        """Keep `text` as the artifact `path` of the version's run; the same path again is replaced."""
        self.client.log_text(version.run_id, text, path)

    @asking
    def refuse(self, prod: str, prod_version: str, reason: str) -> None:
        """Say on the page of a version of `NAME-prod` that it does not count, and why."""
        self.client.update_model_version(prod, prod_version, f"## Not accepted\n\nIt changes nothing in production: {reason}.")
        self._tag(prod, prod_version, {STATE: "not accepted", VERDICT: _verdict(prod_version, f"refused: {reason}")})

    @asking
    def confirm(self, version: Version, approval: Approval, evidence: str, digest: str) -> None:
        """Write the evidence, the approver and the verdict on the accepted version of `NAME-prod`."""
        approver = approval.user or NOBODY
        text = f"## Approved\n\n{version.source} by {approver}, {stamp(approval.at)}.\n\n{evidence}\n\nEvidence `{digest}`."
        self.client.update_model_version(version.production, approval.prod_version, clipped(text))
        self._tag(version.production, approval.prod_version, {APPROVER: approver, STATE: "approved"})
        self._tag(version.production, approval.prod_version, {VERDICT: _verdict(approval.prod_version, ACCEPTED)})

    @asking
    def let_in(self, version: Version, evidence: str, digest: str, why: str) -> str:
        """Make the version of `NAME-prod` without a person and return its number.

        `why` says on whose authority (`no champion: let in by the gates alone`).
        """
        self._model(version.production)
        self._evidence(version, evidence, digest)
        asked = {EVIDENCE: digest, APPROVER: why, STATE: "approved"}
        made = next((m for m in self._search(f"name = '{version.production}'") if _same(m, version, asked)), None)
        if made is None:
            tags = self.client.get_model_version(version.name, version.version).tags | asked
            text = clipped(f"## Let in\n\n{why}.\n\n{evidence}\n\nEvidence `{digest}`.")
            made = self.client.create_model_version(version.production, version.source, version.run_id, tags, description=text)
        number = str(made.version)
        self._tag(version.production, number, {VERDICT: _verdict(number, ACCEPTED)})
        return number

    def _person(self, made: "ModelVersion") -> str | None:
        if self.audit_key is None:
            return made.user_id or None
        return stamps.person(self.audit_key, made.name, str(made.version), made.tags.get(stamps.PERSON))

    def _evidence(self, version: Version, evidence: str, digest: str) -> None:
        self.client.log_text(version.run_id, evidence, _path(digest))

    def _tag(self, name: str, version: str, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            self.client.set_model_version_tag(name, version, key, value)


def verdict_of(made: "ModelVersion") -> str | None:
    """The verdict on a version of `NAME-prod`: `accepted`, `refused: WHY`, or None before it is judged.

    It names the version it is about, for Promote model copies tags: a copied verdict is none.
    """
    number, _, verdict = made.tags.get(VERDICT, "").partition(" ")
    return verdict if number == f"{made.version}:" else None


def _verdict(prod_version: str, verdict: str) -> str:
    return f"{prod_version}: {verdict}"


def _same(made: "ModelVersion", version: Version, tags: dict[str, str]) -> bool:
    return made.source == version.source and tags.items() <= made.tags.items()


def _path(digest: str) -> str:
    return f"gate/evidence-{digest[:16]}.md"


def _waiting(version: Version, evidence: str, digest: str, at: float) -> str:
    return f"""\
## Waiting for your approval

**To let this version into production**: press **Promote model** (top right of this page), choose \
**{version.name}{PRODUCTION}** and press **Promote**. Within a minute it then takes 100 % of the traffic.

**To refuse it**: run `seqline rollback {version.name}`. Until either, it keeps the traffic that it has.

{evidence}

Gate open since {stamp(at)}. Evidence `{digest}`.
"""
