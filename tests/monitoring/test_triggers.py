"""When a retrain is started, and when not: for all that could be observed."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipelines.monitoring.triggers import (
    ALPHA,
    DAY,
    HOUR,
    LOOKS,
    Attempt,
    Observed,
    Rate,
    Share,
    above,
    backoff_until,
    decide,
    evidence,
)
from pipelines.spec import Watch

CALM = Observed(
    now=1_000 * DAY, version="3", trained_at=999 * DAY, drifted=False, doubted=Share(1, 500, 0.02), disliked=Share(3, 20, 0.3),
    unsupported=Rate(0.1, 0.05, 0.15, 0.2), labels=10, changed=(),
)  # fmt: skip
FIRED = {
    "cron": replace(CALM, trained_at=900 * DAY),
    "drift": replace(CALM, drifted=True, moved="input: section: games: 2.0% in training, 60.0% now"),
    "quality": replace(CALM, doubted=Share(80, 500, 0.02)),
    "hallucination": replace(CALM, unsupported=Rate(0.4, 0.3, 0.5, 0.2)),
    "labels": replace(CALM, labels=200),
    "source": replace(CALM, changed=("pairs.csv",)),
}
POLICY = Watch()
attempts = st.lists(
    st.builds(
        Attempt,
        at=st.floats(0, 999 * DAY),
        why=st.just("drift"),
        version=st.none(),
        helped=st.sampled_from([True, False, None]),
    ),
    max_size=12,
).map(lambda found: sorted(found, key=lambda each: each.at))
observations = st.builds(
    Observed,
    now=st.floats(999 * DAY, 1_200 * DAY),
    version=st.sampled_from([None, "3"]),
    busy=st.sampled_from(["", "a retrain is at work"]),
    trained_at=st.one_of(st.none(), st.floats(0, 999 * DAY)),
    drifted=st.sampled_from([None, False, True]),
    doubted=st.one_of(st.none(), st.integers(0, 50).map(lambda hits: Share(hits, 50, 0.02))),
    disliked=st.one_of(st.none(), st.integers(0, 9).map(lambda hits: Share(hits, 9, 0.3))),
    unsupported=st.one_of(st.none(), st.floats(0, 1).map(lambda low: Rate(low, low, 1, 0.2))),
    labels=st.one_of(st.none(), st.integers(0, 500)),
    changed=st.sampled_from([None, (), ("a",), ("a", "b", "c", "d")]),
)


def test_a_calm_model_is_left_alone() -> None:
    decision = decide(CALM, POLICY, [])
    assert (decision.retrain, decision.why, decision.backoff_until) == (False, "nothing calls for a retrain", None)
    assert [each.kind for each in decision.triggers] == list(LOOKS)
    assert not any(each.fired for each in decision.triggers)


def test_each_reason_alone_starts_a_retrain_and_is_named() -> None:
    assert set(FIRED) == set(LOOKS)
    for kind, observed in FIRED.items():
        decision = decide(observed, POLICY, [])
        assert decision.retrain, kind
        assert decision.why.startswith(f"{kind}: "), decision.why
        assert [each.kind for each in decision.triggers if each.fired] == [kind]


def test_a_reason_that_the_spec_leaves_out_is_shown_and_starts_nothing() -> None:
    for kind, observed in FIRED.items():
        others = Watch(triggers=tuple(each for each in POLICY.triggers if each != kind))
        decision = decide(observed, others, [])
        assert not decision.retrain
        assert [each.kind for each in decision.triggers if each.fired] == [kind]


def test_flags_that_no_label_corrected_start_nothing() -> None:
    decision = decide(replace(CALM, unsupported=None), POLICY, [])
    said = {each.kind: each for each in decision.triggers}["hallucination"]
    assert (decision.retrain, said.fired) == (False, False)
    assert said.said == "no labels: the judge's flags alone start nothing"


def test_what_could_not_be_told_says_why_and_fires_nothing() -> None:
    blind = Observed(CALM.now, version="3", trained_at=CALM.trained_at, untold=(("source", "catalogs: pinned by the spec"),))
    decision = decide(blind, POLICY, [])
    assert not any(each.fired for each in decision.triggers)
    assert {each.kind: each.said for each in decision.triggers}["source"] == "catalogs: pinned by the spec"


@given(observed=observations, history=attempts)
def test_one_at_a_time_for_a_reason_and_never_within_a_back_off(observed: Observed, history: list[Attempt]) -> None:
    decision = decide(observed, POLICY, history)
    fired = [each.kind for each in decision.triggers if each.fired]
    until = backoff_until(history, POLICY)
    waits = until is not None and observed.now < until
    assert decision.retrain == (bool(fired) and not observed.busy and not waits and observed.trained_at is not None)
    assert decision.backoff_until == (until if waits and observed.trained_at is not None else None)
    if decision.retrain:
        assert all(kind in decision.why for kind in fired)
    assert decision == decide(observed, POLICY, history)


@given(history=attempts)
def test_waits_double_to_a_bound_and_one_that_helped_ends_them(history: list[Attempt]) -> None:
    until = backoff_until(history, POLICY)
    if not history or history[-1].helped is not False:
        assert until is None
        return
    last = history[-1]
    assert until is not None
    wait = (until - last.at) / HOUR
    assert POLICY.wait_hours - 1e-6 <= wait <= POLICY.longest_wait_hours + 1e-6
    again = backoff_until([*history, last], POLICY)
    assert again is not None
    assert abs((again - last.at) / HOUR - min(2 * wait, POLICY.longest_wait_hours)) < 1e-6
    assert backoff_until([*history, replace(last, helped=True)], POLICY) is None
    fresh = backoff_until([*history, replace(last, helped=True), last], POLICY)
    assert fresh is not None
    assert abs((fresh - last.at) / HOUR - POLICY.wait_hours) < 1e-6


def test_a_million_failures_still_wait_the_longest_time_only() -> None:
    failed = [Attempt(0.0, "drift", None, False)] * 5_000
    assert backoff_until(failed, POLICY) == POLICY.longest_wait_hours * HOUR


@given(hits=st.integers(0, 300), rest=st.integers(0, 300), bar=st.floats(0.01, 0.9))
def test_more_hits_are_more_evidence_and_a_share_at_its_bar_is_none(hits: int, rest: int, bar: float) -> None:
    n = hits + rest
    here = evidence(Share(hits, n, bar))
    assert evidence(Share(hits + 1, n + 1, bar)) >= here - 1e-9
    assert evidence(Share(hits, n + 1, bar)) <= here + 1e-9
    if hits <= bar * n:
        assert not above(Share(hits, n, bar))


@given(n=st.integers(1, 40), bar=st.floats(0.02, 0.6))
def test_the_evidence_is_a_fair_bet_at_the_bar(n: int, bar: float) -> None:
    """Its mean over what n answers may be is at most 1, and so that of every answer more."""
    from math import comb, exp

    mean = sum(comb(n, k) * bar**k * (1 - bar) ** (n - k) * exp(evidence(Share(k, n, bar))) for k in range(n + 1))
    assert mean <= 1 + 1e-9
    assert mean > 1 - 1e-6


def test_shares_of_nothing_and_all() -> None:
    assert not above(Share(0, 0, 0.02))
    assert not above(Share(5, 5, 1.0))
    assert above(Share(1, 1, 0.0))
    assert not above(Share(0, 10**6, 1e-4))
    assert above(Share(10**5, 10**6, 0.02))
    assert 0 < ALPHA < 0.01
