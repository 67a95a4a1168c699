"""A thousand people in what is asked, what a model answers and what its senders say of it: nobody stands in traces or queue.

The gateway's own guard scrubs, its recording and its samples send, real judge and review processes write into a real MLflow,
the queue is filled, answered and read, the samples are exported for Label Studio. Then every byte of the workspace is searched,
packed or not; the same search finds everybody in what was sent. At last all is swept, and no sampled text is left either.
"""

import asyncio
import hashlib
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp
from mlflow.entities import AssessmentSource, Feedback
from mlflow.tracing.client import TracingClient
from typer.testing import CliRunner

from flows.cli import app
from flows.settings import Settings
from pipelines.registry import retention
from pipelines.registry.queues import Queues
from pipelines.rollout.store import Route, Store
from pipelines.scrub.planted import Identity, identities
from pipelines.scrub.sweep import sweep
from pipelines.serving.exchange import Call, Output
from pipelines.serving.guard import Guard
from pipelines.serving.journal import Journal
from pipelines.serving.masking import Masking, marks_of
from pipelines.serving.recording import Recording
from pipelines.serving.samples import Samples
from pipelines.serving.telemetry import Telemetry
from pipelines.spec import Decoding, Privacy, Slo
from tests.benchmarks import results
from tests.flows.test_judge import Process
from tests.flows.test_leaks import plain

PEOPLE = int(os.environ.get("PEOPLE", "1000"))
QUEUED = 200
PRIVACY = Privacy(level="exact", entities=("PERSON", "EMAIL_ADDRESS", "CREDIT_CARD"))
SPEC = Path(__file__).parent.parent.parent / "models" / "synopsis.yaml"


def asked(number: int, person: Identity) -> str:
    paid = f"Paid by card {plain(person)}, thanks."
    return f"Maintainer: {person.name} <{person.mail}>\nDescription: tool w{number}x draws maps. {paid}"


def answered(number: int, person: Identity) -> str:
    """Every other answer names somebody, from its source or not."""
    return f"tool w{number}x for maps" + (f", by {person.name} <{person.mail}>" if number % 2 else "")


