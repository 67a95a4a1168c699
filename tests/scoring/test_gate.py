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
    other: Interval = (9, 8, 10), champion: Interval | None = (0, -1, 1), flagged: Interval = (0.1, 0.08, 0.12),
    leaked: int = 0, allowed: int = 0, n: int = 300, lead: Interval = (3, 2, 4), constant: Interval = (3, 2, 4),
) -> dict[str, Any]:  # fmt: skip
    opponents = {"other": other, "lead": lead, "constant": constant} | ({"champion": champion} if champion else {})
    share = {"value": leaked / n, "interval": [0.0, 1.0]}
    return {
        "metric": "rougeL",
        "n": n,
        "baselines": {k: {"difference": {"value": v[0], "interval": [v[1], v[2]]}} for k, v in opponents.items()},
        "judge": {"flagged": {"value": flagged[0], "interval": [flagged[1], flagged[2]]}},
        "leaks": {"n": n, "outputs": {"count": leaked, **share}, "kinds": {}, "references": {"count": allowed, **share}},
    }


def rules(found: dict[str, Any], policy: spec.Gate = STRICT) -> dict[str, Rule]:
    return {rule.rule: rule for rule in gate(found, policy)}


def test_an_open_gate_gives_every_rule_with_its_reason() -> None:
    found = rules(scores())
    assert list(found) == ["reads_source", "beats_lead", "beats_constant", "champion", "max_flagged", "leaks"]
    assert all(rule.passed and rule.reason for rule in found.values())
    assert "+9.00 [+8.00, +10.00], n = 300" in found["reads_source"].reason


def test_only_the_rules_named_are_asked() -> None:
    policy = spec.Gate(reads_source=False, max_flagged=1.0)
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
    found = rules(scores(other=nothing, champion=nothing, flagged=nothing, lead=nothing, constant=nothing))
    assert not any(found[name].passed for name in found if name != "leaks")


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
