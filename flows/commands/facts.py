"""What `seqline doctor` looks at, gathered when a check first asks: from the gateway, the databases, infra/, the workspace.

A source that does not answer gives None: the check that asked says what cannot be told.
"""

import json
import os
import re
import subprocess
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa

from flows.commands.admin import Admin
from flows.commands.backup import newest
from flows.reading import reading
from flows.settings import Settings, find_spec
from flows.stack.observing import PORTS, found
from pipelines.errors import SeqlineError, Transient
from pipelines.operations import backups
from pipelines.operations.facts import Gateway, Probe, Routes
from pipelines.operations.production import ASKED
from pipelines.rollout import ledger
from pipelines.rollout import status as rollout_status
from pipelines.rollout.evidence import Count
from pipelines.rollout.policy import CERTAIN
from pipelines.rollout.store import Store, decisions, events, rollouts
from pipelines.spec import Spec, load

RECENT = 3_600.0  # seconds of what users met that an incident is judged by
INCIDENT = 86_400.0  # seconds for which a rollback stays one
LABEL = re.compile(r"\{.*\}$")


class Gathered:
    """pipelines.operations.facts.Facts, of a model in a workspace. Every fact is asked for once."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._settings, self._path = settings, find_spec(name, settings)
        self.spec: Spec = load(self._path)
        self.now = time.time()
        self._admin = Admin(self.spec, settings)

    @cached_property
    def status(self) -> Mapping[str, Any] | None:
        store = self._store
        return rollout_status.status(store, self.spec, self.now) if store else None

    @cached_property
    def gateway(self) -> Gateway | None:
        return self._admin.gateway()

    @cached_property
    def metrics(self) -> Mapping[str, float] | None:
        lines = self._admin.metrics()
        if lines is None:
            return None
        summed: dict[str, float] = defaultdict(float)
        for name, value in lines.items():
            summed[LABEL.sub("", name)] += value
        return summed

    @cached_property
    def probe(self) -> Probe | None:
        return self._admin.probe()

    @cached_property
    def scraped(self) -> bool | None:
        """Asked of the stack's Prometheus."""
        query = {"query": f'up{{job="seqline",model="{self.spec.name}"}}'}
        try:
            url = f"http://127.0.0.1:{PORTS['prometheus']}/api/v1/query"
            told = httpx.get(url, params=query, timeout=5, trust_env=False).json()["data"]["result"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):  # or another program holds the port
            return None
        return any(each["value"][1] == "1" for each in told)

    @cached_property
    def latency(self) -> Count | None:
        version = self.status and self.status["production"]
        if not version:
            return None
        good = events.c.slis["latency"].as_boolean()
        mine = sa.and_(events.c.name == self.spec.name, events.c.version == version, events.c.kind == "answer")
        counted = (sa.func.count().filter(good.is_not(None)), sa.func.count().filter(good.is_(False)))
        with reading(self._settings.database) as connection:
            return Count(*connection.execute(sa.select(*counted).where(mine)).one())

    @cached_property
    def actions(self) -> frozenset[str] | None:
        if self._store is None:
            return None
        query = sa.select(decisions.c.action).join(rollouts).where(rollouts.c.name == self.spec.name).distinct()
        with reading(self._settings.database) as connection:
            return frozenset(connection.execute(query).scalars())

    @cached_property
    def lineage(self) -> Mapping[str, Any] | None:
        version = self.status and self.status["production"]
        if not version or not version.isdigit():
            return None
        from pipelines.registry import Registry

        try:
            return Registry(self._settings.mlflow, self._settings.artifacts).lineage(self.spec.name, version)
        except SeqlineError:
            return None

    @cached_property
    def stale(self) -> Sequence[str] | None:
        from flows.stack import infra

        folder = self._settings.project / "infra"
        if not (folder / "prometheus").is_dir():
            return None
        written = infra.files(infra.served(self._settings.project), _region(folder))
        wrong = [
            path
            for path, text in written.items()
            if not (folder / path).is_file() or (folder / path).read_text("utf-8") != text
        ]
        return [*wrong, *infra.stale(written, folder)]

    @cached_property
    def rules(self) -> str | None:
        rules = sorted((self._settings.project / "infra" / "prometheus" / "rules").glob("*.yml"))
        return _complaint("promtool", "check", "rules", *map(str, rules))

    @cached_property
    def routes(self) -> Routes | None:
        path = self._settings.project / "infra" / "alertmanager" / "alertmanager.yml"
        problem = _complaint("amtool", "check-config", str(path))
        if problem is None or problem:
            return None if problem is None else Routes({}, (), problem)
        told = {(team, severity): _receiver(path, team, severity) for team, severity in ASKED}
        return Routes(told, addresses(path))

    @property
    def cores(self) -> int:
        return os.cpu_count() or 1

    @cached_property
    def backup_at(self) -> float | None:
        path = newest(self._settings)
        return max(each.at for each in backups.found(path.parent)) if path else None

    @cached_property
    def recent(self) -> Mapping[str, Mapping[str, Count]] | None:
        if self._store is None:
            return None
        met: list[Any] = [events.c.version]
        for sli in CERTAIN:
            good = events.c.slis[sli].as_boolean()
            met += [sa.func.count().filter(good.is_not(None)), sa.func.count().filter(good.is_(False))]
        shown = sa.and_(events.c.name == self.spec.name, events.c.kind == "answer", sa.not_(events.c.shadow))
        query = sa.select(*met).where(shown, events.c.at >= self.now - RECENT).group_by(events.c.version)
        with reading(self._settings.database) as connection:
            rows = connection.execute(query).all()
        return {row[0]: {sli: Count(row[2 * i + 1], row[2 * i + 2]) for i, sli in enumerate(CERTAIN)} for row in rows}

    @cached_property
    def incident(self) -> float | None:
        """Since the oldest burn that somebody is paged for, or the last rollback within a day."""
        if self.status is None:
            return None
        with reading(self._settings.database) as connection:
            past = ledger.latest_decisions(self.spec.name, 50, connection)
        rolled = [row["at"] for row in past if row["action"] == "rollback" and row["at"] >= self.now - INCIDENT][:1]
        return min([*rolled, *(page["since"] for page in self.status["paged"])], default=None)

    @cached_property
    def doubted(self) -> int | None:
        from pipelines.registry.doubts import Doubts

        try:
            doubts = Doubts(self._settings.mlflow, self._settings.artifacts)
            kept = doubts.since(self.spec.name, self.incident or self.now - RECENT, self.now)
        except SeqlineError:
            return None
        return None if kept is None else len(kept[0])

    @cached_property
    def postmortem_at(self) -> float | None:
        written = (self._settings.workspace / "postmortems").glob(f"{self.spec.name}-*.md")
        mine = [path for path in written if path.stem.removeprefix(f"{self.spec.name}-").isdigit()]  # not NAME-de's
        return max((path.stat().st_mtime for path in mine), default=None)

    @cached_property
    def drained(self) -> Gateway | None:
        path = self._settings.workspace / "run" / f"drained-{self.spec.name}.json"
        return Gateway(**json.loads(path.read_text())) if path.is_file() else None

    @property
    def written_at(self) -> float:
        return self._path.stat().st_mtime

    @cached_property
    def damage(self) -> Sequence[str] | None:
        files = [self._settings.workspace / name for name in backups.DATABASES]
        broken = [f"{path.name}: {said}" for path in files if (said := backups.complaints(path))]
        return broken or self._unusable()

    def _unusable(self) -> list[str]:
        """Versions of the route that cannot be served: each file of theirs is fetched and held against its manifest."""
        from pipelines.registry import Registry

        settings = self._settings
        route = self._store.route(self.spec.name) if self._store else None
        registry, problems = Registry(settings.mlflow, settings.artifacts), []
        for version in (route.champion, route.canary) if route else ():
            if version and version.isdigit():
                try:
                    registry.fetch(self.spec.name, version, settings.folder("live", self.spec.name), settings.signer)
                except SeqlineError as error:
                    problems.append(str(error))
        return problems or ([] if route and route.champion else ["no version is in the route"])

    @cached_property
    def _store(self) -> Store | None:
        store = Store(self._settings.database)
        try:
            store.create()
        except (Transient, sa.exc.SQLAlchemyError):
            return None
        return store


