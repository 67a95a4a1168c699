"""`seqline doctor NAME`: is all there that one wants before production, in it, and in an incident? 3 on any gap."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.reporting import report
from flows.settings import Settings

if TYPE_CHECKING:
    from pipelines.operations.checks import Finding

GAPS = 3  # exit code, as of a closed gate
POLL_SECONDS = 0.5


def doctor(
    name: Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")],
    phase: Annotated[str, typer.Option(help="before, production or incident; by default what fits now.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="This check alone (also those that prove a runbook's effect).")] = None,
    wait: Annotated[float, typer.Option(help="Ask again until there is no gap, for so many seconds.")] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what must be there, each gap with its mend; what cannot be told is a gap."""
    settings = Settings().apply()
    until = time.monotonic() + wait
    while True:
        model, now, found = examined(name, phase, only or (), settings)
        if all(each.ok for each in found) or time.monotonic() >= until:
            break
        time.sleep(POLL_SECONDS)
    told = {"name": model, "at": time.time(), "phase": now, "checks": [asdict(each) for each in found]}
    if not only:
        _keep(model, json.dumps(told, indent=1), settings)
    report(told, as_json, "\n".join(lines(model, now, found)))
    if not all(each.ok for each in found):
        raise typer.Exit(GAPS)


def examined(name: str, phase: str, only: Sequence[str], settings: Settings) -> tuple[str, str, "list[Finding]"]:
    """The model, the phase, and what its checks found (or those of `only`)."""
    from flows.commands.facts import Gathered
    from pipelines.operations import before, checks, effects, incident, production

    facts = Gathered(name, settings)
    every = (*before.CHECKS, *production.CHECKS, *incident.CHECKS, *effects.CHECKS)
    now = phase or ("" if only else checks.phase_now(facts))
    asked = checks.named(every, only) if only else checks.of_phase(every, now)
    return facts.spec.name, now, checks.examine(asked, facts)


def lines(model: str, phase: str, found: "Sequence[Finding]") -> list[str]:
    """For a terminal: verdict first, then each check."""
    gaps = sum(not each.ok for each in found)
    what = f" {phase}" if phase else ""
    shown = [
        f"{model}{what}: {gaps} of {len(found)} checks have a gap" if gaps else f"{model}{what}: no gap in {len(found)} checks"
    ]
    for each in found:
        mark = "ok     " if each.ok else "unknown" if each.ok is None else "GAP    "
        shown.append(f"{mark} {each.check:26} {each.said}")
        if each.mend:
            shown.append(f"{'':34} mend: {each.mend}")
    return shown


def _keep(model: str, text: str, settings: Settings) -> None:
    path = settings.folder("doctor") / f"{model}.json"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(text + "\n", encoding="utf-8")
    fresh.replace(path)
