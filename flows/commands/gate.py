"""`seqline gate NAME`, `seqline gate REPORT`: what a report's gate said, rule by rule."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from flows.reporting import report as shown
from flows.settings import Settings, spec_of
from pipelines.artifact import MANIFEST, verify
from pipelines.errors import GateClosed, UserError

GATE = "gate.json"


def gate(
    report: Annotated[str, typer.Argument(help="The model's name (its newest report), its YAML, or a report's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Each rule of a report's gate: its number, its interval, its verdict. Ends with 3 where the gate is closed."""
    settings = Settings()
    folder = find(report, settings)
    verify(folder)
    found = json.loads((folder / GATE).read_text(encoding="utf-8"))
    content = {"report": str(folder), **found}
    shown(content, as_json, Text("\n".join(lines(content))))
    if not found["passed"]:
        closed = [rule["rule"] for rule in found["rules"] if not rule["passed"]]
        raise GateClosed(f"the gate is closed by: {', '.join(closed)}")


def find(report: str, settings: Settings) -> Path:
    """The folder of the report that is meant.

    Raises:
        UserError: there is none.
    """
    given = Path(report)
    if given.is_dir():
        if not (given / GATE).is_file():
            raise UserError(f"{report}: holds no {GATE}: give a report's folder (report-...), or a model's name")
        return given
    name = spec_of(report, settings).name if report.endswith((".yaml", ".yml")) or "/" in report else report
    work = settings.workspace / "work" / name
    reports = [path for path in work.glob("report-*") if (path / MANIFEST).is_file() and (path / GATE).is_file()]
    if not reports:
        raise UserError(f"{report}: no report of it here: `seqline retrain` makes one, or give a report's folder")
    return max(reports, key=lambda path: ((path / MANIFEST).stat().st_mtime_ns, path.name))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The report, and each rule in two lines: what it came to, and why."""
    yield f"gate {'open' if found['passed'] else 'closed'}: {found['report']}"
    rows = [
        (rule["rule"], _number(rule["value"]), _interval(rule["interval"]), _number(rule["bar"]), rule["verdict"])
        for rule in found["rules"]
    ]
    heads = ("rule", "number", "interval", "bar", "verdict")
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    yield "     " + _row(heads, widths)
    for row, rule in zip(rows, found["rules"], strict=True):
        yield ("ok   " if rule["passed"] else "NOT  ") + _row(row, widths)
        yield f"       {rule['reason']}"


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _interval(interval: list[float] | None) -> str:
    return "-" if interval is None else f"[{', '.join(map(_number, interval))}]"
