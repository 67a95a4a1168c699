"""Deletes a model's sampled answers from every store: what is older than the retention (`sweep`), or one request (`forget`).

Gone are the traces in MLflow with their spans, tags, assessments, queue items, files and the evaluation records made of them,
the rows of `seqline labels`, what a look at drift quoted, the ids in logs and postmortems, all of these in the workspace's
backups, and what is left in the free pages of the databases. What shall be deleted is written down first (ids alone): whoever
comes next ends what a kill interrupted.

What was forgotten and came back by a restore of an older backup goes again with the next sweep.

Not deleted: what labels became in a version of a dataset (training data: `seqline data forget`), files that `seqline samples
export` wrote, backups elsewhere, and, by age, what holds no text: what a label said (kept.py), which stays when its request is
forgotten later, and the journal's rows, which an error budget is counted from; these lose their request and sender.
"""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import sqlalchemy as sa

from pipelines.registry import copies, erasing, journal_rows, kept
from pipelines.registry.connect import Connection, asking
from pipelines.registry.forgotten import Forgotten
from pipelines.registry.labels import Labels
from pipelines.registry.queues import Listed, Queues, listed_of, sampled
from pipelines.rollout.store import Store

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

DAY = 86_400.0  # seconds
PAGE = 500
DELETED_AT_ONCE = 100  # what MLflow's server takes in one call
TRACE = "tr-"
NOTHING = MappingProxyType({"traces": 0, "events": 0, "labels": 0, "files": []})