def request(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


async def served(store: Store, people: list[Identity], judge: str, review: str) -> int:
    """What the gateway does with each request, its answer, and its sender's feedback; how many samples it lost."""
    guard, journal = Guard(PRIVACY), Journal(store, "synopsis", lost=lambda _: None)
    await guard.start()
    masking = Masking(lambda: guard, PRIVACY.placeholders)
    lost: list[int] = []
    told: list[tuple[int, str, dict[str, Any]]] = []
    try:
        async with aiohttp.ClientSession() as http:
            samples, reviewed = (Samples(url, http, lost.append, clean=masking.pairs) for url in (judge, review))
            recording = Recording(Slo(judged=1.0), journal, Telemetry("synopsis"), samples, review=reviewed, share=1.0)
            for number, person in enumerate(people):
                ((text, values),) = await guard.scrub([asked(number, person)])
                call = Call(request(number), "key", "u" * 64, time.monotonic(), Decoding(), [text], [values])
                somebody = people[(number + number % 3) % len(people)]
                output = Output(text=answered(number, somebody), source_tokens=9, target_tokens=3, truncated=False)
                recording.answered(call, "champion", "2", [output])
                if number % 5 == 0:
                    (said,) = await masking.texts([asked(number, person)], text, marks_of(values))
                    pair: dict[str, Any] = {"by": "u", "at": time.time(), "number": 1, "rating": "down", "correction": said}
                    told.append((number, text, pair))
            await samples.close()
            await reviewed.close()
            for each in told:
                await spoken(http, review, *each)
    finally:
        await guard.close()
        journal.close()
    return sum(lost)


async def spoken(http: aiohttp.ClientSession, review: str, number: int, text: str, said: dict[str, Any]) -> None:
    told = {"request": request(number), "user_hmac": "u" * 64, "arm": "champion", "version": "2", "shadow": False}
    told |= {"source": text, "output": "", "at": time.time(), "reason": "feedback", "feedback": said}
    async with http.post(review, json={"pairs": [told]}) as answer:
        answer.raise_for_status()


def seqline(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    if done.exit_code:
        raise RuntimeError(done.output)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def reviewed(home: Path) -> int:
    """A person answers all that waits."""
    uri = f"sqlite:///{home}/mlflow.db"
    queues, client = Queues(uri, "synopsis", Settings().artifacts), TracingClient(uri)
    waiting = queues.waiting()
    for one in waiting:
        client.log_assessment(one, Feedback(name="supported", value="supported", source=AssessmentSource("HUMAN", "ann")))
    return len(waiting)


def main() -> None:
    people = list(identities(PEOPLE, seed=21))
    values = [value for each in people for value in (each.name, each.mail, plain(each))]
    with tempfile.TemporaryDirectory(prefix="seqline-review-") as scratch:
        folder, home = Path(scratch), Path(scratch) / ".seqline"
        (folder / "models").mkdir()
        (folder / "models" / SPEC.name).write_bytes(SPEC.read_bytes())
        os.environ.update(
            {"SEQLINE_PROJECT": scratch, "SEQLINE_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
        )
        (home / "logs").mkdir(parents=True)
        store = Store(Settings().database)
        store.create()
        with store.transaction() as connection:
            store.set_route("synopsis", Route("2"), connection)
        review = Process(["--name", "synopsis", "--per-hour", "1000000"], home / "logs" / "review.log", "flows.services.review")
        to = f"http://127.0.0.1:{review.ready['port']}/pairs"
        arguments = ["--name", "synopsis", "--database", Settings().database, "--threshold", "0.7", "--review", to]
        judge = Process(arguments, home / "logs" / "judge.log")
        try:
            lost = asyncio.run(served(store, people, f"http://127.0.0.1:{judge.ready['port']}/pairs", to))
            for process in (judge, review):
                process.popen.send_signal(signal.SIGTERM)
                process.popen.wait(600)
        finally:
            judge.end()
            review.end()
        seqline("labels", "synopsis", "fill", "--n", str(QUEUED))
        labelled = reviewed(home)
        seqline("labels", "synopsis", "status")
        exported = seqline("samples", "synopsis", "export", "--all", str(folder / "tasks.json"))["tasks"]
        found = sweep(values, [folder])
        sent = folder / "sent.txt"
        sent.write_text("\n".join(asked(n, each) + answered(n, each) for n, each in enumerate(people)), encoding="utf-8")
        control = sum(count for _, count in sweep(values, [sent]))
        words = [f"w{number}x" for number in range(PEOPLE)]
        sampled = {path.name: count for path, count in sweep(words, [home])}
        began = time.perf_counter()
        given = Settings()
        stores = retention.Stores(given.mlflow, given.database, home, given.hmac_key, given.artifacts)
        swept = retention.Retention(stores, "synopsis").sweep(time.time() + 1)
        seconds = time.perf_counter() - began
        left = sweep(words, [home])
        store.engine.dispose()
    rows = [
        results.bounded("files in which one of the people stands", len(found), "files", 0, PEOPLE),
        results.at_least("the search finds them in what was sent", control, "finds", 3 * PEOPLE),
        results.at_least("sampled answers in MLflow that were searched", swept.traces, "traces", PEOPLE - lost),
        results.at_least("of these, waited in the queue and were labelled", labelled, "traces", min(QUEUED, PEOPLE)),
        results.at_least("tasks for Label Studio that were searched", exported, "tasks", PEOPLE - lost),
        results.bounded("files with a sampled text after the sweep", len(left), "files", 0, PEOPLE),
    ]
    told = f"before the sweep the texts stood in {sampled}; it took {seconds:.1f} s; {lost} samples were lost on the way"
    results.write("secrets_review", rows, *[f"{path.name}: {count}" for path, count in [*found, *left][:20]], told)


if __name__ == "__main__":
    main()
