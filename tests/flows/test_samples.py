"""Sampled answers from the review process to their end: counted, exported, forgotten, swept; then no byte of them is left.

They came in by a real review process, MLflow and the rollout database are real SQLite files; the search reads every byte of
the project, packed or not, and finds everything before the deletion. Killed at any call, the next run ends what was begun.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Expectation, Feedback
from mlflow.tracing.client import TracingClient
from typer.testing import CliRunner

from flows.cli import app
from flows.commands.labels import Read
from flows.commands.samples import strangeness
from flows.settings import Settings
from pipelines.errors import Transient, UserError
from pipelines.operations import backups
from pipelines.registry import Registry, copies, erasing, journal_rows, kept, retention
from pipelines.registry.forgotten import Forgotten
from pipelines.registry.labels import Judged, judged
from pipelines.registry.queues import Queues
from pipelines.rollout.store import Event, Route, Store
from pipelines.rollout.tables import events
from pipelines.scrub.sweep import sweep
from pipelines.serving.pairs import Pair
from tests.flows.test_judge import Process, eventually

MODELS = Path(__file__).parent.parent.parent / "models"
OLD, YOUNG = 30, 6
DAY = 86_400.0
NOW = time.time()


def word(number: int) -> str:
    """A word that stands nowhere else in the world."""
    return "plant" + hashlib.sha256(f"word {number}".encode()).hexdigest()[:12]


def request(number: int) -> str:
    return hashlib.sha256(f"request {number}".encode()).hexdigest()[:32]


def pair(number: int, **more: Any) -> dict[str, Any]:
    at = NOW - (40 + number if number < OLD else 2) * DAY
    told = {"request": request(number), "user_hmac": "u" * 64, "arm": "champion", "version": "2", "shadow": False, "at": at}
    told |= {"source": f"Package: {word(number)} draws maps", "output": f"a tool called {word(number)}", "reason": "random"}
    return {**told, "flagged": number % 3 == 0, "support": 0.2 if number % 3 == 0 else 0.9, "index": 0, **more}


OLD_WORDS, YOUNG_WORDS = [word(n) for n in range(OLD)], [word(n) for n in range(OLD, OLD + YOUNG)]
SUGGESTED, CORRECTED, SPANNED = word(100), word(101), word(102)
PLANTED = [*OLD_WORDS, SUGGESTED, CORRECTED, SPANNED]


class Place:
    """A project with the default model and its stores in the workspace."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / ".seqline"
        self.uri, self.database = f"sqlite:///{self.home}/mlflow.db", f"sqlite:///{self.home}/rollout.db"

    @contextmanager
    def reviewing(self) -> Iterator["Reviewing"]:
        """The review process, on these stores."""
        log = self.home / "logs" / "review.log"
        process = Process(["--name", "synopsis", "--per-hour", "1000"], log, "flows.services.review")
        try:
            yield Reviewing(process)
        finally:
            process.end()

    def seqline(self, *words: str) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def found(self, values: Sequence[str]) -> list[str]:
        """The files in which any of `values` stands."""
        return sorted({path.name for path, _ in sweep(values, [self.folder])})

    def state(self) -> dict[str, Any]:
        """What is there, by what it says."""
        held = MlflowClient(tracking_uri=self.uri).search_traces(locations=["1"], max_results=500)
        texts = ("labels/synopsis/kept.json", "labels/synopsis/told.json", "drift/synopsis.json", "logs/mlflow.log")
        return {
            "traces": {each.info.trace_id: sorted(each.info.tags.items()) for each in held},
            "journal": journal(self),
            "labels": pq.read_table(self.home / "labels" / "synopsis" / "labels.parquet").to_pylist(),
            "files": sorted(path.name for path in self.home.rglob("*") if path.is_file() and "rollout.db" not in path.name),
            **{path: (self.home / path).read_text() for path in texts if (self.home / path).is_file()},
        }


