"""Which presses open the gate: by the pure rule."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry import Approval
from pipelines.rollout.approving import answered, weigh
from pipelines.rollout.policy import Action, Decision, Gate

GATE = Gate(1_000.0, 2_000.0, "d" * 64, "# evidence")
HOLD = Decision(Action.HOLD, ("approved, but", "frozen: latency has -3% of its budget left"), {})
PROMOTE = Decision(Action.PROMOTE, ("approved",), {})


def press(number: str, user: str | None = None, at: float = 1_500.0, reason: str = "") -> Approval:
    return Approval(number, not reason, reason, user, at)


def test_one_good_press_is_an_approval_and_the_next_comes_too_late() -> None:
    presses = weigh(GATE, [press("1", reason="wrong source"), press("2"), press("3")], 1)
    assert presses.approval
    assert (presses.approval.prod_version, presses.approval.digest, presses.approval.user) == ("2", GATE.digest, None)
    used, refused = answered(presses, PROMOTE, 1)
    assert [each.prod_version for each in used] == ["2"]
    assert refused == [("1", "wrong source"), ("3", "version 2 had approved already")]


def test_after_the_gates_end_it_is_refused() -> None:
    presses = weigh(GATE, [press("1", at=2_000.0)], 1)
    assert presses.approval is None
    assert "after the gate expired at 1970-01-01 00:33:20 UTC" in presses.refused[0][1]


def test_two_approvers_are_two_named_people() -> None:
    first = weigh(GATE, [press("1", "ann"), press("2", "ann"), press("3")], 2)
    assert first.approval is None
    assert first.missing == "1 of 2 approvals, by ann: another person must press Promote model, too"
    assert [number for number, _ in first.refused] == ["2", "3"]
    assert "ann has approved already" in first.refused[0][1]
    assert "names nobody" in first.refused[1][1]
    assert answered(first, Decision(Action.HOLD, (first.missing,), {}), 2) == ((), list(first.refused)), "ann's press waits"
    both = weigh(GATE, [press("1", "ann"), press("4", "bob")], 2)
    assert both.approval
    assert (both.approval.prod_version, both.approval.user) == ("4", "ann and bob")
    assert [each.prod_version for each in answered(both, PROMOTE, 2)[0]] == ["1", "4"]


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (HOLD, "frozen: latency has -3% of its budget left"),
        (Decision(Action.ROLLBACK, ("worse",), {}), "the canary was rolled back"),
        (Decision(Action.OPEN_GATE, ("expired",), {}), "the gate expired before it could be acted on"),
    ],
)
def test_a_good_press_that_opens_nothing_is_told_why(decision: Decision, reason: str) -> None:
    used, refused = answered(weigh(GATE, [press("1")], 1), decision, 1)
    assert used == ()
    assert refused[0][1].startswith(reason)


def test_a_blown_fuse_is_waited_for() -> None:
    blown = Decision(Action.HOLD, ("a gateway cut the canary off (time 1): waiting to see the champion answer alone",), {})
    assert answered(weigh(GATE, [press("1")], 1), blown, 1) == ((), [])


presses_of = st.lists(
    st.builds(
        Approval,
        st.integers(1, 99).map(str),
        st.booleans(),
        st.just("its digest is another one"),
        st.sampled_from([None, "ann", "bob", "eve"]),
        st.floats(900, 2_100),
    ),
    max_size=8,
    unique_by=lambda each: each.prod_version,
)


@given(presses_of, st.sampled_from([1, 2]), st.sampled_from([HOLD, PROMOTE, Decision(Action.ROLLBACK, ("worse",), {})]))
def test_every_press_is_used_refused_with_a_reason_or_waits(asked: list[Approval], approvers: int, decision: Decision) -> None:
    asked = [replace(each, reason="" if each.accepted else each.reason) for each in asked]
    presses = weigh(GATE, asked, approvers)
    used, refused = answered(presses, decision, approvers)
    told = [each.prod_version for each in used] + [number for number, _ in refused]
    assert len(told) == len(set(told))
    assert all(reason for _, reason in refused)
    waiting = {each.prod_version for each in asked} - set(told)
    assert waiting <= {each.prod_version for each in presses.good}
    assert not used or decision.action is Action.PROMOTE
    assert all(each.accepted and each.at < GATE.expires_at for each in used)
    if used:
        assert len(used) == approvers
        assert approvers == 1 or len({each.user for each in used} - {None}) == 2
        assert not waiting


def test_without_a_gate_nothing_is_an_approval() -> None:
    assert weigh(None, [press("1")], 1).approval is None
