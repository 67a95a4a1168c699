"""Burn > 4x for 30 minutes pages a person, once: by the pure rule, and from what gateways wrote."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import spec
from pipelines.rollout import ledger, page, paging
from pipelines.rollout import policy as po
from pipelines.rollout.evidence import Count
from pipelines.rollout.paging import BURN, LASTING, Burn, burning, due
from pipelines.rollout.policy import Policy, Rule
from pipelines.rollout.status import render, status
from pipelines.rollout.store import Event, Route, Store
from tests.rollout.test_status import SPEC, said

MINUTE, BUDGET = 60.0, 0.01
NOW = 200_000 * MINUTE
POLICY = Policy((Rule("availability", 0.99), Rule("latency", 0.99), Rule("judge", None)), ((50, 2),))


def minutes(bad: Iterable[int], n: int = 100) -> dict[int, Count]:
    """So many bad answers of `n`, minute by minute, the last one that of NOW; -1: nobody asked."""
    rows = list(bad)
    return {200_000 - len(rows) + 1 + i: Count(n, b) for i, b in enumerate(rows) if b >= 0}


@pytest.mark.parametrize(
    ("bad", "paged"),
    [
        ([0] * 10 + [10] * 33, True),
        ([0] * 10 + [10] * 25, False),
        ([4] * 45, False),  # four times is not more than four times
        ([5] * 45, True),
        ([0] * 5 + [100] * 2 + [0] * 38, False),  # a short outage, long over
        ([10] * 20 + [0] * 5 + [10] * 20, False),  # it stopped between
        ([10] * 20 + [-1] * 7 + [10] * 18, True),  # nobody asked between
        ([10] * 30 + [-1] * 15, False),  # nobody asks any more: nobody is hurt
        ([-1] * 45, False),
        ([10] + [-1] * 20 + [10] + [-1] * 22 + [10], True),  # a trickle
    ],
)
def test_it_must_last_for_half_an_hour_without_a_break(bad: list[int], paged: bool) -> None:
    found, _ = burning("availability", minutes(bad), BUDGET, NOW)
    assert due(found, NOW) is paged


def test_it_says_since_when_and_how_fast() -> None:
    found, calm = burning("availability", minutes([0] * 10 + [10] * 35), BUDGET, NOW)
    assert found
    assert (found.since, calm) == (NOW - 34 * MINUTE, False)
    assert found.said == "availability burns 10 times its budget since 1970-05-19 20:46 UTC"
    assert burning("availability", minutes([10] * 30 + [0] * 6), BUDGET, NOW) == (None, True)


@given(st.lists(st.integers(-1, 100), min_size=1, max_size=50), st.floats(0.001, 0.2))
def test_who_is_paged_is_burning_now_and_was_all_along(bad: list[int], budget: float) -> None:
    found, calm = burning("availability", minutes(bad), budget, NOW)
    if found is None:
        return
    assert not calm
    assert found.burn > BURN
    assert found.since <= NOW
    assert minutes(bad)[int(found.since // MINUTE)].bad
    worse = [min(100, b + 1) if b >= 0 else b for b in bad]
    more, _ = burning("availability", minutes(worse), budget, NOW)
    assert more
    assert more.since <= found.since, "more bad answers never end it"


def journal(store: Store, start: float, end: float, bad: float, sli: str = "availability") -> None:
    """An answer a second; `bad` of them in each run of twenty."""
    rows = [Event(f"r{i}", f"u{i}", "champion", "1", start + i, {sli: i % 20 >= bad}, gateway="g", seq=int(start) + i)
            for i in range(int(end - start))]  # fmt: skip
    store.append("tiny", "g", rows)


def look(store: Store, now: float, policy: Policy = POLICY) -> tuple[Burn, ...]:
    with store.transaction() as connection:
        return paging.look(store, "tiny", policy, now, connection)


def pages(store: Store) -> list[list[str]]:
    with store.transaction() as connection:
        return [row["reasons"] for row in reversed(ledger.latest_decisions("tiny", 9, connection)) if row["action"] == "paged"]


@pytest.fixture
def produced(store: Store) -> Store:
    """Version 1 is in production, and no rollout is open."""
    with store.transaction() as connection:
        number = ledger.begin("tiny", po.start("1", None, NOW - 9_000), {}, connection)
        ledger.close(number, "promoted", NOW - 9_000, connection)
        store.set_route("tiny", Route("1"), connection)
    return store


def test_a_champion_that_burns_pages_once_an_episode_and_is_shown_first(produced: Store) -> None:
    journal(produced, NOW - 3_000, NOW, 0)
    journal(produced, NOW, NOW + 2_400, 2)
    found = [each for minute in range(40) for each in look(produced, NOW + minute * MINUTE + 2)]
    assert len(found) == 1
    assert NOW - MINUTE <= found[0].since <= NOW + MINUTE
    assert len(pages(produced)) == 1
    assert pages(produced)[0][0].startswith("availability burns ")
    shown = status(produced, SPEC, NOW + 2_400)
    assert [each["sli"] for each in shown["paged"]] == ["availability"]
    assert shown["paged"][0]["since"] == found[0].since
    text = said(render(shown))
    assert text.startswith(" NOT SAFE  tiny: a person is needed: availability burns ")
    assert 'class="paged"' in page.latest(produced, "tiny")
    with produced.transaction() as connection:
        told = [effect.payload for effect in ledger.pending("tiny", connection)]
    assert told[0]["event"] == "paged"
    assert (told[0]["detail"]["sli"], told[0]["detail"]["since"]) == ("availability", found[0].since)

    journal(produced, NOW + 2_400, NOW + 3_000, 0)
    for minute in range(40, 51):
        look(produced, NOW + minute * MINUTE)
    assert status(produced, SPEC, NOW + 3_000)["paged"] == []
    assert 'class="paged"' not in page.latest(produced, "tiny")
    journal(produced, NOW + 3_000, NOW + 5_000, 20)
    again = [each for minute in range(51, 84) for each in look(produced, NOW + minute * MINUTE)]
    assert len(again) == 1
    assert len(pages(produced)) == 2


def test_the_first_look_and_one_after_a_long_gap_see_it_too(produced: Store) -> None:
    journal(produced, NOW - 2_000, NOW, 4)
    assert [each.sli for each in look(produced, NOW)] == ["availability"]
    assert look(produced, NOW + 5) == (), "looked at a moment ago"
    assert look(produced, NOW - 7_200) == (), "a clock that went back finds nothing, and breaks nothing"
    assert look(produced, NOW + 86_400) == ()
    assert len(pages(produced)) == 1


def test_a_judges_flags_never_page_and_what_is_in_no_slo_neither(produced: Store) -> None:
    journal(produced, NOW - 2_700, NOW, 20, "judge")
    assert look(produced, NOW) == ()
    assert Policy.of(spec.Slo(judged=1.0), spec.Rollout()).slis[-1].objective is None
    assert LASTING == 1_800
