"""The page, and the same facts as JSON. One file that asks nobody for anything but itself; no text of it is trusted."""

import base64
import hashlib
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from pipelines.overview import wording
from pipelines.overview.facts import Day, Model, Overview
from pipelines.overview.sparklines import HEIGHT, WIDTH, Spark, spark
from pipelines.overview.verdicts import Verdict, ranked, summary

REFRESH = 5  # seconds between two looks of the script
REFRESH_PLAIN = 15  # of a browser without scripts: the whole page is loaded again
LATE = 30  # seconds after which a page that was not refreshed says so
SEVERAL = 20  # answers that a day must have for its share to be drawn


def html(overview: Overview) -> str:
    """The whole page: the same facts give the same text."""
    shown = [(model, verdict, _sparks(model)) for model, verdict in ranked(overview)]
    return _template().render(
        overview=overview, now=overview.at, shown=shown, summary=summary(verdict for _, verdict, _ in shown),
        style=_part("page.css"), script=_part("page.js"), width=WIDTH, height=HEIGHT, refresh=REFRESH,
        refresh_plain=REFRESH_PLAIN, late=LATE,
    )  # fmt: skip


def plain(overview: Overview) -> dict[str, Any]:
    """The facts, and each model's verdict, as JSON."""
    verdicts: dict[str, Verdict] = {model.name: verdict for model, verdict in ranked(overview)}
    content = asdict(overview)
    for model in content["models"]:
        found = verdicts[model["name"]]
        model["verdict"] = {"word": found.word, **asdict(found)}
    return content


def headers() -> dict[str, str]:
    """What a browser may do with the page: its own style and script (by their hashes), look at itself again, nothing else."""
    own = {name: f"'sha256-{_digest(_part(file))}'" for name, file in (("style", "page.css"), ("script", "page.js"))}
    policy = f"default-src 'none'; style-src {own['style']}; script-src {own['script']}; img-src data:; connect-src 'self'"
    return {
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"{policy}; form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _sparks(model: Model) -> dict[str, Spark | None]:
    doubted = model.doubts.value.points if model.doubts.value else ()
    return {
        "judged": spark([_point(day) for day in model.judged.value or () if day.n >= SEVERAL], "flagged by the judge"),
        "doubts": spark(doubted, "doubted by filters"),
    }


def _point(day: Day) -> tuple[float, float]:
    return day.at, day.bad / day.n


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {
        name: getattr(wording, name) for name in ("span", "ago", "due", "clock", "iso", "share", "price", "milliseconds")
    }
    return environment.from_string(_part("page.html"))


@cache
def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
