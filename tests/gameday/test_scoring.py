"""What a fault is scored by: whatever the senders met, nothing that failed is left out, and nothing is counted twice."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gameday import report
from tests.gameday.scoring import Seen, lost, recovered, score, status
from tests.gameday.senders import Fate

SEEN = Seen(
    "engine", struck=100.0, detected=101.0, by="it said so", mended=103.0, how="it is back", until=120.0, right=frozenset({"1"})
)
STARTING = "the model in production is being started"


def fate(sent: float, result: str = "200", *, took: float = 0.1, version: str = "1", said: str = "") -> Fate:
    return Fate(sent, sent + took, result, version, f"request-{sent}", said)


def written(*fates: Fate) -> set[str]:
    return {each.request for each in fates if each.status == "200"}


def test_a_fault_that_nobody_met_holds() -> None:
    fates = [fate(at) for at in (99.0, 99.95, 105.0, 130.0)]
    found = score(SEEN, fates, written(*fates))
    assert (found.detected, found.recovered, found.sent, found.failed, found.lost, found.holds) == (1.0, 3.0, 2, 0, [], True)


def test_it_has_recovered_when_the_senders_say_so_too() -> None:
    fates = [fate(102.0), fate(104.0, "503", said="the model gave no answer"), fate(105.0, took=0.5), fate(106.0)]
    found = score(SEEN, fates, written(*fates))
    assert (found.recovered, found.failed, found.holds) == (5.5, 1, False)
    assert recovered(SEEN, [*fates, fate(107.0, "503")]) is None, "the last request that was looked at got no answer"
    assert recovered(replace_mended(None), fates) is None


def replace_mended(moment: float | None) -> Seen:
    return replace(SEEN, mended=moment)


@pytest.mark.parametrize(
    ("met", "counted"),
    [
        (fate(101.0, "refused"), (0, 1, 0)),
        (fate(101.0, "503", said=STARTING), (0, 1, 0)),
        (fate(101.0, "503", said="the model in production gave no answer (away): try again"), (1, 0, 0)),
        (fate(101.0, "429"), (0, 0, 1)),
        (fate(101.0, "broken"), (1, 0, 0)),
        (fate(101.0, "timeout"), (1, 0, 0)),
        (fate(101.0, version="2"), (1, 0, 0)),
    ],
)
def test_who_was_never_admitted_has_not_failed_and_a_wrong_version_has(met: Fate, counted: tuple[int, int, int]) -> None:
    found = score(SEEN, [met, fate(110.0)], written(met, fate(110.0)))
    assert (found.failed, found.turned_away, found.overloaded) == counted


def test_an_answer_without_an_event_is_lost() -> None:
    fates = [fate(101.0), fate(102.0)]
    found = score(SEEN, fates, written(fates[0]))
    assert found.lost == ["1 events of answered requests"]
    assert found.holds is False


def test_what_is_gone_or_changed_is_named_and_what_is_new_is_not() -> None:
    before = {"version 1": "a", "decision 1": "rise", "decision 2": "promote"}
    after = {"version 1": "b", "decision 1": "rise", "version 2": "c"}
    assert lost(before, after) == ["decision 2 is gone", "version 1 is changed"]


FATES = st.lists(
    st.builds(
        fate,
        st.floats(90, 130),
        st.sampled_from(["200", "429", "500", "503", "refused", "broken", "timeout"]),
        took=st.floats(0, 30),
        version=st.sampled_from(["1", "2"]),
        said=st.sampled_from(["", STARTING]),
    )
)


@given(FATES)
def test_every_request_counts_once(fates: list[Fate]) -> None:
    found = score(SEEN, fates, written(*fates))
    good = found.statuses.get("200", 0)
    assert good + found.failed + found.turned_away + found.overloaded == found.sent == sum(found.statuses.values())
    if found.recovered is not None:
        assert found.recovered >= 3.0
        bad = [each.sent for each in fates if each.done >= 100 and each.sent <= 120 and status(each, {"1"}) != "200"]
        assert all(moment <= 100 + found.recovered for moment in bad)


def test_what_did_not_hold_is_told_in_words() -> None:
    assert report.missed(score(SEEN, [fate(101.0)], written(fate(101.0)))) == ""
    fates = [fate(101.0), fate(102.0, "503"), fate(104.0)]
    assert report.missed(score(SEEN, fates, written(*fates[:2]))) == "1 failed, 1 lost"
    nothing = replace(SEEN, detected=None, mended=None)
    found = score(nothing, [], set())
    assert report.missed(found) == "not detected, not recovered"
    assert "recovered never (it did not)" in report.line(found)


def test_the_report_names_what_did_not_hold(tmp_path: Path) -> None:
    fates = [fate(101.0), fate(102.0, "503"), fate(104.0)]
    scores = [
        score(SEEN, [fate(101.0)], written(fate(101.0))),
        score(replace(SEEN, fault="gateway"), fates, written(*fates)),
        score(replace(SEEN, fault="slow-disk", skipped="run it as root"), [], set()),
    ]
    report.write(scores, tmp_path)
    table = (tmp_path / "gameday.md").read_text()
    assert "1 of 2 faults detected and recovered without a hand" in table
    assert "| gateway | 1.0 | 4.1 | 3 | 1 | 0 | 0 | NO |" in table
    assert "skipped: slow-disk" in table
    told = json.loads((tmp_path / "gameday.json").read_text())
    assert [each["holds"] for each in told["faults"]] == [True, False, None]
    assert (tmp_path / "gameday.png").stat().st_size > 10_000
    told["faults"][2] = {"fault": "slow-disk", "in another": "form"}
    (tmp_path / "gameday.json").write_text(json.dumps(told))
    again = score(SEEN, [fate(101.0, "503"), fate(102.0)], {"request-102.0"})
    assert [(each.fault, each.failed) for each in report.beside([again], tmp_path, ["gateway", "engine"])] == [
        ("gateway", 1),
        ("engine", 1),
    ], "a run of one fault replaces its line and keeps the others"
