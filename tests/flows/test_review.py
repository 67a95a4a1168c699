"""The review as it runs: a process on loopback, MLflow on SQLite, and what the judge flags on its way there."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Expectation
from mlflow.tracing.client import TracingClient

from flows import serve
from flows.services.judge import reviewed
from flows.services.review import room, verdict_weight
from flows.settings import Settings
from pipelines.registry import Registry
from pipelines.registry.labels import corrections
from pipelines.registry.traces import SUGGESTED
from pipelines.scoring.judge import Verdict
from pipelines.serving.pairs import Pair
from pipelines.spec import load
from tests.flows.test_judge import Process, eventually, pair

SECRET = "zebrafish"


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("schema") / "mlflow.db"
    Registry(f"sqlite:///{database}")
    return database


@pytest.fixture
def uri(tmp_path: Path, schema: Path) -> str:
    shutil.copy(schema, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def start(tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Process]]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / "home"))
    started: list[Process] = []

    def launch(*more: str, module: str = "flows.services.review") -> Process:
        arguments = ["--name", "m", *more]
        started.append(Process(arguments, tmp_path / f"log-{len(started)}", module))
        return started[-1]

    yield launch
    for process in reversed(started):
        process.end()


def sample(request: str, **more: Any) -> dict[str, Any]:
    return pair(request, "foo library", **{"reason": "random", "weight": 100.0, "index": 0, **more})


def send(process: Process, *pairs: dict[str, Any]) -> dict[str, Any]:
    answer = process.client.post("/pairs", json={"pairs": pairs})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def counts(process: Process) -> dict[str, Any]:
    found: dict[str, Any] = process.client.get("/healthz").json()
    return found


def traces(uri: str) -> dict[str, Any]:
    """What is in MLflow, by the id of the request."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("m")
    assert experiment
    return {trace.info.client_request_id: trace for trace in client.search_traces(locations=[experiment.experiment_id])}


def test_samples_become_traces_that_people_label_and_the_source_reads(start: Callable[..., Process], uri: str) -> None:
    review = start("--per-hour", "100")
    assert review.ready["pid"] == review.popen.pid
    more = {"tokens_in": 9, "tokens_out": 2, "logprob": -0.5, "flags": ["length"], "seconds": 0.25, "at": 1_700_000_000.5}
    more |= {"decoding": {"beam": 2, "max_tokens": 8, "temperature": 0.0}}
    assert send(review, sample("r1", reason="filter", weight=1.0, **more), sample("r2"))["accepted"] == 2
    eventually(lambda: counts(review)["kept"] == 2)
    assert sorted(send(review)["totals"]) == [["2", "filter", "kept", 1], ["2", "random", "kept", 1]]
    found = traces(uri)
    assert found.keys() == {"r1", "r2"}
    (span,) = found["r1"].data.spans
    assert (span.inputs, span.outputs) == ({"text": f"Package: libfoo {SECRET}"}, {"text": "foo library"})
    wanted = {
        "gen_ai.request.model": "m", "gen_ai.response.model": "2", "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 2, "gen_ai.request.max_tokens": 8, "gen_ai.request.temperature": 0.0,
        "seqline.beam": 2, "seqline.logprob": -0.5, "seqline.flags": "length", "seqline.arm": "canary", "seqline.index": 0,
    }  # fmt: skip
    assert {name: span.get_attribute(name) for name in wanted} == wanted
    tags = found["r2"].info.tags
    assert {name: tags[f"seqline.{name}"] for name in ("reason", "weight", "version", "arm", "shadow")} == {
        "reason": "random", "weight": "100.0", "version": "2", "arm": "canary", "shadow": "false",
    }  # fmt: skip
    label = Expectation(name="expected_response", value="a library", source=AssessmentSource("HUMAN", "ann"))
    TracingClient(uri).log_assessment(found["r2"].info.trace_id, label)
    assert [(each.source, each.expected) for each in corrections(uri, "m")] == [(f"Package: libfoo {SECRET}", "a library")]


