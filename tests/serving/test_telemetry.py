from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from pipelines.serving.telemetry import LEFT, QUEUE, WHOLE, Telemetry

VERSIONS = st.frozensets(st.sampled_from([str(number) for number in range(12)]), min_size=1, max_size=2)


def samples(telemetry: Telemetry) -> list[Sample]:
    return [each for family in text_string_to_metric_families(telemetry.text().decode()) for each in family.samples]


def value(telemetry: Telemetry, name: str, **labels: str) -> float:
    (found,) = [each.value for each in samples(telemetry) if each.name == name and labels.items() <= each.labels.items()]
    return found


def versions(telemetry: Telemetry) -> set[str]:
    return {each.labels["version"] for each in samples(telemetry) if "version" in each.labels}


def test_each_number_has_its_labels() -> None:
    telemetry = Telemetry("tiny", 0.3)
    telemetry.requests("1", "canary", "answered").inc()
    telemetry.errors("1", "timeout").inc(2)
    telemetry.guard_hits("1", "length").inc()
    telemetry.cache_hits("1", "stale").inc()
    telemetry.degraded("smaller_beam").inc()
    telemetry.tokens("1", "out").inc(7)
    telemetry.batch("1").observe(3)
    telemetry.spend("EUR").set(1.5)
    telemetry.refused(429).inc()
    telemetry.feedback("1", "bad").inc()
    telemetry.sampled({"totals": [["1", "random", "kept", 3]]})
    telemetry.weights(lambda: {("1", "champion"): 95.0, ("2", "canary"): 5.0})
    assert {each.labels["model"] for each in samples(telemetry)} == {"tiny"}
    for name, labels, wanted in [
        ("seqline_requests_total", {"version": "1", "arm": "canary", "outcome": "answered"}, 1),
        ("seqline_errors_total", {"version": "1", "class": "timeout"}, 2),
        ("seqline_guard_hits_total", {"version": "1", "filter": "length"}, 1),
        ("seqline_cache_hits_total", {"version": "1", "kind": "stale"}, 1),
        ("seqline_degraded_total", {"what": "smaller_beam"}, 1),
        ("seqline_tokens_total", {"version": "1", "direction": "out"}, 7),
        ("seqline_batch_size_bucket", {"version": "1", "le": "4.0"}, 1),
        ("seqline_batch_size_bucket", {"version": "1", "le": "2.0"}, 0),
        ("seqline_spend", {"currency": "EUR"}, 1.5),
        ("seqline_refused_total", {"status": "429"}, 1),
        ("seqline_feedback_total", {"version": "1", "rating": "bad"}, 1),
        ("seqline_review_samples_total", {"version": "1", "reason": "random", "outcome": "kept"}, 3),
        ("seqline_version_weight_percent", {"version": "2", "part": "canary"}, 5),
        ("seqline_lost_total", {"what": "samples"}, 0),
    ]:
        assert value(telemetry, name, **labels) == wanted, name


def test_what_was_promised_is_an_edge_of_the_buckets() -> None:
    telemetry = Telemetry("tiny", 0.3)
    telemetry.latency("1", "champion").observe(0.29)
    telemetry.queue("1").observe(0.04)
    edges = {each.labels["le"] for each in samples(telemetry) if each.name == "seqline_latency_seconds_bucket"}
    assert edges == {str(float(edge)) for edge in (*WHOLE, 0.3)} | {"+Inf"}
    assert value(telemetry, "seqline_latency_seconds_bucket", le="0.3") == 1
    assert 0.05 in QUEUE
    assert value(telemetry, "seqline_queue_seconds_bucket", le="0.05") == 1


@given(st.lists(VERSIONS, min_size=1, max_size=12))
def test_versions_that_left_go_but_for_the_last(routes: list[frozenset[str]]) -> None:
    telemetry = Telemetry("tiny")
    for live in routes:
        telemetry.keep(live)
        for version in live:
            telemetry.requests(version, "champion", "answered").inc()
            telemetry.latency(version, "champion").observe(0.1)
    telemetry.sampled({"totals": [[str(number), "random", "kept", 1] for number in range(12)]})
    telemetry.keep(routes[-1])
    assert routes[-1] <= versions(telemetry)
    assert len(versions(telemetry)) <= len(routes[-1]) + LEFT
    for version in routes[-1]:  # what is live has lost nothing since it came
        assert value(telemetry, "seqline_requests_total", version=version) >= 1


def test_a_version_that_comes_back_counts_anew_and_managed_ones_stay() -> None:
    telemetry = Telemetry("tiny")
    telemetry.keep({"1"})
    telemetry.restarts("1").inc(5)
    telemetry.restarts("endpoint:big").inc()
    for live in ("2", "3", "4", "5"):
        telemetry.keep({live})
    assert versions(telemetry) == {"endpoint:big"}
    telemetry.keep({"1"})
    telemetry.restarts("1").inc()
    assert value(telemetry, "seqline_engine_restarts_total", version="1") == 1


@pytest.mark.parametrize(("name", "shown"), [("ann", "ann"), ("stranger", "unknown"), (None, "none")])
def test_holders_are_those_of_known_keys(name: str | None, shown: str) -> None:
    telemetry = Telemetry("tiny")
    telemetry.know_holders(["ann"])
    telemetry.holder(name, "answered").inc()
    assert value(telemetry, "seqline_holder_requests_total", holder=shown) == 1


def test_the_numbers_of_a_key_that_is_gone_are_gone() -> None:
    telemetry = Telemetry("tiny")
    telemetry.know_holders(["ann", "bo"])
    count: Callable[[str], object] = lambda name: telemetry.holder(name, "answered").inc()  # noqa: E731
    for name in ("ann", "bo", "ann"):
        count(name)
    telemetry.know_holders(["ann"])
    assert {each.labels["holder"] for each in samples(telemetry) if "holder" in each.labels} == {"ann"}
    assert value(telemetry, "seqline_holder_requests_total", holder="ann") == 2


def test_what_was_bad_begins_at_nought_with_what_was_counted() -> None:
    telemetry = Telemetry("tiny")
    telemetry.met("1", "champion", {"availability": True, "latency": False})
    for name, sli, wanted in [
        ("events", "availability", 1),
        ("bad", "availability", 0),
        ("events", "latency", 1),
        ("bad", "latency", 1),
    ]:
        assert value(telemetry, f"seqline_sli_{name}_total", version="1", arm="champion", sli=sli) == wanted
