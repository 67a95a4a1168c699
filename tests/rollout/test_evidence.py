"""The bets are fair under the null, the wealth is the mixture it says it is, and a fold can be cut anywhere."""

import itertools
import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.rollout import bets, ledger
from pipelines.rollout import evidence as ev
from pipelines.rollout.bets import Wealth
from pipelines.rollout.evidence import Count, Evidence, Sli
from pipelines.rollout.exclusion import log_excluded
from pipelines.rollout.policy import Phase, State
from pipelines.rollout.store import Event

SHARES = st.floats(0.001, 0.99)
STARTED = 100.0


def fresh(share: float = 0.0) -> Evidence:
    start = Evidence("1", "2", {name: Sli() for name in ("availability", "latency", "judge", "quality")}, weights=((0.0, 0.0),))
    return ev.enter(start, STARTED, share) if share else start


def answer(user: str, arm: str, at: float, **slis: bool) -> Event:
    return Event(f"r{at}", user, arm, "2" if arm == "canary" else "1", at, slis)


@st.composite
def journals(draw: st.DrawFn) -> list[Event]:
    rows = []
    for i in range(draw(st.integers(0, 40))):
        arm = draw(st.sampled_from(["canary", "champion"]))
        kind = draw(st.sampled_from(["answer", "answer", "answer", "verdict", "fuse"]))
        slis = (
            {"judge": draw(st.booleans())}
            if kind == "verdict"
            else draw(st.dictionaries(st.sampled_from(["availability", "latency", "other"]), st.booleans()))
        )
        version = draw(st.sampled_from(["1", "2"] if i % 7 == 0 else ["2" if arm == "canary" else "1"]))
        shadow = arm == "canary" and draw(st.booleans())
        at = STARTED + draw(st.floats(-20, 60))
        who = (f"r{draw(st.integers(0, 9))}", f"u{draw(st.integers(0, 5))}")
        scores = {"quality": draw(st.floats(0, 1))} if kind == "verdict" else {}
        rows.append(Event(*who, arm, version, at, slis, kind, shadow, scores=scores))
    return sorted(rows, key=lambda event: event.at)


@given(journals(), st.integers(0, 40), st.floats(0, 0.6))
@settings(max_examples=60)
def test_a_fold_can_be_cut_anywhere_and_changes_nothing_it_was_given(journal: list[Event], cut: int, share: float) -> None:
    start = fresh(share)
    before = repr(start)
    whole = ev.fold(start, journal)
    assert ev.fold(ev.fold(start, journal[:cut]), journal[cut:]) == whole
    assert repr(start) == before


@given(journals(), st.floats(0, 0.6))
@settings(max_examples=30)
def test_the_evidence_survives_the_database(journal: list[Event], share: float) -> None:
    found = replace(ev.fold(fresh(share), journal), users=frozenset())
    state = State(Phase.STAGE, 1.0, 0.5, found, before={"latency": Count(5, 1)})
    text = json.dumps(ledger.STATE.dump_python(state, mode="json"), allow_nan=False)
    assert ledger.STATE.validate_python(json.loads(text)) == state


@given(SHARES, st.floats(0, 1))
def test_a_bet_on_a_bad_answer_wins_nothing_on_average_if_the_canary_is_no_worse(share: float, part: float) -> None:
    true = share * part  # of bad answers from the canary: its share, or less
    canary, champion = bets.bad_factors(share, "canary"), bets.bad_factors(share, "champion")
    for a, b in zip(canary, champion, strict=True):
        assert true * math.exp(a) + (1 - true) * math.exp(b) <= 1 + 1e-9


@given(SHARES, st.floats(0.05, 0.95), st.booleans())
def test_a_bet_on_any_answer_is_fair_whatever_the_answer(share: float, rate: float, good: bool) -> None:
    canary, champion = bets.both_factors(share, "canary", good, rate), bets.both_factors(share, "champion", good, rate)
    for ratio, a, b in zip(bets.RATIOS, canary, champion, strict=True):
        assert share * math.exp(a) + (1 - share) * math.exp(b) == pytest.approx(1)
        assert ratio * rate < 1 or a == b == 0


@given(st.lists(st.tuples(st.booleans(), SHARES), max_size=30))
def test_wealth_is_the_mixture_over_ratios_and_start_times(events: list[tuple[bool, float]]) -> None:
    wealth = Wealth()
    for from_canary, share in events:
        wealth = wealth.bet(bets.bad_factors(share, "canary" if from_canary else "champion"))
    cash = [1.0, *((1 - bets.FIRST) / (1 + math.log(n)) for n in range(1, len(events) + 1))]
    expected = cash[-1]
    for i, part in enumerate(bets.PRIOR):
        factors = [math.exp(bets.bad_factors(share, "canary" if c else "champion")[i]) for c, share in events]
        expected += part * sum((cash[k] - cash[k + 1]) * math.prod(factors[k:]) for k in range(len(events)))
    assert math.exp(wealth.log) == pytest.approx(expected)


