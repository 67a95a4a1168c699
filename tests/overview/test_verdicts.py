"""What an on-call person reads first: never "safe" where that is not known."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.overview import facts as f
from pipelines.overview.verdicts import ranked, summary, verdict
from tests.overview.overviews import NOW, model, overview, rollout, standing

DOWN = f.Known(None, None, "the gateway does not answer", 20)
WELL = f.Gateway(True, None, 0, 0, 0, False)
PAGE = f.Known((f.Alert("P99", "page", "p99 of tiny is 3 s", NOW, "latency-p99-breach"),), NOW)
TICKET = f.Known((f.Alert("Dip", "ticket", "a dip", NOW, "quality-dip"),), NOW)
EMPTY = standing(safe=False, verdict="nothing is in production yet", production=None)


@pytest.mark.parametrize(
    ("changed", "tone", "said"),
    [
        ({}, "good", "serves everybody"),
        ({"standing": f.Known()}, "unknown", "nobody looked"),
        ({"standing": f.Known(None, None, "locked")}, "unknown", "locked"),
        ({"standing": f.Known(standing(), NOW - 61, "locked")}, "unknown", "locked; what is shown is 1 min old"),
        ({"standing": f.Known(standing(), NOW - 59, "locked")}, "good", "serves"),
        ({"standing": f.Known(EMPTY, NOW), "gateway": DOWN}, "none", "nothing is in production"),
        ({"standing": f.Known(standing(safe=False, verdict="the budget is spent"), NOW)}, "bad", "spent"),
        ({"gateway": DOWN}, "bad", "does not answer"),
        ({"gateway": replace(DOWN, value=f.Gateway(True, None, 0, 0, 0, False), at=NOW - 5)}, "good", "serves"),
        ({"gateway": f.Known(f.Gateway(False, None, 0, 0, 0, False), NOW)}, "bad", "no engine"),
        ({"alerts": PAGE}, "bad", "p99 of tiny"),
        ({"gateway": f.Known()}, "unknown", "not asked yet"),
        ({"gateway": f.Known(WELL, NOW - 21, "", 20)}, "unknown", "heard of 21 s ago"),
        ({"gateway": f.Known(WELL, NOW + 3_600, "", 20)}, "unknown", "heard of"),
        ({"gateway": f.Known(replace(WELL, model="other"), NOW)}, "bad", "the gateway of other answers"),
        ({"gateway": f.Known(replace(WELL, model="tiny"), NOW)}, "good", "serves"),
        ({"gateway": f.Known(replace(WELL, follows=False), NOW)}, "wait", "newest route"),
        ({"alerts": replace(PAGE, at=NOW - 3_600)}, "unknown", "p99 of tiny"),
        ({"alerts": TICKET}, "wait", "a dip"),
        ({"standing": f.Known(standing(rollout=rollout(approval="a person")), NOW)}, "wait", "serves"),
        ({"standing": f.Known(standing(held="frozen by somebody"), NOW)}, "wait", "frozen"),
        ({"standing": f.Known(standing(production="endpoint:backup"), NOW)}, "wait", "everybody is diverted"),
    ],
)
def test_each_state_has_its_word(changed: dict[str, object], tone: str, said: str) -> None:
    found = verdict(model(**changed), NOW)
    assert (found.tone, said in found.said) == (tone, True), found


@given(
    safe=st.booleans(),
    age=st.floats(0, 1_000),
    gateway_age=st.none() | st.floats(0, 1_000),
    page=st.booleans(),
    problem=st.sampled_from(["", "locked"]),
)
def test_safe_is_said_of_what_is_fresh_and_well_alone(
    safe: bool, age: float, gateway_age: float | None, page: bool, problem: str
) -> None:
    gateway = DOWN if gateway_age is None else replace(DOWN, value=f.Gateway(True, 0.1, 1, 1, 0, False), at=NOW - gateway_age)
    shown = model(
        standing=f.Known(standing(safe=safe), NOW - age, problem), gateway=gateway, alerts=PAGE if page else f.Known((), NOW)
    )
    said = verdict(shown, NOW).tone in ("good", "wait")
    assert said == (safe and age <= 60 and gateway_age is not None and gateway_age <= 20 and not page)


def test_what_must_be_looked_at_stands_first() -> None:
    found = ranked(overview(model("a"), model("b", gateway=DOWN), model("c", standing=f.Known(EMPTY, NOW)), model("d")))
    assert [each.name for each, _ in found] == ["b", "a", "d", "c"]
    assert summary(each for _, each in found) == "1 not safe, 2 safe, 1 not in production"
    assert summary([]) == "no models"
