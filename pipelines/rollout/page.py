"""The page of a rollout: weights, e-values, budgets and verdicts over time, in one file of HTML that asks nobody for anything.

It is drawn from the rollout database alone: kept as an artifact in the MLflow run, and served at the gateway's admin port.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.errors import UserError
from pipelines.rollout import ledger, paging
from pipelines.rollout.policy import TERMINAL, Action
from pipelines.rollout.store import Rollout, Store
from pipelines.rollout.wording import number

WIDTH, HEIGHT = 760, 150  # of a chart's field, in SVG units
FLOOR, CEILING = -3.0, 6.0  # of log10 e as drawn
COLOURS = 7  # --c0 ... of the template
UNITS = ((172_800.0, 86_400.0, "d"), (7_200.0, 3_600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve: SVG `points`, its name, the number of its colour, and its last value for people."""

    name: str
    points: str
    colour: int
    last: str


@dataclass(frozen=True)
class Chart:
    """A field with curves. `bar` is the height of a line that must not be passed, with its name; `ticks` are (y, text)."""

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    bar: tuple[float, str] | None = None


def latest(store: Store, name: str) -> str:
    """The page of the last rollout of `name`, open or closed.

    Raises:
        UserError: there was none.
        Transient: the rollout database does not answer.
    """
    with store.transaction() as connection:
        rollout = ledger.latest_rollout(name, connection)
    if rollout is None:
        raise UserError(f"{name}: there was no rollout yet")
    return html(store, rollout.id)


def html(store: Store, rollout: int) -> str:
    """The page of one rollout. The same rows give the same page.

    Raises:
        Transient: the rollout database does not answer.
    """
    from jinja2 import Environment

    with store.transaction() as connection:
        found = ledger.rollout(rollout, connection)
        measures = ledger.measures_of(rollout, connection)
        latest = ledger.latest_rollout(found.name, connection)
        paged = [each.said for each in paging.paged(found.name, connection)] if latest and latest.id == rollout else []
        decided = [row for row in ledger.decisions_of(rollout, connection) if _of_it(row, found)]
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    end = max([found.opened_at + 1, *(at for at, _ in measures), *(row["at"] for row in decided)])
    span = end - found.opened_at
    x = [WIDTH * (at - found.opened_at) / span for at, _ in measures]
    numbers = [each for _, each in measures]
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text).render(
        rollout=found, outcome=_outcome(found, decided), width=WIDTH, height=HEIGHT, opened=_clock(found.opened_at),
        charts=[_weights(x, numbers), _evidence(x, numbers), _budgets(x, numbers)] if measures else [],
        times=_times(span), marks=[(WIDTH * (row["at"] - found.opened_at) / span, row["action"]) for row in decided],
        decided=[_verdict(row) for row in decided], table=_table(numbers[-1]) if numbers else [], paged=paged,
    )  # fmt: skip


def _of_it(row: dict[str, Any], rollout: Rollout) -> bool:
    """A person is paged for what burns after a rollout, too: that stands in its journal, and is none of its decisions."""
    after = rollout.closed_at is not None and row["at"] > rollout.closed_at
    return row["action"] != Action.FINISH and not (after and row["action"] == "paged")


def _outcome(rollout: Rollout, decided: Sequence[dict[str, Any]]) -> str:
    """How it ended or, of an open one, what it lacks."""
    if rollout.outcome not in (None, *TERMINAL):
        return str(rollout.outcome)  # superseded, reverted
    phase = ledger.state_of(rollout).phase
    if phase in TERMINAL:
        return f"{phase.replace('_', ' ')}: {'; '.join(decided[-1]['reasons'])}" if decided else phase.replace("_", " ")
    return f"open: {'; '.join(rollout.state['last'].get('reasons', ['no tick yet']))}"


def _weights(x: Sequence[float], numbers: Sequence[dict[str, float]]) -> Chart:
    """The canary's share of the users: a staircase."""
    y = [HEIGHT * (1 - each["weight"] / 100) for each in numbers]
    steps: list[Point] = []
    for i, at in enumerate(x):
        if i:
            steps.append((at, y[i - 1]))
        steps.append((at, y[i]))
    line = Line("canary", _points(steps), 0, f"{numbers[-1]['weight']:g} %")
    ticks = tuple((HEIGHT * (1 - share / 100), f"{share} %") for share in (0, 50, 100))
    return Chart("Users who get the canary", (line,), ticks)


def _evidence(x: Sequence[float], numbers: Sequence[dict[str, float]]) -> Chart:
    """Each SLI's e-value and their mean, by its logarithm, with the bar 1/alpha."""
    bar = numbers[-1]["log_bar"]
    highest = max([bar, *(log for each in numbers for key, log in each.items() if key.startswith("log_e"))])
    top = min(CEILING, highest / math.log(10) + 0.5)

    def y(log: float) -> float:
        return HEIGHT * (top - min(max(log / math.log(10), FLOOR), top)) / (top - FLOOR)

    keys = [key for key in numbers[-1] if key.startswith("log_e.")]
    named = [("log_e", "all SLIs"), *((key, key.removeprefix("log_e.")) for key in keys)]
    lines = tuple(
        Line(name, _points([(at, y(each[key])) for at, each in zip(x, numbers, strict=True) if key in each]), i % COLOURS,
             f"e = {number(numbers[-1][key])}")
        for i, (key, name) in enumerate(named)
    )  # fmt: skip
    ticks = tuple((y(power * math.log(10)), f"1e{power}" if power else "1") for power in range(int(FLOOR), int(top) + 1))
    return Chart("Is the canary worse? e-values (rolled back at the line)", lines, ticks, (y(bar), f"1/alpha = {number(bar)}"))


def _budgets(x: Sequence[float], numbers: Sequence[dict[str, float]]) -> Chart:
    """The share of each error budget that is left; what is overspent lies under the field's floor."""
    keys = [key for key in numbers[-1] if key.startswith("left.")]
    lines = tuple(
        Line(key.removeprefix("left."),
             _points([(at, HEIGHT * (1 - min(max(each[key], 0.0), 1.0))) for at, each in zip(x, numbers, strict=True)
                      if key in each]), (i + 1) % COLOURS, f"{numbers[-1][key]:.1%}")
        for i, key in enumerate(keys)
    )  # fmt: skip
    ticks = tuple((HEIGHT * (1 - share / 100), f"{share} %") for share in (0, 50, 100))
    return Chart("Error budget left", lines, ticks)


def _table(last: dict[str, float]) -> list[tuple[str, str, str, str]]:
    """(SLI, e-value, budget left, burn) at the end."""
    names = [key.removeprefix("log_e.") for key in last if key.startswith("log_e.")]
    return [
        (name, number(last[f"log_e.{name}"]), *((f"{last[f'left.{name}']:.2%}", f"{last[f'burn.{name}']:.2g}")
         if f"left.{name}" in last else ("compared only", "-")))
        for name in names
    ]  # fmt: skip


def _verdict(row: dict[str, Any]) -> dict[str, Any]:
    numbers = row["numbers"]
    e = number(numbers["log_e"]) if "log_e" in numbers else "-"
    return {"at": _clock(row["at"]), "action": row["action"].replace("_", " "), "reasons": row["reasons"], "e": e,
            "generation": row["generation"]}  # fmt: skip


def _times(span: float) -> list[tuple[float, str]]:
    """Where the axis of time is named: five places."""
    _, unit, name = next(each for each in UNITS if span >= each[0])
    return [(WIDTH * i / 4, f"{span * i / 4 / unit:.3g} {name}") for i in range(5)]


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
