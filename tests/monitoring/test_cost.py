"""The arithmetic of cost: seconds that add up, shares that are unbiased, intervals that cover, months that end."""

import math
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from pipelines.monitoring import counters
from pipelines.monitoring.cost import (
    DAY,
    FIXED,
    HOUR,
    Counted,
    Hour,
    Line,
    Prices,
    Retrain,
    Traced,
    engine_seconds,
    lines,
    month,
)
from pipelines.serving.telemetry import Telemetry

PRICES = Prices("EUR", engine=7.2, training=3.6, tokens={"endpoint:big": 0.5})
amounts = st.floats(0.01, 1e6)
counted = st.builds(
    Counted,
    requests=st.floats(1, 1e6),
    decoded=amounts,
    decoding=amounts,
    batches=st.dictionaries(st.sampled_from([1.0, 2.0, 4.0, 8.0, 16.0, math.inf]), amounts, min_size=1),
    tokens=amounts,
)
hours_seen = st.lists(
    st.builds(Hour, st.just(0.0), st.dictionaries(st.sampled_from(["1", "2"]), counted, min_size=1), st.none() | amounts),
    min_size=1,
    max_size=5,
)


@given(hours_seen)
def test_an_hours_seconds_add_up_to_what_was_spent(hours: list[Hour]) -> None:
    for hour, found in zip(hours, engine_seconds(hours, PRICES), strict=True):
        if hour.spend is not None:
            assert sum(found.values()) == pytest.approx(hour.spend * HOUR / PRICES.engine)


def test_batches_of_known_sizes_have_their_seconds_back() -> None:
    """Batches that last as the estimate supposes: none is off, whatever their sizes; the histogram is the real one."""
    telemetry, rng, true = Telemetry("tiny"), random.Random(3), 0.0
    for _ in range(2_000):
        texts = rng.choice((1, 2, 3, 4, 6, 7, 9, 12))
        took = 0.002 * (FIXED + texts)
        true += took
        for _ in range(texts):
            telemetry.decode("1").observe(took)
            telemetry.batch("1").observe(texts)
            telemetry.requests("1", "champion", "answered").inc()
    (hour,) = counters.since_start(_samples(telemetry), now=0.0)
    assert hour.versions["1"].requests == hour.versions["1"].decoded
    assert hour.versions["1"].seconds == pytest.approx(true, rel=0.02)


def test_what_is_not_known_is_scaled_as_the_rest_and_endpoints_by_their_tokens() -> None:
    one = Counted(10, 10, 2.0, {1.0: 10})
    hours = [
        Hour(1, {"1": one, "endpoint:big": Counted(5, tokens=4_000)}, spend=2.0 + 3 * PRICES.engine / HOUR),
        Hour(2, {"1": one}, spend=None),
    ]
    assert [found["1"] for found in engine_seconds(hours, PRICES)] == pytest.approx([3.0, 3.0])
    found = {line.version: line for line in lines(hours, [], PRICES)}
    assert found["endpoint:big"].per_1000 == pytest.approx(1_000 * 4 * 0.5 / 5)
    assert found["1"].per_1000 == pytest.approx(1_000 * 6 * PRICES.engine / HOUR / 20)


def test_without_a_price_seconds_alone_are_told() -> None:
    (found,) = lines([Hour(1, {"1": Counted(10, 10, 2.0, {1.0: 10})}, 0.0)], [], Prices("EUR"))
    assert found == Line("1", "any", 10, 2.0, None, None)


def test_nothing_counted_costs_nothing() -> None:
    assert lines([], [], PRICES) == []
    assert lines([Hour(1, {"1": Counted(0)}, 0.0)], [], PRICES) == []
    assert month([], [], 5.0, 1e9).forecast == 0


WAYS = (1, 4, 8, None)


def _population(rng: random.Random) -> list[Traced]:
    return [Traced("1", rng.choice(WAYS), 1.0, rng.randint(20, 90), rng.randint(2, 24)) for _ in range(4_000)]


def test_a_thinned_sample_tells_what_all_traces_would_and_its_interval_covers_it() -> None:
    """Horvitz-Thompson: 200 samples of one population, drawn with different probabilities."""
    rng = random.Random(5)
    population = _population(rng)
    hours = [Hour(1, {"1": Counted(4_000, 4_000, 100.0, {1.0: 4_000})}, 0.2)]
    true = {line.decoding: line.per_1000 for line in lines(hours, population, PRICES)}
    covered, told = Counter[str](), {way: [0.0, 0.0] for way in true}
    for _ in range(200):
        drawn = [
            Traced(each.version, each.beam, 1 / share, each.tokens_in, each.tokens_out)
            for each in population
            if rng.random() < (share := 0.3 if each.tokens_out > 16 else 0.04)
        ]
        for line in lines(hours, drawn, PRICES):
            assert line.per_1000 is not None
            assert line.interval is not None
            covered[line.decoding] += line.interval[0] <= (true[line.decoding] or 0) <= line.interval[1]
            told[line.decoding][0] += line.per_1000 / 200
            told[line.decoding][1] += line.requests / 200
    assert set(true) == {"greedy", "beam 4", "beam 8", "drawn"}
    for way, cost in true.items():
        assert told[way][0] == pytest.approx(cost, rel=0.02), "unbiased"
        assert 180 <= covered[way] <= 199, way