class Reviewing:
    """Asked by a new connection each time: on a busy machine one that is kept is closed meanwhile."""

    def __init__(self, process: Process) -> None:
        self.url = f"http://127.0.0.1:{process.ready['port']}"

    def send(self, *pairs: dict[str, Any]) -> None:
        before = self.handled()
        assert httpx.post(f"{self.url}/pairs", json={"pairs": pairs}, timeout=120).status_code == 202
        eventually(lambda: self.handled() == before + len(pairs))

    def told(self) -> dict[str, int]:
        found: dict[str, int] = httpx.get(f"{self.url}/healthz", timeout=120).json()
        return found

    def handled(self) -> int:
        told = self.told()
        assert told["failed"] == 0
        return sum(told[name] for name in ("kept", "joined", "dropped", "forgotten"))


def here(folder: Path, patch: pytest.MonkeyPatch) -> Place:
    """The project in `folder` is the one that commands find."""
    patch.setenv("SEQLINE_PROJECT", str(folder))
    patch.setenv("SEQLINE_HOME", str(folder / ".seqline"))
    for name in ("SEQLINE_DATABASE", "MLFLOW_TRACKING_URI"):
        patch.delenv(name, raising=False)
    return Place(folder)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing was served, to copy."""
    folder = tmp_path_factory.mktemp("empty") / "project"
    for each in ("models", ".seqline/logs"):
        (folder / each).mkdir(parents=True)
    shutil.copy(MODELS / "synopsis.yaml", folder / "models")
    Registry(f"sqlite:///{folder / '.seqline' / 'mlflow.db'}")
    return folder


@pytest.fixture(scope="module")
def full(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which answers were sampled and went the whole way, to copy."""
    folder = tmp_path_factory.mktemp("full") / "project"
    shutil.copytree(empty, folder)
    with pytest.MonkeyPatch.context() as patch:
        fill(here(folder, patch))
    return folder


