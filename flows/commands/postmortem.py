"""`seqline postmortem NAME`: a draft from the history: data, deploy, how long until it was noticed, requests hurt, samples."""

import json
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.reporting import report
from flows.settings import Settings, spec_of
from pipelines.errors import SeqlineError, UserError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from pipelines.operations.postmortem import Impact, Link, Moment, Story
    from pipelines.rollout.store import Rollout

AFTER = 5.0  # seconds after the decision in which gateways followed and wrote what was in flight


def postmortem(
    name: Annotated[str, typer.Argument(help="The model's name, or the path of its YAML.")],
    rollout: Annotated[int, typer.Option(help="Its number; by default the last one that was rolled back.")] = 0,
    again: Annotated[
        bool, typer.Option("--again", help="Write over a draft that is there, and over what people wrote.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draft a postmortem of a rollout, with blanks for what only people know."""
    from pipelines.operations import postmortem as drafting
    from pipelines.rollout.store import Store

    settings = Settings().apply()
    spec = spec_of(name, settings)
    Store(settings.database).create()
    chosen = find(settings.database, spec.name, rollout)
    path = settings.folder("postmortems") / f"{spec.name}-{chosen.id}.md"
    if path.exists() and not again:
        raise UserError(f"{path}: there already: people may have written into it: read it, or add --again")
    story = told(chosen, settings)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(drafting.draft(story, time.time()), encoding="utf-8")
    fresh.replace(path)
    detected = None if story.detection is None else round(story.detection, 3)
    facts = {"path": str(path), "rollout": chosen.id, "version": story.version, "detection_seconds": detected}
    facts |= {"requests_hurt": story.hurt, "users_hurt": story.users, "users_unknown": story.unknown, "samples": story.kept}
    text = (
        f"{path}: rollout {chosen.id}, version {story.version}: "
        f"{story.hurt:,} requests of {drafting.users(story.users, story.unknown)} hurt\n"
        f"next           fill in what is marked: grep -n 'To fill in' {path}"
    )
    report(facts, as_json, text)


def find(database: str, name: str, number: int) -> "Rollout":
    """The rollout with this number, or the last one that was taken back.

    Raises:
        UserError: there is none.
    """
    import sqlalchemy as sa

    from flows.reading import reading
    from pipelines.rollout.store import Rollout, decisions, rollouts

    mine = sa.select(rollouts).where(rollouts.c.name == name)
    back = sa.select(decisions.c.rollout).where(decisions.c.action.in_(("rollback", "set_back")))
    wanted = mine.where(rollouts.c.id == number) if number else mine.where(rollouts.c.id.in_(back))
    with reading(database) as connection:
        row = connection.execute(wanted.order_by(rollouts.c.id.desc()).limit(1)).mappings().first()
    if row is None:
        why = f"it has no rollout {number}" if number else "nothing was ever rolled back"
        raise UserError(f"{name}: {why}: `seqline history {name}` lists what there was; give one by --rollout")
    return Rollout(**row)


def told(rollout: "Rollout", settings: Settings) -> "Story":
    """All that is remembered of a rollout."""
    from flows.reading import reading
    from pipelines.operations.postmortem import Story
    from pipelines.rollout import ledger

    with reading(settings.database) as connection:
        decided = ledger.decisions_of(rollout.id, connection)
        ended = next((row for row in reversed(decided) if row["action"] in ("rollback", "set_back")), None)
        until = (ended["at"] + AFTER) if ended else (rollout.closed_at or time.time())
        seen = _Seen(rollout, until, connection)
        moments = [*_decisions(decided, rollout), *seen.moments(), *_runbooks(rollout, until, settings)]
        first_bad, mirrored = seen.first_bad()
        hurt, users, unknown = seen.hurt()
        counted = {
            "impacts": seen.impacts(),
            "judged": seen.judged(),
            "served_at": seen.served_at(),
            "hurt": hurt,
            "users": users,
            "unknown": unknown,
        }
    samples, kept = _samples(rollout, until, settings)
    return Story(
        model=rollout.name,
        rollout=rollout.id,
        version=rollout.version,
        champion=rollout.champion,
        outcome=(rollout.outcome or "still open").replace("_", " "),
        opened_at=rollout.opened_at,
        bad_at=first_bad,
        bad_mirrored=mirrored,
        ended_at=ended["at"] if ended else None,
        reasons=ended["reasons"] if ended else (),
        moments=moments,
        lineages=dict(_lineages(rollout, settings)),
        samples=samples,
        kept=kept,
        **counted,
    )


class _Seen:
    """The journal between a rollout's beginning and `until`."""

    def __init__(self, rollout: "Rollout", until: float, connection: "sa.Connection") -> None:
        import sqlalchemy as sa

        from pipelines.rollout.policy import CERTAIN
        from pipelines.rollout.store import events

        self._sa, self._events, self._slis = sa, events, CERTAIN
        self._version, self._connection = rollout.version, connection
        self._span = sa.and_(events.c.name == rollout.name, events.c.at >= rollout.opened_at, events.c.at <= until)
        self._mine = sa.and_(self._span, events.c.version == rollout.version, events.c.kind == "answer")
        self._bad = sa.or_(*(events.c.slis[sli].as_boolean().is_(False) for sli in CERTAIN))

    def served_at(self) -> float | None:
        shown = self._sa.and_(self._mine, self._sa.not_(self._events.c.shadow))
        found: float | None = self._connection.execute(
            self._sa.select(self._sa.func.min(self._events.c.at)).where(shown)
        ).scalar()
        return found

    def first_bad(self) -> tuple[float | None, bool]:
        """When its first bad answer was given, and whether that was a mirrored one."""
        query = self._sa.select(self._events.c.at, self._events.c.shadow).where(self._mine, self._bad)
        row = self._connection.execute(query.order_by(self._events.c.at).limit(1)).first()
        return (row[0], bool(row[1])) if row else (None, False)

    def hurt(self) -> tuple[int, int, int]:
        """Requests of users that were bad in anything promised, their distinct users, and how many name no sender any more."""
        return self._users(self._mine, self._bad, self._sa.not_(self._events.c.shadow))

    def _users(self, *where: Any) -> tuple[int, int, int]:
        """Rows, distinct senders, and rows without one: retention took it out."""
        user, count = self._events.c.user_hmac, self._sa.func.count
        query = self._sa.select(count(), count(user.distinct()).filter(user != ""), count().filter(user == ""))
        rows, known, unknown = self._connection.execute(query.where(*where)).one()
        return int(rows), int(known), int(unknown)

    def impacts(self) -> "list[Impact]":
        """By SLI; one that nothing was asked of is left out."""
        from pipelines.operations.postmortem import Impact

        events, sa = self._events, self._sa
        mine = sa.and_(self._mine, sa.not_(events.c.shadow))
        beside = sa.and_(self._span, events.c.version != self._version, events.c.kind == "answer", sa.not_(events.c.shadow))
        found = []
        for sli in self._slis:
            good = events.c.slis[sli].as_boolean()
            _, hurt, unknown = self._users(mine, good.is_(False))
            found.append(Impact(sli, self._count(sli, mine), hurt, self._count(sli, beside), unknown))
        return [each for each in found if each.version.n or each.beside.n]

    def judged(self) -> Any:
        events = self._events
        return self._count("judge", self._sa.and_(self._span, events.c.version == self._version, events.c.kind == "verdict"))

    def moments(self) -> "Iterator[Moment]":
        """What the journal adds to the timeline."""
        from pipelines.operations.postmortem import Moment

        if served := self.served_at():
            yield Moment(served, f"first answer of version {self._version} to a user")
        bad, mirrored = self.first_bad()
        if bad:
            yield Moment(bad, f"**first bad answer** of version {self._version}{' (mirrored)' if mirrored else ''}")
        query = self._sa.select(self._events.c.at).where(self._span, self._events.c.kind == "fuse").order_by(self._events.c.at)
        for at in self._connection.execute(query.limit(10)).scalars():
            yield Moment(at, "a gateway cut the canary off by itself")

    def _count(self, sli: str, where: Any) -> Any:
        from pipelines.rollout.evidence import Count

        good = self._events.c.slis[sli].as_boolean()
        counts = (self._sa.func.count().filter(good.is_not(None)), self._sa.func.count().filter(good.is_(False)))
        return Count(*self._connection.execute(self._sa.select(*counts).where(where)).one())


def _decisions(decided: list[dict[str, Any]], rollout: "Rollout") -> "Iterator[Moment]":
    from pipelines.operations.postmortem import Moment

    yield Moment(rollout.opened_at, f"rollout {rollout.id} of version {rollout.version} opened")
    for row in decided:
        strong = "**" if row["action"] in ("rollback", "set_back") else ""
        yield Moment(row["at"], f"{strong}{row['action'].replace('_', ' ')}{strong}: {row['reasons'][0]}")


def _runbooks(rollout: "Rollout", until: float, settings: Settings) -> "Iterator[Moment]":
    """The steps of runbooks that people ran meanwhile, and in the hour after."""
    from pipelines.operations.postmortem import Moment

    path = settings.workspace / "runbooks" / f"{rollout.name}.jsonl"
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines() if path.is_file() else ()):
        if rollout.opened_at <= row["at"] <= until + 3_600:
            end = "ok" if not row["code"] else f"failed ({row['code']})"
            yield Moment(
                row["at"], f"runbook {row['runbook']}, step {row['step']}, by {row['by']}: {row['text'].rstrip(':')}: {end}"
            )


def _lineages(rollout: "Rollout", settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    from pipelines.registry import Registry

    for version in (rollout.champion, rollout.version):
        if version and version.isdigit():
            try:
                yield version, Registry(settings.mlflow, settings.artifacts).lineage(rollout.name, version)
            except SeqlineError:
                continue


def _samples(rollout: "Rollout", until: float, settings: Settings) -> "tuple[list[Link], int]":
    """Links to the newest doubted answers of the version, and how many there are."""
    from pipelines.operations.postmortem import SHOWN, Link
    from pipelines.registry.doubts import Doubts

    try:
        found = Doubts(settings.mlflow, settings.artifacts).since(rollout.name, rollout.opened_at, until)
    except SeqlineError:
        found = None
    if found is None:
        return [], 0
    doubted, experiment = found
    mine = [each for each in doubted if each.version == rollout.version]
    page = f"{settings.mlflow_ui}/#/experiments/{experiment}/traces?selectedEvaluationId="
    return [Link(each.at, each.reason, page + each.trace) for each in mine[:SHOWN]], len(mine)
