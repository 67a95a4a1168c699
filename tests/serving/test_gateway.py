"""The gateway over HTTP, real engines behind it, a fault proxy between: what a sender sees, and what the journal says."""

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from pipelines.serving.exchange import Output
from tests.serving.judge import Judge
from tests.serving.site import Site, until


def test_an_answer_names_the_version_and_its_tokens(gate: Site) -> None:
    gate.route()
    answer = gate.http.post("/v1/generate", json={"inputs": ["a small package", "another one"]})
    assert answer.status_code == 200
    content = answer.json()
    assert (content["model"], content["version"], len(content["outputs"])) == ("tiny", "1", 2)
    for output in content["outputs"]:
        assert output.keys() == {*Output.model_fields, "version"}
        assert output["version"] == "1"
        assert output["source_tokens"] > 0
    assert len(answer.headers["X-Request-Id"]) == 32


def test_a_sender_stays_in_its_arm_and_more_weight_only_adds(gate: Site) -> None:
    users = [f"user-{n}" for n in range(30)]
    low = gate.route("2", weight=25)
    first = {user: gate.ask(user=user).json()["version"] for user in users}
    assert first == {user: gate.ask("something else", user=user).json()["version"] for user in users}
    gate.route("2", weight=60, salt=low.salt)
    second = {user: gate.ask(user=user).json()["version"] for user in users}
    assert {u for u, v in first.items() if v == "2"} < {u for u, v in second.items() if v == "2"}
    assert set(first.values()) == {"1", "2"}


def test_without_a_user_the_input_decides(gate: Site) -> None:
    gate.route("2", weight=50)
    texts = [f"text {n}" for n in range(20)]
    first = [gate.ask(text).json()["version"] for text in texts]
    assert first == [gate.ask(text).json()["version"] for text in texts]
    assert set(first) == {"1", "2"}


def test_the_journal_holds_both_slis_by_the_arm_of_the_sender(gate: Site) -> None:
    gate.route("2", weight=50)
    since = gate.offsets()
    ids = {gate.ask(user=f"user-{n}").headers["X-Request-Id"]: f"user-{n}" for n in range(20)}
    events = gate.events(since, 20)
    assert {e.request for e in events} == set(ids)
    assert len({e.user_hmac for e in events}) == 20
    assert {(e.arm, e.version) for e in events} == {("champion", "1"), ("canary", "2")}
    assert all(e.slis == {"availability": True, "latency": True} and not e.shadow for e in events)


def test_in_shadow_both_arms_write_a_row_under_one_request(gate: Site, judge: Judge) -> None:
    gate.route("2", shadow=True)
    since = gate.offsets()
    answer = gate.ask(user="somebody")
    events = gate.events(since, 2)
    assert answer.json()["version"] == "1"
    assert {e.request for e in events} == {answer.headers["X-Request-Id"]}
    assert {(e.arm, e.version, e.shadow) for e in events} == {("champion", "1", False), ("canary", "2", True)}
    assert len({e.user_hmac for e in events}) == 1
    pairs = until(lambda: len(p := [p for p in judge.pairs if p["request"] == events[0].request]) == 2 and p)
    assert {(p["arm"], p["version"], p["shadow"]) for p in pairs} == {("champion", "1", False), ("canary", "2", True)}
    assert {p["source"] for p in pairs} == {"a small package"}


def test_in_a_mirrored_stage_only_the_champions_requests_are_copied(gate: Site) -> None:
    gate.route("2", weight=50, shadow=True)
    since = gate.offsets()
    answers = [gate.ask(user=f"user-{n}") for n in range(12)]
    by = {answer.headers["X-Request-Id"]: answer.json()["version"] for answer in answers}
    rows = 12 + list(by.values()).count("1")
    assert 12 < rows < 24
    told: dict[str, set[tuple[str, bool]]] = {}
    for event in gate.events(since, rows):
        told.setdefault(event.request, set()).add((event.arm, event.shadow))
    both, canary = {("champion", False), ("canary", True)}, {("canary", False)}
    assert told == {request: both if version == "1" else canary for request, version in by.items()}


