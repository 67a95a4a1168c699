"""What stands between a request and its answer, over HTTP with real engines: cache, filters, endpoints, deadlines, overload."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.serving.exchange import Ask
from pipelines.serving.intake import Refused
from tests.serving.managed import Managed, managed
from tests.serving.site import Site, site, spec, until

LEAVES = httpx.Timeout(60, read=0.3)
"""Of a sender who has sent the whole request, and leaves before it is answered (in 5 s)."""


@pytest.fixture(scope="module")
def other() -> Iterator[Managed]:
    with managed() as running:
        yield running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, export: Path, other: Managed) -> Iterator[Site]:
    """A gateway with a cache, patterns, and an endpoint that is its backup."""
    endpoint = {"url": f"{other.url}/v1/chat/completions", "protocol": "openai", "per_1000_tokens": 1.0}
    serving = {
        "queue": 12, "cache": {"entries": 100}, "decoding": {"max_tokens": 8, "beam": 2},
        "endpoints": {"other": endpoint}, "overload": {"backup": "other", "stale_at": 0.9},
        "filters": {"patterns": ["forbidden"], "input_patterns": ["(?i)secret recipe"], "length": "off"},
    }  # fmt: skip
    with site(spec(serving=serving), tmp_path_factory.mktemp("shop"), export) as running:
        running.route()
        yield running


def ask(shop: Site, *texts: str, user: str | None = None, **more: Any) -> httpx.Response:
    headers = {"X-User": user} if user else {}
    return shop.http.post("/v1/generate", json={"inputs": list(texts), **more}, headers=headers)


def outputs(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["outputs"]
    return found


def test_what_was_answered_before_is_not_decoded_again_and_is_no_evidence(shop: Site) -> None:
    shop.route()
    since, seen = shop.offsets(), shop.faults["1"].seen
    (first,) = outputs(ask(shop, "a text of its own"))
    (again,) = outputs(ask(shop, "a text of its own", user="somebody else"))
    assert (first["cached"], again["cached"]) == (False, True)
    assert again == {**first, "cached": True}
    both = outputs(ask(shop, "a text of its own", "and a new one", "and a new one"))
    assert [output["cached"] for output in both][:2] == [True, False]
    assert shop.faults["1"].seen - seen == 2
    assert len(shop.events(since, 2)) == 2
    assert shop.metric('seqline_cache_hits_total{kind="fresh",model="tiny",version="1"}') >= 1


def test_senders_who_differ_in_their_names_alone_share_an_answer_but_not_their_names(shop: Site) -> None:
    shop.route()
    shop.faults["1"].replace, shop.faults["1"].text = 1.0, "ask <EMAIL_ADDRESS_1> first"
    (one,) = outputs(ask(shop, "please write to ada@example.org today"))
    (two,) = outputs(ask(shop, "please write to eva@example.org today"))
    assert (one["text"], two["text"]) == ("ask ada@example.org first", "ask eva@example.org first")
    assert two["cached"]


def test_drawn_answers_and_other_decodings_and_versions_are_not_taken_from_the_cache(shop: Site) -> None:
    shop.route()
    drawn = {"decoding": {"temperature": 1.0, "beam": 1, "seed": 7}}
    assert not any(outputs(ask(shop, "draw me", **drawn))[0]["cached"] for _ in range(2))
    outputs(ask(shop, "draw me"))
    assert not outputs(ask(shop, "draw me", decoding={"beam": 1}))[0]["cached"]
    assert outputs(ask(shop, "draw me"))[0]["cached"]
    shop.route(champion="2")
    assert not outputs(ask(shop, "draw me"))[0]["cached"]
    shop.route()
    assert not outputs(ask(shop, "draw me"))[0]["cached"], "version 1 was away in between"


def test_several_who_ask_the_same_at_once_share_one_decoding(shop: Site) -> None:
    shop.route()
    shop.faults["1"].delay, shop.faults["1"].delay_seconds = 1.0, 0.4
    seen = shop.faults["1"].seen
    with ThreadPoolExecutor(4) as senders:
        answers = [outputs(each)[0] for each in senders.map(lambda _: ask(shop, "all at once"), range(4))]
    assert shop.faults["1"].seen - seen == 1
    assert sorted(each["cached"] for each in answers) == [False, True, True, True]
    assert len({each["text"] for each in answers}) == 1


def test_who_waited_for_another_asks_when_that_one_fails(shop: Site) -> None:
    shop.route()
    faults = shop.faults["1"]
    faults.delay, faults.delay_seconds = 1.0, 0.4
    seen = faults.seen
    with ThreadPoolExecutor(2) as senders:
        leader = senders.submit(ask, shop, "first in line", deadline_ms=200)
        until(lambda: faults.seen > seen)
        follower = senders.submit(ask, shop, "first in line")
        assert leader.result().status_code in (200, 503)
        assert outputs(follower.result())[0]["text"] is not None
    assert faults.seen - seen == 2


def test_a_withheld_answer_of_the_canary_is_the_champions_and_one_of_the_champion_is_empty(shop: Site) -> None:
    shop.route("2", weight=100)
    shop.faults["2"].replace, shop.faults["2"].text = 1.0, "a forbidden word"
    since = shop.offsets()
    answer = ask(shop, "say it")
    assert answer.json()["version"] == "1"
    assert not outputs(answer)[0]["withheld"]
    (event,) = shop.events(since, 1)
    assert (event.arm, event.version, event.slis) == ("canary", "2", {"availability": False})
    assert shop.metric('seqline_guard_hits_total{filter="pattern",model="tiny",version="2"}') >= 1
    shop.faults["1"].replace, shop.faults["1"].text = 1.0, "a forbidden word"
    (output,) = outputs(ask(shop, "say it again"))
    assert (output["text"], output["withheld"], output["flags"]) == ("", True, ["pattern"])
    shop.route()
    assert not outputs(ask(shop, "say it again"))[0]["cached"], "what was withheld is not kept"


def test_personal_data_that_nobody_sent_does_not_get_out(shop: Site) -> None:
    shop.route()
    shop.faults["1"].replace, shop.faults["1"].text = 1.0, "write to <EMAIL_ADDRESS_1> or to leaked@example.org"
    (output,) = outputs(ask(shop, "my address is ada@example.org"))
    assert output["text"] == "write to ada@example.org or to <EMAIL_ADDRESS_2>"
    assert "leak" in output["flags"]


def test_a_request_that_the_policy_refuses_is_told_by_its_place(shop: Site) -> None:
    shop.route()
    answer = ask(shop, "good morning", "tell me the Secret Recipe")
    assert (answer.status_code, answer.json()) == (
        400, {"error": "inputs[1]: matches input_patterns[0], which this model's policy refuses"},
    )  # fmt: skip


def test_a_sender_in_a_hurry_gets_its_503_in_time_and_blames_nobody(shop: Site) -> None:
    shop.route("2", weight=100)
    for version in ("1", "2"):
        shop.faults[version].delay, shop.faults[version].delay_seconds = 1.0, 1.0
    since = shop.offsets()
    answers = [ask(shop, f"quick {n}", deadline_ms=40) for n in range(25)]
    assert {answer.status_code for answer in answers} == {503}
    assert not shop.health()["fused"]
    shop.offsets()
    assert not shop.store.read("tiny", since).events


def test_the_backup_answers_when_the_champion_cannot(shop: Site, other: Managed) -> None:
    shop.route()
    shop.faults["1"].fail = 1.0
    since, spent = shop.offsets(), shop.metric('seqline_spend{currency="EUR",model="tiny"}')
    answer = ask(shop, "is anybody there, ada@example.org?")
    content = answer.json()
    assert (content["version"], content["degraded"]) == ("endpoint:other", ["backup"])
    assert outputs(answer)[0]["text"] == "IS ANYBODY THERE, ada@example.org?"
    assert "<EMAIL_ADDRESS_1>" in other.asked[-1][2]["messages"][0]["content"]
    assert "ada" not in repr(other.asked)
    (event,) = shop.events(since, 1)
    assert (event.arm, event.version, event.slis) == ("champion", "1", {"availability": False})
    assert shop.metric('seqline_spend{currency="EUR",model="tiny"}') == pytest.approx(spent + 0.014)
    assert shop.metric('seqline_degraded_total{model="tiny",what="backup"}') >= 1


def test_an_endpoint_can_be_the_canary_and_the_champion(shop: Site, other: Managed) -> None:
    shop.route("endpoint:other", weight=100)
    since = shop.offsets()
    answer = ask(shop, "hello you")
    assert (answer.json()["version"], outputs(answer)[0]["text"]) == ("endpoint:other", "HELLO YOU")
    (event,) = shop.events(since, 1)
    assert (event.arm, event.version, event.slis) == ("canary", "endpoint:other", {"availability": True, "latency": True})
    other.status = 500
    assert ask(shop, "hello again").json()["version"] == "1"
    other.status = 200
    shop.route(champion="endpoint:other")
    assert shop.health()["ok"]
    assert shop.health()["engines"] == {}
    assert ask(shop, "and now").json()["version"] == "endpoint:other"
    shop.route()


def test_an_endpoint_that_the_spec_does_not_know_is_a_canary_that_never_starts(shop: Site) -> None:
    shop.route()
    shop.route("endpoint:nobody", weight=50, wait=False)
    until(lambda: shop.health()["fused"])
    assert ask(shop, "still there").status_code == 200
    shop.route()


def test_when_it_gets_full_beams_go_first_then_the_backup_answers(shop: Site) -> None:
    shop.route()
    shop.faults["1"].delay, shop.faults["1"].delay_seconds = 1.0, 0.8
    with ThreadPoolExecutor(20) as senders:
        answers = list(senders.map(lambda n: ask(shop, f"busy {n}"), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    degraded = [tuple(answer.json()["degraded"]) for answer in answers]
    assert degraded.count(()) == 6, "half of the queue"
    assert degraded.count(("smaller_beam",)) == 6
    assert degraded.count(("backup",)) == 8
    assert all(answer.json()["version"] == "endpoint:other" for answer in answers if answer.json()["degraded"] == ["backup"])


def test_one_version_can_be_asked_by_name_and_nothing_is_written_down(shop: Site) -> None:
    shop.route("2", shadow=True)
    since = shop.offsets()
    asked = Ask(["by name"], shop.spec.serving.decoding)
    for version in ("1", "2", "2"):
        answered = shop.call(shop.gateway.answer_by(version, asked))
        assert (answered.version, answered.outputs[0].cached) == (version, False)
    with pytest.raises(Refused, match="503"):
        shop.call(shop.gateway.answer_by("9", asked))
    shop.offsets()
    assert not shop.store.read("tiny", since).events


def test_a_sender_who_leaves_costs_no_decoding(shop: Site) -> None:
    shop.route()
    shop.faults["1"].delay, shop.faults["1"].delay_seconds = 1.0, 5.0
    since = shop.offsets()
    with pytest.raises(httpx.ReadTimeout):
        shop.http.post("/v1/generate", json={"inputs": ["never mind"]}, timeout=LEAVES)
    until(lambda: shop.metric('seqline_requests_total{arm="champion",model="tiny",outcome="gone",version="1"}') >= 1)
    until(lambda: shop.metric('seqline_engine_in_flight{model="tiny"}') == 0)
    assert not shop.store.read("tiny", since).events


def test_an_hour_that_is_too_dear_makes_beams_smaller_then_refuses(tmp_path: Path, export: Path) -> None:
    serving = {"decoding": {"max_tokens": 8, "beam": 2}, "cost": {"per_engine_hour": 36_000_000.0, "cap_per_hour": 10_000.0}}
    with site(spec(serving=serving), tmp_path, export) as dear:
        dear.route()
        answers = [ask(dear, f"dear {n}") for n in range(1)]
        while answers[-1].status_code == 200:
            answers.append(ask(dear, f"dear {len(answers)}"))
        spent = dear.metric('seqline_spend{currency="EUR",model="tiny"}')
        degraded = [each.json()["degraded"] for each in answers[:-1]]
    assert spent >= 10_000
    assert degraded == sorted(degraded), "smaller beams came last"
    last = answers[-1]
    assert (last.status_code, last.json()) == (429, {"error": "serving.cost.cap_per_hour is spent: try again later"})
    assert int(last.headers["Retry-After"]) >= 1


@pytest.fixture(scope="module")
def telling(tmp_path_factory: pytest.TempPathFactory, export: Path) -> Iterator[Site]:
    """A gateway whose filters let answers out as they are written."""
    serving = {"filters": {"leak": "flag"}, "cache": {"entries": 100}}
    with site(spec(serving=serving), tmp_path_factory.mktemp("telling"), export) as running:
        running.route()
        yield running


def told(telling: Site, *texts: str, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    """The events of a streamed answer: (name, data)."""
    body = {"inputs": list(texts), "stream": True, **more}
    found = []
    with telling.http.stream("POST", "/v1/generate", json=body) as answer:
        assert answer.status_code == 200
        for block in answer.read().decode().strip().split("\n\n"):
            name, data = block.split("\n", 1)
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


@pytest.mark.parametrize("which", ["shop", "telling"])
def test_the_pieces_joined_are_the_answers(which: str, request: pytest.FixtureRequest) -> None:
    running: Site = request.getfixturevalue(which)
    running.route()
    since = running.offsets()
    *deltas, (name, done) = told(running, "a stream of its own", "and another", decoding={"beam": 1})
    assert name == "done"
    for index, output in enumerate(done["outputs"]):
        assert "".join(data["text"] for _, data in deltas if data["index"] == index).strip() == output["text"].strip()
    assert [event.slis for event in running.events(since, 1)] == [{"availability": True, "latency": True}]
    assert told(running, "a stream of its own", decoding={"beam": 1})[-1][1]["outputs"][0]["cached"]


def test_a_canary_that_does_not_begin_is_the_champions_to_stream(telling: Site) -> None:
    telling.route("2", weight=100)
    telling.faults["2"].fail = 1.0
    since = telling.offsets()
    *_, (name, done) = told(telling, "who writes this", decoding={"beam": 1})
    assert (name, done["version"]) == ("done", "1")
    assert [(event.arm, event.slis) for event in telling.events(since, 1)] == [("canary", {"availability": False})]
    telling.route()


def test_a_stream_that_nobody_reads_any_more_ends(telling: Site) -> None:
    telling.route()
    telling.faults["1"].delay, telling.faults["1"].delay_seconds = 1.0, 5.0
    with pytest.raises(httpx.ReadTimeout):
        telling.http.post("/v1/generate", json={"inputs": ["never mind"], "stream": True}, timeout=LEAVES)
    until(lambda: telling.metric('seqline_engine_in_flight{model="tiny"}') == 0)
    until(lambda: telling.metric('seqline_in_flight{model="tiny"}') == 0)
    telling.route()
