"""What servers and files say, read into facts; what they say in another shape is refused, never guessed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from pipelines.overview import answers, files

EDGES = (0.05, 0.1, 0.25, 0.5, 1.0)


def metrics(*seconds: float) -> str:
    registry = CollectorRegistry()
    latency = Histogram("seqline_latency_seconds", "x", ("model", "version", "arm"), buckets=EDGES, registry=registry)
    for i, each in enumerate(seconds):
        latency.labels("tiny", str(i % 2), "champion").observe(each)
    return generate_latest(registry).decode()


def test_a_p95_is_of_the_answers_since_the_first_look() -> None:
    _, before = answers.gateway({"ok": True}, metrics(*[0.9] * 100), (), 100.0)
    found, _ = answers.gateway({"ok": True}, metrics(*[0.9] * 100, *[0.07] * 100), [(100.0, before)], 160.0)
    assert found.answers == 100
    assert found.window == 60
    assert found.p95 == pytest.approx(0.0975)
    quiet, _ = answers.gateway({"ok": True}, metrics(*[0.9] * 100), [(100.0, before)], 160.0)
    assert quiet.p95 is None
    again, _ = answers.gateway({"ok": True}, metrics(0.2, 0.2), [(100.0, before)], 160.0)
    assert again.answers == 2  # it was started again: what it counted before is gone
    with pytest.raises(KeyError):
        answers.gateway({"model": "tiny"}, metrics(0.1), (), 100.0)


@given(st.lists(st.floats(0.001, 3.0), min_size=1), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_of_its_answer(seconds: list[float], share: float) -> None:
    buckets, _, _ = answers.numbers(metrics(*seconds))
    found = answers.quantile(share, buckets)
    assert found is not None
    exact = sorted(seconds)[max(0, -int(-share * len(seconds) // 1) - 1)]
    edges = (0.0, *EDGES, float("inf"))
    low, high = max(edge for edge in edges if edge < exact), min(edge for edge in edges if edge >= exact)
    assert min(low, EDGES[-1]) - 1e-9 <= found <= min(high, EDGES[-1]) + 1e-9


def test_alerts_that_fire_come_by_model_pages_first() -> None:
    def alert(name: str, severity: str, state: str = "firing", model: str = "tiny") -> dict[str, object]:
        labels = {"alertname": name, "severity": severity, "model": model}
        notes = {"summary": f"{name} of {model}", "runbook_url": "http://127.0.0.1:9090/user/quality-dip.md"}
        return {"labels": labels, "annotations": notes, "state": state, "activeAt": "2026-11-22T19:00:00.123456789Z"}

    some = [alert("A", "ticket"), alert("B", "page"), alert("C", "page", "pending"), alert("D", "page", model="other")]
    found = answers.alerts({"data": {"alerts": some}})
    assert [each.name for each in found["tiny"]] == ["B", "A"]
    assert found["tiny"][0].runbook == "quality-dip"
    assert found["tiny"][0].since == pytest.approx(1_795_374_000.123, abs=0.01)
    assert [each.name for each in found["other"]] == ["D"]


def test_doubts_leave_out_what_is_no_number() -> None:
    series = {"metric": {"model": "tiny"}, "values": [[1.0, "0.1"], [2.0, "NaN"], [3.0, "0.2"]]}
    assert answers.doubts({"data": {"result": [series]}})["tiny"].points == ((1.0, 0.1), (3.0, 0.2))


def test_a_deployment_says_when_it_is_due_and_how_it_went() -> None:
    deployment = {"name": "tiny", "entrypoint": "flows.retrain.retrain", "paused": False}
    run = {"id": "1", "name": "tiny · drift: word: secretword rose", "state_name": "Failed",
           "start_time": "2026-11-22T19:00:00Z", "total_run_time": 61.5}  # fmt: skip
    found = answers.scheduled(deployment, [{"expected_start_time": "2026-11-23T03:00:00+00:00"}], [run])
    assert (found.kind, found.model, found.next_at) == ("retrain", "tiny", 1_795_402_800.0)
    assert (found.last[0].outcome, found.last[0].took) == ("Failed", 61.5)
    assert "secretword" not in found.last[0].name
    assert answers.scheduled(deployment, [], []).next_at is None


def test_the_newest_version_is_told_and_why_it_was_made() -> None:
    tags = [{"key": "seqline.why", "value": "drift: drifted: word: secretword: 1 % now"}]
    versions = [{"version": "9", "creation_timestamp": 1_000}, {"version": "10", "creation_timestamp": 2_000, "tags": tags}]
    found = answers.memory({"model_versions": versions}, 4, "7")
    assert (found.newest, found.made_at, found.waiting) == ("10", 2.0, 4)
    assert "drift" in found.why
    assert "secretword" not in found.why
    assert answers.memory({}, None, None).newest is None


def test_files_of_the_contract_are_read() -> None:
    side = {
        "side": "input",
        "verdict": "drifted",
        "why": "word: secretword: 1.0% in training, 9.0% now",
        "examples": ["a text"],
    }
    drift = files.drift({"verdict": "drifted", "version": "2", "sides": [side]})
    assert drift.sides == (("input", "drifted", "a word's share 1.0% in training, 9.0% now"),)
    assert "a text" not in str(drift)
    fired = {"kind": "drift", "fired": True, "said": "drifted"}
    decision = {"retrain": True, "why": "drift: drifted"}
    last = {"at": 1.0, "why": "labels", "version": "3", "helped": False}
    watch = files.watch(
        {"triggers": [fired, fired | {"fired": False}], "decision": decision, "backoff_until": None, "last": last}
    )
    assert (watch.retrain, watch.fired) == (True, (("drift", "drifted"),))
    assert watch.last == "version 3, because of labels: it did not help"
    month = {"spent": 1.0, "forecast": 2.0, "budget": None}
    version = {"version": "2", "decoding": {"beam": 4}, "per_1000": None}
    cost = files.cost(
        {"currency": "EUR", "versions": [version], "retrains": [{"at": 2, "cost": 5}, {"at": 1, "cost": 3}], "month": month}
    )
    assert (cost.versions, cost.retrain, cost.budget) == ((("2", "beam 4", None),), 5.0, None)
    unpriced = {"versions": [], "retrains": [{"at": 1, "cost": 0.0}], "month": month, "priced": {"serving": False}}
    assert (files.cost(unpriced).spent, files.cost(unpriced).retrain) == (None, None)
    check = {"phase": "before", "check": "slo", "ok": None, "said": "cannot be told", "mend": "do it"}
    doctor = files.doctor({"phase": "before", "checks": [check, check | {"ok": True}]})
    assert (doctor.checks, doctor.gaps) == (2, (("slo", "cannot be told", "do it"),))
    told = {"version": "2", "judged": {"value": 0.1}, "corrected": {"value": 0.05, "interval": [0.01, 0.1]}, "labels": 40}
    assert files.labels({"versions": [told]}).corrected == (0.05, 0.01, 0.1)
    assert files.labels({"versions": [told | {"corrected": "unknown", "judged": None}]}).corrected is None
    assert files.kept({"kept": 7, "deleted": {"traces": 2, "journal": ["a"]}, "days": 30}).deleted == 3


@pytest.mark.parametrize("read", [files.drift, files.watch, files.cost, files.doctor, files.labels, files.kept])
@pytest.mark.parametrize("content", ["{}", "[]", "null", '{"sides": 3, "checks": 3, "versions": 3, "decision": 3}'])
def test_another_shape_is_refused(read: "type[object]", content: str) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        read(json.loads(content))
