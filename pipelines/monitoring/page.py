"""The drift page: one HTML file with its pictures in it, and no network. Every text on it is scrubbed."""

import time
from pathlib import Path
from typing import Any

from pipelines.monitoring import pictures
from pipelines.monitoring.drift import Side
from pipelines.monitoring.watching import Drift

TEMPLATE = Path(__file__).with_name("page.html")


def draw(found: Drift) -> str:
    """The page as HTML."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["day"] = lambda at: time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
    sides = [{"told": side, **_drawn(side)} for side in found.sides]
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(found=found, sides=sides)


def _drawn(side: Side) -> dict[str, Any]:
    from markupsafe import Markup

    curve = pictures.evidence(side.evidence, side.alpha) if side.evidence else ""
    shares = pictures.shares(side.shares) if side.shares else ""
    return {"curve": Markup(curve), "shares": Markup(shares)}  # noqa: S704  (our own SVG; texts are escaped)