@given(
    st.lists(st.builds(Traced, st.just("1"), st.sampled_from(WAYS), st.floats(1, 100), st.integers(0, 99), st.integers(0, 99)))
)
def test_a_versions_ways_add_up_to_it(traces: list[Traced]) -> None:
    hours = [Hour(1, {"1": Counted(500, 400, 9.0, {2.0: 400})}, 0.01)]
    found = lines(hours, traces, PRICES)
    assert sum(line.requests for line in found) == pytest.approx(500)
    assert sum(line.seconds for line in found) == pytest.approx(0.01 * HOUR / PRICES.engine)
    assert sum(line.requests * (line.per_1000 or 0) for line in found) == pytest.approx(1_000 * 0.01)
    for line in found:
        assert line.interval is None or line.interval[0] <= (line.per_1000 or 0) <= line.interval[1]


def test_few_traces_give_no_interval_and_all_of_them_none_to_doubt() -> None:
    hours = [Hour(1, {"1": Counted(100, 100, 9.0, {1.0: 100})}, 0.01)]
    few = [Traced("1", 1, 20.0, 10, 5)] * 5
    assert [line.interval for line in lines(hours, few, PRICES)] == [None]
    (line,) = lines(hours, [Traced("1", 1, 1.0, 10, 5)] * 5, PRICES)
    assert line.interval == (line.per_1000, line.per_1000)


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_month_goes_on_as_its_last_days_did() -> None:
    now = _at("2026-11-21T00:00")
    serving = [(now - hour * HOUR, 0.5) for hour in range(24 * 30)]
    trained = [Retrain("3", now - 2 * DAY, 1_000, 7.0), Retrain(None, now - 26 * DAY, 1_000, 7.0)]
    found = month(serving, trained, 300.0, now)
    assert found.spent == pytest.approx(20 * 12 + 7)
    assert found.forecast == pytest.approx(found.spent + 10 * (12 + 14 / 26))
    assert found.over is (found.forecast > 300)
    assert month(serving, trained, 400.0, now).over is False
    assert found.interval is not None
    assert found.interval[0] <= found.forecast <= found.interval[1]


def test_a_first_hour_is_no_months_pace() -> None:
    now = _at("2026-12-31T23:00")
    found = month([(now - 60, 2.0)], [], None, now)
    assert found.forecast == pytest.approx(2.0 + 2.0 / 24)
    assert (found.interval, found.over) == (None, False)
    later = month([(now - 60, 2.0)], [], None, _at("2027-01-01T01:00"))
    assert later.spent == 0, "another month"


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 1e3))), st.floats(0, 60))
def test_a_forecast_is_never_below_what_is_spent(costs: list[tuple[float, float]], day: float) -> None:
    began = _at("2026-10-01T00:00")
    found = month([(began + at * DAY, cost) for at, cost in costs], [], None, began + day * DAY)
    assert found.forecast >= found.spent >= 0
    if found.interval:
        assert found.spent <= found.interval[0] <= found.forecast <= found.interval[1]


def test_an_hour_in_which_a_gateway_began_anew_has_no_known_spend() -> None:
    def rows(value: float) -> list[list[object]]:
        return [[10.0, str(value)]]

    found: dict[str, list[dict[str, Any]]] = {
        "requests": [{"metric": {"version": "1"}, "values": rows(8)}],
        "decoded": [{"metric": {"version": "1"}, "values": rows(6)}],
        "decoding": [{"metric": {"version": "1"}, "values": rows(0.5)}],
        "tokens": [],
        "batches": [
            {"metric": {"version": "1", "le": le}, "values": rows(value)} for le, value in (("1.0", 2), ("2.0", 6), ("+Inf", 6))
        ],
        "spend": [{"metric": {}, "values": rows(0.25)}],
        "begun": [{"metric": {}, "values": rows(0)}],
    }
    (hour,) = counters.hours(found)
    assert hour == Hour(10.0, {"1": Counted(8, 6, 0.5, {1.0: 2, 2.0: 4}, 0)}, 0.25)
    found["begun"] = [{"metric": {}, "values": rows(1)}]
    (hour,) = counters.hours(found)
    assert hour.spend is None


def _samples(telemetry: Telemetry) -> list[counters.Sample]:
    return [sample for family in text_string_to_metric_families(telemetry.text().decode()) for sample in family.samples]


def test_a_young_gateways_spend_is_known_an_old_ones_is_of_its_last_hour_alone() -> None:
    telemetry = Telemetry("tiny")
    telemetry.spend("EUR").set(0.5)
    telemetry.requests("1", "champion", "answered").inc(3)
    telemetry.requests("1", "champion", "timeout").inc(4)
    telemetry.mirrors("2", "answered").inc(2)
    began = next(each.value for each in _samples(telemetry) if each.name == "seqline_lost_created")
    (hour,) = counters.since_start(_samples(telemetry), began + 60)
    assert ({version: each.requests for version, each in hour.versions.items()}, hour.spend) == ({"1": 3, "2": 2}, 0.5)
    (hour,) = counters.since_start(_samples(telemetry), began + HOUR + 60)
    assert hour.spend is None