def test_the_capital_is_all_there_is() -> None:
    assert math.fsum(bets.PRIOR) == pytest.approx(1)
    assert len(bets.PRIOR) == len(bets.RATIOS)


def test_only_a_users_first_bad_answer_is_bet_on_and_all_are_counted() -> None:
    journal = [answer("heavy", "canary", STARTED + 5 + i, availability=False) for i in range(50)]
    found = ev.fold(fresh(0.5), journal)
    assert found.slis["availability"].wealth.bets == 1
    assert found.slis["availability"].canary == found.slis["availability"].stage_canary == Count(50, 50)


def test_many_users_whom_only_the_canary_fails_are_proof_and_those_of_both_are_not() -> None:
    hurt = [answer(f"u{i}", "canary", STARTED + 5 + i, availability=False) for i in range(4)]
    assert ev.log_worse(ev.fold(fresh(0.01), hurt)) > math.log(100)
    both = [answer(f"u{i}", "canary" if i % 2 else "champion", STARTED + 5 + i, availability=False) for i in range(400)]
    assert ev.log_worse(ev.fold(fresh(0.5), both)) < math.log(2)


def test_a_canary_that_turns_bad_late_is_still_found() -> None:
    arms = ["canary" if i % 4 == 0 else "champion" for i in range(4_000)]
    calm = [answer(f"u{i}", arm, STARTED + 5 + i / 10, latency=i % 37 != 0) for i, arm in enumerate(arms)]
    late = [answer(f"v{i}", "canary", STARTED + 500 + i, latency=False) for i in range(25)]
    found = ev.fold(fresh(0.25), calm)
    assert ev.log_worse(found) < math.log(5)
    assert ev.log_worse(ev.fold(found, late)) > math.log(100)


def test_mirrored_pairs_count_where_just_one_arm_was_bad() -> None:
    journal = []
    for i in range(30):
        champion_good, canary_good = i % 10 != 0, i % 10 > 1
        at = 10.0 + i
        journal += [
            Event(f"r{i}", f"u{i}", "champion", "1", at, {"availability": champion_good}),
            Event(f"r{i}", f"u{i}", "canary", "2", at + 0.2, {"availability": canary_good}, shadow=True),
        ]
    s = ev.fold(fresh(), journal).slis["availability"]
    assert (s.mirror_champion, s.mirror_canary) == (Count(30, 3), Count(30, 6))
    assert s.wealth.bets == 3
    assert s.canary == Count()


def test_a_slow_mirrored_answer_is_counted_but_proves_nothing() -> None:
    journal = []
    for i in range(100):
        journal += [
            Event(f"r{i}", f"u{i}", "champion", "1", 10.0 + i, {"latency": True}),
            Event(f"r{i}", f"u{i}", "canary", "2", 10.2 + i, {"latency": False}, shadow=True),
        ]
    s = ev.fold(fresh(), journal).slis["latency"]
    assert (s.mirror_canary, s.wealth.bets) == (Count(100, 100), 0)


def test_a_pair_is_matched_across_ticks_and_a_half_that_waited_too_long_is_dropped() -> None:
    first = Event("r", "u", "champion", "1", 10.0, {"availability": True})
    second = Event("r", "u", "canary", "2", 12.0, {"availability": False}, shadow=True)
    waiting = ev.fold(fresh(), [first])
    assert ev.fold(waiting, [second]).slis["availability"].mirror_canary == Count(1, 1)
    later = ev.fold(waiting, [answer("x", "champion", 10.0 + ev.PAIR_WAIT + 1, latency=True)])
    assert ev.fold(later, [replace(second, at=50.0)]).slis["availability"].mirror_canary == Count()


def test_feedback_is_nobodys_half_of_a_pair() -> None:
    def verdict(arm: str, version: str, sli: str, good: bool) -> Event:
        return Event("r", "u", arm, version, 1.0, {sli: good}, kind="verdict", shadow=arm == "canary")

    judged = [verdict("champion", "1", "judge", True), verdict("canary", "2", "judge", False)]
    said = verdict("champion", "1", "feedback", False)
    start = Evidence("1", "2", {"judge": Sli()}, weights=((0.0, 0.0),))
    assert ev.fold(start, [judged[0], said, judged[1]]).slis == ev.fold(start, judged).slis


def test_verdicts_are_compared_on_all_answers_where_flags_are_common() -> None:
    chance = random.Random(5)
    journal = []
    for i in range(1_500):
        arm = "canary" if chance.random() < 0.5 else "champion"
        flagged = chance.random() < (0.6 if arm == "canary" else 0.3)
        journal.append(replace(answer(f"u{i}", arm, STARTED + 20 + i / 10, judge=not flagged), kind="verdict"))
    s = ev.fold(fresh(0.5), journal).slis["judge"]
    assert s.wealth.log > math.log(1e6)
    assert s.wealth.bets > s.canary.bad + s.champion.bad


