"""Whom people are asked about: exactly as many as wanted, at random within a verdict, and each answer as likely as another."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry.labels import Answer, Judged
from pipelines.registry.queues import Listed
from pipelines.scoring.labels.asked import Asked, ask
from pipelines.scoring.labels.corrected import Stratum
from pipelines.scoring.labels.labelled import strata, tell
from pipelines.scoring.labels.strata import DISAGREEMENT, FLAGGED, NEGATIVE, PASSED, RANDOM
from pipelines.scoring.labels.strata import verdict_pool as pool

NOBODY: frozenset[str] = frozenset()


def trace(number: int, flagged: bool | None = None, **more: object) -> Listed:
    return replace(
        Listed(f"tr-{number:032x}", f"r{number}", "2", "canary", "a text", float(number), flagged=flagged),
        **more,  # type: ignore[arg-type]
    )


def sides(listed: Sequence[Listed], labels: tuple[int, int] = (0, 0)) -> tuple[Stratum, Stratum]:
    """As many judged as are listed, so many labelled supported."""
    counts = Counter(each.flagged for each in listed)
    return Stratum(counts[True], labels[0]), Stratum(counts[False], labels[1])


def drawn(listed: Sequence[Listed], asked: Asked) -> list[Listed]:
    return [replace(each, drawn=asked.get(each.trace, each.drawn)) for each in listed]


@st.composite
def listings(draw: st.DrawFn) -> list[Listed]:
    verdicts = draw(st.lists(st.sampled_from([True, False, False, None]), max_size=60))
    feedback = st.sampled_from(["", "", "", "down", "up", "1", "5", "comment", "correction"])
    weights = st.sampled_from([1.0, 1.0, 5.0])
    return [trace(n, flagged, weight=draw(weights), feedback=draw(feedback)) for n, flagged in enumerate(verdicts)]


@given(listings(), st.integers(1, 40))
def test_no_more_wait_than_wanted_and_a_second_fill_adds_nothing(listed: list[Listed], size: int) -> None:
    counts = sides(listed)
    first = ask(listed, NOBODY, counts, size, "2")
    assert len(first) <= min(size, len(listed))
    assert all(names for names in first.values())
    again = drawn(listed, first)
    second = ask(again, frozenset(first), counts, size, "2")
    assert not set(second) - set(first)
    if len(first) == size:
        assert second == {}
    both = {each.trace: each for each in listed}
    for one, names in first.items():
        assert FLAGGED not in names or both[one].flagged is True
        assert PASSED not in names or both[one].flagged is False
        assert NEGATIVE not in names or both[one].feedback in {"down", "1", "correction"}


def test_the_queue_is_full_and_each_stratum_has_its_part() -> None:
    listed = [trace(n, n % 4 == 0, feedback="down" if n % 10 == 1 else "") for n in range(400)]
    asked = ask(listed, NOBODY, sides(listed), 40, "2")
    assert len(asked) == 40
    counts = Counter(name for names in asked.values() for name in names)
    assert (counts[NEGATIVE], counts[RANDOM]) == (4, 4)
    assert min(counts[FLAGGED], counts[PASSED]) >= 4
    assert ask(listed, NOBODY, sides(listed), 40, "3") == {}
    spread = ask(listed, NOBODY, (Stratum(100, 20, 10), Stratum(300, 20, 0)), 40, "2")
    found = Counter(name for names in spread.values() for name in names)
    assert found[FLAGGED] > counts[FLAGGED]  # half of the flagged were bad, no passed one: more is to be learnt there


def test_where_no_judge_reads_chance_draws() -> None:
    listed = [trace(n) for n in range(30)]
    for nothing in (None, (Stratum(0), Stratum(0))):
        asked = ask(listed, NOBODY, nothing, 10, "2")
        assert list(asked.values()) == [frozenset({RANDOM})] * 10


def test_a_canary_judged_otherwise_than_the_champion_is_asked_about() -> None:
    listed = [trace(n, True) for n in range(20)]
    other = [replace(each, trace=f"{each.trace}o", version="1", flagged=int(each.request[1:]) >= 3) for each in listed]
    asked = ask([*listed, *other], NOBODY, None, 20, "2")
    apart = {one for one, names in asked.items() if DISAGREEMENT in names}
    assert len(apart) == 2
    assert apart <= {each.trace for each in listed[:3]}


def test_all_answers_of_a_verdict_are_equally_likely_whatever_brought_them_in() -> None:
    """1,000 answers that a filter doubts come in always, of 20,000 others one in ten: the pool has them as the traffic has."""
    doubted = [trace(n, False, weight=1.0) for n in range(1_000)]
    others = [trace(n, False, weight=10.0) for n in range(1_000, 3_000)]
    kept = pool([*doubted, *others], False)
    share = sum(each.weight == 1.0 for each in kept) / len(kept)
    assert share == pytest.approx(1_000 / 21_000, abs=0.01)
    assert all(each in kept for each in others)
    head = kept[:400]
    assert sum(each.weight == 1.0 for each in head) / 400 == pytest.approx(1_000 / 21_000, abs=0.03)


def test_what_was_labelled_for_another_reason_counts_by_its_verdict_when_its_turn_comes() -> None:
    listed = [trace(n, True) for n in range(50)]
    first = pool(listed, True)[0]
    before = [replace(each, drawn=frozenset({NEGATIVE})) if each == first else each for each in listed]
    asked = ask(before, NOBODY, sides(listed), 5, "2")
    assert asked[first.trace] == {NEGATIVE, FLAGGED}
    assert sum(first.trace != one for one in asked) == 5


RUNS, FLAGGED_N, DOUBTED_N, OTHERS_N = 8, 300, 300, 2_700
BAD_SHARES = {"flagged": 0.7, "doubted": 0.5, "other": 0.02}
TRUTH = (0.7 * FLAGGED_N + 0.5 * DOUBTED_N + 0.02 * OTHERS_N) / (FLAGGED_N + DOUBTED_N + OTHERS_N)


def covers(run: int, weighted: bool) -> bool:
    """Whether 120 labels tell the truth where filters bring in what is mostly bad, and chance a tenth of the rest."""
    rng = np.random.default_rng(run)
    kinds = ["flagged"] * FLAGGED_N + ["doubted"] * DOUBTED_N + ["other"] * (OTHERS_N // 10)
    listed = [
        trace(10_000 * run + n, kind == "flagged", weight=10.0 if kind == "other" and weighted else 1.0)
        for n, kind in enumerate(kinds)
    ]
    truth = {each.trace: rng.random() < BAD_SHARES[kind] for each, kind in zip(listed, kinds, strict=True)}
    judged, rows = (FLAGGED_N, DOUBTED_N + OTHERS_N), list[Judged]()
    for _ in range(2):  # drawn twice: the second time where the first labels tell
        asked = ask(listed, NOBODY, strata(rows, [], judged), 60, "2")
        listed = drawn(listed, asked)
        rows += [labelled(each, truth[each.trace]) for each in listed if each.trace in asked]
    (told,) = tell("tiny", rows, [], {"2": judged})
    assert told.rate is not None
    assert told.rate.corrected is not None
    return told.rate.corrected.low <= TRUTH <= told.rate.corrected.high


def labelled(each: Listed, bad: bool) -> Judged:
    answer: Answer = "unsupported" if bad else "supported"
    return Judged(each.trace, "2", "a", "b", each.flagged, answer, each.weight, "ann", 1.0, drawn=each.drawn)


def test_what_filters_bring_in_does_not_bend_the_rate() -> None:
    assert sum(covers(run, weighted=True) for run in range(RUNS)) >= RUNS - 1
    assert sum(covers(run, weighted=False) for run in range(RUNS)) < RUNS / 2
