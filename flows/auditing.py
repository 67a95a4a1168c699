"""The monthly audit: how well the data was scrubbed, and whether anything that was scrubbed stands where it may not."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import showing
from flows.commands.audit import of_model
from flows.settings import Settings, spec_of
from pipelines.errors import SeqlineError

NOBODY = frozenset({"URL"})  # removed from the data, yet nobody's secret: a licence or a signature may well name one
VALUES = "values.json"  # what the scrubber removed, kept in the quarantine for this very look (pipelines/scrub/step.py)
QUARANTINE = "quarantine"


@dataclass(frozen=True)
class Looked:
    """How many removed values were looked for, and the files in which any of them stands: {path: how often}."""

    values: int
    found: dict[str, int]

    def said(self, name: str) -> str:
        """In a line, never with a value."""
        if not self.values:
            return f"{name}: nothing was looked for: the quarantine expired, or the source does not say what is personal"
        if not self.found:
            return f"{name}: none of {self.values:,} removed values stands anywhere outside the quarantine"
        places = ", ".join(f"{path} ({count})" for path, count in sorted(self.found.items())[:5])
        return f"{name}: of {self.values:,} removed values some stand in {len(self.found)} files: {places}"


@flow(name="auditing", flow_run_name=showing.named)
def auditing(name: str) -> "str | State[str]":
    """What `seqline audit NAME` measures, and a look through every file that outlives the quarantine.

    Raises:
        SeqlineError: a removed value was found, or a file could not be read.
    """
    settings = Settings().apply()
    spec = spec_of(name, settings)
    with showing.shown(spec.name):
        showing.tabled(spec.name, "scrubbed", list(_recalls(of_model(spec, settings))), f"How well {spec.name} was scrubbed")
        looked = look(spec.name, settings)
        said = looked.said(spec.name)
        verdict = "NOT clean" if looked.found else "clean" if looked.values else "unknown"
        showing.said(spec.name, "audit", f"**{verdict}**: {said}")
    if looked.found:
        raise SeqlineError(
            f"{said}: delete them (`seqline data forget`, `seqline samples {spec.name} forget`) and find out why"
        )
    return said if looked.values else Completed(name="Unknown", message=said)  # nothing looked for is nothing proved


def look(name: str, settings: Settings) -> Looked:
    """Search the data, DVC's cache and the workspace, the quarantine aside, for what was removed from model `name`'s data.

    Raises:
        SeqlineError: a file could not be read: what is not read proves nothing.
    """
    from pipelines.scrub.sweep import sweep

    wanted = {value for path in settings.quarantine(name).glob(f"scrub-*/{VALUES}") for value in _removed(path)}
    rooms = [path for path in settings.workspace.iterdir() if path.name != QUARANTINE]
    found = sweep(wanted, [*rooms, settings.project / "data", settings.project / ".dvc"]) if wanted else []
    return Looked(len(wanted), {_shown(path, settings): count for path, count in found})


def _removed(path: Path) -> Iterator[str]:
    for entities in json.loads(path.read_text(encoding="utf-8"))["removed"].values():
        for entity, values in entities.items():
            yield from values if entity not in NOBODY else ()


def _shown(path: Path, settings: Settings) -> str:
    """Without the machine's own folders."""
    room = settings.workspace if path.is_relative_to(settings.workspace) else settings.project
    return path.relative_to(room).as_posix()


def _recalls(facts: dict[str, Any]) -> Iterator[dict[str, str]]:
    for language, entities in facts["recall"].items():
        for entity, measured in entities.items():
            spans = facts["entities"].get(entity, {}).get("spans", 0)
            known, planted = (_recall(measured[where]) for where in ("known", "planted"))
            yield {"language": language, "type": entity, "spans": f"{spans:,}", "known": known, "planted": planted}


def _recall(measured: dict[str, Any] | None) -> str:
    if not measured:
        return "not measured"
    low, high = measured["interval"]
    return f"{measured['recall']:.1%} [{low:.1%}, {high:.1%}] of {measured['values']:,}"