def test_just_after_a_change_of_weight_the_larger_share_is_assumed() -> None:
    found = ev.enter(fresh(0.01), 200.0, 0.25)
    assert found.share(199.0) == (0.01, True)
    assert found.share(200.5) == (0.25, False)
    assert found.share(202.0) == (0.25, True)
    assert found.share(202.0, "verdict") == (0.25, False)
    lapsed = ev.lapse(found, 300.0, 400.0)
    assert lapsed.share(350.0) == (0.0, True)
    assert lapsed.share(402.0) == (0.25, True)


def test_what_other_versions_did_is_nobodys_evidence() -> None:
    foreign = [Event(f"r{i}", f"u{i}", "canary", "9", STARTED + 5 + i, {"availability": False}) for i in range(9)]
    assert ev.fold(fresh(0.5), foreign) == fresh(0.5)


@pytest.mark.parametrize(("budget", "champion", "burn"), [(0.01, 0.0, 10.0), (0.01, 0.03, 2.0), (0.05, 0.3, 2.0)])
def test_a_burn_that_is_there_is_hardly_ever_excluded(budget: float, champion: float, burn: float) -> None:
    chance, rate, excluded, runs = random.Random(7), burn * max(budget, champion), 0, 150
    for _ in range(runs):
        canary, other = Count(), Count()
        for n in range(400):
            canary, other = canary.add(chance.random() >= rate), other.add(chance.random() >= champion)
            if n % 10 == 9 and log_excluded(canary, other, budget, burn) >= math.log(20):
                excluded += 1
                break
    assert excluded <= 0.05 * runs + 3 * math.sqrt(0.05 * 0.95 * runs)


def test_a_burn_that_is_not_there_is_excluded() -> None:
    assert log_excluded(Count(60, 0), Count(5_000, 10), 0.01, 50) > math.log(100)
    assert log_excluded(Count(8_000, 240), Count(8_000, 240), 0.01, 2) > math.log(100), "a champion 3x worse than its SLO"
    assert log_excluded(Count(4_000, 20), Count(4_000, 20), 0.01, 2) > math.log(100)
    assert log_excluded(Count(), Count(5_000, 10), 0.01, 50) <= 0, "no canary traffic proves nothing"


@given(st.integers(0, 500), st.integers(0, 500))
def test_an_interval_holds_its_rate(bad: int, good: int) -> None:
    count = Count(bad + good, bad)
    low, high = count.interval()
    assert 0 <= low <= (bad / count.n if count.n else 0.5) + 1e-12
    assert (bad / count.n if count.n else 0.5) <= high + 1e-12
    assert high <= 1


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5])
@pytest.mark.parametrize("requests", [1, 2])
def test_no_game_is_won_on_average_where_a_stage_is_mirrored_as_well(share: float, requests: int) -> None:
    """All that can happen to one user of two versions that are alike, each with its chance: the mean e-value is at most 1."""
    bad, mean = 0.3, 0.0
    start = ev.enter(Evidence("1", "2", {"availability": Sli()}, weights=((0.0, 0.0),)), 0.0, share, mirrored=True)
    for arm, part in (("canary", share), ("champion", 1 - share)):
        for answers in itertools.product([False, True], repeat=2 * requests):
            journal, chance = [], part
            for i in range(requests):
                own, mirrored = answers[2 * i : 2 * i + 2]
                asked = Event(f"r{i}", "u", arm, "2" if arm == "canary" else "1", 10.0 + i, {"availability": own})
                chance *= 1 - bad if own else bad
                journal.append(asked)
                if arm == "champion":
                    chance *= 1 - bad if mirrored else bad
                    seen = {"availability": mirrored}
                    journal.append(replace(asked, arm="canary", version="2", at=10.5 + i, shadow=True, slis=seen))
                elif mirrored:
                    chance = 0.0  # the canary's own users are not mirrored: counted once, under `mirrored` False
            mean += chance * math.exp(ev.log_worse(ev.fold(start, journal)))
    assert mean <= 1 + 1e-9


def test_a_user_has_one_bet_in_each_game() -> None:
    start = ev.enter(Evidence("1", "2", {"availability": Sli()}, weights=((0.0, 0.0),)), 0.0, 0.25, mirrored=True)
    journal = []
    for i in range(5):
        asked = Event(f"r{i}", "u", "champion", "1", 10.0 + i, {"availability": False})
        journal += [asked, replace(asked, arm="canary", version="2", at=10.5 + i, shadow=True, slis={"availability": True})]
    found = ev.fold(start, journal)
    s = found.slis["availability"]
    assert s.pairs is not None
    assert (s.wealth.bets, s.pairs.bets) == (1, 1)
    assert found.users == set(ev.keys(journal[0]))