def test_the_gateway_starts_it_and_each_trace_tells_the_share(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("SEQLINE_HOME", str(tmp_path / "home"))
    (tmp_path / "m.yaml").write_text(
        "name: m\ndata: {source: {kind: files, paths: [a.csv]}}\nserving: {review: {share: 0.25}}\nscoring: {judge: lexical}\n"
    )
    spec, settings = load(tmp_path / "m.yaml"), Settings()
    with serve.review(spec, settings) as url, serve.judge(spec, settings, url) as judge:
        assert url is not None
        for address in (url, judge):
            assert httpx.post(address, json={"pairs": [sample("r1", weight=4.0)]}, timeout=120).status_code == 202
        eventually(lambda: httpx.get(url.replace("pairs", "healthz"), timeout=120).json()["kept"] == 1)
    assert traces(uri)["r1"].info.tags["seqline.share"] == "0.25"


def test_verdicts_and_feedback_join_the_trace_whatever_comes_first(start: Callable[..., Process], uri: str) -> None:
    review = start("--per-hour", "100")
    said = {"by": "u1", "at": 2.5, "number": 1, "rating": "down", "correction": "a <PERSON_1>", "comment": None}
    flagged = sample("r1", reason="judge", weight=4.0, flagged=True, support=0.25)
    send(review, flagged, sample("r1"), sample("r1", reason="feedback", weight=1.0, feedback=said))
    eventually(lambda: counts(review)["joined"] == 2)
    (trace,) = traces(uri).values()
    tags = {name: trace.info.tags[f"seqline.{name}"] for name in ("reason", "weight", "judge", "feedback")}
    assert tags == {"reason": "feedback", "weight": "1.0", "judge": "flagged", "feedback": "down"}
    assert {each.name: each.value for each in trace.info.assessments} == {
        "judge": False, "rating": "down", SUGGESTED: "a <PERSON_1>",
    }  # fmt: skip
    assert corrections(uri, "m") == []


def test_no_more_than_the_hour_has_room_for_and_the_weights_say_so(start: Callable[..., Process], uri: str) -> None:
    review = start("--per-hour", "20")
    send(review, *(sample(f"r{number}", reason="filter", weight=1.0) for number in range(200)))
    eventually(lambda: counts(review)["queued"] == 0 and sum(counts(review)[name] for name in ("kept", "dropped")) == 200)
    kept = counts(review)["kept"]
    assert 10 < kept <= 20
    weights = [float(trace.info.tags["seqline.weight"]) for trace in traces(uri).values()]
    assert len(weights) == kept
    assert weights.count(1.0) >= 10
    assert {round(weight, 6) for weight in weights} <= {round(20 / (2 * left), 6) for left in range(1, 11)}


@given(st.integers(1, 5_000), st.data())
def test_room_falls_from_all_to_nothing(per_hour: int, data: st.DataObject) -> None:
    used = data.draw(st.integers(0, per_hour))
    assert 0 <= room(used + 1, per_hour) <= room(used, per_hour) <= 1
    assert (room(0, per_hour), room(per_hour, per_hour)) == (1, 0)
    assert room(0, 0) == 0


def test_while_the_registry_is_away_samples_wait_and_the_oldest_are_shed(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody answers
    review = start("--per-hour", "100", "--queue", "3")
    send(review, *(sample(f"r{number}") for number in range(5)))
    eventually(lambda: counts(review)["shed"] >= 1)
    assert counts(review)["kept"] == counts(review)["failed"] == 0
    assert SECRET not in review.errors.read_text()


def test_it_ends_flushed_on_sigterm_and_no_text_stays_but_in_the_registry(
    start: Callable[..., Process], uri: str, tmp_path: Path
) -> None:
    review = start("--per-hour", "100")
    send(review, *(sample(f"r{number}") for number in range(20)))
    review.popen.send_signal(signal.SIGTERM)
    assert review.popen.wait(60) == 0
    assert len(traces(uri)) == 20
    others = [path for path in tmp_path.rglob("*") if path.is_file() and not path.name.startswith("mlflow.db")]
    assert not [path for path in others if SECRET.encode() in path.read_bytes()]
    assert review.errors.read_text() == ""


def test_a_sample_that_cannot_be_written_is_counted_and_its_text_is_not_logged(start: Callable[..., Process]) -> None:
    review = start("--per-hour", "100")
    broken = sample("r1", feedback={"rating": SECRET})  # from nobody: no `by`
    odd = sample("r2", source=f"\ud800 \x00 {SECRET}")
    assert review.client.post("/pairs", content=json.dumps({"pairs": [broken, odd]})).status_code == 202
    eventually(lambda: counts(review)["failed"] == 1 and counts(review)["kept"] == 1)
    (line,) = [json.loads(line) for line in review.errors.read_text().splitlines()]
    assert line["event"].startswith("a sample could not be written: KeyError in _write (review.py:")
    assert SECRET not in json.dumps(line)


def test_what_the_judge_flags_goes_to_review_and_its_verdict_to_what_is_there(
    start: Callable[..., Process], uri: str, tmp_path: Path
) -> None:
    review = start("--per-hour", "100")
    judge = start(
        *("--database", f"sqlite:///{tmp_path}/rollout.db", "--threshold", "0.7"),
        *("--review", f"http://127.0.0.1:{review.ready['port']}/pairs"),
        module="flows.services.judge",
    )
    good, flagged = sample("good", reason=""), {**sample("flagged", reason="", judge_weight=4.0), "output": "singing 77"}
    send(judge, good, flagged, sample("drawn"))
    judge.popen.send_signal(signal.SIGTERM)  # it sends what it has before it ends
    assert judge.popen.wait(60) == 0
    eventually(lambda: counts(review)["kept"] == 2)
    found = traces(uri)
    assert {name: (t.info.tags["seqline.reason"], t.info.tags["seqline.weight"]) for name, t in found.items()} == {
        "flagged": ("judge", "4.0"), "drawn": ("random", "100.0"),
    }  # fmt: skip
    verdicts = {name: (t.info.tags["seqline.judge"], t.info.tags["seqline.judge.weight"]) for name, t in found.items()}
    assert verdicts == {"flagged": ("flagged", "1.0"), "drawn": ("passed", "100.0")}


@given(st.booleans(), st.sampled_from(["", "random", "filter"]), st.floats(1, 1_000), st.floats(1, 1_000))
def test_the_smaller_weight_counts(flagged: bool, reason: str, weight: float, judge_weight: float) -> None:
    offered = Pair(**pair("r", "x", reason=reason, weight=weight, judge_weight=judge_weight))
    found = reviewed(offered, Verdict(flagged, 0.5, 0.5))
    if not flagged and not reason:
        assert found is None
        return
    assert found is not None
    assert (found.flagged, found.support) == (flagged, 0.5)
    wanted = min(weight, judge_weight) if flagged and reason else judge_weight if flagged else weight
    assert found.weight == wanted
    assert (found.reason == "judge") == (flagged and (not reason or judge_weight < weight))


@given(st.floats(0.01, 1), st.floats(0.01, 1), st.integers(1, 9))
def test_a_verdict_stands_for_what_the_judge_read_beside_it(share: float, judged: float, fresh: int) -> None:
    """The gateway's weights (recording.py): of what passed the judge read `judged`, review has the lesser of both shares."""
    random, of_judge = fresh / share, fresh / max(share, judged)
    assert verdict_weight(False, random, of_judge) == pytest.approx(judged / min(share, judged))
    assert verdict_weight(False, 1.0, of_judge) == verdict_weight(True, random, of_judge) == 1.0


@pytest.mark.usefixtures("start")
def test_it_ends_with_its_parent() -> None:
    program = (
        "import subprocess, sys, os\n"
        "command = [sys.executable, *'-m flows.services.review --name m --per-hour 5 --parent'.split(), str(os.getpid())]\n"
        "p = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)\n"
        "print(p.stdout.readline(), end='', flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    url = f"http://127.0.0.1:{json.loads(done.stdout)['port']}/healthz"

    def away() -> bool:
        try:
            httpx.get(url, timeout=2)
        except httpx.TransportError:
            return True
        return False

    eventually(away)
