"""From the gateway's recording to a corrected rate: real judge and review processes, a real MLflow, reviewers who know.

The judge is wrong on purpose: a quarter of what it flags is supported, and an eighth of what it passes is not.
"""

import asyncio
import hashlib
import json
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Feedback
from mlflow.tracing.client import TracingClient
from typer.testing import CliRunner

from flows.cli import app
from flows.commands.labels import Read, frozen_record, keep_frozen, known
from flows.settings import Settings
from pipelines import artifact
from pipelines.errors import UserError
from pipelines.registry import Registry
from pipelines.registry.labels import judged
from pipelines.rollout.store import Route, Store
from pipelines.rollout.verdicts import Verdicts, verdicts
from pipelines.scoring.compare import share
from pipelines.scoring.judge.cascade import FACTS, Domain
from pipelines.scoring.judge.head import Head
from pipelines.scoring.judge.threshold import Frozen
from pipelines.serving.exchange import Call, Output
from pipelines.serving.guard import Guard
from pipelines.serving.journal import Journal
from pipelines.serving.masking import Masking
from pipelines.serving.recording import Recording
from pipelines.serving.samples import Samples
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Decoding, Privacy, Slo, Spec, load
from tests.flows.test_judge import Process

MODELS = Path(__file__).parent.parent.parent / "models"
PRIVACY = Privacy(level="exact", entities=("PERSON", "EMAIL_ADDRESS"))
PLANTED = ("Maria Keller", "Thomas Brandt", "Helen Carter", "maria.keller@example.org")
NUMBER, SHARE = 80, 0.5


