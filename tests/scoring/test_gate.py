"""The gate: every rule passes only by its whole interval."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import spec
from pipelines.scoring.gate import Rule, gate

Interval = tuple[float, float, float]
span = st.tuples(st.floats(-50, 50), st.floats(0, 20), st.floats(0, 20)).map(lambda t: (t[0], t[0] - t[1], t[0] + t[2]))
STRICT = spec.Gate(reads_source=True, beats=("lead", "constant"), margin=2.0, max_flagged=0.2)


def scores(
    *,
    other: Interval = (9, 8, 10), champion: Interval | None = (0, -1, 1), flagged: Interval = (0.1, 0.08, 0.12),
    leaked: int = 0, allowed: int = 0, n: int = 300, lead: Interval = (3, 2, 4), constant: Interval = (3, 2, 4),
    copied: Interval = (0.01, 0, 0.02), looping: Interval = (0, 0, 0.01), gap: Interval | None = (5, 1, 9), invented: int = 16,
) -> dict[str, Any]:  # fmt: skip
    opponents = {"other": other, "lead": lead, "constant": constant} | ({"champion": champion} if champion else {})
    share = {"value": leaked / n, "interval": [0.0, 1.0]}
    return {
        "metric": "rougeL",
        "n": n,
        "baselines": {k: {"difference": {"value": v[0], "interval": [v[1], v[2]]}} for k, v in opponents.items()},
        "judge": {"flagged": {"value": flagged[0], "interval": [flagged[1], flagged[2]]}},
        "leaks": {
            "n": n,
            "outputs": {"count": leaked, **share},
            "kinds": {},
            "references": {"count": allowed, **share},
            "placeholders": {"count": invented, **share},
            "reference_placeholders": {"count": 1, **share},
        },
        "copied": {"outputs": measured(copied), "references": measured((0.02, 0.01, 0.03))},
        "looping": {"outputs": measured(looping), "references": measured((0, 0, 0.01))},
        "overfit": gap
        and {
            "n": 200,
            "gap": measured(gap),
            "verbatim": {"seen": measured((0.2, 0.1, 0.3)), "held_out": measured((0.1, 0, 0.2))},
        },
    }


def measured(span: Interval) -> dict[str, Any]:
    return {"value": span[0], "interval": [span[1], span[2]]}


def rules(found: dict[str, Any], policy: spec.Gate = STRICT) -> dict[str, Rule]:
    return {rule.rule: rule for rule in gate(found, policy)}


def test_an_open_gate_gives_every_rule_with_its_reason() -> None:
    found = rules(scores())
    habits = ["copied", "looping", "overfit"]
    assert list(found) == [
        "reads_source",
        "beats_lead",
        "beats_constant",
        "champion",
        "max_flagged",
        "leaks",
        "invented",
        *habits,
    ]
    assert all(rule.passed and rule.reason for rule in found.values())
    assert "+9.00 [+8.00, +10.00], n = 300" in found["reads_source"].reason


def test_only_the_rules_named_are_asked() -> None:
    policy = spec.Gate(reads_source=False, max_flagged=1.0, max_copied=1.0, max_invented=1.0, max_looping=1.0, max_gap=None)
    assert list(rules(scores(), policy)) == ["champion", "leaks"]


def test_without_a_champion_the_rule_is_skipped_and_says_so() -> None:
    rule = rules(scores(champion=None))["champion"]
    assert (rule.passed, rule.verdict, rule.value) == (True, "skipped", None)
    assert "no champion yet" in rule.reason


@pytest.mark.parametrize(
    ("change", "closed", "verdict"),
    [
        ({"other": (1, -0.1, 2)}, "reads_source", "inconclusive"),
        ({"other": (0, 0, 0)}, "reads_source", "inconclusive"),  # it says the same to every source
        ({"other": (-2, -3, -1)}, "reads_source", "worse"),
        ({"lead": (1, -1, 3)}, "beats_lead", "inconclusive"),
        ({"champion": (-1, -2.1, 0.1)}, "champion", "inconclusive"),
        ({"champion": (-4, -5, -3)}, "champion", "worse"),
        ({"flagged": (0.19, 0.15, 0.21)}, "max_flagged", "inconclusive"),
        ({"flagged": (0.4, 0.3, 0.5)}, "max_flagged", "beyond"),
        ({"leaked": 1}, "leaks", "beyond"),
        ({"invented": 17}, "invented", "beyond"),  # 1 of the references does, 15 more of 300 are allowed
        ({"copied": (0.1, 0.05, 0.121)}, "copied", "inconclusive"),  # 2 % of the references do, 10 % more are allowed
        ({"copied": (0.9, 0.8, 1.0)}, "copied", "beyond"),
        ({"looping": (0.09, 0.05, 0.11)}, "looping", "inconclusive"),
        ({"looping": (0.5, 0.4, 0.6)}, "looping", "beyond"),
        ({"gap": (24, 20, 28)}, "overfit", "inconclusive"),
        ({"gap": (60, 55, 65)}, "overfit", "beyond"),
    ],
)
def test_a_rule_closes_alone(change: dict[str, Any], closed: str, verdict: str) -> None:
    found = rules(scores(**change))
    assert [name for name, rule in found.items() if not rule.passed] == [closed]
    assert found[closed].verdict == verdict


def test_too_few_pairs_never_pass_a_comparison() -> None:
    found = rules(scores(n=9))
    assert not any(found[name].passed for name in ("reads_source", "beats_lead", "beats_constant", "champion"))


def test_a_number_that_is_none_never_passes() -> None:
    nothing = (float("nan"),) * 3
    numbers = ("other", "champion", "flagged", "lead", "constant", "copied", "looping", "gap")
    without: dict[str, Any] = dict.fromkeys(numbers, nothing)
    found = rules(scores(**without))
    assert not any(found[name].passed for name in found if name not in ("leaks", "invented"))


def test_too_few_training_pairs_are_told_and_do_not_close() -> None:
    rule = rules(scores(gap=None))["overfit"]
    assert (rule.passed, rule.verdict, rule.value) == (True, "skipped", None)
    assert "too few" in rule.reason


def sliced(**lows: float) -> list[dict[str, Any]]:
    return [
        {"dimension": "length", "slice": name, "n": 40, "against": "champion", "difference": measured((low + 1, low, low + 2))}
        for name, low in lows.items()
    ]


@pytest.mark.parametrize(
    ("slices", "verdict", "passed"),
    [
        (sliced(short=-1, long=-0.5), "not worse", True),
        (sliced(short=-1, long=-1.5), "inconclusive", False),
        (sliced(short=-8, long=-0.5), "worse", False),
        ([], "skipped", True),
        ([{**sliced(short=-8)[0], "against": "lead"}], "skipped", True),
    ],
)
def test_every_slice_must_be_no_worse(slices: list[dict[str, Any]], verdict: str, passed: bool) -> None:
    rule = rules(scores() | {"slices": slices}, STRICT.model_copy(update={"slice_margin": 1.2}))["slices"]
    assert (rule.verdict, rule.passed) == (verdict, passed)
    assert not passed or verdict == "skipped" or "length short (n = 40)" in rule.reason


@pytest.mark.parametrize(
    ("exact", "verdict"),
    [((0.9, 0.8, 1.0), "reached"), ((0.8, 0.79, 0.9), "inconclusive"), ((0.5, 0.4, 0.6), "missed"), ((float("nan"),) * 3, "")],
)
def test_a_task_must_reach_its_bar_by_the_lower_end(exact: Interval, verdict: str) -> None:
    found = scores() | {"tasks": {"exact_match": {**measured(exact), "n": 100}}}
    rule = rules(found, spec.Gate(tasks={"exact_match": 0.8}))["exact_match"]
    assert rule.passed == (verdict == "reached")
    assert rule.verdict == verdict or not verdict


@given(span, span, span, st.floats(0, 20), st.floats(0, 5))
def test_a_higher_interval_or_a_wider_margin_never_closes(
    other: Interval, champion: Interval, lead: Interval, gain: float, margin: float
) -> None:
    def up(x: Interval) -> Interval:
        return (x[0] + gain, x[1] + gain, x[2] + gain)

    wider = STRICT.model_copy(update={"margin": STRICT.margin + margin})
    before = rules(scores(other=other, champion=champion, lead=lead))
    after = rules(scores(other=up(other), champion=up(champion), lead=up(lead)), wider)
    assert all(after[name].passed for name, rule in before.items() if rule.passed)


@given(st.integers(0, 5), st.integers(0, 5), st.floats(0, 1), st.floats(0, 1))
def test_inconclusive_never_passes(leaked: int, allowed: int, rate: float, width: float) -> None:
    found = rules(scores(leaked=leaked, allowed=allowed, flagged=(rate, max(0, rate - width), min(1, rate + width))))
    assert found["leaks"].passed == (leaked <= allowed)
    assert not any(rule.passed for rule in found.values() if rule.verdict == "inconclusive")


RATE = {"value": 0.8, "low": 0.7, "high": 0.9, "n": 60}
DRIFT = {"tpr": RATE, "fpr": RATE, "frozen_tpr": RATE, "frozen_fpr": RATE}


@pytest.mark.parametrize(
    ("verdict", "closes", "passed"), [("unchanged", False, True), ("changed", True, False), ("unknown", True, False)]
)
def test_rules_that_rest_on_the_judge_close_with_its_drift(verdict: str, closes: bool, passed: bool) -> None:
    found = {**scores(), "drift": {**DRIFT, "verdict": verdict, "closes": closes}}
    rule = rules(found)["drift"]
    assert (rule.passed, rule.verdict) == (passed, verdict)
    assert f"is {verdict} since it was frozen: TPR 80.0% [70.0%, 90.0%] on labels, 80.0% when frozen" in rule.reason
    assert "drift" in rules(found, spec.Gate(max_flagged_more=0.1))
    assert "drift" not in rules(found, spec.Gate())  # no rule rests on the judge
    assert "drift" not in rules(scores())  # it was not frozen here, so nothing can be told
    unclear = {**scores(), "drift": {"verdict": "unknown", "closes": True, "problem": "labels contradict"}}
    assert not rules(unclear)["drift"].passed
    assert "labels contradict" in rules(unclear)["drift"].reason


@pytest.mark.parametrize(("near", "verdict"), [(0, "within"), (3, "beyond"), (None, "unknown")])
def test_contamination_that_nobody_looked_for_closes(near: int | None, verdict: str) -> None:
    nothing = {"count": 0, "value": 0.0, "interval": [0.0, 0.1]}
    found = {**scores(), "contamination": {"n": 30, "sources": nothing, "pairs": nothing, "near_duplicates": near}}
    rule = rules(found)["contamination"]
    assert (rule.verdict, rule.passed) == (verdict, verdict == "within")


@pytest.mark.parametrize(
    ("more", "verdict"), [((0.01, -0.01, 0.03), "within"), ((0.04, 0.02, 0.06), "inconclusive"), ((0.2, 0.1, 0.3), "beyond")]
)
def test_the_judge_may_flag_only_so_much_more_than_of_the_champions(more: Interval, verdict: str) -> None:
    policy = spec.Gate(max_flagged_more=0.05)
    found = scores()
    assert rules(found, policy)["max_flagged_more"].verdict == "skipped"
    found["judge"]["champion"] = {**measured((0.1, 0.05, 0.15)), "difference": measured(more)}
    rule = rules(found, policy)["max_flagged_more"]
    assert (rule.verdict, rule.passed) == (verdict, verdict == "within")
    assert rule.value == more[0]
