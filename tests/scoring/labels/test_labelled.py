"""What labels tell, version by version: three numbers always, contradictions kept and said, nothing claimed without labels."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry.labels import ANSWER_NAMES, Answer, Judged
from pipelines.registry.queues import Listed
from pipelines.scoring.compare import share
from pipelines.scoring.judge.threshold import Frozen
from pipelines.scoring.labels.labelled import How, Left, left_of, newest, scored, settled, strata, tell

FROZEN = Frozen("tiny", 0.6, 0.1, share(82, 100), share(14, 300), 0.2)


def row(item: int, answer: Answer, *, verdict: bool | None = True, who: str = "ann", **more: object) -> Judged:
    by = {None: "random", True: "flagged", False: "passed"}[verdict]
    made = Judged(f"tr-{item}", "2", "a", "b", verdict, answer, 1.0, who, 1.0, drawn=frozenset({by}))
    return replace(made, **more)  # type: ignore[arg-type]


def many(verdict: bool, bad: int, good: int, at: int = 0) -> list[Judged]:
    return [row(at + number, "unsupported" if number < bad else "supported", verdict=verdict) for number in range(bad + good)]


def test_three_numbers_always_and_unknown_without_labels() -> None:
    (told,) = tell("tiny", [], [], {"2": (40, 160)})
    plain = told.plain()
    assert (plain["judged"]["value"], plain["corrected"], plain["labels"]) == (0.2, "unknown", 0)
    assert (plain["agreement"], plain["drift"]) == ("unknown", "unknown")
    assert next(told.lines()) == "tiny version 2: judged 20.0%, corrected unknown, 0 labels"
    rows = [*many(True, 9, 11), *many(False, 1, 29, at=100)]
    (told,) = tell("tiny", rows, [], {"2": (400, 1_600)})
    plain = json.loads(json.dumps(told.plain(), allow_nan=False))
    assert (plain["judged"]["value"], plain["labels"]) == (0.2, 50)
    assert plain["judged"]["interval"] == pytest.approx([0.183, 0.218], abs=0.001)
    low, high = plain["corrected"]["interval"]
    assert plain["corrected"]["value"] == pytest.approx(0.2 * 9 / 20 + 0.8 / 30)
    assert low < plain["corrected"]["value"] < high
    assert (plain["strata"]["flagged"]["weight"], plain["strata"]["passed"]["weight"]) == (20.0, pytest.approx(1_600 / 30))


def test_what_was_sought_out_tells_nothing_of_a_rate() -> None:
    rows = [*many(True, 5, 5), *many(False, 0, 10, at=100)]
    sought = [replace(each, item=f"{each.item}s", answer="unsupported", drawn=frozenset({"negative"})) for each in rows]
    with_them, without = (tell("tiny", each, [], {"2": (50, 50)})[0] for each in (rows + sought, rows))
    assert with_them.rate == without.rate
    assert (with_them.items, without.items) == (40, 20)


def test_reviewers_who_contradict_each_other_leave_it_open_and_agreement_says_so() -> None:
    rows = [row(1, "supported"), row(1, "unsupported", who="bo"), row(2, "supported"), row(2, "supported", who="bo")]
    rows += [row(3, "unsupported"), row(4, "supported", verdict=False)]
    (told,) = tell("tiny", rows, [], {"2": (30, 30)})
    assert (told.flagged.labels, told.flagged.unsupported, told.flagged.unclear) == (3, 1, 1)
    assert told.agreement is not None
    assert (told.agreement.n, told.reviewers) == (2, 2)
    assert told.agreement.value < 1
    assert "alpha" in "\n".join(told.lines())


@given(st.lists(st.sampled_from(ANSWER_NAMES), max_size=6))
def test_the_majority_of_those_who_can_tell_counts(answers: list[Answer]) -> None:
    bad, good = answers.count("unsupported"), answers.count("supported")
    assert settled(answers) == ("unsupported" if bad > good else "supported" if good > bad else "can't tell")


def test_what_a_reviewer_put_away_is_undecided_and_not_forgotten() -> None:
    listed = [
        Listed(f"tr-{n}", f"r{n}", "2", "canary", "a", 1.0, flagged=True, drawn=frozenset({"flagged"} if n < 4 else {"random"}))
        for n in range(6)
    ]
    rows = [row(0, "supported"), row(1, "unsupported")]
    left = left_of(listed, frozenset({"tr-2"}), rows)
    assert left == [Left("tr-3", "2", True)]
    flagged, _ = strata(rows, left, (10, 10))
    assert (flagged.labels, flagged.unsupported, flagged.unclear) == (3, 1, 1)


def test_counts_that_cannot_be_are_said_and_the_other_versions_told() -> None:
    rows = [row(1, "supported"), row(2, "supported"), row(3, "supported", version="1")]
    third, second, first = tell("tiny", rows, [], {"3": (1, 9), "2": (1, 9)})
    assert (second.rate, second.problem) == (
        None,
        "no rate: labels: 2 flagged items, 1 were judged so; give counts of one judge and time",
    )
    assert second.plain()["corrected"] == "unknown"
    assert third.rate is not None
    assert first.problem == "the judge read none of its answers, so there is no rate to correct"
    assert [next(each.lines()).split(":")[0] for each in (third, second, first)] == [f"tiny version {n}" for n in (3, 2, 1)]


def test_drift_of_the_judge_is_told_and_fails_closed() -> None:
    same = [*many(True, 30, 5), *many(False, 6, 60, at=200)]
    changed = [*many(True, 2, 60), *many(False, 40, 20, at=200)]
    verdicts = []
    for rows in (same, changed, []):
        (told,) = tell("tiny", rows, [], {"2": (100, 900)}, How(FROZEN))
        assert told.drift is not None
        verdicts.append((told.drift.verdict, told.drift.closes, told.plain()["drift"]["closes"]))
    assert verdicts[1] == ("changed", True, True)
    assert verdicts[2] == ("unknown", True, True)
    assert verdicts[0][1] == (verdicts[0][0] != "unchanged")


def test_a_report_is_told_of_the_champions_labels_and_of_the_judge() -> None:
    rows = [*many(True, 2, 60), *many(False, 40, 20, at=200)]
    found = tell("tiny", rows, [], {"2": (100, 900), "1": (5, 5)}, How(FROZEN))
    plain = scored(found, "2")
    assert (plain["corrected"]["version"], plain["corrected"]["labels"], plain["drift"]["closes"]) == ("2", 122, True)
    assert [each["version"] for each in plain["corrected"]["versions"]] == ["2", "1"]
    for nothing in (scored(found, None), scored([], "2"), scored(tell("tiny", [], [], {"2": (1, 9)}), "2")):
        assert (nothing["corrected"]["corrected"], nothing["corrected"]["labels"]) == ("unknown", 0)
        assert "drift" not in nothing


@pytest.mark.parametrize(("budget", "verdict"), [(0.6, "within"), (0.02, "over"), (0.2, "inconclusive")])
def test_a_budget_is_kept_or_not_by_labels_alone(budget: float, verdict: str) -> None:
    rows = [*many(True, 25, 25), *many(False, 4, 46, at=100)]
    how = How(budget=budget)
    told = tell("tiny", rows, [], {"2": (400, 1_600), "1": (400, 1_600)}, how)
    assert [each.plain()["budget"]["verdict"] for each in told] == [verdict, "unknown"]
    assert f"budget       {budget:.1%}: {verdict}" in "\n".join(told[0].lines())
    assert tell("tiny", rows, [], {"2": (400, 1_600)})[0].plain()["budget"] is None


def test_versions_are_ordered_by_their_number() -> None:
    assert sorted(["10", "9", "abc", "1"], key=newest) == ["abc", "1", "9", "10"]
