"""The strata beside the verdicts': who is in them, and that each answer's probability of being asked about is told rightly."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry.queues import Listed
from pipelines.scoring.labels.asked import ask
from pipelines.scoring.labels.corrected import Stratum
from pipelines.scoring.labels.strata import (
    DISAGREEMENT,
    DRIFTED,
    FILTERED,
    FLAGGED,
    LOW,
    NEGATIVE,
    PASSED,
    RANDOM,
    apart,
    chances,
    pools,
    shuffled,
)  # fmt: skip

NOBODY: frozenset[str] = frozenset()


def trace(number: int, flagged: bool | None = None, **more: object) -> Listed:
    return replace(
        Listed(f"tr-{number:032x}", f"r{number}", "2", "canary", "a text", float(number), flagged=flagged),
        **more,  # type: ignore[arg-type]
    )


def ids(listed: Sequence[Listed]) -> set[str]:
    return {each.trace for each in listed}


def test_each_stratum_holds_what_it_is_called_after() -> None:
    low = [trace(n, support=n / 400) for n in range(300)]
    filtered = [trace(n, flags=frozenset({"length"})) for n in range(300, 330)]
    negative = [trace(n, feedback="down") for n in range(330, 340)]
    other = [trace(n, version="1") for n in range(340, 350)]
    strange = {each.trace: float(n) for n, each in enumerate(filtered)}
    found = pools([*low, *filtered, *negative, *other], "2", strange)
    assert ids(found[LOW]) == ids(low[:30])  # a tenth of those that the judge read
    assert ids(found[FILTERED]) == ids(filtered)
    assert ids(found[NEGATIVE]) == ids(negative)
    assert ids(found[DRIFTED]) == ids(filtered[10:])  # the 20 strangest
    assert ids(found[RANDOM]) == ids([*low, *filtered, *negative])
    assert found[DISAGREEMENT] == []
    assert all(list(pool) == shuffled(pool) for pool in found.values())


def test_canary_and_champion_are_compared_on_the_same_request() -> None:
    champion = trace(0, version="1", request="r", output="a library for maps", flagged=False)
    same = trace(1, request="r", output="a library for maps", flagged=False)
    near = trace(2, request="r", output="a library of maps", flagged=False)
    far = trace(3, request="r", output="singing rockets", flagged=False)
    judged = trace(4, request="r", output="singing rockets", flagged=True)
    elsewhere = trace(5, request="s", output="singing rockets", flagged=True)
    other_input = trace(6, request="r", source="another text", output="rockets")
    found = apart([champion, same, near, far, judged, elsewhere, other_input], "2")
    assert found == {near.trace: 0.25, far.trace: 1.0, judged.trace: 2.0}


@st.composite
def listings(draw: st.DrawFn) -> list[Listed]:
    verdicts = draw(st.lists(st.sampled_from([True, False, False, None]), max_size=50))
    return [
        trace(
            n, flagged, weight=draw(st.sampled_from([1.0, 5.0])), feedback=draw(st.sampled_from(["", "down"])),
            flags=draw(st.sampled_from([frozenset[str](), frozenset({"echo"})])), support=None if flagged is None else n / 50,
        )
        for n, flagged in enumerate(verdicts)
    ]  # fmt: skip


@given(listings(), st.integers(1, 40), st.integers(1, 40))
def test_whoever_is_drawn_has_a_chance_and_it_never_falls(listed: list[Listed], size: int, more: int) -> None:
    sides = Stratum(sum(each.flagged is True for each in listed)), Stratum(sum(each.flagged is False for each in listed))
    before: dict[str, float] = {}
    for wanted in (size, size + more):
        asked = ask(listed, NOBODY, sides, wanted, "2")
        told = chances(listed, asked, "2", {})
        assert all(0 < chance <= 1 for chance in told.values())
        assert all(told.get(one, 0.0) > before.get(one, 0.0) for one in told)
        assert set(asked) <= {*told, *before}
        before |= told
        listed = [
            replace(each, drawn=asked.get(each.trace, each.drawn), chance=before.get(each.trace, each.chance))
            for each in listed
        ]


RUNS, N = 120, 600


def estimates(run: int) -> tuple[float, float, float]:
    """(the truth, the estimate by chance and sampling weight, the plain share of the labels) in one made-up traffic.

    What a filter doubts is mostly bad and always sampled, the rest one in five; low support and complaints go with bad ones.
    """
    rng = np.random.default_rng(run)
    bad, doubted = rng.random(N) < 0.1, rng.random(N) < 0.05
    bad |= doubted & (rng.random(N) < 0.6)
    support = np.clip(np.where(bad, 0.3, 0.7) + rng.normal(0, 0.2, N), 0, 1)
    kept = [n for n in range(N) if doubted[n] or rng.random() < 0.2]
    listed = [
        trace(
            run * N + n, bool(support[n] < 0.4), support=float(support[n]), sampled=1.0 if doubted[n] else 5.0,
            weight=1.0 if doubted[n] else 5.0, flags=frozenset({"length"} if doubted[n] else ()),
            feedback="down" if bad[n] and rng.random() < 0.5 else "",
        )
        for n in kept
    ]  # fmt: skip
    truth = dict(zip((each.trace for each in listed), (bool(bad[n]) for n in kept), strict=True))
    judged = Stratum(int((support < 0.4).sum())), Stratum(int((support >= 0.4).sum()))
    waiting: frozenset[str] = frozenset()
    for _ in range(2):
        asked = ask(listed, waiting, judged, 20, "2")
        told = chances(listed, asked, "2", {})
        listed = [
            replace(each, drawn=asked.get(each.trace, each.drawn), chance=told.get(each.trace, each.chance)) for each in listed
        ]
    drawn = [each for each in listed if each.drawn]
    weighed = sum(each.sampled / (each.chance or 1.0) * truth[each.trace] for each in drawn) / N
    return float(bad.mean()), weighed, sum(truth[each.trace] for each in drawn) / len(drawn)


def test_weighed_by_chance_all_strata_together_estimate_without_bias() -> None:
    """Horvitz and Thompson (1952) over all labels, whatever they were drawn by; the plain share is far off."""
    found = np.array([estimates(run) for run in range(RUNS)])
    errors = found[:, 1] - found[:, 0]
    assert abs(errors.mean()) < 3 * errors.std(ddof=1) / RUNS**0.5
    assert abs(errors.mean()) < 0.02
    assert (found[:, 2] - found[:, 0]).mean() > 0.1


def test_verdicts_keep_most_of_the_queue() -> None:
    """The corrected rate is drawn by verdict: all that is sought out has three tenths at most."""
    listed = [
        trace(n, n % 4 == 0, feedback="down" if n % 9 == 1 else "", flags=frozenset({"echo"} if n % 5 == 0 else ()),
              support=n / 400, output="a")
        for n in range(400)
    ]  # fmt: skip
    others = [replace(each, trace=each.trace + "o", version="1", output="b") for each in listed]
    sides = Stratum(100), Stratum(300)
    asked = ask([*listed, *others], NOBODY, sides, 40, "2", {each.trace: 1.0 for each in listed})
    assert len(asked) == 40
    verdicts = [names for names in asked.values() if names & {FLAGGED, PASSED}]
    assert len(verdicts) >= 28
    for name in (NEGATIVE, DISAGREEMENT, RANDOM, LOW, FILTERED, DRIFTED):
        assert sum(name in names for names in asked.values()) >= 2


def test_a_trace_of_two_strata_is_as_likely_as_the_likelier_draws_it() -> None:
    listed = [trace(n, feedback="down" if n < 10 else "") for n in range(100)]
    asked = ask(listed, NOBODY, None, 20, "2")
    told = chances(listed, asked, "2", {})
    complained = [each.trace for each in listed[:10] if NEGATIVE in asked.get(each.trace, ())]
    chance_only = {told[one] for one, names in asked.items() if names == {RANDOM} and one not in ids(listed[:10])}
    assert len(chance_only) == 1
    (low,) = chance_only
    assert complained
    assert all(told[one] >= low for one in complained)
    assert low == pytest.approx(0.2, abs=0.12)
