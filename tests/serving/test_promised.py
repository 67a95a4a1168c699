"""What a model says, as SLIs: personal data that nobody sent, and what the spec's patterns forbid; by real gateways."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from rich.console import Console

from pipelines.rollout import evidence as ev
from pipelines.rollout.decide import decide
from pipelines.rollout.evidence import Count
from pipelines.rollout.policy import Action, Observed, Policy, prepared, start
from pipelines.rollout.status import render, status
from pipelines.rollout.store import Event
from pipelines.spec import Slo
from tests.serving.site import Site, site, spec

LEAK, FORBIDDEN, BOTH = "write to leaked@example.org", "a forbidden word", "a forbidden word of leaked@example.org"
GOOD = {"availability": True, "latency": True, "pii": True, "policy": True}
PROMISED: dict[str, Any] = {"pii": {"objective": 0.99}, "policy": {"objective": 0.99}, "judged": 0.0}
FILTERS: dict[str, Any] = {"patterns": ["forbidden"]}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, export: Path) -> Iterator[Site]:
    """A gateway that promises both, redacts leaks and refuses what is forbidden. It has a cache."""
    serving = {"filters": FILTERS, "cache": {"entries": 100}, "timeout_ms": 60_000}
    given = spec(slo={**PROMISED, "latency": {"objective": 0.99, "target_ms": 60_000}}, serving=serving)
    with site(given, tmp_path_factory.mktemp("strict"), export) as running:
        running.route()
        yield running


def ask(strict: Site, *texts: str) -> httpx.Response:
    """Ask, as a sender of its own."""
    return strict.http.post("/v1/generate", json={"inputs": list(texts)}, headers={"X-User": texts[0]}, timeout=60)


def said(strict: Site, version: str, text: str | None) -> None:
    """Have a version's engine say `text`; None: what it has to say."""
    strict.faults[version].replace, strict.faults[version].text = (0.0, "") if text is None else (1.0, text)


def told(strict: Site, text: str | None, *inputs: str, count: int = 1) -> list[Event]:
    """The events of one request that version 1 answers with `text`."""
    since = strict.offsets()
    said(strict, "1", text)
    assert ask(strict, *inputs).status_code == 200
    return strict.events(since, count)


def test_a_request_is_bad_by_what_the_model_said_whatever_was_shown(strict: Site) -> None:
    strict.route()
    assert [event.slis for event in told(strict, None, "nothing special")] == [GOOD]
    assert [event.slis for event in told(strict, LEAK, "redacted")] == [{**GOOD, "pii": False}]
    assert [event.slis for event in told(strict, "to <EMAIL_ADDRESS_1>", "from me@example.org")] == [GOOD], "the sender's own"
    withheld = {"availability": False, "pii": True, "policy": False}
    assert [event.slis for event in told(strict, FORBIDDEN, "withheld")] == [withheld]
    assert [event.slis for event in told(strict, BOTH, "one", "two")] == [{**withheld, "pii": False}]


def test_a_kept_answer_is_no_evidence_of_what_is_said_now(strict: Site) -> None:
    strict.route()
    (bad,) = told(strict, LEAK, "kept")
    assert not bad.slis["pii"]
    assert [event.slis for event in told(strict, None, "kept", "asked anew")] == [GOOD]
    since = strict.offsets()
    assert ask(strict, "kept").json()["outputs"][0]["cached"]
    strict.offsets()
    assert not strict.store.read("tiny", since).events


def test_a_failure_says_nothing_of_what_would_have_been_said(strict: Site) -> None:
    strict.route("2", weight=100)
    strict.faults["2"].fail = 1.0
    since = strict.offsets()
    assert ask(strict, "who answers").json()["version"] == "1"
    assert [event.slis for event in strict.events(since, 1)] == [{"availability": False}]


def test_shadow_finds_a_canary_that_leaks_before_any_user_meets_it(strict: Site) -> None:
    strict.route("2", shadow=True)
    said(strict, "2", LEAK)
    since = strict.offsets()
    for number in range(24):
        assert ask(strict, f"text {number}").json()["version"] == "1"
        strict.offsets()  # the mirror has answered: however slow the machine, none is shed
    events = strict.events(since, 48)
    mirrored = [event for event in events if event.shadow]
    assert [event.slis for event in mirrored] == [{**GOOD, "pii": False}] * 24
    policy = Policy.of(strict.spec.slo, strict.spec.rollout)
    state = prepared(start("2", "1", events[0].at - 1), policy)
    now = events[-1].at + 1
    seen = ev.fold(state.evidence, events)
    decision = decide(type(state)(state.phase, state.since, state.opened_at, seen), Observed(now), policy)
    assert decision.action is Action.ROLLBACK
    assert any(reason.startswith("pii: canary bad in 0 of 0 answers") for reason in decision.reasons), decision.reasons
    assert seen.slis["pii"].canary == Count(), "no user has met it"


def test_the_budgets_count_what_users_met_and_status_shows_them(strict: Site) -> None:
    strict.route()
    told(strict, LEAK, "once more")
    now = time.time()
    found = status(strict.store, strict.spec, now + 1)
    rows = [event for event in strict.store.read("tiny", {}).events if not event.shadow and "pii" in event.slis]
    budget = found["budgets"]["pii"]
    assert (budget["requests"], budget["bad"]) == (len(rows), sum(not event.slis["pii"] for event in rows))
    assert budget["bad"] >= 1
    console = Console(width=120)
    with console.capture() as shown:
        console.print(render(found))
    assert "pii: " in shown.get()
    assert "policy: " in shown.get()


UNFOUNDED: list[tuple[str, dict[str, Any], str]] = [
    ("pii", {"leak": "off"}, "slo.pii needs serving.filters.leak, which is off"),
    ("policy", {}, "slo.policy needs serving.filters.patterns, and there are none"),
    ("policy", {"patterns": ["x"], "pattern": "off"}, "slo.policy needs serving.filters.pattern, which is off"),
]


@pytest.mark.parametrize(("sli", "filters", "rule"), UNFOUNDED)
def test_a_promise_that_nothing_checks_is_refused(sli: str, filters: dict[str, Any], rule: str) -> None:
    slo = Slo.model_validate({sli: {"objective": 0.99}})
    with pytest.raises(ValidationError, match=re.escape(rule)):
        spec(slo=slo.model_dump(), serving={"filters": filters})


def test_what_is_not_promised_is_no_sli() -> None:
    def rules(**slo: Any) -> dict[str, float | None]:
        read = spec(slo=slo, serving={"filters": {"patterns": ["x"]}})
        return {rule.name: rule.objective for rule in Policy.of(read.slo, read.rollout).slis}

    assert not {"pii", "policy"} & rules().keys()
    assert rules(**PROMISED) == {**rules(judged=0.0), "pii": 0.99, "policy": 0.99}
