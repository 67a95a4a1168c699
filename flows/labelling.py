"""What labels said when `seqline labels NAME status` last read them, from the workspace alone: `seqline status` shows it while
MLflow and all else is down. It is shown and nothing more: no budget is spent on it.
"""

import json
from typing import Any

from flows.settings import Settings

TOLD = "told.json"


def last_told(name: str, settings: Settings) -> dict[str, Any] | None:
    """What `keep` wrote last, None before the first time, or where somebody broke the file: status goes on without."""
    path = settings.workspace / "labels" / name / TOLD
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def summary(name: str, settings: Settings, now: float) -> list[str]:
    """The lines of `seqline status`: what labels said of each version when they were last read. No import beyond the standard
    library's: status answers while everything else is down."""
    told = last_told(name, settings)
    if told is None:
        return []
    age = max(0.0, now - told["at"]) / 3600
    return [f"version {each['version']}: {_short(each)} (labels read {age:.1f} h ago)" for each in told["versions"][:2]]


def _short(each: dict[str, Any]) -> str:
    if each["judged"] is None:
        return str(each["problem"])
    corrected = each["corrected"]
    shown = (
        "unknown"
        if corrected == "unknown"
        else f"{corrected['value']:.1%} [{corrected['interval'][0]:.1%}, {corrected['interval'][1]:.1%}]"
    )
    kept = f", {each['budget']['verdict']} the budget of {each['budget']['budget']:.1%}" if each["budget"] else ""
    return f"unsupported: judged {each['judged']['value']:.1%}, corrected {shown}, {each['labels']} labels{kept}"
