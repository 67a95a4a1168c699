"""What the status page shows, gathered in the background: each source every few seconds, none waiting for another.

A source that fails says so where its fact stands, which keeps its last value and its age. None takes more than a tenth of
the time: one that needs long is asked less often.
"""

import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx

from flows.overview import asking, standing
from flows.serve import address
from flows.settings import Settings
from flows.stack.members import PREFECT_API
from flows.stack.observing import PORTS, SHOWS
from pipelines.errors import SeqlineError, Transient
from pipelines.overview import files
from pipelines.overview.facts import Day, Known, Model, Overview, Place, Scheduled, Standing
from pipelines.overview.onlooker import Onlooker, judged
from pipelines.rollout.store import Store
from pipelines.spec import Spec, kind_of, load

T = TypeVar("T")

ROUND = 3.0  # seconds between two gatherings
PATIENCE = 2.5  # seconds that a gathering waits for sources; what comes later stands in the next one
WORKERS = 8
SHARE = 10  # a source is at work one part of so many of the time, at most
TREND_DAYS = 30
HOUR, DAY = 3_600.0, 86_400.0  # seconds
FILES: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], Any], float]] = {
    "drift": ("drift/{}.json", files.drift, 3 * HOUR),
    "watch": ("watch/{}.json", files.watch, 3 * HOUR),
    "cost": ("cost/{}.json", files.cost, 3 * HOUR),
    "doctor": ("doctor/{}.json", files.doctor, 7 * DAY),
    "labels": ("labels/{}/told.json", files.labels, 7 * DAY),
    "kept": ("retention/{}.json", files.kept, 2 * DAY),
}
"""Fact of a model -> where another part of seqline leaves it in the workspace, how it is read, and after how long it is old."""

log = logging.getLogger(__name__)


@dataclass
class Source(Generic[T]):
    """Something to look at every so many seconds. `known` is what was found last; only `look` changes it."""

    what: str
    every: float
    read: Callable[[float], T | Known[T]]
    stale_after: float
    known: Known[T] = field(default_factory=Known)
    due: float = 0.0

    def look(self) -> None:
        """Read once, and say when it is due again. Never raises."""
        now, began = time.time(), time.monotonic()
        try:
            found = self.read(now)
            took = time.monotonic() - began
            old = max(self.stale_after, 2 * SHARE * took)  # one that needs long is not called old for that
            self.known = found if isinstance(found, Known) else Known(found, now, "", old)
        except FileNotFoundError:
            self.known = Known(stale_after=self.stale_after)  # nobody wrote it yet
        except Exception as error:
            self.known = replace(self.known, problem=self._told(error))
        self.due = time.monotonic() + max(self.every, (SHARE - 1) * (time.monotonic() - began))

    def _told(self, error: Exception) -> str:
        """In a few words, without what an error may quote: a path, an address, somebody's text."""
        if isinstance(error, httpx.HTTPStatusError):
            return f"{self.what} refuses: status {error.response.status_code}"
        if isinstance(error, httpx.TimeoutException):
            return f"{self.what} is too busy to answer"
        if isinstance(error, httpx.HTTPError):
            return f"{self.what} does not answer"
        if isinstance(error, Transient):
            return f"{self.what} does not answer ({type(error.__cause__ or error).__name__})"
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError):
            log.warning("%s: %s in what it says", self.what, type(error).__name__)
            return f"{self.what} says nothing that can be read ({type(error).__name__})"
        log.exception("%s", self.what) if not isinstance(error, SeqlineError | OSError) else None
        return f"{self.what}: {type(error).__name__}"