def test_a_slow_mirror_is_nobodys_wait_and_is_shed_first(gate: Site) -> None:
    gate.route("2", shadow=True)
    gate.faults["2"].delay, gate.faults["2"].delay_seconds = 1.0, 30.0
    shed = 'seqline_mirrors_total{model="tiny",outcome="shed",version="2"}'
    since, before = gate.offsets(), gate.metric(shed)
    answers = [gate.ask(user=f"user-{n}") for n in range(20)]
    assert {a.status_code for a in answers} == {200}
    assert gate.metric(shed) - before == 12  # 8 are in flight
    late = [e for e in gate.events(since, 28) if e.shadow]
    assert [e.slis for e in late] == [{"availability": False}] * 8


@pytest.mark.parametrize("fault", ["fail", "drop", "delay"])
def test_what_the_canary_does_not_answer_the_champion_does(gate: Site, fault: str) -> None:
    gate.route("2", weight=50)
    setattr(gate.faults["2"], fault, 0.5)
    gate.faults["2"].delay_seconds = 30.0
    since = gate.offsets()
    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(lambda n: gate.ask(user=f"user-{n}"), range(40)))
    assert {a.status_code for a in answers} == {200}
    events = {e.request: e for e in gate.events(since, 40)}
    failed = [e for e in events.values() if not e.slis["availability"]]
    assert failed
    assert {(e.arm, e.version) for e in failed} == {("canary", "2")}
    versions = {a.headers["X-Request-Id"]: a.json()["version"] for a in answers}
    assert {versions[e.request] for e in failed} == {"1"}, "the label is that of the model that really answered"
    assert all("latency" not in e.slis for e in failed)


def test_a_canary_that_only_fails_is_cut_off_until_the_next_route(gate: Site) -> None:
    gate.route("2", weight=100)
    gate.faults["2"].fail = 1.0
    since = gate.offsets()
    answers = [gate.ask(user=f"user-{n}") for n in range(30)]
    assert {(a.status_code, a.json()["version"]) for a in answers} == {(200, "1")}
    counted = Counter((e.kind, e.arm, e.version) for e in gate.events(since, 31))
    assert counted == {("answer", "canary", "2"): 20, ("fuse", "canary", "2"): 1, ("answer", "champion", "1"): 10}
    assert gate.health()["fused"]
    assert gate.health()["weight"] == 0
    gate.route("2", weight=100)
    assert gate.ask().json()["version"] == "2"


def test_a_canary_that_never_starts_is_told_and_changes_nothing(gate: Site) -> None:
    gate.route("2", weight=100)
    since = gate.offsets()
    wanted = gate.route("9", weight=50, wait=False)
    fuse = until(lambda: [e for e in gate.events(since, 1) if e.kind == "fuse"])[0]
    assert (fuse.arm, fuse.version) == ("canary", "9")
    health = gate.health()
    assert (health["generation"], health["wanted"]) == (wanted.generation - 1, wanted.generation)
    assert gate.ask().status_code == 200
    gate.route()


def test_while_the_database_is_locked_senders_notice_nothing(gate: Site) -> None:
    gate.route("2", weight=50)
    since = gate.offsets()
    with gate.store.transaction():  # holds the write lock
        answers = [gate.ask(user=f"user-{n}") for n in range(40)]
        assert {a.status_code for a in answers} == {200}
        assert {a.json()["version"] for a in answers} == {"1", "2"}
        until(lambda: gate.metric('seqline_journal_pending{model="tiny"}') == 40)
    assert {e.request for e in gate.events(since, 40)} == {a.headers["X-Request-Id"] for a in answers}


def test_past_its_lease_all_go_to_the_champion(gate: Site) -> None:
    gate.route("2", weight=100, lease_until=time.time() - 1)
    assert {gate.ask(user=f"user-{n}").json()["version"] for n in range(10)} == {"1"}
    route = gate.store.route("tiny")
    assert route
    with gate.store.transaction() as connection:
        gate.store.renew("tiny", route.generation, connection, time.time())
    until(lambda: gate.ask().json()["version"] == "2")


def test_a_killed_canary_engine_costs_no_sender_anything_and_comes_back(gate: Site) -> None:
    gate.route("2", weight=50)
    since = gate.offsets()
    killed = gate.health()["engines"]["2"]
    os.kill(killed, signal.SIGKILL)
    answers: list[httpx.Response] = []

    def back() -> bool:
        answers.append(gate.ask(user=f"user-{len(answers)}"))
        return bool(gate.health()["engines"].get("2", killed) != killed)

    until(back)
    assert {a.status_code for a in answers} == {200}
    failed = [e for e in gate.events(since, len(answers)) if e.slis.get("availability") is False]
    assert {e.arm for e in failed} <= {"canary"}
    gate.route("2", weight=100)
    assert gate.ask().json()["version"] == "2"