@pytest.fixture
def bare(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    shutil.copytree(empty, tmp_path / "project")
    return here(tmp_path / "project", monkeypatch)


@pytest.fixture
def place(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    shutil.copytree(full, tmp_path / "project")
    return here(tmp_path / "project", monkeypatch)


def fill(place: Place) -> None:
    """Old and young answers went the whole way: traces, verdicts, feedback, queue, labels, a correction, an evaluation record,
    a look at drift with its page, ids in a log, the journal."""
    said = {"by": "u1", "at": 2.5, "number": 1, "rating": "down", "correction": f"say {SUGGESTED}", "comment": None}
    spoken = pair(3, reason="feedback", weight=1.0, feedback=said)
    with place.reviewing() as review:
        review.send(*(pair(n) for n in range(OLD + YOUNG)), spoken)
    store = Store(place.database)
    store.create()
    rows = [(f"g{kind}", n, kind) for n in range(OLD + YOUNG) for kind in ("answer", "verdict")]
    for gateway, n, kind in rows:
        slis = {"judge": n % 3 != 0} if kind == "verdict" else {"availability": True}
        made = Event(request(n), "u" * 64, "champion", "2", pair(n)["at"], slis, kind=kind, gateway=gateway, seq=n)
        store.append("synopsis", gateway, [made])
    with store.transaction() as connection:
        store.set_route("synopsis", Route("2"), connection)
    store.engine.dispose()
    place.seqline("labels", "synopsis", "fill", "--n", str(OLD + YOUNG))
    answer(place)
    place.seqline("labels", "synopsis", "status")
    record(place)
    sides = [{"side": "input", "examples": [pair(n)["source"] for n in (0, OLD)], "came": [word(0), "draws"]}]
    for path, text in {
        "drift/synopsis.json": json.dumps({"name": "synopsis", "sides": sides}),
        "pages/drift-synopsis.html": f"<p>{pair(0)['source']}</p>",
        "logs/mlflow.log": "".join(f"GET /traces/{trace(n)} for {request(n)} 200\n" for n in (0, OLD)),
    }.items():
        (place.home / path).parent.mkdir(exist_ok=True)
        (place.home / path).write_text(text)
    for at in (NOW - DAY, NOW):  # the second shares what did not change by hard links
        backups.make(place.home, place.home / "backups", at, 2)


def trace(number: int) -> str:
    key = Pair(**pair(number)).key
    return "tr-" + hashlib.sha256(key.encode()).hexdigest()[:32]


def answer(place: Place) -> None:
    """Ann answers most of what waits, puts one away, leaves one; she names a span and corrects an answer."""
    client, person = TracingClient(place.uri), AssessmentSource("HUMAN", "ann")
    queues = Queues(place.uri, "synopsis", Settings().artifacts)
    queue = client._get_review_queue_by_name(queues.experiment, "synopsis").queue_id
    waiting = sorted(queues.waiting())
    assert len(waiting) == OLD + YOUNG
    for number, one in enumerate(waiting[1:]):
        if number:
            client.log_assessment(one, Feedback(name="supported", value="supported", source=person, rationale=word(200)))
        client._set_review_queue_item_status(queue, item_id=one, status="complete", completed_by="ann")
    client.log_assessment(trace(1), Expectation(name="expected_response", value=f"a {CORRECTED}", source=person))
    client.log_assessment(trace(2), Feedback(name="unsupported_span", value=SPANNED, source=person))


def record(place: Place) -> None:
    """Somebody made evaluation records of two traces."""
    store = TracingClient(place.uri).store
    made = store.create_dataset("looked at", experiment_ids=[Queues(place.uri, "synopsis", Settings().artifacts).experiment])
    records = [
        {"inputs": {"text": pair(n)["source"]}, "source": {"source_type": "TRACE", "source_data": {"trace_id": trace(n)}}}
        for n in (4, OLD + 1)
    ]
    store.upsert_dataset_records(made.dataset_id, records)


def journal(place: Place) -> list[tuple[str, float]]:
    store = Store(place.database)
    with store.transaction() as connection:
        found = [(row.request, row.at) for row in connection.execute(events.select())]
    store.engine.dispose()
    return found


def test_what_is_older_than_the_retention_is_gone_from_every_byte_of_the_workspace(place: Place) -> None:
    old_ids = [one for n in range(OLD) for one in (request(n), trace(n))]
    assert {"mlflow.db", "labels.parquet", "synopsis.json", "drift-synopsis.html"} <= set(place.found(PLANTED))
    assert {"mlflow.db", "rollout.db", "mlflow.log"} <= set(place.found(old_ids)) | {"rollout.db-wal"}
    (before,) = place.seqline("labels", "synopsis", "status")["versions"]

    swept = place.seqline("samples", "synopsis", "sweep")
    assert (swept["deleted"], swept["kept"], swept["events"], swept["days"]) == (OLD, YOUNG, 2 * OLD, 30)
    assert swept["oldest_at"] == pytest.approx(NOW - 2 * DAY, abs=1)
    assert json.loads((place.home / "retention" / "synopsis.json").read_text())["deleted"] == OLD
    assert place.found(PLANTED) == []
    assert place.found(old_ids) == []
    assert set(place.found(YOUNG_WORDS)) >= {"mlflow.db", "labels.parquet", "synopsis.json"}
    assert (place.home / "logs" / "mlflow.log").read_text().splitlines()[
        1
    ] == f"GET /traces/{trace(OLD)} for {request(OLD)} 200"
    assert len(journal(place)) == 2 * (OLD + YOUNG)  # what error budgets count is there, without request and sender

    told = place.seqline("labels", "synopsis", "status")["versions"][0]
    for what in ("judged", "corrected", "labels", "strata", "reviewers", "items"):
        assert told[what] == before[what], what  # the interval holds for every label ever drawn
    assert place.found(PLANTED) == []
    again = place.seqline("samples", "synopsis", "sweep")
    assert (again["deleted"], again["events"], again["files"]) == (0, 0, [])
    restored(place)
    held = MlflowClient(tracking_uri=place.uri).search_traces(locations=["1"])
    assert {each.info.trace_id for each in held} == {trace(n) for n in range(OLD, OLD + YOUNG)}


def restored(place: Place) -> None:
    """A backup is whole after the sweep, and brings nothing back; what a restore puts aside is named."""
    restore_all(place)
    assert place.found(PLANTED) == []
    (place.home / "mlflow.db.broken-2026").touch()
    assert place.seqline("samples", "synopsis", "sweep")["unreached"] == ["mlflow.db.broken-2026"]


def restore_all(place: Place) -> None:
    """Every backup fits its manifest, which is made of every file's sha256, and its databases are sound."""
    there = backups.found(place.home / "backups")
    assert len(there) == 2
    for backup in there:
        elsewhere = place.folder / f"restored-{backup.path.name}"
        assert "mlflow.db" in backups.restore(backup.path, elsewhere, NOW)
        assert backups.complaints(elsewhere / "mlflow.db") == backups.complaints(elsewhere / "rollout.db") == ""


def in_a_thread(work: Callable[[], object]) -> None:
    """A lock of files is one holder's in its own thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def test_a_request_is_forgotten_everywhere_and_stays_so(place: Place) -> None:
    one, other = OLD + 1, OLD  # by the id of its trace, by that of the request
    gone = place.seqline("samples", "synopsis", "forget", trace(one), request(other))
    assert (gone["traces"], gone["events"], gone["kept"]) == (2, 4, OLD + YOUNG - 2)
    values = [value for n in (one, other) for value in (word(n), request(n), trace(n))]
    assert place.found(values) == []
    said = {"by": "u1", "at": 2.5, "number": 1, "rating": "down"}
    with place.reviewing() as review:
        review.send(*(pair(n, reason="feedback", weight=1.0, feedback=said) for n in (one, other)))
        assert review.told()["forgotten"] == 2
    assert place.found(values) == []
    rest = [word(n) for n in range(OLD + YOUNG) if n not in (one, other)]
    assert len(judged(place.uri, "synopsis").rows) >= OLD
    assert "mlflow.db" in place.found(rest)
    for words in ((request(other),), (request(other), word(0))):
        with pytest.raises(UserError, match=f"nothing is here of {', '.join(words)}: forgotten before, gone by age, or mist"):
            place.seqline("samples", "synopsis", "forget", *words)
    with pytest.raises(UserError, match=f"nothing is here of {word(0)}: "):  # the one that is known is forgotten
        place.seqline("samples", "synopsis", "forget", request(OLD + 2), word(0))
    assert place.found([request(OLD + 2), trace(OLD + 2)]) == []


def test_what_was_forgotten_and_comes_back_with_an_older_backup_goes_again(place: Place) -> None:
    one, values = OLD + 1, [word(OLD + 1), request(OLD + 1), trace(OLD + 1)]
    elsewhere = Path(shutil.copytree(place.home / "backups", place.folder.parent / "elsewhere"))  # no deletion gets there
    shutil.rmtree(place.home / "backups")
    place.seqline("samples", "synopsis", "forget", request(one))
    assert place.found(values) == []
    backups.restore(backups.found(elsewhere)[0].path, place.home, NOW)
    assert {"mlflow.db", "rollout.db", "labels.parquet"} <= set(place.found(values))
    for aside in retention.copies.aside(place.home):
        aside.unlink()  # what the restore put beside, which a person looks at
    again = [sys.executable, "-m", "flows.cli", "samples", "synopsis", "sweep", "--json"]  # nothing ran during a restore
    swept = json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
    assert (swept["traces"], swept["events"], swept["unreached"]) == (OLD + 1, 2 * OLD + 2, [])
    assert place.found(values) == []
    assert len(journal(place)) == 2 * (OLD + YOUNG - 1)
    counted = kept.path_of(place.home, "synopsis").read_text()
    assert kept.hidden(Settings().hmac_key, "item", trace(2)) in counted
    assert kept.hidden(Settings().hmac_key, "item", trace(one)) not in counted, (
        "of what was forgotten not even the count is kept"
    )


def test_a_backup_waits_for_a_deletion_and_holds_nothing_of_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made in the midst of one, it would hold what is being forgotten, and nobody would look into it again."""
    monkeypatch.setattr(erasing, "LOCK_SECONDS", 0.2)
    with erasing.alone(place.home):
        for work in (
            lambda: backups.make(place.home, place.home / "backups", NOW + 1, 2),
            lambda: backups.restore(backups.found(place.home / "backups")[0].path, place.home, NOW + 1),
            lambda: place.seqline("samples", "synopsis", "forget", request(OLD)),
        ):
            with pytest.raises(Transient, match="another process has been deleting, backing up or restoring"):
                in_a_thread(work)
    assert place.seqline("samples", "synopsis", "forget", request(OLD))["traces"] == 1
    backups.make(place.home, place.home / "backups", NOW + 1, 2)
    assert place.found([word(OLD), trace(OLD)]) == []


def test_nobody_without_the_key_can_try_names_on_the_labels_that_are_kept(tmp_path: Path) -> None:
    def judged_by(reviewer: str) -> Judged:
        return Judged("tr-1", "2", "", "", True, "supported", 1.0, reviewer, NOW, drawn=frozenset({"flagged"}))

    def plain(kind: str, name: str) -> str:
        return hashlib.sha256(f"kept {kind} {name}".encode()).hexdigest()[:32]

    path = kept.path_of(tmp_path, "synopsis")
    assert kept.add(path, KEY, [judged_by("ann")], [kept.Put("tr-2", "2", False)]) == 2
    told = json.loads(path.read_text())
    text = path.read_text()
    assert not any(name in text for name in ("ann", plain("reviewer", "ann"), plain("item", "tr-1"), plain("item", "tr-2")))
    assert [row.reviewer for row in kept.read(path, KEY, [judged_by("ann")]).rows] == ["ann"]
    assert [row.reviewer for row in kept.read(path, bytes(32), [judged_by("ann")]).rows] != ["ann"]

    row = told["rows"].popitem()[1]  # as it was written before names were keyed
    earlier = {
        "rows": {f"{plain('item', 'tr-1')} {plain('reviewer', 'ann')}": row},
        "left": {plain("item", "tr-2"): ["2", False]},
    }
    path.write_text(json.dumps(earlier))
    assert [row.reviewer for row in kept.read(path, KEY, [judged_by("ann")]).rows] == ["ann"]
    assert kept.add(path, KEY, [judged_by("bob")], []) == 1
    assert {row.reviewer for row in kept.read(path, KEY, [judged_by("ann"), judged_by("bob")]).rows} == {"ann", "bob"}
    assert plain("reviewer", "ann") not in path.read_text()


def test_samples_are_counted_and_exported_for_label_studio(place: Place) -> None:
    listed = place.seqline("samples", "synopsis", "list")
    assert (listed["samples"], listed["waiting"], listed["due"]) == (OLD + YOUNG, 1, OLD)
    assert listed["versions"] == {"2": OLD + YOUNG}
    assert listed["ages"] == {"1 to 7 days": YOUNG, "over 30 days": OLD}
    assert listed["strata"].keys() >= {"flagged", "passed", "random", "low score", "negative"}
    path = place.folder / "tasks.json"
    made = place.seqline("samples", "synopsis", "export", "--to", "label-studio", "--all", str(path))
    tasks, config = json.loads(path.read_text()), ET.parse(Path(made["config"])).getroot()
    assert made["tasks"] == len(tasks) == OLD + YOUNG
    conforms(tasks, config)
    (mine,) = [task for task in tasks if task["meta"]["trace"] == trace(3)]
    assert mine["data"] == {"source": pair(3)["source"], "output": pair(3)["output"]}
    assert (mine["meta"]["feedback"], mine["predictions"][0]["score"]) == ("down", 0.8)
    assert 0 < mine["meta"]["chance"] <= 1
    waiting = place.seqline("samples", "synopsis", "export", str(path))
    assert waiting["tasks"] == 1
    table = pq.read_table(place.home / "labels" / "synopsis" / "labels.parquet").to_pylist()
    assert all(0 < row["chance"] <= 1 for row in table)


def conforms(tasks: list[dict[str, Any]], config: ET.Element) -> None:
    """As Label Studio's import asks: every variable of the config is in `data`; a prediction's region names a control of it,
    the object that this is for, its type, and labels of it (label-studio-sdk's LabelInterface finds the same)."""
    variables = {each.attrib["value"][1:] for each in config.iter() if each.attrib.get("value", "").startswith("$")}
    controls = {each.attrib["name"]: each for each in config.iter() if "toName" in each.attrib}
    objects = {each.attrib["name"] for each in config.iter("Text")}
    assert {each.attrib["toName"] for each in controls.values()} <= objects
    for task in tasks:
        assert variables <= task["data"].keys()
        for region in (region for each in task["predictions"] for region in each["result"]):
            control = controls[region["from_name"]]
            assert (region["to_name"], region["type"]) == (control.attrib["toName"], control.tag.lower())
            assert set(region["value"]["choices"]) <= {choice.attrib["value"] for choice in control.iter("Choice")}


def test_the_strangest_texts_are_those_that_training_knows_least(bare: Place) -> None:
    texts, place = ("a library for maps", "a library for zyzzyva", "qwerty zyzzyva"), bare
    with place.reviewing() as review:
        review.send(*(pair(n, source=text) for n, text in enumerate(texts)))
    listed = Read("synopsis", Settings()).listed
    assert strangeness(listed, "synopsis", Settings()) == {}
    folder = place.home / "work" / "synopsis" / "profile-input-0"
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text(json.dumps({"words": dict.fromkeys(("a", "library", "for", "maps"), 9)}))
    found = strangeness(listed, "synopsis", Settings())
    assert [found[trace(n)] for n in range(3)] == [0.0, 0.25, 1.0]
    (place.home / "drift").mkdir()
    (place.home / "drift" / "synopsis.json").write_text(json.dumps({"sides": [{"side": "input", "came": ["maps"]}]}))
    assert strangeness(listed, "synopsis", Settings())[trace(0)] == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("export",), "give one file to write"),
        (("forget",), "give the ids of requests"),
        (("sweep", "now"), "takes nothing after it"),
        (("list",), "MLflow has no sampled answers of it"),
        (("export", "no/such/folder/x.json", "--all"), "MLflow has no sampled answers of it"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(words: tuple[str, ...], said: str, bare: Place) -> None:
    with pytest.raises(UserError, match=said):
        bare.seqline("samples", "synopsis", *words)


def test_nothing_sampled_is_nothing_to_sweep(bare: Place) -> None:
    told = bare.seqline("samples", "synopsis", "sweep")
    assert (told["deleted"], told["kept"], told["oldest_at"]) == (0, 0, None)


BEFORE = NOW - 30 * DAY
KEY = bytes(range(32))
KILLS = int(os.environ.get("KILLS", "5"))
WATCHED: tuple[Any, ...] = (retention, retention.Retention, copies, erasing, journal_rows, kept, Forgotten)


def delete(place: Place, request_too: str = "") -> None:
    """Sweep, and forget a young request where one is named."""
    stores = retention.Stores(place.uri, place.database, place.home, KEY, place.home / "mlartifacts")
    if request_too:
        retention.Retention(stores, "synopsis").forget([request_too])
    retention.Retention(stores, "synopsis").sweep(BEFORE)


def killed(place: Place, at: int) -> int:
    """Delete in a process that is killed before or after its `at`-th call of what deletes; how many there were."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(240)
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        def stepping(call: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(*args: Any, **kwargs: Any) -> Any:
                step()
                found = call(*args, **kwargs)
                step()
                return found

            return stepped

        try:
            for owner in WATCHED:
                for name, call in [item for item in vars(owner).items() if isinstance(item[1], FunctionType)]:
                    setattr(owner, name, stepping(call))
            for name in ("replace", "unlink"):
                setattr(Path, name, stepping(getattr(Path, name)))
            delete(place, request(OLD))
            os.write(writer, str(count).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read()
    os.waitpid(child, 0)
    return int(said or at)


def test_killed_anywhere_the_next_run_ends_it(full: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Place:
        return Place(Path(shutil.copytree(full, tmp_path / name)))

    whole = copy("whole")
    steps = killed(whole, 0)
    assert steps > 50
    wanted = whole.state()
    assert set(wanted["traces"]) == {trace(n) for n in range(OLD + 1, OLD + YOUNG)}
    gone = [*PLANTED, *(one for n in range(OLD + 1) for one in (word(n), request(n), trace(n)))]
    for number in range(KILLS):
        place = copy(f"killed-{number}")
        assert killed(place, 1 + (2 * number + 1) * steps // (2 * KILLS)) > 0
        delete(place, request(OLD))
        assert place.state() == wanted
        restore_all(place)
        assert place.found(gone) == []
        shutil.rmtree(place.folder)