class Gatherer:
    """All sources of a workspace. `latest` is the last whole gathering."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._http, self._mlflow_http = asking.client(), asking.mlflow_client()
        self._store = Onlooker(settings.database)
        self._made = threading.Event()
        self._specs: dict[Path, tuple[float, Spec]] = {}
        self._problem = ""
        self._models: dict[str, dict[str, Source[Any]]] = {}
        self._servers = dict(self._of_servers())
        self._running: dict[int, Future[None]] = {}
        self.latest = Overview(time.time(), (), ())

    def _of_servers(self) -> Iterator[tuple[str, Source[Any]]]:
        http, prefect, prometheus = self._http, prefect_api(), _local(PORTS["prometheus"])
        yield "scheduled", Source("Prefect", 30, lambda _: asking.scheduled(http, prefect), 120)
        yield "alerts", Source("Prometheus", 10, lambda _: asking.alerts(http, prometheus), 45)
        yield "doubts", Source("Prometheus", 300, lambda now: asking.doubts(http, prometheus, now), 1_200)
        for what, url in (
            ("Alertmanager", f"{_local(PORTS['alertmanager'])}/-/ready"),
            ("MLflow", f"{self.settings.mlflow_ui}/health"),
        ):
            yield what, Source(what, 15, partial(_answers, http, url), 60)

    def _of_model(self, spec: Spec) -> Iterator[tuple[str, Source[Any]]]:
        yield "standing", Source("the rollout database", ROUND, partial(self._standing, spec), 60)
        yield "gateway", Source("the gateway", 5, asking.Asked(self._http, address(spec)), 20)
        yield "judged", Source("the rollout database", 300, partial(self._judged, spec.name), 7_200)
        mlflow = self.settings.mlflow_ui
        yield "memory", Source("MLflow", 30, lambda _: asking.memory(self._mlflow_http, mlflow, spec.name), 120)
        for what, (path, read, old) in FILES.items():
            left = self.settings.workspace / path.format(spec.name)
            yield what, Source(path.format(spec.name), 5, partial(_left, left, read, old), old)

    def _standing(self, spec: Spec, now: float) -> Standing:
        self._create()
        return standing.of(self._store, spec, now)

    def _judged(self, name: str, now: float) -> tuple[Day, ...]:
        self._create()
        with self._store.transaction() as connection:
            return judged(name, now - TREND_DAYS * DAY, connection)

    def _create(self) -> None:
        """A fresh workspace has no tables yet; whoever looks first makes them, as `seqline status` does."""
        if not self._made.is_set():
            self.settings.folder()
            made = Store(self.settings.database)
            made.create()
            made.engine.dispose()
            self._made.set()

    def gather(self, patience: float = PATIENCE) -> Overview:
        """Ask every source that is due, wait `patience` seconds at most, and give back what is known then."""
        self._read_specs()
        every = [*self._servers.values(), *(source for some in self._models.values() for source in some.values())]
        self._running = {key: future for key, future in self._running.items() if not future.done()}
        for source in every:
            if source.due <= time.monotonic() and id(source) not in self._running:
                self._running[id(source)] = self._pool.submit(source.look)
        wait(self._running.values(), patience)
        self.latest = self._overview(time.time())
        return self.latest

    @contextmanager
    def at_work(self) -> Iterator["Gatherer"]:
        """For as long as the block sources can be asked; what is still asked at its end is waited for."""
        with ThreadPoolExecutor(WORKERS, "gathering") as self._pool, self._http, self._mlflow_http:
            try:
                yield self
            finally:
                self._pool.shutdown(cancel_futures=True)
                self._store.engine.dispose()

    def _read_specs(self) -> None:
        """The models that a gateway may serve. One whose YAML breaks rules keeps its last spec, and the page says so."""
        found, broken = {}, []
        for path in sorted((self.settings.project / "models").glob("*.yaml")):
            try:
                written, known = path.stat().st_mtime, self._specs.get(path)
                if known and known[0] == written:
                    found[path] = known
                elif kind_of(path) not in ("base", "judge"):
                    found[path] = (written, load(path))
            except (SeqlineError, OSError) as error:
                broken.append(f"{path.name}: {str(error).splitlines()[0].rpartition('/')[2]}")
                found |= {path: self._specs[path]} if path in self._specs else {}
        names = Counter(spec.name for _, spec in found.values())
        twice = [(path, spec.name) for path, (_, spec) in found.items() if names[spec.name] > 1]
        broken += [f"{path.name}: another YAML has the name {name}" for path, name in twice]
        for path, (written, spec) in found.items():
            if self._specs.get(path, (None,))[0] != written:
                self._models[spec.name] = dict(self._of_model(spec))
        self._specs, self._problem = found, "; ".join(broken)

    def _overview(self, now: float) -> Overview:
        specs = [spec for _, spec in self._specs.values()]
        planned: Known[tuple[Scheduled, ...]] = self._servers["scheduled"].known
        names = {spec.name for spec in specs}
        others = tuple(each for each in planned.value or () if each.model not in names)
        runbooks = tuple(sorted(path.stem for path in (self.settings.project / "infra" / "runbooks").glob("*.md")))
        return Overview(now, tuple(map(self._model, specs)), tuple(self._places()), others, runbooks, self._problem)

    def _model(self, spec: Spec) -> Model:
        name = spec.name
        facts: dict[str, Known[Any]] = {what: source.known for what, source in self._models[name].items()}
        shared = {what: _mine(self._servers[what].known, name) for what in ("alerts", "doubts")}
        planned: Known[tuple[Scheduled, ...]] = self._servers["scheduled"].known
        mine = tuple(each for each in planned.value or () if each.model == name)
        scheduled = replace(planned, value=mine if planned.value is not None else None)
        seconds = spec.slo.latency.target_ms / 1000
        return Model(name, spec.task, seconds, address(spec), **facts, **shared, scheduled=scheduled)

    def _places(self) -> Iterator[Place]:
        prefect = self._servers["scheduled"].known
        yield _place("Prefect", prefect_api().removesuffix("/api"), "flows, schedules, runs", prefect)
        yield _place("MLflow", self.settings.mlflow_ui, "versions, approvals, labels", self._servers["MLflow"].known)
        for what, port in PORTS.items():
            known = self._servers["alerts" if what == "prometheus" else what.capitalize()].known
            yield _place(what.capitalize(), _local(port), SHOWS[what], known)
        yield Place("Grafana", "", "three dashboards: import infra/grafana/*.json", None, "not part of the stack")


def prefect_api() -> str:
    """The Prefect server that the environment names, or that of `seqline up`."""
    return os.environ.get("PREFECT_API_URL", PREFECT_API)


def _local(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _answers(http: httpx.Client, url: str, _now: float) -> bool:
    http.get(url).raise_for_status()
    return True


def _left(path: Path, read: Callable[[Mapping[str, Any]], T], old: float, _now: float) -> Known[T]:
    """What a file says, as of when it was written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Known(read(content), float(content["at"]), "", old)


def _mine(known: Known[Any], name: str) -> Known[Any]:
    """A model's part of what a server said of all; nothing of it is no problem."""
    return replace(known, value=None if known.value is None else known.value.get(name))


def _place(what: str, url: str, shows: str, known: Known[Any]) -> Place:
    return Place(what, url, shows, None if known.at is None and not known.problem else not known.problem, known.problem)