def request(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def flagged(number: int) -> bool:
    """What the judge says: other words, or a name that is not in the source."""
    return number % 5 == 0 or number % 7 == 0


def unsupported(number: int) -> bool:
    """The truth."""
    return number % 4 != 0 if flagged(number) else number % 10 == 3


TRUTH = sum(map(unsupported, range(NUMBER))) / NUMBER
FLAGGED = sum(map(flagged, range(NUMBER)))
FROZEN = Frozen("synopsis", 0.7, 0.3, share(75, 100), share(10, 100), 0.5)


def texts(number: int) -> tuple[str, str]:
    """What is sent, and what the model says of it: it, too, names people that nobody sent."""
    who = PLANTED[number % 3]
    sent = f"please tell {who} <maria.keller@example.org> that tool number n{number} draws maps and prints letters"
    said = "singing rockets" if number % 5 == 0 else "draws maps and prints letters"
    return sent, f"{said}, says Helen Carter" if number % 7 == 0 else said


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("schema") / "mlflow.db"
    Registry(f"sqlite:///{database}")
    return database


class Place:
    """A project with the default model, its MLflow on SQLite, its rollout database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder}/mlflow.db"
        self.database = f"sqlite:///{folder}/rollout.db"

    def told(self, *words: str) -> str:
        """What a command says."""
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    def seqline(self, *words: str) -> dict[str, Any]:
        """What a command says as JSON."""
        found: dict[str, Any] = json.loads(self.told(*words, "--json"))
        return found


@pytest.fixture
def place(tmp_path: Path, schema: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    (tmp_path / "models").mkdir()
    shutil.copy(MODELS / "synopsis.yaml", tmp_path / "models")
    shutil.copy(schema, tmp_path / "mlflow.db")
    made = Place(tmp_path)
    monkeypatch.setenv("SEQLINE_PROJECT", str(tmp_path))
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEQLINE_DATABASE", made.database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    return made


@pytest.fixture
def served(place: Place) -> Iterator[Place]:
    """Version 2 has answered NUMBER requests, of which the gateway told the judge all and review half."""
    store = Store(place.database)
    store.create()
    with store.transaction() as connection:
        store.set_route("synopsis", Route("2"), connection)
    review = Process(["--name", "synopsis", "--per-hour", "100000"], place.folder / "review.log", "flows.services.review")
    pairs = f"http://127.0.0.1:{review.ready['port']}/pairs"
    arguments = ["--name", "synopsis", "--database", place.database, "--threshold", "0.7", "--review", pairs]
    judge = Process(arguments, place.folder / "judge.log")
    try:
        asyncio.run(recorded(store, f"http://127.0.0.1:{judge.ready['port']}/pairs", pairs))
        judge.popen.send_signal(signal.SIGTERM)
        assert judge.popen.wait(120) == 0
        review.popen.send_signal(signal.SIGTERM)
        assert review.popen.wait(120) == 0
        yield place
    finally:
        store.engine.dispose()
        judge.end()
        review.end()
    assert (place.folder / "review.log").read_text() == ""


async def recorded(store: Store, judge: str, review: str) -> None:
    """What the gateway does with requests and answers: both scrubbed by its guard before they leave."""
    guard, journal = Guard(PRIVACY), Journal(store, "synopsis", lost=lambda _: None)
    await guard.start()
    masking = Masking(lambda: guard, PRIVACY.placeholders)
    lost: list[int] = []
    try:
        async with aiohttp.ClientSession() as http:
            samples, reviewed = (Samples(url, http, lost.append, clean=masking.pairs) for url in (judge, review))
            recording = Recording(Slo(judged=1.0), journal, Telemetry("synopsis"), samples, review=reviewed, share=SHARE)
            for number, (text, values) in enumerate(await guard.scrub([texts(n)[0] for n in range(NUMBER)])):
                call = Call(request(number), "key", "u" * 64, time.monotonic(), Decoding(), [text], [values])
                output = Output(text=texts(number)[1], source_tokens=9, target_tokens=3, truncated=False)
                recording.answered(call, "champion", "2", [output])
            await samples.close()
            await reviewed.close()
    finally:
        await guard.close()
        journal.close()
    assert lost == []


def answer_all(place: Place, who: str, *, part: int = 1) -> int:
    """A reviewer answers what waits, each `part`-th of it, as MLflow's page writes it; how many."""
    queues, client = Read("synopsis", Settings()).queues, TracingClient(place.uri)
    queue = client._get_review_queue_by_name(queues.experiment, "synopsis").queue_id
    known = {request(number): number for number in range(NUMBER)}
    traces = sorted(queues.waiting())[::part]
    for trace in traces:
        number = known[str(client.get_trace_info(trace).client_request_id)]
        value = "unsupported" if unsupported(number) else "supported"
        client.log_assessment(trace, Feedback(name="supported", value=value, source=AssessmentSource("HUMAN", who)))
        client._set_review_queue_item_status(queue, item_id=trace, status="complete", completed_by=who)
    return len(traces)


def test_labels_correct_the_rate_of_what_the_gateway_served(served: Place) -> None:
    assert verdicts(Store(served.database), "synopsis") == {"2": Verdicts(FLAGGED, NUMBER - FLAGGED)}
    before = served.seqline("labels", "synopsis", "status")
    assert [(each["judged"]["value"], each["corrected"], each["labels"]) for each in before["versions"]] == [
        (pytest.approx(FLAGGED / NUMBER), "unknown", 0)
    ]

    labels = 0
    widths = []
    for size in (20, 20):
        filled = served.seqline("labels", "synopsis", "fill", "--n", str(size))
        assert filled["waiting"] == size
        assert served.seqline("labels", "synopsis", "fill", "--n", str(size))["asked"] == {"2": {}}
        labels += answer_all(served, "ann")
        (told,) = served.seqline("labels", "synopsis", "status")["versions"]
        low, high = told["corrected"]["interval"]
        assert low <= TRUTH <= high
        assert low < told["corrected"]["value"] < high
        widths.append(high - low)
    assert 20 < told["labels"] <= labels
    assert widths[1] < widths[0]
    assert abs(told["corrected"]["value"] - TRUTH) < 0.15

    assert "/review-queue?selectedQueueId=" in served.told("labels", "synopsis", "fill", "--n", "10")
    answer_all(served, "ann", part=2)
    second_opinions(served)
    status = served.seqline("status", "synopsis")["labels"]
    assert status["versions"][0]["judged"]["value"] == FLAGGED / NUMBER
    shown = served.told("status", "synopsis")
    assert f"version 2: unsupported: judged {FLAGGED / NUMBER:.1%}, corrected" in shown
    drifts(served)
    weighs(served)
    nobody_is_named(served)


def second_opinions(place: Place) -> None:
    """Another reviewer says the same of five answers, and of one what cannot be read."""
    rows = judged(place.uri, "synopsis").rows[:6]
    for row, value in zip(rows, [*(row.answer for row in rows[:5]), "dunno"], strict=True):
        said = Feedback(name="supported", value=value, source=AssessmentSource("HUMAN", "bo"))
        TracingClient(place.uri).log_assessment(row.item, said)
    shown = place.told("labels", "synopsis", "status")
    assert "agreement    alpha 1.00 [1.00, 1.00], 5 answers with two or more reviewers of 2" in shown
    assert f"label on {rows[5].item} by bo: the answer is none of" in shown
    assert "cannot be read and is not counted (1):" in shown


def drifts(place: Place) -> None:
    """The judge is told to be as it was frozen, or that this cannot be told: then a gate that trusts it stays shut."""
    path = place.folder / "frozen.json"
    for frozen, verdicts_ in (
        (FROZEN, {"unchanged", "unknown"}),
        (replace(FROZEN, fpr=share(1, 10_000)), {"changed", "unknown"}),
    ):
        path.write_text(json.dumps({"thresholds": {each: replace(frozen, domain=each).plain() for each in ("a", "synopsis")}}))
        (told,) = place.seqline("labels", "synopsis", "status", "--frozen", str(path))["versions"]
        assert told["drift"]["verdict"] in verdicts_
        assert told["drift"]["closes"] == (told["drift"]["verdict"] != "unchanged")
    found = known(load(place.folder / "models" / "synopsis.yaml"), "2", Settings())
    assert found["drift"] == told["drift"]
    assert (found["corrected"]["version"], found["corrected"]["corrected"]) == ("2", told["corrected"])


def weighs(place: Place) -> None:
    """The judge's test set: each label drawn by its verdict stands for as many answers as it should."""
    place.seqline("labels", "synopsis", "status")
    rows = pq.read_table(place.folder / "home" / "labels" / "synopsis" / "labels.parquet").to_pylist()
    drawn = [row for row in rows if row["weight"] is not None]
    assert sum({row["item"]: row["weight"] for row in drawn}.values()) == pytest.approx(NUMBER)
    assert {row["reviewer"] for row in rows} == {0, 1}
    assert {row["answer"] for row in rows} == {"supported", "unsupported"}


def nobody_is_named(place: Place) -> None:
    """No planted name or address is anywhere: in MLflow, in the queue, in the workspace, in what was logged."""
    traces = MlflowClient(tracking_uri=place.uri).search_traces(
        locations=[Read("synopsis", Settings()).queues.experiment], max_results=500
    )
    held = {trace.info.client_request_id for trace in traces}
    assert any(int(number) % 7 == 0 and request(number) in held for number in range(NUMBER))
    assert all("<PERSON_1>" in trace.data.request for trace in traces)
    files = [path for path in place.folder.rglob("*") if path.is_file()]
    assert {"mlflow.db", "rollout.db", "labels.parquet", "told.json"} <= {path.name for path in files}
    values = [value.encode() for value in (*PLANTED, "Keller", "Brandt")]
    assert [(path.name, value) for path in files for value in values if value in path.read_bytes()] == []
    table = repr(pq.read_table(place.folder / "home" / "labels" / "synopsis" / "labels.parquet").to_pylist())
    assert not [value for value in PLANTED if value in table]


def test_a_model_that_served_nothing_has_nothing_to_ask(place: Place) -> None:
    for what in ("fill", "status"):
        with pytest.raises(UserError, match="synopsis: MLflow has no sampled answers of it"):
            place.seqline("labels", "synopsis", what)
    assert judged(place.uri, "synopsis").rows == []
    found = known(load(place.folder / "models" / "synopsis.yaml"), "1", Settings())
    assert (found["corrected"]["corrected"], found["corrected"]["labels"]) == ("unknown", 0)


def test_a_trained_judge_brings_its_own_record(place: Place) -> None:
    """Also where another was kept; of a model that it was not frozen for it has none."""
    domain = Domain(Head(("a",), (0.0,), (1.0,), (1.0,), 0.0), None, 0.0, 1.0)
    domains = {"": domain, "synopsis": replace(domain, threshold=FROZEN), "other": domain}
    facts = {"domains": {name: each.plain() for name, each in domains.items()}}
    folder = artifact.make(artifact.Export, place.folder / "judge", lambda made: dump(made / FACTS, facts)).path
    records = place.folder / "frozen.json"
    dump(records, [replace(FROZEN, threshold=0.1).plain()])
    keep_frozen(records, "synopsis", Settings())
    spec = load(place.folder / "models" / "synopsis.yaml")
    for judge, threshold in {"lexical": 0.1, "evidence": 0.1, str(folder): FROZEN.threshold}.items():
        told = frozen_record(judged_by(spec, judge), Settings())
        assert told is not None
        assert told.threshold == threshold
    other = spec.model_copy(update={"name": "other"})
    assert frozen_record(judged_by(other, str(folder)), Settings()) is None
    assert frozen_record(other, Settings()) is None


def judged_by(spec: Spec, judge: str) -> Spec:
    return spec.model_copy(update={"scoring": spec.scoring.model_copy(update={"judge": judge})})


def dump(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "content", ["{", "{}", "[]", '[{"domain": "synopsis"}]', json.dumps([replace(FROZEN, domain="a").plain()])]
)
def test_a_file_that_holds_no_threshold_records_is_said(place: Place, content: str) -> None:
    path = place.folder / "frozen.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"threshold record|cannot be read"):
        place.seqline("labels", "synopsis", "status", "--frozen", str(path))