def addresses(path: Path) -> list[str]:
    """Every address of Alertmanager's receivers."""
    from ruamel.yaml import YAML

    content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    configured = (
        config
        for receiver in content.get("receivers", ())
        for kind, several in receiver.items()
        if kind.endswith("_configs")
        for config in several
    )
    names = ("url", "to", "api_url", "channel", "routing_key", "service_key", "chat_id")
    return [str(config[name]) for config in configured for name in names if name in config]


def _region(folder: Path) -> str:
    """The region that prometheus.yml was written for."""
    written = folder / "prometheus" / "prometheus.yml"
    told = re.search(r"region: (\S+)", written.read_text(encoding="utf-8")) if written.is_file() else None
    from pipelines.alerting import scraping

    return told[1] if told else scraping.REGION


def _complaint(program: str, *words: str) -> str | None:
    """The last line of a check that failed, "" where it passed; None where the program is not here."""
    path = found(program)
    if path is None:
        return None
    done = subprocess.run([path, *words], capture_output=True, text=True, check=False)
    lines = (done.stderr + done.stdout).strip().splitlines()
    return "" if not done.returncode else (lines or ["failed"])[-1].strip()


def _receiver(path: Path, team: str, severity: str) -> str:
    """Who is told of such an alert, by amtool's own reading of the routes; "" for nobody."""
    words = ["config", "routes", "test", f"--config.file={path}", f"team={team}", f"severity={severity}"]
    done = subprocess.run([found("amtool") or "amtool", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()