def test_routes_change_under_load_without_a_failed_request(gate: Site) -> None:
    gate.route()
    stop = threading.Event()

    def send(n: int) -> Counter[tuple[int, str]]:
        seen: Counter[tuple[int, str]] = Counter()
        while not stop.is_set():
            answer = gate.ask(user=f"user-{n}-{seen.total()}")
            seen[answer.status_code, answer.json().get("version", answer.text)] += 1
        return seen

    with ThreadPoolExecutor(4) as senders:
        counts = [senders.submit(send, n) for n in range(4)]
        try:
            gate.route("2", weight=50)
            gate.route(champion="2")
            gate.route("3", champion="2", weight=25)
            gate.route(champion="3")
            gate.route(champion="1")
        finally:
            stop.set()
        total = sum((c.result() for c in counts), Counter())
    assert {status for status, _ in total} == {200}
    assert {version for _, version in total} == {"1", "2", "3"}
    until(lambda: gate.health()["engines"].keys() == {"1"})


def test_a_dead_champion_is_a_503_with_retry_after_until_it_is_back(gate: Site) -> None:
    gate.route()
    gate.faults["1"].fail = 1.0
    since = gate.offsets()
    answer = gate.ask()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    (event,) = gate.events(since, 1)
    assert (event.arm, event.slis) == ("champion", {"availability": False})
    gate.faults["1"].fail = 0.0
    os.kill(gate.health()["engines"]["1"], signal.SIGKILL)
    until(lambda: gate.health()["ok"] is False)
    assert gate.http.get("/healthz").status_code == 503
    until(lambda: gate.ask().status_code == 200)


def test_too_many_requests_in_flight_get_429(gate: Site) -> None:
    gate.route()
    gate.faults["1"].delay, gate.faults["1"].delay_seconds = 1.0, 0.7
    with ThreadPoolExecutor(24) as senders:
        answers = list(senders.map(lambda n: gate.ask(user=str(n)), range(24)))
    assert {a.status_code for a in answers} == {200, 429}
    assert sum(a.status_code == 200 for a in answers) >= 16
    assert all(a.headers["Retry-After"] == "1" for a in answers if a.status_code == 429)


def test_senders_get_their_own_values_back_and_nobody_else_sees_them(gate: Site, judge: Judge) -> None:
    gate.route()
    gate.faults["1"].replace, gate.faults["1"].text = 1.0, "ask <PERSON_1> at <EMAIL_ADDRESS_1>"
    answer = gate.ask("Please write to Margaret Hollingsworth <margaret.h@example.org> about it", user="margaret.h@example.org")
    assert answer.json()["outputs"][0]["text"] == "ask Margaret Hollingsworth at margaret.h@example.org"
    pair = until(lambda: [p for p in judge.pairs if p["request"] == answer.headers["X-Request-Id"]])[0]
    assert pair["output"] == "ask <PERSON_1> at <EMAIL_ADDRESS_1>"
    database = Path(str(gate.store.engine.url.database))
    kept = b"".join(path.read_bytes() for path in database.parent.iterdir())
    seen = repr(judge.pairs) + gate.http.get("/metrics").text + kept.decode("latin-1")
    assert pair["user_hmac"] in seen
    assert not [word for word in ("Hollingsworth", "margaret.h", "write to") if word in seen.replace("Please write to", "")]


def test_a_guard_that_dies_fails_closed_and_comes_back(gate: Site) -> None:
    gate.route()
    seen = gate.faults["1"].seen
    guards = multiprocessing.active_children()  # those of other gateways too: they come back
    with ThreadPoolExecutor(4) as senders:
        for worker in guards:
            worker.kill()
        answers = list(senders.map(lambda n: gate.ask(user=str(n)), range(4)))
    assert {a.status_code for a in answers} <= {200, 503}
    assert gate.faults["1"].seen - seen == sum(a.status_code == 200 for a in answers)
    until(lambda: gate.ask().status_code == 200)
