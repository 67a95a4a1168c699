"""`seqline status`, `history`, `page` and the orders that a person gives: rollback, pause, freeze, resume.

Status and orders read and write the rollout database alone, so that they answer while everything else is down.
"""

import json
import time
from collections.abc import Callable
from datetime import date, datetime
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import console, report
from flows.settings import Settings, spec_of
from pipelines.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.registry import Entry
    from pipelines.rollout.production import Reign
    from pipelines.rollout.store import Store

Name = Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")]
Why = Annotated[str, typer.Option(help="Goes into the history.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Order = Callable[["Store", str, str, float, str], str]
"""(database, model, why, now, by whom) -> what was done."""


def status(name: Name, as_json: Json = False) -> None:
    """Whether the rollout is safe, and what serves now."""
    from rich.console import Group
    from rich.text import Text

    from flows import labelling
    from flows.commands import cost
    from pipelines.rollout import status as rollout_status
    from pipelines.rollout.store import Store

    settings = Settings()
    spec = spec_of(name, settings)
    store = Store(settings.database)
    store.create()
    now = time.time()
    told = {"labels": labelling.last_told(spec.name, settings), "cost": cost.last(spec.name, settings)}
    found = {**rollout_status.status(store, spec, now), **told}
    said = [*labelling.summary(spec.name, settings, now), *cost.summary(spec.name, settings, now)]
    report(found, as_json, Group(rollout_status.render(found), *map(Text, said)))


def rollback(name: Name, why: Why = "", as_json: Json = False) -> None:
    """Send everybody to the champion (or, when none is open, to the champion before it), now."""
    from pipelines.rollout import status as rollout_status

    _give(rollout_status.rollback, name, why, as_json)


def pause(name: Name, why: Why = "", as_json: Json = False) -> None:
    """Stop the open rollout where it is; it is still rolled back if it gets worse."""
    from pipelines.rollout import holding

    _give(holding.pause, name, why, as_json)


def freeze(name: Name, why: Why = "", as_json: Json = False) -> None:
    """Let no version of the model rise, the next ones neither, until `resume`."""
    from pipelines.rollout import holding

    _give(holding.freeze, name, why, as_json)


def resume(name: Name, why: Why = "", as_json: Json = False) -> None:
    """Lift a pause or a freeze."""
    from pipelines.rollout import holding

    _give(holding.resume, name, why, as_json)


def _give(order: Order, name: str, why: str, as_json: bool) -> None:
    from pipelines.rollout.store import Store

    settings = Settings()
    spec = spec_of(name, settings)
    store = Store(settings.database)
    store.create()
    said = order(store, spec.name, why, time.time(), getuser())
    report({"done": said}, as_json, said)


def page(
    name: Name, out: Annotated[Path | None, typer.Option(help="Where to write it; by default the workspace.")] = None
) -> None:
    """Draw the page of the last rollout: weights, e-values, budgets, verdicts. One file of HTML."""
    from pipelines.rollout import page as rollout_page
    from pipelines.rollout.store import Store

    settings = Settings()
    spec = spec_of(name, settings)
    path = out or settings.folder("pages") / f"rollout-{spec.name}.html"
    store = Store(settings.database)
    store.create()
    path.write_text(rollout_page.latest(store, spec.name), encoding="utf-8")
    console.print(str(path), markup=False)


def history(
    name: Name,
    on: Annotated[str, typer.Option(help="A day (UTC), as 2026-01-31: what was in production on it, and why.")] = "",
    as_json: Json = False,
) -> None:
    """What was in production when, who let it in, on what evidence."""
    from pipelines.registry import Registry
    from pipelines.rollout import production

    day = _day(on) if on else None
    settings = Settings().apply()
    model = spec_of(name, settings).name
    entries = Registry(settings.mlflow, settings.artifacts).history(model)
    if day is None:
        report([vars(entry) for entry in entries], as_json, _events(entries))
        return
    served = production.on(entries, day)
    shown: Any = _reigns(served) if served else f"{model}: nothing was in production on {day:%Y-%m-%d} (UTC)"
    report([vars(reign) for reign in served], as_json, shown)


def _day(text: str) -> date:
    """Raises UserError unless it is a day that has begun."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise UserError(f"--on {text!r}: must be a day, as 2026-01-31") from None
    if day > datetime.fromtimestamp(time.time()).astimezone().date():
        raise UserError(f"--on {text}: that day is still to come")
    return day


def _events(entries: "list[Entry]") -> "Table":
    from rich.table import Table

    table = Table("when (UTC)", "version", "what", "detail", box=None)
    for entry in entries:
        detail = "; ".join(f"{key}: {short(value)}" for key, value in entry.detail.items() if value)
        table.add_row(_stamp(entry.at), entry.version, entry.event, detail)
    return table


def _reigns(served: "list[Reign]") -> "Table":
    """Three columns, a few lines each: eight would be cut in a terminal of 80."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 1, 0))
    table.add_column("from, to (UTC)", no_wrap=True)
    table.add_column("version", max_width=20)
    table.add_column("why", overflow="fold")
    for each in served:
        share = f", {each.weight:g} %"
        part = f"canary{share}" if each.canary else f"former champion{share}" if each.former else "champion"
        facts = [
            f"{what}: {short(each.facts[key])}"
            for what, key in (("approver", "approver"), ("evidence", "digest"), ("data", "data_md5"))
            if each.facts.get(key)
        ]
        end = _stamp(each.until) if each.until else "now"
        cells = (f"{_stamp(each.since)}\n{end}", f"{each.version}\n{part}", "\n".join([each.why, *facts]))
        table.add_row(*map(Text, cells))
    return table


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


def short(value: object) -> str:
    """A value for one cell: a hash by its first twelve digits, a long text by its first line."""
    if isinstance(value, str) and len(value) >= 32 and all(c in "0123456789abcdef" for c in value):
        return value[:12]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    first = text.strip().splitlines()[0] if text.strip() else "-"
    return first if first == text.strip() and len(first) <= 100 else first[:97] + "..."
