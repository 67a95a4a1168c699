"""What was in production on a day, from the history."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry import Entry
from pipelines.rollout.production import on, reigns

DAY = 86_400.0
FIRST = datetime(2026, 3, 1, tzinfo=UTC).timestamp()


def entry(day: float, version: str, event: str, **detail: Any) -> Entry:
    return Entry(FIRST + day * DAY, version, event, f"{day}-{version}-{event}", detail)


HISTORY = [
    entry(0.5, "1", "promoted", reasons=["no champion"], approver="nobody: the gates alone", digest="d1", data_md5="m1"),
    entry(2.2, "2", "stage", weight=1.0, reasons=["shadow: fine"]),
    entry(2.4, "2", "stage", weight=50.0, reasons=["at 1 %: fine"]),
    entry(3.5, "2", "promoted", reasons=["approved by ann"], approver="ann", digest="d2", data_md5="m2"),
    entry(5.1, "3", "stage", weight=1.0, reasons=["shadow: fine"]),
    entry(5.2, "3", "rolled back", reasons=["worse"]),
    entry(6.5, "2", "rolled back", reasons=["by hand, bob: users complain"], champion="1"),
]


def served(day: int) -> list[tuple[str, bool, float]]:
    return [(each.version, each.canary, each.weight) for each in on(HISTORY, date(2026, 3, 1) + timedelta(days=day))]


def test_each_day_has_its_versions() -> None:
    assert served(-1) == []
    assert served(0) == [("1", False, 100.0)] == served(1)
    assert served(2) == [("1", False, 100.0), ("2", True, 1.0), ("2", True, 50.0)]
    assert served(3) == [("1", False, 100.0), ("2", True, 50.0), ("2", False, 100.0)]
    assert served(4) == [("2", False, 100.0)]
    assert served(5) == [("2", False, 100.0), ("3", True, 1.0)]
    assert served(6) == [("2", False, 100.0), ("1", False, 100.0)]
    assert served(400) == [("1", False, 100.0)]


def test_it_says_who_and_on_what() -> None:
    [second] = on(HISTORY, date(2026, 3, 5))
    assert second.facts == {"approver": "ann", "digest": "d2", "data_md5": "m2"}
    assert second.why == "promoted: approved by ann"
    first_again = reigns(HISTORY)[-1]
    assert (first_again.version, first_again.facts["data_md5"]) == ("1", "m1")
    assert first_again.why == "rolled back: by hand, bob: users complain"


times = st.lists(st.floats(0, 50).map(lambda day: round(day, 3)), min_size=1, max_size=20, unique=True)


@given(times, st.integers(0, 60))
def test_from_the_first_promotion_on_there_is_one_champion_at_any_time(days: list[float], day: int) -> None:
    history = [entry(at, str(i + 1), "promoted", reasons=["fine"]) for i, at in enumerate(sorted(days))]
    champions = [each for each in reigns(history) if not each.canary]
    assert [each.since for each in champions] == [one.at for one in history]
    assert [each.until for each in champions] == [one.at for one in history[1:]] + [None]
    found = on(history, date(2026, 3, 1) + timedelta(days=day))
    assert bool(found) == (min(days) < day + 1)