@dataclass(frozen=True)
class Swept:
    """What was deleted of model `name` and what stays: numbers of `traces` and journal rows (`events`), the `files` rewritten
    (relative to the workspace), those `unreached`: what a restore put aside. `kept` traces are left, the oldest of `oldest_at`
    (seconds since the epoch; None: none). `unknown` are the ids to forget of which nothing was there."""

    name: str
    at: float
    before: float | None
    traces: int
    events: int
    labels: int
    files: tuple[str, ...]
    kept: int
    oldest_at: float | None
    seconds: float
    unreached: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON, for retention/NAME.json."""
        days = None if self.before is None else round((self.at - self.before) / DAY, 3)
        return {**asdict(self), "deleted": self.traces, "days": days}


@dataclass(frozen=True)
class Stores:
    """Where a model's samples lie: MLflow at `uri` (its files under `artifacts`), the rollout database (URL `rollout`), the
    workspace. `key` is that of pseudonyms (kept.py)."""

    uri: str
    rollout: str
    workspace: Path
    key: bytes = field(repr=False)
    artifacts: Path | None = None


class Retention(Connection):
    """The stores of model `name`. One process at a time deletes.

    Everything raises Transient: a database does not answer or is busy; the next run ends what was begun.
    """

    def __init__(self, stores: Stores, name: str) -> None:
        super().__init__(stores.uri, stores.artifacts)
        self.name, self.workspace, self._stores = name, stores.workspace, stores
        self.folder = self.workspace / "retention"
        self._pending = self.folder / f"{name}.pending.json"
        self.forgotten = Forgotten(self.workspace, name)
        self.store = Store(stores.rollout)

    def sweep(self, before: float) -> Swept:
        """Delete every sampled answer from before `before` (seconds since the epoch); write retention/NAME.json."""
        with self._alone():
            began, again = time.time(), self._finish()
            self.forgotten.lose(before)
            back, old = self._forget_again(before), self._infos(before)
            traces, requests = [each.trace_id for each in old], sorted({_request(each) for each in old} - {""})
            done = self._plan({"traces": traces, "requests": requests, "before": before})
            swept = self._swept(began, before, again, back, done)
            erasing.write(self.folder / f"{self.name}.json", swept.plain())
            return swept

    def forget(self, wanted: Sequence[str]) -> Swept:
        """Delete all that there is of these requests (ids of a request, or of one of its traces), as `sweep` does by age.

        What their senders say later finds nothing to join.
        """
        with self._alone():
            began, begun, again = time.time(), self._begun(), self._finish()
            infos = list(self._infos())
            known = {*begun, *(one for each in infos for one in (each.trace_id, _request(each)))}
            known |= journal_rows.named(self.store, self.name, {*wanted})
            named = {_request(each) for each in infos if each.trace_id in wanted} - {""}
            requests = {*named, *(each for each in wanted if not each.startswith(TRACE))}
            self.forgotten.add(sorted(requests), began)  # first: what review is about to write must not come after
            traces = [each.trace_id for each in infos if _request(each) in requests or each.trace_id in wanted]
            done = self._plan({"traces": traces, "requests": sorted(requests), "before": None})
            return replace(self._swept(began, None, again, done), unknown=tuple(each for each in wanted if each not in known))

    def _forget_again(self, before: float) -> dict[str, Any]:
        """Delete what was forgotten and is there nevertheless: review was writing it, or an older backup was restored."""
        if not self.forgotten.hashes:
            return dict(NOTHING)
        infos = [each for each in self._infos() if _request(each) in self.forgotten]
        named = journal_rows.named(self.store, self.name, self.forgotten, before)
        requests = sorted({*named, *(_request(each) for each in infos)})
        if not requests:
            return dict(NOTHING)
        return self._plan({"traces": [each.trace_id for each in infos], "requests": requests, "before": None})

    def _plan(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Write down what shall be deleted, delete it, and count."""
        erasing.write(self._pending, plan)
        return self._finish(resumed=False)

    def _finish(self, resumed: bool = True) -> dict[str, Any]:
        """Delete what is written down, if anything is; what was deleted. Each part can be repeated.

        `resumed`: a killed run began it, which may have deleted all and cleared nothing.
        """
        if not self._pending.is_file():
            return dict(NOTHING)
        plan = json.loads(self._pending.read_text(encoding="utf-8"))
        labels = 0 if plan["before"] is None else self._keep_counts(frozenset(plan["traces"]), plan["before"])
        traces = self._traces(plan["traces"])
        self.store.create()
        rows = (
            journal_rows.delete(self.store, self.name, plan["requests"])
            if plan["before"] is None
            else journal_rows.blank(self.store, self.name, plan["before"])
        )
        files = self._files(plan)
        if traces or rows or files or resumed:
            for database in self._databases():
                erasing.purge(database)
        self._pending.unlink()
        return {"traces": traces, "events": rows, "labels": labels, "files": files}

    def _begun(self) -> set[str]:
        """The ids in what a killed run wrote down and did not end."""
        plan = json.loads(self._pending.read_text(encoding="utf-8")) if self._pending.is_file() else {}
        return {*plan.get("traces", ()), *plan.get("requests", ())}

    @asking
    def _keep_counts(self, traces: frozenset[str], before: float) -> int:
        """Keep what labels on `traces`, of before `before`, say for the corrected rate, without texts; how many."""
        if not traces or self._experiment is None or self._experiment.lifecycle_stage != "active":
            return 0
        rows = [row for row in Labels(self.uri, self._stores.artifacts).judged(self.name).rows if row.item in traces]
        waiting, answered = Queues(self.uri, self.name, self._stores.artifacts).waiting(), {row.item for row in rows}
        old = [listed_of(each) for each in self._infos(before) if sampled(each) and each.trace_id in traces]
        put = [each for each in old if _put_away(each, waiting, answered)]
        left = [kept.Put(each.trace, each.version, bool(each.flagged)) for each in put]
        return kept.add(kept.path_of(self.workspace, self.name), self._stores.key, rows, left)

    @asking
    def _traces(self, traces: Sequence[str]) -> int:
        """Delete these from MLflow, their files and the evaluation records made of them; how many were there."""
        if not traces or self._experiment is None:
            return 0
        self._records(frozenset(traces))
        found = 0
        for start in range(0, len(traces), DELETED_AT_ONCE):
            some = list(traces[start : start + DELETED_AT_ONCE])
            found += self.client.delete_traces(self._experiment.experiment_id, trace_ids=some)
        place = urlsplit(self._experiment.artifact_location)
        if place.scheme in ("", "file"):
            for each in traces:
                shutil.rmtree(Path(unquote(place.path)) / "traces" / each, ignore_errors=True)
        return found

    def _records(self, traces: frozenset[str]) -> None:
        """Delete from the experiment's evaluation datasets what people made of these traces."""
        from mlflow.tracing.client import TracingClient

        assert self._experiment is not None
        store, token = TracingClient(self.uri).store, None
        while True:
            page = store.search_datasets(experiment_ids=[self._experiment.experiment_id], max_results=PAGE, page_token=token)
            for each in page:
                records, _ = store._load_dataset_records(each.dataset_id)
                made = [record.dataset_record_id for record in records if _trace_of(record) in traces]
                if made:
                    store.delete_dataset_records(each.dataset_id, made)
            token = page.token
            if not token:
                return

    @asking
    def _files(self, plan: dict[str, Any]) -> list[str]:
        """Take what was planned out of the workspace's files; those that changed."""
        space, traces = self.workspace, frozenset(plan["traces"])
        changed = erasing.unlabel(space / "labels" / self.name, traces)
        if traces:
            look, page = space / "drift" / f"{self.name}.json", space / "pages" / f"drift-{self.name}.html"
            left = self._infos() if look.is_file() else []
            texts = {text for each in left for text in (each.request_preview or "", each.response_preview or "")}
            changed += erasing.unquote(look, page, texts)
        named = (*(space / "logs").glob("*.log*"), *(space / "postmortems").glob("*.md"))
        changed += erasing.blank(named, {*traces, *plan["requests"]})
        changed += copies.strip(space, self.name, plan)
        return [str(path.relative_to(space)) for path in changed]

    def _databases(self) -> list[Path]:
        """The SQLite files that hold these stores. An MLflow server's is the workspace's, where there is one."""
        own = self._database or self.workspace / "mlflow.db"
        url = sa.make_url(self._stores.rollout)
        others = [Path(url.database)] if url.get_backend_name() == "sqlite" and url.database else []
        return [path for path in (own, *others) if path.is_file()]

    def _swept(self, began: float, before: float | None, *done: dict[str, Any]) -> Swept:
        times = [each.request_time / 1000 for each in self._infos()]
        counts = {key: sum(each[key] for each in done) for key in ("traces", "events", "labels")}
        files = tuple(sorted({path for each in done for path in each["files"]}))
        oldest = min(times, default=None)
        unreached = tuple(str(path.relative_to(self.workspace)) for path in copies.aside(self.workspace))
        return Swept(
            self.name, began, before, files=files, kept=len(times), oldest_at=oldest, seconds=time.time() - began,
            unreached=unreached, **counts,
        )  # fmt: skip

    @cached_property
    def _experiment(self) -> Any:
        """The model's experiment, one that a person deleted too: its traces are still there. None: nothing was sampled."""
        return self.client.get_experiment_by_name(self.name)

    @asking
    def _infos(self, before: float | None = None) -> "list[TraceInfo]":
        """All traces of the experiment, also those that broke half way; those of before `before` alone, if that is given."""
        found: list[TraceInfo] = []
        wanted = None if before is None else f"timestamp_ms < {round(before * 1000)}"
        token = None
        while self._experiment is not None:
            page = self.client.search_traces(
                locations=[self._experiment.experiment_id],
                filter_string=wanted,
                max_results=PAGE,
                page_token=token,
                include_spans=False,
            )
            found += [trace.info for trace in page]
            token = page.token
            if not token:
                break
        return found

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with erasing.alone(self.workspace):
                yield
        finally:
            self.store.engine.dispose()


def _put_away(each: Listed, waiting: frozenset[str], answered: set[str]) -> bool:
    """Drawn by its verdict, waits no longer, and nobody said anything that can be read."""
    drawn = each.flagged is not None and ("flagged" if each.flagged else "passed") in each.drawn
    return drawn and each.trace not in waiting | answered


def _request(info: "TraceInfo") -> str:
    return info.client_request_id or ""


def _trace_of(record: Any) -> str:
    """The trace that a record of an evaluation dataset was made of, empty where it was none."""
    return str((record.source.source_data or {}).get("trace_id", "")) if record.source else ""
